"""How calls reach the store from an event loop: lanes of threads, and a room for those who wait.

**Group commit.** A thread takes whatever calls have come while it committed the last ones, runs
them in one transaction, each undone alone if it fails, commits and syncs once, and only then are
all of them answered. Nothing waits for a batch to fill; a call alone is committed alone. A local
store, with one writer at a time, has one line of calls; while one thread waits for the disk,
another does the next ones. A database, whose workspaces are written independently, has a line for
each workspace, and a few threads that serve them, each line by one thread at a time.

**The quick calls of a near store** are done in the event loop at once, as they take less time than
waking a thread for them: reads one by one, writes in a group commit of its own
(``group_commit.py``). All other reads run on threads, beside the writes, on snapshots.

**Waiting.** A call that has to wait occupies no thread. One thread looks after all of them: it
notices commits, of this process at once and of others by polling, and sends those calls back into
their lane whose workspace has moved.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from queue import SimpleQueue
from typing import cast

from fastio_cli.engine.engine import Wait
from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import UNPREPARED, Pending
from fastio_cli.server.group_commit import GroupCommit, resolve

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from fastio_cli.engine.engine import Call, Engine
    from fastio_cli.server.group_commit import Item, Reply
    from fastio_cli.storage.contract import NearStore
    from fastio_cli.storage.tx import Tx

    Work = Callable[[Tx], Any]

BATCH_MAX = 256
READERS = 4
WRITERS_LOCAL = 2
WRITERS = 4
POLL_S = 0.02


class Lines:
    """Works that wait, in lines by name; the works of one line are done in order, by one thread."""

    def __init__(self, batch_max: int = BATCH_MAX) -> None:
        self._lines: dict[str, deque[Item]] = {}
        self._ready: SimpleQueue[str | None] = SimpleQueue()  # names of lines that nobody serves
        self._lock = threading.Lock()
        self._batch_max = batch_max
        self._closed = False

    def put(self, name: str, item: Item) -> None:
        """Stand at the end of a line."""
        with self._lock:
            line = self._lines.get(name)
            if line is None:
                self._lines[name] = deque((item,))
                self._ready.put(name)
            else:
                line.append(item)

    def take(self) -> tuple[str, list[Item]] | None:
        """The works at the head of a line, which is then ours until ``done``; None at the end."""
        while (name := self._ready.get()) is not None:
            with self._lock:
                line = self._lines[name]
                return name, [line.popleft() for _ in range(min(len(line), self._batch_max))]
        self._ready.put(None)  # for the other threads
        return None

    def done(self, name: str) -> None:
        """Leave a line to whoever comes next."""
        with self._lock:
            if self._lines[name]:
                self._ready.put(name)
                return
            del self._lines[name]
            if self._closed and not self._lines:
                self._ready.put(None)

    def close(self) -> None:
        """Let the threads end when all is done."""
        with self._lock:
            self._closed = True
            if not self._lines:
                self._ready.put(None)


class Lane(threading.Thread):
    """A thread that takes works from lines, as many as are there, and answers them together."""

    def __init__(
        self,
        name: str,
        lines: Lines,
        engine: Engine,
        loop: asyncio.AbstractEventLoop,
        after: Callable[[], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._lines = lines
        self._engine = engine
        self._loop = loop
        self._after = after

    def run(self) -> None:
        """Work until the lines are closed and empty."""
        while (taken := self._lines.take()) is not None:
            line, batch = taken
            self._answer(line, batch)

    def _answer(self, line: str, batch: list[Item]) -> None:
        left: list[str] = [line]

        def leave() -> None:
            if left:
                self._lines.done(left.pop())

        try:
            outcomes = self._engine.store.write_many([work for work, _, _ in batch], leave)
        except Exception as e:  # the commit itself failed: nobody's work was done
            outcomes = [e] * len(batch)
        leave()
        for item, outcome in zip(batch, outcomes, strict=True):
            if outcome is UNPREPARED:
                self._prepare(line, item)
            elif item[2] is not None:
                self._finish_rollback(item[2])
        try:
            self._loop.call_soon_threadsafe(_resolve, batch, outcomes)
        except RuntimeError:
            return  # the loop is gone, and with it all who asked
        self._after()

    def _finish_rollback(self, call: Call) -> None:
        with suppress(FastioError):  # the caller is told why the call failed
            self._engine.finish_rollback(call)

    def _prepare(self, line: str, item: Item) -> None:
        work, reply, call = item
        assert call is not None
        try:
            self._engine.prepare_outside(call)
        except Exception as e:
            error = e

            def fail(tx: Tx) -> None:
                raise error

            work = fail
        self._lines.put(line, (work, reply, call))


def _resolve(batch: list[Item], outcomes: list[Any]) -> None:
    for (_, reply, _), outcome in zip(batch, outcomes, strict=True):
        if outcome is not UNPREPARED:
            resolve(reply, outcome)


class Waiter:
    """One call that waits, through all its runs.

    ``future`` tells it to run again (True) or to give up. ``seq`` is the workspace's last event at
    the last look; none before the first, so that nothing is missed that was committed between the
    first run and the entering.
    """

    __slots__ = ("future", "seq", "wait", "workspace")

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.seq = -1
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
        seen: dict[str, tuple[object, int]] = {}
        while not self._closed:
            with self._lock:
                waiters = list(self._waiters)
            try:
                pause = self._look(waiters, seen)
            except FastioError:
                pause = 1.0  # the store is away for a moment; those who wait, wait on
            self._nudge.wait(pause)
            self._nudge.clear()

    def _look(self, waiters: list[Waiter], seen: dict[str, tuple[object, int]]) -> float | None:
        """Wake those who are due; how long to pause then."""
        if not waiters:
            seen.clear()
            return None
        store = self._engine.store
        fresh = {}
        for workspace in {waiter.workspace for waiter in waiters}:
            token = store.change_token(workspace)
            if workspace not in seen or seen[workspace][0] != token:
                fresh[workspace] = token
        if fresh:
            seqs = store.read(lambda tx: {name: tx.workspaces.seq(name) for name in fresh})
            seen.update({name: (token, seqs[name]) for name, token in fresh.items()})
        now_ms = store.now_ms()
        due = []
        for waiter in waiters:
            # Also what was seen while the call ran, for the sake of others.
            seq = seen[waiter.workspace][1]
            moved, waiter.seq = seq != waiter.seq, seq
            wait = waiter.wait
            if wait.is_over():
                due.append((waiter, False))
            elif (moved or wait.pause_s(now_ms) <= 0) and wait.is_worth_a_run(store):
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
        self._writes = Lines()
        self._room = WaitingRoom(engine, loop)
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="reader")
        store = engine.store
        writers = [
            Lane(f"writer-{n}", self._writes, engine, loop, self._room.nudge)
            for n in range(WRITERS_LOCAL if store.local else WRITERS)
        ]
        self._threads: list[threading.Thread] = [*writers, self._room]
        for thread in self._threads:
            thread.start()
        self._at_once: GroupCommit | None = None
        if store.local:
            near = cast("NearStore", store)
            self._at_once = GroupCommit(near, loop, self._put_in_line, self._room.nudge)

    async def call(self, call: Call, *, small: bool = False) -> Any:
        """Do a prepared call, waiting as long as it asks to. Raises what the operation raises.

        ``small``: what it brings along is.
        """
        near = self._at_once if small and call.operation.inline else None
        if near is not None and call.operation.effect == "read" and not call.params.get("query"):
            return self._read(call)
        started = time.monotonic()
        waiter = None
        while isinstance(outcome := await self._once(call, near), Pending):
            waiter = waiter or Waiter(call.workspace)
            waiter.wait = Wait(outcome, started)
            if not await self._wait(waiter):
                if outcome.abandon is not None:
                    await self.write(outcome.abandon, call.workspace)
                if isinstance(outcome.otherwise, Exception):
                    raise outcome.otherwise
                return outcome.otherwise
        return outcome

    @property
    def is_near(self) -> bool:
        """Whether quick calls are done in the event loop."""
        return self._at_once is not None

    def submit(self, call: Call, reply: Reply) -> None:
        """Do a quick call that does not wait, if ``is_near``, and tell what came of it."""
        assert self._at_once is not None
        if call.operation.effect == "write":
            self._at_once.put((self.engine.work(call), reply, call))
            return
        try:
            result = self._read(call)
        except Exception as e:
            reply.set_exception(e)
        else:
            reply.set_result(result)

    def read(self, work: Work) -> Awaitable[Any]:
        """Run a work on a snapshot."""
        return self._loop.run_in_executor(self._readers, self.engine.store.read, work)

    def write(self, work: Work, workspace: str = "", call: Call | None = None) -> Awaitable[Any]:
        """Run a work in the next commit (of a workspace); ``call`` if it is one's work."""
        future: asyncio.Future[Any] = self._loop.create_future()
        self._writes.put("" if self.engine.store.local else workspace, (work, future, call))
        return future

    def close(self) -> None:
        """Finish what was begun."""
        self._room.close()
        if self._at_once is not None:
            self._at_once.close()
        self._writes.close()
        self._readers.shutdown()
        for thread in self._threads:
            thread.join(timeout=10)

    def _once(self, call: Call, near: GroupCommit | None) -> Awaitable[Any]:
        if call.operation.effect == "read":
            return self._loop.run_in_executor(self._readers, self._read, call)
        work = self.engine.work(call)
        if near is None:
            return self.write(work, call.workspace, call)
        future: asyncio.Future[Any] = self._loop.create_future()
        near.put((work, future, call))
        return future

    def _put_in_line(self, item: Item) -> None:
        self._writes.put("", item)

    async def _wait(self, waiter: Waiter) -> bool:
        waiter.future = self._loop.create_future()
        self._room.enter(waiter)
        try:
            return await waiter.future
        finally:
            self._room.leave(waiter)

    def _read(self, call: Call) -> Any:
        while (outcome := self.engine.store.read(self.engine.work(call))) is UNPREPARED:
            self.engine.prepare_outside(call)
        return outcome
