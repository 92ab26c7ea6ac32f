"""Runners of jobs that are killed at each point of a job: it ends exactly once in the store."""

from __future__ import annotations

import time

import pytest

from fastio_cli.jobs.kind import LEASE_MS
from fastio_cli.jobs.runner import JobRunner
from tests.engines import open_engine
from tests.jobs.counting import Counting, counted, queue, show, work_off
from tests.workers import Worker

POINTS = (
    "Jobs.claim",  # before its lease is committed
    "Counting.run",  # with a lease
    "Jobs.finish",  # in the transaction that ends it
    "JobRunner._record",  # around that transaction
)
JOBS = 6


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(folder: str, point: str, moment: str) -> None:
    engine = open_engine(folder)
    ids = []
    for call in (1, 2):
        ids += queue(engine, JOBS, first=len(ids))
        worker = Worker("run_jobs_and_die", folder, "runner", point, moment, call)
        worker.rest()
        assert worker.process.returncode == -9, worker.errors
    engine.store.close()
    # The leases of the dead have run out.
    later = open_engine(folder, lambda: time.time() + 3 * LEASE_MS / 1000)
    runner = JobRunner(later, [Counting()])
    work_off(runner)
    runner.close()
    assert counted(later) == dict.fromkeys(ids, 1)
    assert {show(later, id)["state"] for id in ids} == {"done"}
    assert later.call("audit.verify")["verified"]
    later.store.close()
