"""Group commit in the event loop itself, for an embedded store.

The writes that came in one tick of the loop are run at its end, in one commit, by the loop: a write
of a small object takes less time than waking a thread for it, and two threads that run Python
hinder each other. As long as ticks bring more writes the commit is delayed, by two ticks at most:
nothing is waited for, but what has come meanwhile joins in. The answers wait for the disk. A quick
disk is waited for in the loop; a slow one by a thread, while the loop runs and commits the next
writes, which then share the next fsync. When another process is writing, nobody waits here: the
writes are handed back, for threads that can wait.
"""

from __future__ import annotations

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from fastio_cli.server.shares import SERVER, by_turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from fastio_cli.storage.contract import EmbeddedStore
    from fastio_cli.storage.tx import Work

    Write = tuple[Work, asyncio.Future[object]]
    Owned = tuple[str, Write]  # and whose share it is of
    Batch = tuple[list[Write], list[object]]  # writes and their outcomes

BATCH_MAX = 256
BATCH_MIN = 8
BATCH_S = 0.01  # how long a batch may hold the event loop, as far as can be told before
UNORDERED_MAX = 16  # so few writes are done in the order in which they came
DELAY_TICKS_MAX = 2
QUICK_FSYNC_S = 0.0005  # a thread that waits instead costs about a tenth of this
# What an fsync takes is the median of so many: one that met a checkpoint says little of the next.
LATENCY_WINDOW = 5
# Only an fsync in the loop tells: a thread's ends when it gets the interpreter back. So a slow disk
# is tried again after so many commits.
PROBE_INTERVAL = 32


class GroupCommit:
    """Commits writes in batches.

    ``on_busy`` takes a write that cannot be done now, as another process is writing, and its owner;
    ``on_commit`` is called after every commit, before it is durable.
    """

    def __init__(
        self,
        store: EmbeddedStore,
        loop: asyncio.AbstractEventLoop,
        on_busy: Callable[[Write, str], None],
        on_commit: Callable[[], None],
    ) -> None:
        self._store = store
        self._loop = loop
        self._on_busy = on_busy
        self._on_commit = on_commit
        self._collected: list[Owned] = []
        self._batch_max = BATCH_MAX
        self._fsyncs_s: deque[float] = deque(maxlen=LATENCY_WINDOW)
        self._unprobed = 0  # commits since the last fsync in the loop
        self._is_quick = True
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="fsync")
        self._undurable: list[Batch] = []  # committed, for the next fsync of the thread
        self._is_syncing = False

    def submit(self, write: Write, owner: str = SERVER) -> None:
        """Do a write in the commit of this tick. Where more have come than a commit takes, their
        owners take turns."""
        if not self._collected:
            self._loop.call_soon(self._collect, 0, DELAY_TICKS_MAX)
        self._collected.append((owner, write))

    def close(self) -> None:
        """Wait for the thread. Not to be called by the loop, which has to answer."""
        self._thread.shutdown()

    def _collect(self, count_before: int, ticks: int) -> None:
        if ticks and len(self._collected) > count_before:
            self._loop.call_soon(self._collect, len(self._collected), ticks - 1)
        else:
            self._commit()

    def _commit(self) -> None:
        taken = self._next()
        writes = [write for _, write in taken]
        if self._collected:
            self._loop.call_soon(self._commit)
        began = time.perf_counter()
        try:
            outcomes = self._store.try_write_batch([work for work, _ in writes])
        except Exception as e:  # the commit itself failed: nobody's work was done
            resolve_all(writes, [e] * len(writes))
            return
        if outcomes is None:
            for owner, write in taken:
                self._on_busy(write, owner)
            return
        took_s = max(time.perf_counter() - began, 1e-9)
        self._batch_max = min(BATCH_MAX, max(BATCH_MIN, int(BATCH_S * len(writes) / took_s)))
        self._on_commit()
        if self._is_quick or self._unprobed >= PROBE_INTERVAL:
            self._fsync_here(writes, outcomes)
        else:
            self._unprobed += 1
            self._undurable.append((writes, outcomes))
            self._fsync_on_thread()

    def _next(self) -> list[Owned]:
        """The writes of the next commit; of many, each owner's in turn. None is done whose caller
        has left."""
        count = self._batch_max
        if len(self._collected) > UNORDERED_MAX:
            self._collected = by_turns([w for w in self._collected if not w[1][1].cancelled()])
        taken, self._collected = self._collected[:count], self._collected[count:]
        return taken

    def _fsync_here(self, writes: list[Write], outcomes: list[object]) -> None:
        self._unprobed = 0
        began = time.perf_counter()
        try:
            self._store.sync()
        except Exception as e:
            outcomes = [e] * len(writes)
        self._fsyncs_s.append(time.perf_counter() - began)
        median_s = sorted(self._fsyncs_s)[(len(self._fsyncs_s) - 1) // 2]
        self._is_quick = median_s <= QUICK_FSYNC_S
        resolve_all(writes, outcomes)

    def _fsync_on_thread(self) -> None:
        """One fsync for all batches that were committed before it began."""
        if self._is_syncing or not self._undurable:
            return
        self._is_syncing = True
        batches, self._undurable = self._undurable, []

        def on_durable(done: asyncio.Future[None]) -> None:
            self._is_syncing = False
            self._fsync_on_thread()
            error = done.exception()
            for writes, outcomes in batches:
                resolve_all(writes, outcomes if error is None else [error] * len(writes))

        fsync = self._loop.run_in_executor(self._thread, self._store.sync)
        fsync.add_done_callback(on_durable)


def resolve_all(writes: list[Write], outcomes: list[object]) -> None:
    """Give every caller what came of its write, unless it has left. To be called by the loop."""
    for (_, future), outcome in zip(writes, outcomes, strict=True):
        if future.done():
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)
