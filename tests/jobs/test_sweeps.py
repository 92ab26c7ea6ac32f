"""Sweeps: what nobody will ask for again goes, and nothing else."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastio_cli.blobs.local import GRACE_S
from fastio_cli.engine.engine import Engine
from fastio_cli.jobs.kind import STORE_WIDE
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.jobs.sweeps import HOUR_S, JOBS_KEPT_MS, Sweeps
from tests.backends import BACKENDS, Clock
from tests.jobs.counting import work_off, workspace_id
from tests.requirements import lacking

DAY_S = 24 * HOUR_S


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Engine]:
    backend = BACKENDS[request.param]
    if backend.missing() is not None:
        lacking(f"backend {request.param} is missing: {backend.missing()}")
    engine = backend(tmp_path / "store").open(clock)
    yield engine
    engine.store.close()


@pytest.fixture
def runner(engine: Engine) -> Iterator[JobRunner]:
    """A runner of sweeps, none of which is due yet."""
    runner = JobRunner(engine, [Sweeps(engine)])
    assert work_off(runner) == []
    yield runner
    runner.close()


def state(engine: Engine, id: str) -> str | None:
    row = engine.store.read(lambda tx: tx.jobs.get(STORE_WIDE, id))
    return None if row is None else str(row["state"])


def test_answers_go_once_their_day_is_over(engine: Engine, runner: JobRunner, clock: Clock) -> None:
    id = workspace_id(engine, "default")

    def stored(key: str) -> bool:
        return engine.store.read(lambda tx: tx.requests.stored(id, key)) is not None

    engine.call("state.set", {"path": "a", "value": 1}, idempotency_key="old")
    clock.advance(DAY_S - 1)
    engine.call("state.set", {"path": "b", "value": 1}, idempotency_key="young")
    work_off(runner)
    assert stored("young")
    clock.advance(HOUR_S + 1)
    work_off(runner)
    assert (stored("old"), stored("young")) == (False, True)
    assert state(engine, "sweep-rows") == "queued"  # it comes again


def test_the_dead_leave_the_queues(engine: Engine, runner: JobRunner, clock: Clock) -> None:
    id = workspace_id(engine, "default")
    engine.store.write(lambda tx: tx.locks.enqueue(id, "a", "waiter", "ada", tx.now_ms))
    clock.advance(HOUR_S + 1)
    engine.store.write(lambda tx: tx.locks.enqueue(id, "b", "waiter", "ada", tx.now_ms))
    work_off(runner)
    # A waiter of the past, had it been kept, would be in the queue of that time.
    past_ms = engine.store.now_ms() - int((HOUR_S + 1) * 1000)
    queues = engine.store.read(
        lambda tx: (tx.locks.queue(id, "a", past_ms), tx.locks.queue(id, "b", tx.now_ms))
    )
    assert [len(queue) for queue in queues] == [0, 1]


def test_ended_jobs_go_after_a_week(engine: Engine, runner: JobRunner, clock: Clock) -> None:
    ended, waiting = (
        f"import-{record['id']}"
        for record in engine.call("import.create", {"urls": ["http://a/", "http://b/"]})["items"]
    )
    engine.call("job.cancel", {"id": ended})
    clock.advance(JOBS_KEPT_MS / 1000 - 1)
    work_off(runner)
    assert len(engine.call("job.list")["items"]) == 2
    clock.advance(HOUR_S + 1)
    work_off(runner)
    assert [job["id"] for job in engine.call("job.list")["items"]] == [waiting]
    assert len(engine.call("import.list")["items"]) == 2


def test_blobs_that_nothing_names_go_after_a_day(
    engine: Engine, runner: JobRunner, clock: Clock
) -> None:
    used, unused = (engine.upload(io.BytesIO(os.urandom(100_000))) for _ in range(2))
    engine.call("file.put", {"path": "a", "content": used})
    assert used.blob is not None
    assert unused.blob is not None
    for blob in (used.blob, unused.blob):
        long_ago = time.time() - GRACE_S - 60
        os.utime(engine.blobs.path(blob), (long_ago, long_ago))
    clock.advance(DAY_S + 1)
    work_off(runner)
    assert list(engine.blobs.names()) == [used.blob]
    assert b"".join(engine.chunks(engine.call("file.get", {"path": "a"})))
