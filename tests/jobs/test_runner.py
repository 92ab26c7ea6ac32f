"""The runner of jobs: its turns, its leases, its failures, on every store and several at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.jobs.kind import LEASE_MS, Done, Job, Stopped
from fastio_cli.jobs.runner import ATTEMPTS_MAX, JobRunner, RunnerThread
from fastio_cli.retry import RetryPolicy
from tests.backends import BACKENDS, Clock, until
from tests.jobs.counting import Counting, counted, queue, show, work, work_off, workspace_id
from tests.requirements import lacking
from tests.workers import Worker

HOLD_S = 60.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    backend = BACKENDS[request.param]
    if backend.missing() is not None:
        lacking(f"backend {request.param} is missing: {backend.missing()}")
    return backend(tmp_path / "store")


@pytest.fixture
def engine(backend: Any, clock: Clock) -> Iterator[Engine]:
    engine = backend.open(clock)
    yield engine
    engine.store.close()


class Gate:
    """Keeps jobs in their threads until it is opened, or they are stopped."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._open = threading.Event()

    def __call__(self, job: Job) -> None:
        self.begun.append(job.id)
        deadline = time.monotonic() + HOLD_S
        while not self._open.wait(0.005):
            assert time.monotonic() < deadline
            if job.is_stopped:
                raise Stopped

    def open(self) -> None:
        self._open.set()


def test_what_is_due_is_run_once(engine: Engine) -> None:
    ids = queue(engine, 20)
    runner = JobRunner(engine, [Counting()])
    work_off(runner)
    runner.close()
    assert counted(engine) == dict.fromkeys(ids, 1)
    job = show(engine, ids[0])
    assert (job["state"], job["attempts"], job["lease_until"]) == ("done", 1, None)
    assert engine.call("audit.verify")["verified"]


def test_a_job_of_one_workspace_does_not_wait_for_a_thousand_of_another(
    backend: Any, engine: Engine, clock: Clock
) -> None:
    engine.call("workspace.create", {"name": "other"})
    queue(engine, 1000)
    replica = backend.open(clock)
    runners = [JobRunner(engine, [Counting()]), JobRunner(replica, [Counting()])]
    for runner in runners:  # both are busy with the thousand when the one comes
        runner.step()
    queue(engine, 1, "other")
    before = len(counted(engine))
    while not counted(engine, "other"):
        for runner in runners:
            runner.step()
    # Each runner may have had as many in hand as it takes at a time, and as many more since.
    in_hand = 2 * (Counting.parallel + 1)
    assert len(counted(engine)) - before <= len(runners) * 2 * in_hand
    for runner in runners:
        runner.close()
    assert set(counted(engine).values()) == {1}
    replica.store.close()


def test_nobody_has_all_threads(engine: Engine) -> None:
    """Jobs that take for ever, of one org in several workspaces, leave room for another's."""
    engine.call("org.create", {"name": "acme"})
    engine.call("workspace.create", {"name": "second"})
    for workspace in ("default", "second"):
        queue(engine, 10, workspace)
    acme = workspace_id(engine, "acme/default")
    gate = Gate()

    def wait_unless_acme(job: Job) -> None:
        if job.workspace_id != acme:
            gate(job)

    runner = JobRunner(engine, [Counting(wait_unless_acme)])
    for _ in range(3):
        runner.step()
    assert len(runner.running) == Counting.parallel
    assert {workspace for workspace, _ in runner.running} == {
        workspace_id(engine, "default"),
        workspace_id(engine, "second"),
    }
    _queue_in(engine, acme)
    ended: list[Job] = []
    until(lambda: ended.extend(runner.step()) or ended)
    assert [job.workspace_id for job in ended] == [acme]
    gate.open()
    runner.close()


def _queue_in(engine: Engine, workspace_id: int) -> None:
    common: Any = {"kind": "count", "actor": "ada", "payload": "{}"}
    engine.store.write(
        lambda tx: tx.jobs.queue(
            workspace_id, "count-0", due_at=tx.now_ms, now_ms=tx.now_ms, **common
        )
    )


def test_a_lease_is_renewed_while_a_job_runs(engine: Engine, clock: Clock) -> None:
    (id,) = queue(engine, 1)
    gate, kind = Gate(), Counting()
    slow = Counting(gate)
    slow.renew_s = 0.0
    first, second = JobRunner(engine, [slow]), JobRunner(engine, [kind])
    first.step()
    for _ in range(4):  # far beyond the lease that it was claimed with
        clock.advance(LEASE_MS / 2000)
        first.step()
        second.step()
        assert not second.running
    gate.open()
    work(first)
    assert counted(engine) == {id: 1}
    for runner in (first, second):
        runner.close()


def test_a_runner_that_lost_its_lease_writes_nothing(engine: Engine, clock: Clock) -> None:
    (id,) = queue(engine, 1)
    gate = Gate()
    slow, quick = JobRunner(engine, [Counting(gate)]), JobRunner(engine, [Counting()])
    slow.step()
    until(lambda: gate.begun)
    clock.advance(LEASE_MS / 1000 + 1)
    work_off(quick)
    ended = show(engine, id)
    assert (ended["state"], ended["attempts"]) == ("done", 2)
    gate.open()
    work(slow)
    assert counted(engine) == {id: 1}
    assert show(engine, id) == ended
    for runner in (slow, quick):
        runner.close()


def test_a_cancelled_job_stops(engine: Engine) -> None:
    (id,) = queue(engine, 1)
    kind = Counting(Gate())
    kind.renew_s = 0.0
    runner = JobRunner(engine, [kind])
    runner.step()
    assert engine.call("job.cancel", {"id": id})["state"] == "cancelled"
    until(lambda: runner.step() and not runner.running)
    assert counted(engine) == {}
    assert show(engine, id)["state"] == "cancelled"
    engine.call("job.retry", {"id": id})
    runner.close()
    again = JobRunner(engine, [Counting()])
    work_off(again)
    again.close()
    assert counted(engine) == {id: 1}


def test_failures_in_passing_are_tried_again_until_it_is_enough(
    engine: Engine, clock: Clock
) -> None:
    (id,) = queue(engine, 1)

    def fail(job: Job) -> None:
        raise FastioError("unavailable", "It is away.", "Wait.", retry_after_s=30)

    kind = Counting(fail)
    kind.retry = RetryPolicy(1.0, 60.0, attempts_max=3)
    runner = JobRunner(engine, [kind])
    for failures in (1, 2):
        work(runner)
        job = show(engine, id)
        assert (job["state"], job["failures"], job["reason"]) == ("queued", failures, "It is away.")
        clock.advance(29)
        assert work(runner) == []  # not sooner than the other side asked for
        clock.advance(61)
    work(runner)
    job = show(engine, id)
    assert (job["state"], job["failures"], job["reason_code"]) == ("failed", 3, "unavailable")
    assert job["hint"] == "Wait."
    assert kind.failures == [(id, False), (id, False), (id, True)]
    assert counted(engine) == {}
    runner.close()


def test_a_failure_of_fastio_itself_is_final_and_says_so(engine: Engine) -> None:
    (id,) = queue(engine, 1)

    def fail(job: Job) -> None:
        raise KeyError("odd")

    runner = JobRunner(engine, [Counting(fail)])
    work_off(runner)
    runner.close()
    job = show(engine, id)
    assert (job["state"], job["reason_code"]) == ("failed", "internal")
    assert "KeyError: 'odd'" in job["reason"]


def test_an_effect_that_is_refused_fails_the_job_alone(engine: Engine) -> None:
    good, bad = queue(engine, 2)

    class Refused(Counting):
        def run(self, job: Job) -> Done:
            done = super().run(job)
            assert done.effect is not None
            effect = done.effect

            def refuse(tx: Any, ctx: Any) -> None:
                effect(tx, ctx)
                if job.id == bad:
                    raise FastioError("quota_exceeded", "It is full.")

            return Done(refuse)

    runner = JobRunner(engine, [Refused()])
    work_off(runner)
    runner.close()
    assert counted(engine) == {good: 1}
    assert show(engine, bad)["reason"] == "It is full."


def test_a_deadline_counts_from_when_a_job_was_queued(engine: Engine, clock: Clock) -> None:
    (id,) = queue(engine, 1)

    def fail(job: Job) -> None:
        raise FastioError("unavailable", "It is away.")

    kind = Counting(fail)
    kind.retry = RetryPolicy(1.0, 1.0, deadline_s=3600)
    runner = JobRunner(engine, [kind])
    work(runner)
    clock.advance(3000)
    work(runner)
    assert show(engine, id)["state"] == "queued"
    clock.advance(601)
    work(runner)
    assert show(engine, id)["state"] == "failed"
    runner.close()


def test_a_job_that_kills_its_runners_is_given_up(engine: Engine, clock: Clock) -> None:
    (id,) = queue(engine, 1)
    workspace = workspace_id(engine, "default")
    for _ in range(ATTEMPTS_MAX):  # each claimed by a runner that died
        claimed = engine.store.write(
            lambda tx: tx.jobs.claim(workspace, id, tx.now_ms, tx.now_ms + LEASE_MS)
        )
        assert claimed is not None
        clock.advance(LEASE_MS / 1000 + 1)
    runner = JobRunner(engine, [Counting()])
    work_off(runner)
    runner.close()
    assert show(engine, id)["state"] == "failed"
    assert "never ended" in show(engine, id)["reason"]


def test_closing_gives_jobs_back_at_once(engine: Engine) -> None:
    ids = queue(engine, 3)
    gate = Gate()
    runner = JobRunner(engine, [Counting(gate)])
    runner.step()
    until(lambda: len(gate.begun) == 3)
    runner.close()
    assert {show(engine, id)["state"] for id in ids} == {"queued"}
    other = JobRunner(engine, [Counting()])
    work_off(other)
    other.close()
    assert counted(engine) == dict.fromkeys(ids, 1)


def test_closing_does_not_wait_for_what_does_not_stop(engine: Engine) -> None:
    (id,) = queue(engine, 1)
    hold = threading.Event()
    runner = JobRunner(engine, [Counting(lambda job: hold.wait(HOLD_S) and None)])
    runner.step()
    runner.close(grace_s=0.01)
    assert show(engine, id)["state"] == "queued"
    hold.set()


def test_a_deleted_workspace_rests(engine: Engine) -> None:
    engine.call("workspace.create", {"name": "gone"})
    (id,) = queue(engine, 1, "gone")
    engine.call("workspace.delete", {}, workspace="gone")
    runner = JobRunner(engine, [Counting()])
    assert work_off(runner) == []
    engine.call("workspace.restore", {"name": "gone"})
    work_off(runner)
    runner.close()
    assert counted(engine, "gone") == {id: 1}


def test_an_actors_runner_leaves_others_jobs(engine: Engine) -> None:
    (id,) = queue(engine, 1)
    bobs = JobRunner(engine, [Counting()], "bob")
    assert work_off(bobs) == []
    bobs.close()
    adas = JobRunner(engine, [Counting()], "ada")
    work_off(adas)
    adas.close()
    assert counted(engine) == {id: 1}


def test_a_thread_runs_jobs_until_it_is_stopped(engine: Engine) -> None:
    thread = RunnerThread(JobRunner(engine, [Counting()]))
    thread.start()
    (id,) = queue(engine, 1)
    until(lambda: counted(engine))
    assert thread.close()
    assert not thread.is_alive()
    assert show(engine, id)["state"] == "done"


def test_several_processes_share_the_jobs_fairly(folder: str) -> None:
    """Each job takes effect once, and the single job of one workspace is not behind the many."""
    from tests.engines import open_engine

    engine = open_engine(folder)
    engine.call("workspace.create", {"name": "other"})
    many = queue(engine, 300)
    queue(engine, 1, "other")
    workers = [Worker("run_jobs", folder, f"runner{n}") for n in range(3)]
    for worker in workers:
        worker.finish()
    assert counted(engine) == dict.fromkeys(many, 1)
    assert counted(engine, "other") == {"count-0": 1}
    ended = show(engine, "count-0", "other")["updated_at"]
    earlier = [id for id in many if show(engine, id)["updated_at"] < ended]
    assert len(earlier) <= len(workers) * 2 * (Counting.parallel + 1)
    assert engine.call("audit.verify")["verified"]
    engine.store.close()
