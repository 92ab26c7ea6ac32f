"""Workspaces copied into stores that hold others, and the proof that a copy is one."""

from __future__ import annotations

import json
import os
import signal

import pytest

from fastio_cli.client.remote import Remote
from fastio_cli.engine.compare import Comparison
from fastio_cli.engine.transfer import Transfer
from fastio_cli.errors import FastioError
from fastio_cli.storage.copy import Endpoint, copy_store
from tests.backends import Caller, kind_of
from tests.client.serving import fastio
from tests.engines import open_engine
from tests.hostile.test_numbers import killed_at
from tests.remote import Running

PAIRS = [("sqlite", "sqlite"), ("sqlite", "postgres"), ("postgres", "sqlite")]


@pytest.fixture
def opened(tmp_path):
    """Opens a caller on a new store of a kind, by name."""
    engines, places = [], []

    def open(kind, name):
        places.append(kind_of(kind).made(tmp_path / name))
        engines.append(open_engine(places[-1].folder))
        return Caller(places[-1], engines[-1])

    yield open
    for engine in engines:
        engine.close()
    for place in places:
        place.give_back()


def fill(caller):
    """A workspace with some of everything, and one with other things."""
    for name in ("lab", "other"):
        caller("workspace.create", name=name)
    for n in range(5):
        caller("state.set", path="p.json", value=n, workspace="lab")
    caller.put("large.bin", os.urandom(200_000), workspace="lab")
    for _ in range(3):
        caller.append("log.txt", b"line\n" * 30_000, workspace="lab")
    caller("state.set", path="gone.json", value=1, workspace="lab")
    caller("object.delete", path="gone.json", workspace="lab")
    caller("import.create", urls=["https://example.com/a"], workspace="lab")
    caller("token.create", member="bob")
    caller("state.set", path="a.json", value=1, workspace="other")
    caller("lock.acquire", path="p.json", workspace="lab")


def copied(source, target, **names):
    first, second = (Endpoint(c.engine.store, c.engine.blobs) for c in (source, target))
    return copy_store(first, second, lambda done, total: None, names or None)


def compared(first, second, **names):
    return Comparison(first.engine, second.engine).run(names or None, lambda name: None)


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_a_workspace_into_a_store_that_holds_others(opened, kind, other):
    source, target = opened(kind, "source"), opened(other, "target")
    fill(source)
    target("state.set", path="mine.json", value="mine")
    target("workspace.create", name="other")
    assert copied(source, target, lab="lab")["live_locks"] == 1
    assert [w["name"] for w in target("workspace.list")["items"]] == ["default", "lab", "other"]
    assert target.value("mine.json") == "mine"
    assert target("token.list")["items"] == []
    assert len(target("import.list", workspace="lab")["items"]) == 1
    same = compared(source, target, lab="lab")
    assert same["same"], same["differences"]
    assert (same["objects"], same["workspaces"]) == (3, 1)
    assert same["bytes"] > 500_000
    counts = target("org.usage")
    assert counts["object_count"] == 4
    assert not compared(source, target)["same"]


@pytest.mark.parametrize(("kind", "other"), PAIRS)
def test_what_a_copy_gives_out_is_above_what_the_source_goes_on_to(opened, kind, other):
    source, target = opened(kind, "source"), opened(other, "target")
    fill(source)
    copied(source, target, lab="lab")
    here = source("state.set", path="q.json", value="here", workspace="lab")["version"]
    seq = source.last_event("lab")["seq"]
    error = target.refused("invalid", "event.list", after=seq, workspace="lab")
    there = target("state.set", path="q.json", value="there", workspace="lab")
    write = {"path": "q.json", "value": "x", "workspace": "lab", "if_version": here}
    target.refused("version_conflict", "state.set", **write)
    assert there["version"] > seq
    target.refused("invalid", "event.list", after=seq, workspace="lab")
    events = target("event.list", after=error.details["newest_seq"], workspace="lab")["items"]
    assert [e["type"] for e in events] == ["store.copy", "state.set"]
    chain = target("audit.verify", workspace="lab")
    assert chain["verified"], chain["problem"]
    assert chain["events"] == target("workspace.usage", workspace="lab")["event_count"]
    again = opened("sqlite", "again")
    copied(target, again, lab="lab")
    assert compared(target, again, lab="lab")["same"]
    assert again("workspace.usage", workspace="lab")["event_count"] == chain["events"]


def test_names_have_to_be_free(opened):
    source, target = opened("sqlite", "source"), opened("sqlite", "target")
    fill(source)
    target("workspace.create", name="lab")
    for _ in range(2):
        with pytest.raises(FastioError, match="workspace 'lab'") as caught:
            copied(source, target, lab="lab")
        assert caught.value.code == "already_exists"
        target("workspace.delete", workspace="lab") if target.snapshot("lab") else None
    with pytest.raises(FastioError) as caught:
        copied(source, target, none="x")
    assert caught.value.code == "not_found"
    copied(source, target, lab="lab-2", default="default")
    assert target.value("p.json", workspace="lab-2") == 4
    assert compared(source, target, lab="lab-2", default="default")["same"]
    target("state.set", path="a.json", value=1)
    with pytest.raises(FastioError) as caught:
        copied(source, target)
    assert "--workspace" in caught.value.hint


def test_a_comparison_finds_what_differs(opened):
    source, target = opened("sqlite", "source"), opened("sqlite", "target")
    fill(source)
    copied(source, target)
    assert compared(source, target)["same"]
    wrongs = {
        "contents": "update versions set body = x'39' where path = 'p.json' and version = 2",
        "chain": "update events set actor = 'eve' where workspace_id = 2 and seq = 3",
        "object": "update objects set author = 'eve' where path = 'p.json'",
        "version": "delete from versions where path = 'p.json' and version = 1",
    }
    for what, sql in wrongs.items():
        assert target.backend.tamper(sql) == 1
        found = compared(source, target)
        assert not found["same"]
        assert what in {difference["what"] for difference in found["differences"]}
    source("state.set", path="p.json", value="later", workspace="other")
    found = compared(source, target, other="other")
    assert "first different event" in {d["what"] for d in found["differences"]}
    assert found["difference_count"] == len(found["differences"])


def test_a_server_is_compared_like_any_store(opened):
    source, target = opened("sqlite", "source"), opened("postgres", "target")
    fill(source)
    copied(source, target)
    server = Running(target.engine)
    remote = Remote(server.url, server.token("ada"), retry_s=2)
    try:
        result = Comparison(source.engine, remote).run(None, lambda name: None)
        assert result["same"], result["differences"]
        assert "tokens" in result["not_compared"]
        remote.call("object.delete", {"path": "p.json"}, workspace="lab")
        assert not Comparison(source.engine, remote).run(None, lambda name: None)["same"]
    finally:
        remote.close()
        server.stop()


@pytest.fixture
def run(tmp_path):
    environ = {**os.environ, "FASTIO_STORE": str(tmp_path / "a"), "HOME": str(tmp_path)}

    def run(*words, code=0):
        done = fastio(*words, environ=environ)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout or done.stderr.splitlines()[-1])

    run.environ = environ
    run("init")
    for n in range(3):
        run("state", "set", "p.json", str(n))
    return run


def test_the_commands(run, tmp_path):
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    run("lock", "acquire", "p.json")
    run("init", "--store", b)
    run("state", "set", "--store", b, "mine.json", "1")
    run("store", "copy", a, b, "--workspace", "default", code=5)
    result = run("store", "copy", a, b, "-w", "default", "--as", "research")
    assert result["live_locks"] == 1
    assert run("store", "compare", a, b, "--workspace=default", "--as", "research")["same"]
    run("store", "copy", a, b, "--as", "x", code=2)
    run("state", "set", "--store", b, "-w", "research", "p.json", "1")
    different = run("store", "compare", a, b, "-w", "default", "--as", "research", code=1)
    assert different["difference_count"] > 0
    run("store", "compare", a, str(tmp_path / "none"), code=3)
    run("store", "compare", a, b, code=1)


def test_killed_while_it_copies(run, tmp_path):
    a, b = str(tmp_path / "a"), str(tmp_path / "b")
    run("init", "--store", b)
    run("state", "set", "--store", b, "mine.json", "1")
    words = ("store", "copy", a, b, "-w", "default", "--as", "research")
    step, ended = 20, False
    while not ended:
        code = killed_at(step, *words, environ=run.environ)
        ended = code in (0, 5)  # 5: it was done, but for saying so
        assert ended or code == -signal.SIGKILL
        assert run("state", "get", "--store", b, "mine.json") == 1
        names = {w["name"] for w in run("workspace", "list", "--store", b)["items"]}
        if "research" in names:
            assert run("store", "compare", *words[2:])["same"]
        step += 60
    assert run("store", "compare", *words[2:])["same"]


def test_from_and_to_a_server_the_contents_are_copied(opened):
    source, target, back = (opened("sqlite", name) for name in ("source", "target", "back"))
    fill(source)
    source("state.set", path="s.json", value=[1], schema={"type": "array"}, workspace="lab")
    source("state.set", path="gone.json", value=2, workspace="lab")
    target("workspace.create", name="taken")
    server = Running(target.engine)
    remote = Remote(server.url, server.token("ada"), retry_s=2)
    seen = []
    try:
        with pytest.raises(FastioError) as caught:
            Transfer(source.engine, remote).copy("lab", "taken", seen.append)
        assert (caught.value.code, seen) == ("already_exists", [])
        with pytest.raises(ZeroDivisionError):
            Transfer(source.engine, remote).copy("lab", "lab", lambda path: 1 / (path < "log"))
        for _ in range(2):  # it goes on where it stopped; once more changes nothing
            result = Transfer(source.engine, remote).copy("lab", "lab", seen.append)
        assert result == {"objects": 5, "versions": 12, "live_locks": 1}
        Transfer(remote, back.engine).copy("lab", "default", seen.append)
    finally:
        remote.close()
        server.stop()
    assert target.snapshot("lab")["seq"] == 1 + 12
    for copy, name in ((target, "lab"), (back, "default")):
        for item in source("object.list", workspace="lab")["items"]:
            whole = source.read(item["path"], workspace="lab")
            assert copy.read(item["path"], workspace=name) == whole
        assert copy.value("p.json", version=2, workspace=name) == 1
        refused = {"path": "s.json", "value": 1, "workspace": name}
        copy.refused("schema_violation", "state.set", **refused)
