"""A store of an earlier version becomes one of the newest, once, whoever comes first."""

from __future__ import annotations

import hashlib
import threading

import pytest

from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError
from fastio_cli.jobs.imports import Imports
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.json_text import canonical
from fastio_cli.operations.context import event_hash
from fastio_cli.storage import migrations as migrate
from fastio_cli.storage.migrations import newest
from fastio_cli.storage.repositories.workspaces import Workspaces
from fastio_cli.storage.sqlite import store as sqlite
from tests.backends import BACKENDS
from tests.jobs.counting import work_off


class OldVersion:
    """A process of the version before, with that version's statements, on one workspace."""

    def __init__(self, backend, workspace_id: int) -> None:
        self._backend = backend
        self._id = workspace_id
        self._seq, self._head_hash = 0, Workspaces.genesis_hash
        self._versions: dict[str, int] = {}
        self._size_bytes = 0

    def set(self, path: str, value: object) -> None:
        """Write a state object: a version, the head, the event, the counters."""
        body = canonical(value)
        version = self._versions[path] = self._versions.get(path, 0) + 1
        self._seq += 1
        self._size_bytes += len(body)
        row = {
            "workspace_id": self._id,
            "path": path,
            "version": version,
            "kind": "state",
            "etag": hashlib.sha256(body).hexdigest(),
            "media_type": "application/json",
            "size_bytes": len(body),
            "author": "ada",
            "at": 1,
            "change": "set",
            "deleted": 0,
        }
        self._insert("versions", {**row, "body": body})
        head = {**row, "created_at": 1, "updated_at": 1}
        del head["at"], head["change"]
        if version == 1:
            self._insert("objects", head)
        else:
            changes = ", ".join(f"{name} = :{name}" for name in head)
            where = "workspace_id = :workspace_id and path = :path"
            self._backend.tamper(f"update objects set {changes} where {where}", **head)
        self._emit(path, version)

    def _emit(self, path: str, version: int) -> None:
        event = {
            "workspace_id": self._id,
            "seq": self._seq,
            "type": "state.set",
            "actor": "ada",
            "path": path,
            "version": version,
            "at": 1,
            "data": "{}",
            "prev_hash": self._head_hash,
        }
        self._head_hash = event["hash"] = event_hash(event)
        self._insert("events", event)
        self._backend.tamper(
            """update workspaces set seq = :seq, head_hash = :head_hash,
            object_count = :count, size_bytes = :size_bytes, updated_at = 1 where id = :id""",
            id=self._id,
            seq=self._seq,
            head_hash=self._head_hash,
            count=len(self._versions),
            size_bytes=self._size_bytes,
        )

    def _insert(self, table: str, row: dict[str, object]) -> None:
        names = ", ".join(row)
        self._backend.tamper(f"insert into {table} ({names}) values (:{', :'.join(row)})", **row)


def make_old(backend, monkeypatch, version):
    """A store with the schema of an earlier version, without anything in it."""
    files = migrate._files
    with monkeypatch.context() as patched:
        patched.setattr(migrate, "_files", lambda dialect: files(dialect)[:version])
        patched.setattr(sqlite, "SCHEMA_VERSION", version)
        backend.open().store.close()


ADD_WORKSPACE = """insert into workspaces
    (id, name, object_count, size_bytes, seq, head_hash, created_at, updated_at)
    values (:id, :name, 0, 0, 0, :head_hash, 1, 1)"""
# A server of this version serves no store of an older one.
LOCAL = [kind for kind in BACKENDS if not kind.startswith("remote")]


@pytest.mark.parametrize("version", [1, 6])
@pytest.mark.parametrize("kind", LOCAL)
def test_a_store_of_an_earlier_version_is_upgraded(kind, tmp_path, pg_url, version, monkeypatch):
    backend = BACKENDS[kind](tmp_path / "store")
    make_old(backend, monkeypatch, version)
    old = OldVersion(backend, 1)
    old.set("a.json", {"kept": True})
    for n in range(5):
        old.set("b.json", n)
    failures = []

    def open_new():
        try:
            new = backend.open()
            assert new.call("state.get", {"path": "a.json"})["value"] == {"kept": True}
            new.store.close()
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=open_new) for _ in range(6)]
    for thread in threads:
        thread.start()
    # The process of the version before works on.
    old.set("b.json", 10)
    for thread in threads:
        thread.join(30)
    assert failures == []
    new = backend.open()
    old.set("b.json", 11)
    assert new.call("state.get", {"path": "b.json"})["value"] == 11
    assert new.call("import.list")["items"] == []
    assert new.call("audit.verify")["verified"]
    new.store.close()


@pytest.mark.parametrize("kind", LOCAL)
def test_what_a_store_holds_is_counted_when_it_is_upgraded(kind, tmp_path, pg_url, monkeypatch):
    backend = BACKENDS[kind](tmp_path / "store")
    make_old(backend, monkeypatch, 6)
    for id, name in ((100, "acme/default"), (101, "acme/other")):
        backend.tamper(ADD_WORKSPACE, id=id, name=name, head_hash=Workspaces.genesis_hash)
    for id, value in ((1, "x"), (100, "xx"), (101, "xxx")):
        old = OldVersion(backend, id)
        old.set("a.json", value)
        old.set("a.json", value)
        old.set("b.json", value)
    new = backend.open()
    usage = new.call("workspace.usage")
    assert (usage["state_count"], usage["file_count"], usage["live_bytes"]) == (2, 0, 6)
    first, acme = new.store.read(lambda tx: [dict(tx.usage.of_org(org)) for org in ("", "acme")])
    assert first == {"workspace_count": 1, "object_count": 2, "size_bytes": 9, "index_bytes": 0}
    assert acme == {"workspace_count": 2, "object_count": 4, "size_bytes": 27, "index_bytes": 0}
    new.store.close()


def test_what_is_not_to_be_searched_stays_so(tmp_path, monkeypatch):
    """The index of before is dropped and made anew, but not where intelligence is off."""
    backend = BACKENDS["sqlite"](tmp_path / "store")
    make_old(backend, monkeypatch, 4)
    backend.tamper(ADD_WORKSPACE, id=2, name="off", head_hash=Workspaces.genesis_hash)
    for id in (1, 2):
        OldVersion(backend, id).set("a.json", "a heron")
    indexes = """insert into search_indexes
        (workspace_id, enabled, seq, next_id, embedded_id, format, model)
        values (1, 1, 1, 9, 8, '1', 'm'), (2, 0, 1, 9, 8, '1', '')"""
    backend.tamper(indexes)
    new = backend.open()
    assert len(new.call("search.query", {"query": "heron", "mode": "lexical"})["items"]) == 1
    with pytest.raises(FastioError, match="Intelligence is off"):
        new.call("search.query", {"query": "heron"}, workspace="off")
    assert new.call("index.update", {}, workspace="off")["objects"] == 0
    new.store.close()


@pytest.mark.parametrize("kind", LOCAL)
def test_imports_of_a_version_before_jobs_become_jobs(kind, tmp_path, monkeypatch):
    """Those that waited, and those whose worker died; not those that a worker still runs."""
    files = migrate._files
    monkeypatch.setattr(migrate, "_files", lambda dialect: files(dialect)[:8])
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 8)
    backend = BACKENDS[kind](tmp_path / "store")
    old = backend.open()
    old.store.read(lambda tx: None)  # this version has no statements for it
    values = ", ".join(
        f"(1, {id}, '{state}', 'http://127.0.0.1/', '', 'version', 'ada', 1, 1, {due_at}, "
        f"'{worker}')"
        for id, state, due_at, worker in (
            (2, "queued", 1, ""),
            (3, "running", 1, "dead"),
            (4, "running", 2**50, "alive"),
        )
    )
    backend.tamper(
        "insert into imports (workspace_id, id, state, url, target, on_conflict, actor, created_at,"
        f" updated_at, due_at, worker) values {values}"
    )
    old.store.close()
    monkeypatch.undo()
    new = backend.open()
    runner = JobRunner(new, [Imports(new, Config(environ={}, cwd=str(tmp_path)))])
    work_off(runner)
    runner.close()
    states = {i["id"]: (i["state"], i["reason_code"]) for i in new.call("import.list")["items"]}
    blocked = ("failed", "blocked_url")
    assert states == {2: blocked, 3: blocked, 4: ("running", None)}
    jobs = {job["id"]: job["state"] for job in new.call("job.list")["items"]}
    assert jobs == {"import-2": "failed", "import-3": "failed"}
    new.store.close()


def test_every_step_is_there_for_both():
    assert newest("sqlite") == newest("postgres") == sqlite.SCHEMA_VERSION
