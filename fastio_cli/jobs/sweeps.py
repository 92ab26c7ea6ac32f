"""Sweeps: removing, now and then, what nobody will ask for again."""

from __future__ import annotations

from functools import partial

from fastio_cli.blobs.local import GRACE_S
from fastio_cli.jobs.kind import STORE_WIDE, Done, Job, JobKind, NewJob, Stopped
from fastio_cli.storage.doctor import sweep
from fastio_cli.storage.repositories.workspaces import COUNTER_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.config.sources import Config
    from fastio_cli.engine.engine import Engine
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

HOUR_S = 3600.0
KEPT_MS = GRACE_S * 1000  # what imports fetched and could not commit
JOBS_KEPT_MS = 7 * 24 * 3600 * 1000
WORKSPACES = 100  # swept in one transaction
# Kinds of which a job is about one thing. Of the others there is one a workspace, which is kept.
DROPPED_KINDS = ("import", "revocation")


class Sweeps(JobKind[Job]):
    """Runs each sweep over the whole store, again and again: expired rows, and unused blobs."""

    name = "sweep"
    discover_s = HOUR_S

    def __init__(self, engine: Engine, config: Config | None = None) -> None:
        self._engine = engine
        self._sweeps: dict[str, tuple[float, Callable[[Job], None]]] = {
            "sweep-rows": (HOUR_S, self._drop_rows),
            "sweep-blobs": (24 * HOUR_S, self._drop_blobs),
        }

    def discover(self, tx: Tx, actor: str | None) -> list[NewJob]:
        """The sweeps, where the store has not had them yet; the first is not at once."""
        return [
            NewJob(STORE_WIDE, id, due_in_s=every_s) for id, (every_s, _) in self._sweeps.items()
        ]

    def start(self, tx: Tx, row: Row) -> Job | None:
        return Job(row) if row["id"] in self._sweeps else None

    def run(self, job: Job) -> Done:
        every_s, work = self._sweeps[job.id]
        work(job)
        return Done(again_in_s=every_s)

    def _drop_rows(self, job: Job) -> None:
        store = self._engine.store
        ids = store.read(lambda tx: [row["id"] for row in tx.workspaces.every()])
        for start in range(0, len(ids) + 1, WORKSPACES):
            if job.is_stopped:
                raise Stopped
            store.write(partial(_drop_expired, [STORE_WIDE, *ids][start : start + WORKSPACES]))

    def _drop_blobs(self, job: Job) -> None:
        sweep(self._engine.store, self._engine.blobs)


def _drop_expired(workspace_ids: list[int], tx: Tx) -> None:
    """Drop the answers, waiters and ended jobs of workspaces whose time is over."""
    for id in workspace_ids:
        tx.requests.drop_expired(id, tx.now_ms)
        tx.locks.drop_expired_waiters(id, tx.now_ms)
        _forget_kept(id, tx)
        for kind in DROPPED_KINDS:
            tx.jobs.drop_ended(id, kind, tx.now_ms - JOBS_KEPT_MS)


def _forget_kept(workspace_id: int, tx: Tx) -> None:
    """Count no longer what imports fetched and could not commit, once its blobs are swept."""
    row = tx.workspaces.by_id(workspace_id)  # its writers wait
    if row is None:
        return
    forgotten = tx.imports.forget_kept(workspace_id, tx.now_ms - KEPT_MS)
    if forgotten:
        counters = {name: row[name] for name in (*COUNTER_NAMES, "updated_at")}
        counters["size_bytes"] -= forgotten
        tx.unit.save_workspace(row, counters)
