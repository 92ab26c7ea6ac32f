"""The jobs that keep search indexes current: of one runner, of several, and in a server."""

from __future__ import annotations

import threading

import pytest

from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError
from fastio_cli.jobs import indexing as module
from fastio_cli.jobs.indexing import Indexing
from fastio_cli.jobs.kind import LEASE_MS
from fastio_cli.jobs.kinds import runner_thread
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.search import service
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


def runner_on(engine):
    """A runner that indexes at once."""
    indexing = Indexing(engine, quiet_s=0.0)
    indexing.discover_s = 0.0
    return JobRunner(engine, [indexing])


def work(runner):
    """Until nothing is to be done."""
    while runner.step() or runner.running:
        pass


def test_it_indexes_what_was_written_wherever_it_was(engine):
    engine.call("workspace.create", {"name": "other"})
    engine.call("workspace.create", {"name": "off"})
    engine.call("workspace.intelligence", {"enabled": False}, workspace="off")
    for workspace in ("default", "other", "off"):
        write(engine, "a.json", workspace=workspace)
    runner = runner_on(engine)
    work(runner)
    for workspace in ("default", "other"):
        found = status(engine, workspace)
        assert found["indexed_seq"] == found["seq"]
        assert (found["passages"], found["pending"]) == (1, 0)
    assert status(engine, "off")["passages"] == 0
    assert not runner.step()
    engine.call("object.delete", {"path": "a.json"})
    write(engine, "b.json")
    engine.call("object.delete", {"path": "b.json"})
    work(runner)
    assert status(engine)["passages"] == 0


def test_an_index_is_one_runners_until_its_lease_is_over(engine, clock, monkeypatch):
    begun, hold = threading.Event(), threading.Event()
    update = service.SearchService.update

    def slowly(self, store, workspace_id, seconds):
        begun.set()
        assert hold.wait(60)
        return update(self, store, workspace_id, seconds)

    write(engine, "a.json")
    first, second = runner_on(engine), runner_on(engine)
    monkeypatch.setattr(service.SearchService, "update", slowly)
    first.step()
    assert begun.wait(60)
    monkeypatch.setattr(service.SearchService, "update", update)
    second.step()
    assert not second.running
    assert status(engine)["passages"] == 0
    assert engine.call("job.show", {"id": "index"})["state"] == "running"
    clock.advance(LEASE_MS / 1000 + 1)
    work(second)
    assert status(engine)["passages"] == 1
    ended = engine.call("job.show", {"id": "index"})
    assert ended["state"] == "done"
    hold.set()
    work(first)  # what it brings comes too late, and changes nothing
    assert engine.call("job.show", {"id": "index"}) == ended
    write(engine, "d.json")
    # A search does not wait for a job.
    assert len(engine.call("search.query", {"query": "heron"})["items"]) == 2
    for runner in (first, second):
        runner.close()


def test_a_workspace_that_fails_keeps_no_other_one_waiting(engine, monkeypatch):
    engine.call("workspace.create", {"name": "other"})
    write(engine, "a.json")
    write(engine, "a.json", workspace="other")
    update = service.SearchService.update

    def failing(self, store, workspace_id, seconds):
        if workspace_id == 1:
            raise FastioError("unavailable", "The endpoint does not answer.")
        return update(self, store, workspace_id, seconds)

    runner = runner_on(engine)
    monkeypatch.setattr(service.SearchService, "update", failing)
    work(runner)
    assert (status(engine)["passages"], status(engine, "other")["passages"]) == (0, 1)
    job = engine.call("job.show", {"id": "index"})
    assert (job["state"], job["failures"]) == ("queued", 1)
    assert (job["reason_code"], job["reason"]) == ("unavailable", "The endpoint does not answer.")
    monkeypatch.setattr(service.SearchService, "update", update)
    engine.call("job.retry", {"id": "index"})
    work(runner)
    assert status(engine)["passages"] == 1
    assert engine.call("job.show", {"id": "index"})["reason"] is None
    runner.close()


def test_a_cancelled_job_stays_away_until_it_is_retried(engine):
    write(engine, "a.json")
    runner = runner_on(engine)
    work(runner)
    write(engine, "b.json")
    engine.call("job.retry", {"id": "index"})
    engine.call("job.cancel", {"id": "index"})
    work(runner)
    assert status(engine)["passages"] == 1
    engine.call("job.retry", {"id": "index"})
    work(runner)
    assert status(engine)["passages"] == 2
    runner.close()


def test_every_workspace_has_its_turn(engine, monkeypatch):
    monkeypatch.setattr(module, "WORKSPACES", 2)
    names = [f"w{i}" for i in range(5)]
    for name in names:
        engine.call("workspace.create", {"name": name})
        write(engine, "a.json", workspace=name)
    runner = runner_on(engine)
    work(runner)
    assert [status(engine, name)["passages"] for name in names] == [1] * 5


def test_without_a_model_words_are_indexed_and_vectors_not_waited_for(engine, monkeypatch):
    def missing():
        raise ImportError

    monkeypatch.setattr("fastio_cli.search.embedding.MiniLMEmbedder", missing)
    write(engine, "a.json")
    runner = runner_on(engine)
    work(runner)
    assert status(engine)["passages"] == 1
    assert not runner.step()


def test_a_server_indexes_without_being_asked(engine):
    server = Running(engine, jobs=runner_thread(engine, Config()))
    try:
        write(engine, "a.json")
        until(lambda: status(engine)["passages"] == 1 and status(engine)["pending"] == 0)
    finally:
        server.stop()
