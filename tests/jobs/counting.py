"""Jobs whose effects can be counted: each appends one event to its workspace."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.jobs.kind import Done, Job, JobKind
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.operations.context import Context
from fastio_cli.storage.db import Row
from fastio_cli.storage.tx import Tx

EVENT = "test.counted"


class Counting(JobKind[Job]):
    """``before`` is called in each job's thread."""

    name = "count"
    parallel = 4
    enters_workspace = True

    def __init__(self, before: Callable[[Job], None] | None = None) -> None:
        self._before = before
        self.failures: list[tuple[str, bool]] = []

    def start(self, tx: Tx, row: Row) -> Job:
        return Job(row)

    def run(self, job: Job) -> Done:
        if self._before is not None:
            self._before(job)

        def effect(tx: Tx, ctx: Context | None) -> None:
            assert ctx is not None
            ctx.emit(EVENT, data={"job": job.id})

        return Done(effect)

    def note_failure(
        self, tx: Tx, ctx: Context | None, job: Job, error: FastioError, is_final: bool
    ) -> None:
        self.failures.append((job.id, is_final))


def workspace_id(engine: Engine, name: str) -> int:
    row = engine.store.read(lambda tx: tx.workspaces.by_name(name))
    assert row is not None
    return int(row["id"])


def queue(engine: Engine, count: int, workspace: str = "default", first: int = 0) -> list[str]:
    """Queue jobs, due at once; their ids."""
    id, ids = workspace_id(engine, workspace), [f"count-{first + n}" for n in range(count)]

    def work(tx: Tx) -> None:
        common: Any = {"kind": "count", "actor": "ada", "payload": "{}"}
        for job_id in ids:
            tx.jobs.queue(id, job_id, due_at=tx.now_ms, now_ms=tx.now_ms, **common)

    engine.store.write(work)
    return ids


def work(runner: JobRunner) -> list[Job]:
    """Until nothing is to be done; the jobs that ended or were put back, in order."""
    ended = runner.step()
    while runner.running:
        ended += runner.step()
    return ended


def work_off(runner: JobRunner) -> list[Job]:
    """Until nothing is due any more."""
    ended: list[Job] = []
    while some := work(runner):
        ended += some
    return ended


def counted(engine: Engine, workspace: str = "default") -> Counter[str]:
    """How often each job of a workspace took effect."""
    found: Counter[str] = Counter()
    after = 0
    while True:
        params = {"type": EVENT, "after": after, "limit": 1000}
        page = engine.call("event.list", params, workspace=workspace)
        found.update(event["data"]["job"] for event in page["items"])
        if not page["items"]:
            return found
        after = int(page["next_cursor"])


def show(engine: Engine, id: str, workspace: str = "default") -> Any:
    return engine.call("job.show", {"id": id}, workspace=workspace)
