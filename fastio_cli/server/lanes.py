"""How calls reach the store from an event loop: lanes of threads, and a room for those who wait.

**Group commit.** One thread writes. It takes whatever calls have come while it committed the last
ones, runs each in a savepoint of one transaction, commits and syncs once, and only then are all of
them answered. Nothing waits for a batch to fill; a call alone is committed alone.

**Reads** run beside it on snapshots.

**Waiting.** A call that has to wait occupies no thread. One thread looks after all of them: it
notices commits, of this process at once and of others by polling, and sends those calls back into
their lane whose workspace has moved.
"""

from __future__ import annotations

import asyncio
import threading
import time
from queue import Empty, SimpleQueue

from fastio_cli.engine import Wait
from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import Pending, Restart

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.engine import Call, Engine
    from fastio_cli.store.contract import Store
    from fastio_cli.store.tx import Tx

    Work = Callable[[Tx], Any]
    Item = tuple[Work, asyncio.Future[Any]]

BATCH_MAX = 256
READERS = 2
POLL_S = 0.02


class Lane(threading.Thread):
    """A thread that takes works from a queue, as many as are there, and answers them together."""

    def __init__(
        self,
        name: str,
        queue: SimpleQueue[Item | None],
        run: Callable[[list[Work]], list[Any]],
        store: Store,
        loop: asyncio.AbstractEventLoop,
        after: Callable[[], None] | None = None,
        batch_max: int = BATCH_MAX,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._queue = queue
        self._run = run
        self._store = store
        self._loop = loop
        self._after = after
        self._batch_max = batch_max

    def run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = False
            while len(batch) < self._batch_max:
                try:
                    item = self._queue.get_nowait()
                except Empty:
                    break
                if item is None:
                    ended = True
                    break
                batch.append(item)
            self._answer(batch)
            if ended:
                return

    def _answer(self, batch: list[Item]) -> None:
        try:
            outcomes = self._run([work for work, _ in batch])
        except Exception as e:  # the commit itself failed: nobody's work was done
            outcomes = [e] * len(batch)
        for (work, future), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Restart):
                self._restart(outcome, work, future)
        try:
            self._loop.call_soon_threadsafe(_resolve, batch, outcomes)
        except RuntimeError:
            return  # the loop is gone, and with it all who asked
        if self._after is not None:
            self._after()

    def _restart(self, restart: Restart, work: Work, future: asyncio.Future[Any]) -> None:
        try:
            restart.work(self._store)
        except Exception as e:
            error = e

            def fail(tx: Tx) -> None:
                raise error

            work = fail
        self._queue.put((work, future))


def _resolve(batch: list[Item], outcomes: list[Any]) -> None:
    for (_, future), outcome in zip(batch, outcomes, strict=True):
        if future.done() or isinstance(outcome, Restart):
            continue
        if isinstance(outcome, Exception):
            future.set_exception(outcome)
        else:
            future.set_result(outcome)


class Waiter:
    """One call that waits, through all its runs.

    ``future`` tells it to run again (True) or to give up. ``looked`` is False until it was looked
    at once: what was committed between its first run and its entering is not missed then. ``seq``
    is the workspace's last event at the last look.
    """

    __slots__ = ("future", "looked", "seq", "wait", "workspace")

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.seq = -1
        self.looked = False
        self.wait: Wait
        self.future: asyncio.Future[bool]


class WaitingRoom(threading.Thread):
    """Looks after all calls that wait."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(name="waiting", daemon=True)
        self._engine = engine
        self._loop = loop
        self._waiters: set[Waiter] = set()
        self._lock = threading.Lock()
        self._nudge = threading.Event()
        self._closed = False

    def enter(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.add(waiter)
        self._nudge.set()

    def leave(self, waiter: Waiter) -> None:
        with self._lock:
            self._waiters.discard(waiter)

    def nudge(self) -> None:
        """Something was committed here."""
        if self._waiters:
            self._nudge.set()

    def close(self) -> None:
        self._closed = True
        self._nudge.set()

    def run(self) -> None:
        tokens: dict[str, object] = {}
        while not self._closed:
            with self._lock:
                waiters = list(self._waiters)
            try:
                pause = self._look(waiters, tokens)
            except FastioError:
                pause = 1.0  # the store is away for a moment; those who wait, wait on
            self._nudge.wait(pause)
            self._nudge.clear()

    def _look(self, waiters: list[Waiter], tokens: dict[str, object]) -> float | None:
        """Wake those who are due; how long to pause then."""
        if not waiters:
            tokens.clear()
            return None
        store = self._engine.store
        changed = set()
        for workspace in {waiter.workspace for waiter in waiters}:
            token = store.change_token(workspace)
            if tokens.get(workspace) != token:
                tokens[workspace] = token
                changed.add(workspace)
        seqs = store.read(lambda tx: {name: tx.workspaces.seq(name) for name in changed})
        now_ms = store.now_ms()
        due = []
        for waiter in waiters:
            moved = seqs.get(waiter.workspace, waiter.seq) != waiter.seq
            waiter.seq = seqs.get(waiter.workspace, waiter.seq)
            if waiter.wait.is_over():
                due.append((waiter, False))
            elif moved or not waiter.looked or waiter.wait.pause_s(now_ms) <= 0:
                waiter.looked = True
                if waiter.wait.is_worth_a_run(store):
                    due.append((waiter, True))
        for waiter, _ in due:
            self.leave(waiter)
        if due:
            self._loop.call_soon_threadsafe(_wake, due)
        return POLL_S


def _wake(due: list[tuple[Waiter, bool]]) -> None:
    for waiter, again in due:
        if not waiter.future.done():
            waiter.future.set_result(again)


class Desk:
    """The engine, for an event loop."""

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop) -> None:
        self.engine = engine
        self._loop = loop
        self._writes: SimpleQueue[Item | None] = SimpleQueue()
        self._reads: SimpleQueue[Item | None] = SimpleQueue()
        self._room = WaitingRoom(engine, loop)
        store = engine.store
        writer = Lane("writer", self._writes, store.write_many, store, loop, self._room.nudge)
        readers = [
            Lane(f"reader-{n}", self._reads, self._read_all, store, loop, batch_max=8)
            for n in range(READERS)
        ]
        self._threads: list[threading.Thread] = [writer, *readers, self._room]
        for thread in self._threads:
            thread.start()

    async def call(self, call: Call) -> Any:
        """Do a prepared call, waiting as long as it asks to. Raises what the operation raises."""
        started = time.monotonic()
        waiter = None
        while isinstance(outcome := await self._once(call), Pending):
            waiter = waiter or Waiter(call.workspace)
            waiter.wait = Wait(outcome, started)
            if not await self._wait(waiter):
                if outcome.abandon is not None:
                    await self.write(outcome.abandon)
                if isinstance(outcome.otherwise, Exception):
                    raise outcome.otherwise
                return outcome.otherwise
        return outcome

    def read(self, work: Work) -> asyncio.Future[Any]:
        """Run a work on a snapshot."""
        return self._put(self._reads, work)

    def write(self, work: Work) -> asyncio.Future[Any]:
        """Run a work in the next commit."""
        return self._put(self._writes, work)

    def close(self) -> None:
        """Finish what was begun."""
        self._room.close()
        self._writes.put(None)
        for _ in range(READERS):
            self._reads.put(None)
        for thread in self._threads:
            thread.join(timeout=10)

    def _once(self, call: Call) -> asyncio.Future[Any]:
        queue = self._writes if call.operation.effect == "write" else self._reads
        return self._put(queue, self.engine.work(call))

    def _put(self, queue: SimpleQueue[Item | None], work: Work) -> asyncio.Future[Any]:
        future: asyncio.Future[Any] = self._loop.create_future()
        queue.put((work, future))
        return future

    async def _wait(self, waiter: Waiter) -> bool:
        waiter.future = self._loop.create_future()
        self._room.enter(waiter)
        try:
            return await waiter.future
        finally:
            self._room.leave(waiter)

    def _read_all(self, works: list[Work]) -> list[Any]:
        return [self._read(work) for work in works]

    def _read(self, work: Work) -> Any:
        try:
            return self.engine.store.read(work)
        except Exception as e:
            return e
