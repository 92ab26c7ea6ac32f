"""Targets in other workspaces: each path acts where it says, and nothing waits for ever."""

from __future__ import annotations

import json
import os
import threading

import pytest

from tests.client.serving import fastio
from tests.engines import made_store


@pytest.fixture
def run(tmp_path):
    """Runs a command in a store with the workspaces default and lab, each with its ``h.txt``."""
    environ = {**os.environ, "FASTIO_STORE": made_store(tmp_path / "store"), "HOME": str(tmp_path)}

    def run(*words, stdin="", code=0):
        done = fastio(*words, stdin=stdin, environ=environ)
        assert done.returncode == code, done.stderr
        return done.stdout if not code else json.loads(done.stderr)["error"]

    run("init")
    run("workspace", "create", "lab")
    run("file", "put", "-", "h.txt", stdin="default")
    run("file", "put", "-", "h.txt", "-w", "lab", stdin="lab")
    return run


def listed(run, *words):
    return run("file", "list", "-q", *words).split()


def test_each_path_is_in_its_own_workspace(run):
    run("file", "copy", "h.txt", "fio://lab/copied.txt")
    assert run("file", "get", "fio://lab/copied.txt") == "default"
    run("file", "move", "h.txt", "fio://lab/moved.txt")
    assert listed(run) == []
    assert listed(run, "-w", "lab") == ["copied.txt", "h.txt", "moved.txt"]
    run("file", "copy", "fio://lab/h.txt", "x.txt")
    assert run("file", "get", "x.txt") == "lab"
    run("file", "copy", "fio://lab/h.txt", "fio://lab/y.txt", "-w", "default")
    assert listed(run, "fio://lab/") == ["copied.txt", "h.txt", "moved.txt", "y.txt"]
    missing = run("file", "move", "none.txt", "fio://lab/n.txt", code=3)
    assert "default" in missing["message"]
    line = {"op": "object.copy", "path": "x.txt", "to": "fio://lab/b.txt"}
    run("batch", stdin=json.dumps(line))
    assert run("file", "get", "fio://lab/b.txt") == "lab"


def test_patterns_and_lists_name_a_workspace_like_paths(run):
    assert listed(run, "fio://lab/") == listed(run, "fio://lab") == ["h.txt"]
    run("lock", "acquire", "fio://lab/h.txt")
    assert run("lock", "list", "fio://lab/", "-q").split() == ["h.txt"]
    assert run("lock", "list", "-q").split() == []
    for words in (("list",), ("watch", "--after", "0", "--count", "1")):
        shown = run("event", *words, "--path", "fio://lab/h*", "--format", "jsonl")
        assert {json.loads(line)["path"] for line in shown.splitlines()} == {"h.txt"}
    everything = run("event", "list", "--path", "fio://lab/", "-q").split()
    assert everything == run("event", "list", "-w", "lab", "-q").split()
    found = run("query", "lab", "--path", "fio://lab/*", "--mode", "lexical", "--wait", "-q")
    assert found.split() == ["h.txt"]


@pytest.mark.parametrize(
    "path", ["lab:x.txt", "fio:/lab/x.txt", "fio://lab", "fio:///x.txt", "FIO://lab/x.txt"]
)
def test_what_only_looks_like_a_target_is_refused(run, path):
    error = run("file", "copy", "h.txt", path, code=2)
    assert "fio" in error["message"] + error["hint"]
    assert listed(run) == listed(run, "-w", "lab") == ["h.txt"]


def test_a_colon_is_a_character_like_others_where_no_workspace_is_meant(run):
    run("file", "copy", "h.txt", "12:30.txt")
    run("file", "copy", "h.txt", "fio://default/lab:x.txt")
    assert listed(run) == ["12:30.txt", "h.txt", "lab:x.txt"]


def test_moves_in_opposite_directions_do_not_wait_for_each_other(open_caller):
    callers = [open_caller(), open_caller()]
    callers[0]("workspace.create", name="lab")
    errors = []

    def work(caller, workspace, other):
        try:
            for n in range(25):
                path = f"{workspace}-{n}"
                caller("state.set", path=path, value=n, workspace=workspace)
                caller("object.move", path=path, to=path, workspace=workspace, to_workspace=other)
        except Exception as e:
            errors.append(e)

    pairs = [("default", "lab"), ("lab", "default")]
    threads = [
        threading.Thread(target=work, args=(c, *p)) for c, p in zip(callers, pairs, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    for workspace, other in pairs:
        listed = callers[0]("object.list", workspace=workspace, limit=100)["items"]
        assert {item["path"] for item in listed} == {f"{other}-{n}" for n in range(25)}
        assert callers[0]("audit.verify", workspace=workspace)["verified"]
