"""A whole store copied from folder to database and back: nothing differs but the locks."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from contextlib import ExitStack

import psycopg
import pytest

from fastio_cli.client.remote import Remote
from fastio_cli.errors import FastioError
from fastio_cli.storage import copy
from fastio_cli.storage.copy import Endpoint, copy_store
from fastio_cli.storage.repositories.rows import TABLES
from tests.backends import BACKENDS
from tests.remote import Running

PAIRS = [("sqlite", "postgres"), ("postgres", "sqlite"), ("sqlite", "sqlite")]


@pytest.fixture
def opened(tmp_path, pg_url):
    """Opens an engine on a new store of a kind, by name."""
    with ExitStack() as stack:

        def open(kind, name):
            engine = BACKENDS[kind](tmp_path / name).open()
            stack.callback(engine.store.close)
            return engine

        yield open


def place(engine):
    return Endpoint(engine.store, engine.blobs)


def quiet(done, total):
    assert done <= total


def fill(engine):
    """Some of everything that a store can hold."""

    def call(name, /, workspace="default", **params):
        return engine.call(name, params, workspace=workspace, actor="ada")

    def upload(body):
        return engine.upload(io.BytesIO(body))

    for n in range(20):
        call("state.set", path="n.json", value={"n": n, "text": "ä\u0000" * n})
    call("state.set", path="gone.json", value=1)
    call("object.delete", path="gone.json")
    call("file.put", path="large.bin", content=upload(os.urandom(200_000)))
    call("file.put", path="small.txt", content=upload(b"small"))
    for n in range(5):
        call("file.append", path="log.txt", content=upload(f"line {n}\n".encode() * 20_000))
    call("object.copy", path="log.txt", to="fork.txt")
    call("file.append", path="fork.txt", content=upload(b"other\n"))
    call("file.append", path="log.txt", content=upload(b"more\n"))
    call("lock.acquire", path="n.json")
    for name in ("w", "ended"):
        call("workspace.create", name=name)
        call("state.init", workspace=name, path="a.json", value=[1])
    call("org.create", name="acme")
    call("member.set", name="bob", role="editor", in_workspace="w")
    call("token.create", member="bob", label="agent", role="viewer", in_workspace="w")
    call("transfer.create")
    call("import.create", urls=["https://example.com/a", "https://example.com/b"])
    call("import.cancel", id=call("import.list")["items"][0]["id"])
    call("workspace.delete", workspace="ended")
    call("workspace.create", name="ended")


def dump(engine):
    """Everything that can be read, as it is read."""
    workspaces = engine.call("workspace.list")["items"]
    found = [workspaces, engine.call("workspace.list", {"deleted": True})]
    lists = ("member.list", "token.list", "transfer.list", "org.usage")
    found += [engine.call(name) for name in lists]
    for workspace in workspaces:

        def call(name, /, workspace=workspace["name"], **params):
            return engine.call(name, params, workspace=workspace)

        found += [call("event.list", limit=1000), call("audit.verify"), call("import.list")]
        for item in call("object.list", limit=1000)["items"]:
            history = call("object.history", path=item["path"])
            found += [item, history]
            for version in history["items"]:
                got = call("file.get", path=item["path"], version=version["version"])
                found.append(b"".join(engine.chunks(got)))
    return found


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_copy_is_the_same(opened, source, target):
    first, second = opened(source, "first"), opened(target, "second")
    fill(first)
    compared = copy_store(place(first), place(second), quiet)
    assert dump(first) == dump(second)
    assert compared["workspaces"] == 5
    assert compared["events"] == 48
    assert compared["rows"] == 9
    assert second.call("lock.list")["items"] == []
    second.call("state.set", {"path": "n.json", "value": 1})
    assert second.call("audit.verify")["verified"]


@pytest.mark.parametrize(("source", "target"), PAIRS[:2])
def test_an_interrupted_copy_goes_on(opened, source, target, monkeypatch):
    first, second = opened(source, "first"), opened(target, "second")
    fill(first)
    monkeypatch.setattr(copy, "EVENTS_PER_BATCH", 7)
    steps = []

    def interrupt(done, total):
        steps.append(done)
        if len(steps) in (2, 4):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            copy_store(place(first), place(second), interrupt)
        with pytest.raises(FastioError):
            second.call("state.get", {"path": "n.json"})
    copy_store(place(first), place(second), interrupt)
    assert dump(first) == dump(second)
    assert len(steps) == len(set(steps)), "nothing was copied again"


def all_rows(engine):
    """The tables beside the log, with workspaces by their names. When an import is looked at by a
    runner is a matter of its store."""
    names = engine.store.read(lambda tx: {w["id"]: w["name"] for w in tx.workspaces.every()})
    found = {}
    for table in TABLES:
        rows = engine.store.read(lambda tx, t=table: tx.rows.page(t, None, None, 1000))
        found[table] = [{**row, "workspace_id": names.get(row.get("workspace_id"))} for row in rows]
    for row in found["imports"]:
        del row["due_at"]
    return found


@pytest.mark.parametrize(("source", "target"), PAIRS[:2])
def test_rows_beside_the_log_follow_the_source(opened, source, target, monkeypatch):
    """Page by page, also when the source was changed between two runs."""
    first, second = opened(source, "first"), opened(target, "second")
    fill(first)
    for n in range(7):
        params = {"member": f"m{n}", "role": "viewer", "in_workspace": "w" if n % 2 else None}
        first.call("token.create", {k: v for k, v in params.items() if v is not None})
    monkeypatch.setattr(copy, "ROWS_PER_BATCH", 2)
    finish = copy.StoreCopy.finish
    monkeypatch.setattr(copy.StoreCopy, "finish", lambda self, workspaces: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        copy_store(place(first), place(second), quiet)
    first.call("member.remove", {"name": "m2"})
    first.call("token.revoke", {"id": first.call("token.list")["items"][0]["id"]})
    first.call("member.set", {"name": "new", "role": "admin"})
    monkeypatch.setattr(copy.StoreCopy, "finish", finish)
    copy_store(place(first), place(second), quiet)
    assert all_rows(first) == all_rows(second)
    assert dump(first) == dump(second)


def test_a_token_goes_on_and_an_import_begins_anew(opened):
    first, second = opened("sqlite", "first"), opened("postgres", "second")
    server = Running(first)
    token = server.token("eve")
    server.stop()
    first.call("import.create", {"urls": ["https://example.com/a"]})

    def take(tx):
        assert tx.imports.begin(1, 1, tx.now_ms) is not None

    first.store.write(take)
    copy_store(place(first), place(second), quiet)
    (row,) = second.store.read(lambda tx: tx.rows.page("imports", None, None, 2))
    assert (row["state"], row["worker"], row["received_bytes"]) == ("queued", None, 0)
    (queued,) = second.store.read(lambda tx: tx.imports.without_job(tx.now_ms, None, 2))
    assert queued["id"] == 1  # for a runner of the target
    server = Running(second)
    remote = Remote(server.url, token)
    try:
        assert remote.call("access.whoami")["member"] == "eve"
    finally:
        remote.close()
        server.stop()


def test_a_target_that_others_may_use_is_refused(opened):
    first, second = opened("sqlite", "first"), opened("postgres", "second")
    second.store.write(lambda tx: tx.members.put("", "eve", 0, "owner", tx.now_ms))
    with pytest.raises(FastioError) as caught:
        copy_store(place(first), place(second), quiet)
    assert caught.value.code == "already_exists"


def test_a_workspace_that_is_not_searched_stays_so(opened):
    first, second = opened("sqlite", "first"), opened("sqlite", "second")
    for name in ("w", "v"):
        first.call("workspace.create", {"name": name})
    off = first.store.read(lambda tx: tx.workspaces.by_name("v")["id"])
    first.store.write(lambda tx: tx.search.invalidate(off, enabled=False))
    copy_store(place(first), place(second), quiet)

    def unsearched(tx):
        indexes = {w["name"]: tx.search.index(w["id"]) for w in tx.workspaces.every()}
        return [name for name, index in indexes.items() if index and not index["enabled"]]

    assert second.store.read(unsearched) == ["v"]


def test_every_table_is_copied_or_left_out_on_purpose(pg_url, open_engine):
    by_the_log = {"workspaces", "objects", "versions", "segments", "events", "org_usage"}
    searched = {"search_indexes", "search_objects", "passages", "loose_passages", "word_blocks"}
    searched |= {"postings", "passage_vectors", "vector_blocks"}
    left_out = {"locks", "lock_waiters", "requests", "store_keys", "fastio_schema", "accounts"}
    left_out |= {"jobs", "name_floors", *searched}
    open_engine(pg_url)
    with psycopg.connect(pg_url) as c:
        rows = c.execute("select tablename from pg_tables where schemaname = 'public'").fetchall()
    assert {name for (name,) in rows} == by_the_log | left_out | set(TABLES)


# Of an import, what is so wherever its store is. Other columns tell of a worker and what it has of
# the bytes, which no copy has: they belong to copy._RESTARTED.
LASTING = """workspace_id id url target name on_conflict sha256 size_bytes_max lock_hash headers
    sealed_headers actor member counted_bytes kept_bytes path version content_etag
    media_type unchanged total_bytes attempts failures reason_code reason hint final_url
    fetched_at created_at updated_at"""


def test_every_column_of_an_import_is_copied_or_begun_anew(opened):
    first = opened("sqlite", "first")
    first.call("import.create", {"urls": ["https://example.com/a"]})
    (row,) = first.store.read(lambda tx: tx.rows.page("imports", None, None, 2))
    assert set(row) == set(LASTING.split()) | set(copy._RESTARTED) | {"fetched", "due_at"}


def test_a_target_with_data_is_refused(opened):
    first, second = opened("sqlite", "first"), opened("sqlite", "second")
    fill(first)
    second.call("state.set", {"path": "mine.json", "value": 1})
    before = dump(second)
    with pytest.raises(FastioError) as caught:
        copy_store(place(first), place(second), quiet)
    assert caught.value.code == "already_exists"
    assert dump(second) == before


def test_the_beginning_of_another_copy_is_refused(opened):
    first, other, second = (opened("sqlite", name) for name in ("first", "other", "second"))
    fill(first)
    fill(other)

    def interrupt(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_store(place(first), place(second), interrupt)
    with pytest.raises(FastioError) as caught:
        copy_store(place(other), place(second), quiet)
    assert caught.value.code == "invalid"


def test_a_source_that_is_written_to_meanwhile_is_copied_whole(opened):
    first, second = opened("sqlite", "first"), opened("sqlite", "second")
    fill(first)
    written = []

    def write(done, total):
        if not written:
            written.append(first.call("state.set", {"path": "new.json", "value": 1}))

    copy_store(place(first), place(second), write)
    assert dump(first) == dump(second)


def test_a_copy_that_differs_is_not_given_its_name(opened, tmp_path):
    first, second = opened("sqlite", "first"), opened("sqlite", "second")
    fill(first)

    def tamper(done, total):
        if done == total:
            second.store.write(
                lambda tx: tx.workspaces._db.run(
                    "update versions set body = :body where path = 'small.txt'", body=b"SMALL"
                )
            )

    with pytest.raises(FastioError) as caught:
        copy_store(place(first), place(second), tamper)
    assert "differs" in caught.value.message
    with pytest.raises(FastioError):
        second.call("state.get", {"path": "n.json"})


def test_the_command(tmp_path, pg_url):
    def fastio(*words):
        command = [sys.executable, "-m", "fastio_cli", *words]
        environ = {**os.environ, "HOME": str(tmp_path)}
        return subprocess.run(command, capture_output=True, cwd=tmp_path, env=environ)

    assert fastio("init", "--store", "a").returncode == 0
    assert fastio("--store", "a", "state", "set", "n.json", "7").returncode == 0
    done = fastio("store", "copy", "a", pg_url, "--progress")
    assert done.returncode == 0, done.stderr
    assert done.stdout == b'{"workspaces":1,"events":1,"versions":1,"rows":1,"live_locks":0}\n'
    assert b"Copying events" in done.stderr
    assert fastio("--store", pg_url, "state", "get", "n.json").stdout == b"7\n"
    again = fastio("store", "copy", "a", pg_url)
    assert again.returncode == 5
    assert b"already_exists" in again.stderr
