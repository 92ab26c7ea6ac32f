"""Group commit in the event loop itself, for a store on this machine.

Whatever calls came in one turn of the loop are run at its end, in one commit, by the loop: a call
takes less time than waking a thread for it, and two threads that run Python hinder each other. As
long as turns bring more calls the commit is put off, by two turns at most: nothing is waited for,
but what has come meanwhile joins in. The answers wait for the disk. A disk that is quick is waited
for where we are; one that is not, by a thread, while the loop runs and commits the next calls,
which then share the next sync. When somebody else is writing, nobody waits here: the calls go to
the threads that can.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from queue import SimpleQueue

from fastio_cli.operations.operation import UNPREPARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from typing import Any, Protocol

    from fastio_cli.engine.engine import Call
    from fastio_cli.storage.contract import NearStore
    from fastio_cli.storage.tx import Tx

    class Reply(Protocol):
        """Who is told what came of a work; a future, mostly. Told in the event loop."""

        def done(self) -> bool:
            """Whether nobody wants to know any longer."""

        def set_result(self, result: Any, /) -> None: ...

        def set_exception(self, error: Exception, /) -> None: ...

    Work = Callable[[Tx], Any]
    Item = tuple[Work, Reply, Call | None]  # the call that the work is of, if it is of one
    Batch = tuple[list[Item], list[Any]]  # calls and their outcomes

BATCH_MAX = 256
TURNS_MAX = 2  # of the loop, that calls are gathered in
QUICK_SYNC_S = 0.0005  # a thread that waits instead costs about a tenth of this
# What a sync takes is the median of so many: one that met a checkpoint says little of the next.
SYNCS_NOTED = 5
# Only a wait of our own tells: a thread's ends when it gets the interpreter back. So a slow disk is
# tried again after so many commits.
COMMITS_UNTRIED = 32


class GroupCommit:
    """Runs works in batches. ``elsewhere`` takes one that cannot be done here, ``after`` is called
    after every commit."""

    def __init__(
        self,
        store: NearStore,
        loop: asyncio.AbstractEventLoop,
        elsewhere: Callable[[Item], None],
        after: Callable[[], None],
    ) -> None:
        self._store = store
        self._loop = loop
        self._elsewhere = elsewhere
        self._after = after
        self._due: list[Item] = []
        self._syncs_s: deque[float] = deque(maxlen=SYNCS_NOTED)
        self._untried = 0  # commits since the last that waited for the disk here
        self._is_quick = True
        self._syncer = Syncer(store, self._synced)
        self._syncer.start()

    def put(self, item: Item) -> None:
        """Have a work done in the commit of this turn."""
        if not self._due:
            self._loop.call_soon(self._gather, 0, TURNS_MAX)
        self._due.append(item)

    def close(self) -> None:
        """Finish what was begun. Not to be called by the loop, which has to answer."""
        self._syncer.close()

    def _gather(self, seen: int, turns: int) -> None:
        if turns and len(self._due) > seen:
            self._loop.call_soon(self._gather, len(self._due), turns - 1)
        else:
            self._commit()

    def _commit(self) -> None:
        batch, self._due = self._due[:BATCH_MAX], self._due[BATCH_MAX:]
        if self._due:
            self._loop.call_soon(self._commit)
        try:
            outcomes = self._store.write_at_once([work for work, _, _ in batch])
        except Exception as e:  # the commit itself failed: nobody's work was done
            outcomes = [e] * len(batch)
        if outcomes is None:
            for item in batch:
                self._elsewhere(item)
            return
        self._after()
        if not self._is_quick and self._untried < COMMITS_UNTRIED:
            self._untried += 1
            self._syncer.put((batch, outcomes))
            return
        self._untried = 0
        began = time.perf_counter()
        try:
            self._store.sync()
        except Exception as e:
            outcomes = [e] * len(batch)
        self._note(time.perf_counter() - began)
        self._answer(batch, outcomes)

    def _synced(self, batches: list[Batch], error: Exception | None) -> None:
        """By the thread that syncs: these are durable, or it is not known whether they are."""

        def answer() -> None:
            for batch, outcomes in batches:
                self._answer(batch, outcomes if error is None else [error] * len(batch))

        self._loop.call_soon_threadsafe(answer)

    def _note(self, took_s: float) -> None:
        self._syncs_s.append(took_s)
        self._is_quick = sorted(self._syncs_s)[(len(self._syncs_s) - 1) // 2] <= QUICK_SYNC_S

    def _answer(self, batch: list[Item], outcomes: list[Any]) -> None:
        for item, outcome in zip(batch, outcomes, strict=True):
            if outcome is UNPREPARED or (item[2] is not None and item[2].after_rollback):
                self._elsewhere(item)  # what else there is to do would hinder others here
            else:
                resolve(item[1], outcome)


def resolve(reply: Reply, outcome: Any) -> None:
    """Give a caller what came of its work, unless it has left."""
    if reply.done():
        return
    if isinstance(outcome, Exception):
        reply.set_exception(outcome)
    else:
        reply.set_result(outcome)


class Syncer(threading.Thread):
    """Waits for the disk: one sync for all batches that were committed before it began."""

    def __init__(
        self,
        store: NearStore,
        synced: Callable[[list[Batch], Exception | None], None],
    ) -> None:
        super().__init__(name="syncs", daemon=True)
        self._store = store
        self._synced = synced
        self._queue: SimpleQueue[Batch | None] = SimpleQueue()

    def put(self, batch: Batch) -> None:
        """Have a batch made durable and answered."""
        self._queue.put(batch)

    def close(self) -> None:
        """Make durable what is left, and end."""
        self._queue.put(None)
        self.join(timeout=10)

    def run(self) -> None:
        """Sync until told to end."""
        last = False
        while not last and (first := self._queue.get()) is not None:
            batches = [first]
            while not self._queue.empty():
                batch = self._queue.get()
                if batch is None:
                    last = True
                else:
                    batches.append(batch)
            self._sync(batches)

    def _sync(self, batches: list[Batch]) -> None:
        error = None
        try:
            self._store.sync()
        except Exception as e:
            error = e
        try:
            self._synced(batches, error)
        except RuntimeError:
            return  # the loop is gone, and with it all who asked
