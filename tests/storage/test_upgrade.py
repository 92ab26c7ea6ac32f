"""A store of the first version becomes one of the newest, once, whoever comes first."""

from __future__ import annotations

import threading

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.storage import migrations as migrate
from fastio_cli.storage.migrations import newest
from fastio_cli.storage.sqlite import store as sqlite
from tests.backends import BACKENDS


@pytest.fixture
def first_version(monkeypatch):
    """Makes this code behave like the first version's, until it is undone."""
    files = migrate._files
    monkeypatch.setattr(migrate, "_files", lambda dialect: files(dialect)[:1])
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 1)
    return monkeypatch


# A server of this version serves no store of an older one.
LOCAL = [kind for kind in BACKENDS if not kind.startswith("remote")]


@pytest.mark.parametrize("kind", LOCAL)
def test_a_store_of_the_first_version_is_upgraded(kind, tmp_path, pg_url, first_version):
    backend = BACKENDS[kind](tmp_path / "store")
    old = backend.open()
    old.call("state.set", {"path": "a.json", "value": {"kept": True}})
    old.call("workspace.create", {"name": "w"})
    for n in range(5):  # what is sent often, its sessions have prepared
        old.call("state.set", {"path": "b.json", "value": n})
    first_version.undo()
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
    old.call("state.set", {"path": "b.json", "value": 10})
    for thread in threads:
        thread.join(30)
    assert failures == []
    new = backend.open()
    old.call("state.increment", {"path": "b.json"})
    assert new.call("state.get", {"path": "b.json"})["value"] == 11
    assert new.call("import.list")["items"] == []
    assert new.call("audit.verify")["verified"]
    new.store.close()
    old.store.close()


def test_what_is_not_to_be_searched_stays_so(tmp_path, monkeypatch):
    """The index of before is dropped and made anew, but not where intelligence is off."""
    files = migrate._files
    monkeypatch.setattr(migrate, "_files", lambda dialect: files(dialect)[:4])
    monkeypatch.setattr(sqlite, "SCHEMA_VERSION", 4)
    backend = BACKENDS["sqlite"](tmp_path / "store")
    old = backend.open()
    old.call("workspace.create", {"name": "off"})
    for workspace in ("default", "off"):
        old.call("state.set", {"path": "a.json", "value": "a heron"}, workspace=workspace)
    indexes = """insert into search_indexes
        (workspace_id, enabled, seq, next_id, embedded_id, format, model)
        values (1, 1, 1, 9, 8, '1', 'm'), (2, 0, 1, 9, 8, '1', '')"""
    backend.tamper(indexes)
    old.store.close()
    monkeypatch.undo()
    new = backend.open()
    assert len(new.call("search.query", {"query": "heron", "mode": "lexical"})["items"]) == 1
    with pytest.raises(FastioError, match="Intelligence is off"):
        new.call("search.query", {"query": "heron"}, workspace="off")
    assert new.call("index.update", {}, workspace="off")["objects"] == 0
    new.store.close()


def test_every_step_is_there_for_both():
    assert newest("sqlite") == newest("postgres") == sqlite.SCHEMA_VERSION
