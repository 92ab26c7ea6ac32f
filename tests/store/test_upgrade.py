"""A store of the first version becomes one of the newest, once, whoever comes first."""

from __future__ import annotations

import threading

import pytest

from fastio_cli.store import migrate, sqlite
from fastio_cli.store.migrate import newest
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


def test_every_step_is_there_for_both():
    assert newest("sqlite") == newest("postgres") == sqlite.SCHEMA_VERSION
