"""Indexing: keeping the search indexes of all workspaces current, their words and vectors.

A workspace that is being written to is left alone until it was quiet for a moment, or has waited
for ten seconds: a search brings the index up to date anyway, and a writer should not share the
processor with what the next write makes void. A turn lasts half a second, so that a workspace with
much to be read does not keep the others waiting.
"""

from __future__ import annotations

import time

from fastio_cli.jobs.kind import Done, Job, JobKind, NewJob
from fastio_cli.retry import FOREVER

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.config.sources import Config
    from fastio_cli.engine.engine import Engine
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

JOB_ID = "index"
STEP_S = 0.5
QUIET_S = 1.0
LATE_S = 10.0  # how long writers may keep a workspace from being indexed
WORKSPACES = 16  # looked at in one step


class Indexing(JobKind[Job]):
    """Brings indexes that are behind up to date. One that fails is tried again for ever."""

    name = "index"
    discover_s = 0.2

    def __init__(self, engine: Engine, config: Config | None = None, quiet_s: float = QUIET_S):
        self._engine = engine
        self._quiet_s = quiet_s
        # Workspaces that are behind: the event seen last, since when, and since when behind.
        self._behind: dict[int, tuple[int, float, float]] = {}
        self._after = 0
        self._embeds = False

    def open(self) -> None:
        """Load the model."""
        self._embeds = self._engine.search.warm()

    def discover(self, tx: Tx, actor: str | None) -> list[NewJob]:
        """Workspaces whose index is behind and whose writers are quiet."""
        after, limit = self._after, WORKSPACES
        rows = tx.search.behind(after=after, embeds=self._embeds, limit=limit)
        self._after = rows[-1]["id"] if len(rows) == limit else 0
        self._forget_others(rows, after, self._after or FOREVER)
        quiet = [row["id"] for row in rows if self._is_quiet(row["id"], row["seq"])]
        for id in quiet:
            del self._behind[id]
        return [NewJob(id, JOB_ID) for id in quiet]

    def start(self, tx: Tx, row: Row) -> Job:
        return Job(row)

    def run(self, job: Job) -> Done:
        """Index for a while; the workspace has another turn if there is more."""
        store, id = self._engine.store, job.workspace_id
        self._engine.search.update(store, id, STEP_S)
        self._engine.search.build_ann_index(store, id)
        rest = store.read(lambda tx: tx.search.behind(after=id - 1, embeds=self._embeds, limit=1))
        return Done(again_in_s=0.0 if rest and rest[0]["id"] == id else None)

    def _forget_others(self, rows: list[Row], after: int, last: float) -> None:
        """Forget those in a range of workspaces that are no longer behind."""
        behind = {row["id"] for row in rows}
        for id in [id for id in self._behind if after < id <= last and id not in behind]:
            del self._behind[id]

    def _is_quiet(self, id: int, seq: int) -> bool:
        now = time.monotonic()
        known, changed, since = self._behind.get(id, (seq, now, now))
        if known != seq:
            changed = now
        self._behind[id] = (seq, changed, since)
        return now - changed >= self._quiet_s or now - since >= LATE_S
