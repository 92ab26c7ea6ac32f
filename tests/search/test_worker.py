"""The worker that keeps search indexes current: alone, beside others, and in a server."""

from __future__ import annotations

import pytest

from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError
from fastio_cli.jobs import worker as module
from fastio_cli.jobs.worker import INDEX_LEASE_MS, IndexWorker
from fastio_cli.search import service
from fastio_cli.server.run import Background
from tests.backends import Clock, kind_of, until
from tests.remote import Running


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request, tmp_path, clock):
    engine = kind_of(request.param)(tmp_path / "store").open(clock)
    yield engine
    engine.store.close()


def write(engine, path, value="the heron stands in the reeds", workspace="default"):
    engine.call("state.set", {"path": path, "value": value}, workspace=workspace)


def status(engine, workspace="default"):
    return engine.call("index.status", workspace=workspace)


def work(worker):
    while worker.step():
        pass


def test_it_indexes_what_was_written_wherever_it_was(engine):
    engine.call("workspace.create", {"name": "other"})
    engine.call("workspace.create", {"name": "off"})
    engine.call("workspace.intelligence", {"enabled": False}, workspace="off")
    for workspace in ("default", "other", "off"):
        write(engine, "a.json", workspace=workspace)
    worker = IndexWorker(engine)
    work(worker)
    for workspace in ("default", "other"):
        found = status(engine, workspace)
        assert found["indexed_seq"] == found["seq"]
        assert (found["passages"], found["pending"]) == (1, 0)
    assert status(engine, "off")["passages"] == 0
    assert not worker.step()
    engine.call("object.delete", {"path": "a.json"})
    write(engine, "b.json")
    engine.call("object.delete", {"path": "b.json"})
    work(worker)
    assert status(engine)["passages"] == 0


def test_an_index_is_one_workers_until_its_time_is_up(engine, clock):
    write(engine, "a.json")
    first, second = IndexWorker(engine), IndexWorker(engine)
    work(first)
    write(engine, "b.json")
    work(first)
    write(engine, "c.json")
    assert not second.step()
    assert status(engine)["passages"] == 2
    clock.advance(INDEX_LEASE_MS / 1000 + 1)
    work(second)
    assert status(engine)["passages"] == 3
    write(engine, "d.json")
    assert not first.step()
    # Who searches does not wait for a worker.
    assert len(engine.call("search.query", {"query": "heron"})["items"]) == 4


def test_a_workspace_that_fails_keeps_no_other_one_waiting(engine, monkeypatch):
    engine.call("workspace.create", {"name": "other"})
    write(engine, "a.json")
    write(engine, "a.json", workspace="other")
    update = service.SearchService.update

    def failing(self, store, workspace_id, seconds):
        if workspace_id == 1:
            raise FastioError("unavailable", "The endpoint does not answer.")
        return update(self, store, workspace_id, seconds)

    worker = IndexWorker(engine)
    monkeypatch.setattr(service.SearchService, "update", failing)
    with pytest.raises(FastioError):
        worker.step()
    assert (status(engine)["passages"], status(engine, "other")["passages"]) == (0, 1)


def test_every_workspace_has_its_turn(engine, monkeypatch):
    monkeypatch.setattr(module, "INDEX_WORKSPACES", 2)
    names = [f"w{i}" for i in range(5)]
    for name in names:
        engine.call("workspace.create", {"name": name})
        write(engine, "a.json", workspace=name)
    worker = IndexWorker(engine)
    for _ in range(3):
        worker.step()
    assert [status(engine, name)["passages"] for name in names] == [1] * 5


def test_without_a_model_words_are_indexed_and_vectors_not_waited_for(engine, monkeypatch):
    def missing():
        raise ImportError

    monkeypatch.setattr("fastio_cli.search.embedding.Local", missing)
    write(engine, "a.json")
    worker = IndexWorker(engine)
    work(worker)
    assert status(engine)["passages"] == 1
    assert not worker.step()


def test_a_server_indexes_without_being_asked(engine):
    server = Running(engine, background=Background(engine, Config()))
    try:
        write(engine, "a.json")
        until(lambda: status(engine)["passages"] == 1 and status(engine)["pending"] == 0)
    finally:
        server.stop()
