"""The executor: how calls reach the store from an event loop.

**Writes** of an embedded store, with one writer at a time, are one queue; those of a database,
whose workspaces are written independently, a queue for each workspace. Writer threads serve the
queues, each queue by one thread at a time: a thread takes whatever has come while the last batch
was committed, runs it in one transaction, each write undone alone if it fails, commits and syncs
once, and only then are all of them answered. Nothing waits for a batch to fill.

**Inline.** Operations that say so, on small objects, are done in the event loop itself on an
embedded store, as they take less time than waking a thread: reads one by one, writes in a group
commit of its own (``group_commit.py``). All other reads run on threads, beside the writes, on
snapshots. What takes long whatever the thread, as Python runs one at a time, is done by helper
processes (``compute.py``).

**Waiting.** A call that has to wait occupies no thread (``engine/waiting.py``).

**Shares.** Every org has its share of all threads and helpers, and its turn in all queues
(``shares.py``). A call whose client has left is cancelled: what of it is queued is not begun.
"""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar, cast

from fastio_cli.engine.engine import TOO_LARGE
from fastio_cli.engine.waiting import LongPoll, LongPollRegistry, expired
from fastio_cli.errors import FastioError
from fastio_cli.operations.documents import run_in_place
from fastio_cli.operations.operation import UNPREPARED, Pending
from fastio_cli.search.document_change import analyze
from fastio_cli.server.compute import HELPERS, HelperPool, IndexingHelper
from fastio_cli.server.fair_pool import FairPool
from fastio_cli.server.group_commit import GroupCommit, resolve_all
from fastio_cli.server.shares import SERVER, Turns, share_of
from fastio_cli.storage.tx import Work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from fastio_cli.engine.engine import Call, Engine
    from fastio_cli.server.group_commit import Write
    from fastio_cli.storage.contract import EmbeddedStore, Store
    from fastio_cli.storage.tx import Tx

T = TypeVar("T")

BATCH_MAX = 256
INLINE_BYTES_MAX = 32 * 1024  # an object is parsed and written in about a millisecond
# Threads for reads, and for what is slow and needs no transaction; one org has half at most.
READERS = 16
PREPARERS = 8
WRITERS_EMBEDDED = 2  # while one waits for the disk, the other does the next batch
WRITERS = 4
CLOSE_S = 2.0  # for what threads are doing when the server ends


class KeyedQueue:
    """Writes by key, their owners' in turn; those of one key are taken by one thread at a time."""

    def __init__(self, batch_max: int = BATCH_MAX) -> None:
        self._writes: dict[str, Turns[Write]] = {}
        self._ready: SimpleQueue[str | None] = SimpleQueue()  # keys that no thread has taken
        self._lock = threading.Lock()
        self._batch_max = batch_max
        self._is_closed = False

    def __len__(self) -> int:
        """How many keys have writes that are not done."""
        return len(self._writes)

    def put(self, key: str, write: Write, owner: str = SERVER) -> None:
        """Add a write at the end of its owner's."""
        with self._lock:
            writes = self._writes.get(key)
            if writes is None:
                writes = self._writes[key] = Turns()
                self._ready.put(key)
            writes.put(owner, write)

    def remove(self, key: str, write: Write, owner: str) -> None:
        """Forget a write that nobody waits for any longer, unless a thread has it."""
        with self._lock:
            if key in self._writes:
                self._writes[key].remove(owner, write)

    def take(self) -> tuple[str, list[Write]] | None:
        """The next writes of a key, which is then ours until ``release``; None at the end."""
        while (key := self._ready.get()) is not None:
            with self._lock:
                return key, self._writes[key].take_many(self._batch_max)
        self._ready.put(None)  # for the other threads
        return None

    def release(self, key: str) -> None:
        """Let another thread take the next writes of a key."""
        with self._lock:
            if self._writes[key]:
                self._ready.put(key)
                return
            del self._writes[key]
            if self._is_closed and not self._writes:
                self._ready.put(None)

    def close(self) -> None:
        """Let the threads end when all is done."""
        with self._lock:
            self._is_closed = True
            if not self._writes:
                self._ready.put(None)


class WriterThread(threading.Thread):
    """Commits the writes of a queue, a batch at a time, until it is closed and empty."""

    def __init__(
        self,
        name: str,
        queue: KeyedQueue,
        store: Store,
        loop: asyncio.AbstractEventLoop,
        on_commit: Callable[[], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._queue = queue
        self._store = store
        self._loop = loop
        self._on_commit = on_commit

    def run(self) -> None:
        """Work until the queue is closed and empty."""
        while (taken := self._queue.take()) is not None:
            key, writes = taken
            self._write(key, writes)

    def _write(self, key: str, writes: list[Write]) -> None:
        held = [key]
        if not writes:  # all who waited have left
            self._queue.release(key)
            return

        def release() -> None:
            if held:
                self._queue.release(held.pop())

        try:
            outcomes = self._store.write_batch([work for work, _ in writes], release)
        except Exception as e:  # the commit itself failed: nobody's work was done
            outcomes = [e] * len(writes)
        release()
        with suppress(RuntimeError):  # the loop is gone, and with it all who asked
            self._loop.call_soon_threadsafe(resolve_all, writes, outcomes)
            self._on_commit()


class RequestExecutor:
    """The engine, for an event loop. To be used from ``start`` to ``close``."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.queue = KeyedQueue()
        self.polls = LongPollRegistry(engine.store)
        self._waiting: dict[LongPoll, asyncio.Future[bool]] = {}
        self._helpers = [HelperPool(HELPERS), HelperPool(1)]
        self._indexing_helper = IndexingHelper()
        self._readers = FairPool("reader", READERS)
        self._preparers = FairPool("preparer", PREPARERS)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads."""
        store, on_commit = self.engine.store, self.polls.notify
        self._loop = loop
        # A write has a helper of its own, as others wait for it meanwhile.
        self.engine.compute, self.engine.compute_in_write = self._helpers
        self.engine.search.analyze = self._indexing_helper
        self._readers.start(loop)
        self._preparers.start(loop)
        count = WRITERS_EMBEDDED if store.local else WRITERS
        self._threads: list[threading.Thread] = [
            WriterThread(f"writer-{n}", self.queue, store, loop, on_commit) for n in range(count)
        ]
        self._threads.append(threading.Thread(target=self._notify, name="notifier", daemon=True))
        for thread in self._threads:
            thread.start()
        self._inline: GroupCommit | None = None
        if store.local:
            embedded = cast("EmbeddedStore", store)
            self._inline = GroupCommit(embedded, loop, self._enqueue, on_commit)

    def close(self) -> bool:
        """Finish what was begun, as far as it ends in a moment; whether all of it has.

        Writes are finished first, as some may be committed. Not to be called by the loop.
        """
        deadline = time.monotonic() + CLOSE_S
        self.polls.close()
        if self._inline is not None:
            self._inline.close()
        self.queue.close()
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        for pool in self._helpers:
            pool.close()
        self._indexing_helper.close()
        is_over = self._readers.close(max(0.0, deadline - time.monotonic()))
        is_over &= self._preparers.close(max(0.0, deadline - time.monotonic()))
        self.engine.compute = self.engine.compute_in_write = run_in_place
        self.engine.search.analyze = analyze
        return is_over and not any(thread.is_alive() for thread in self._threads)

    async def call(self, call: Call, *, is_small: bool = False) -> Any:
        """Do a prepared call, waiting as long as it asks to. Raises what the operation raises.

        ``is_small``: what it brings along is, so that it may be done in the loop.
        """
        call.inline_bytes_max = INLINE_BYTES_MAX if is_small and self._is_inline(call) else None
        try:
            outcome = await self._run(call)
            if outcome is TOO_LARGE:
                call.inline_bytes_max = None
                outcome = await self._run(call)
            if outcome is UNPREPARED or isinstance(outcome, Pending):
                outcome = await self._go_on(call, outcome)
        except FastioError as e:
            if call.after_rollback or call.stored:
                owner = share_of(call.identity)
                await self._on_reader(owner, self.engine.finish_rollback, call, e)
            raise
        return outcome

    def read(self, run: Callable[[Tx], T], owner: str = SERVER) -> Awaitable[T]:
        """Run a function on a snapshot, in the share of an org."""
        return self._on_reader(owner, self.engine.store.read, run)

    def write(
        self, run: Callable[[Tx], Any], workspace: str = "", owner: str = SERVER
    ) -> Awaitable[Any]:
        """Run a function in the next commit (of a workspace), in the turn of an org."""
        return self._enqueued(Work(run), workspace, owner)

    def prepare(self, owner: str, function: Callable[..., T], *args: object) -> Awaitable[T]:
        """Run a function that is slow, and needs no transaction, on a thread."""
        return self._preparers.run(owner, function, *args)

    async def _go_on(self, call: Call, outcome: object) -> object:
        """Finish a call that needs something done outside its transaction, or has to wait."""
        poll = LongPoll(call.workspace)
        owner = share_of(call.identity)
        while True:
            if outcome is UNPREPARED:
                # Work on documents is bounded: it need not stand in line with models.
                of_documents = call.outside is not None and call.outside.is_asked
                on_thread = self._on_reader if of_documents else self.prepare
                await on_thread(owner, self.engine.prepare_outside, call)
            elif isinstance(outcome, Pending):
                if not await self._wait(poll, outcome):
                    if outcome.abandon is not None:
                        await self.write(outcome.abandon, call.workspace, owner)
                    return expired(outcome)
            else:
                return outcome
            call.inline_bytes_max = None
            outcome = await self._run(call)

    def _is_inline(self, call: Call) -> bool:
        """Whether a call may be done in the loop, if the object at its path is small."""
        operation = call.operation
        if self._inline is None or not operation.inline:
            return False
        given, defaults = call.params, operation.defaults
        return all(given[k] == defaults.get(k) for k in operation.outside_loop_params)

    async def _run(self, call: Call) -> object:
        work = self.engine.work(call)
        inline = call.inline_bytes_max is not None
        owner = share_of(call.identity)
        if call.operation.effect == "read":
            return self.engine.store.read(work.run) if inline else await self.read(work.run, owner)
        if not inline:
            return await self._enqueued(work, call.workspaces, owner)
        future: asyncio.Future[object] = self._loop.create_future()
        cast("GroupCommit", self._inline).submit((work, future), owner)
        return await future

    def _enqueued(self, work: Work, workspace: str, owner: str) -> Awaitable[object]:
        future: asyncio.Future[object] = self._loop.create_future()
        write = work, future
        key = "" if self.engine.store.local else workspace

        def forget(done: asyncio.Future[object]) -> None:
            if done.cancelled():
                self.queue.remove(key, write, owner)

        self.queue.put(key, write, owner)
        future.add_done_callback(forget)
        return future

    def _enqueue(self, write: Write, owner: str) -> None:
        self.queue.put("", write, owner)

    def _on_reader(self, owner: str, function: Callable[..., T], *args: object) -> Awaitable[T]:
        return self._readers.run(owner, function, *args)

    async def _wait(self, poll: LongPoll, pending: Pending) -> bool:
        """Wait until a call is due; whether it is worth another run."""
        poll.suspend(pending)
        self._waiting[poll] = self._loop.create_future()
        self.polls.add(poll)
        try:
            return await self._waiting[poll]
        finally:
            self.polls.remove(poll)
            del self._waiting[poll]

    def _notify(self) -> None:
        def on_due(due: list[LongPoll]) -> None:
            self._loop.call_soon_threadsafe(self._wake, due)

        with suppress(RuntimeError):  # the loop is gone, and with it all who wait
            self.polls.watch(on_due)

    def _wake(self, due: list[LongPoll]) -> None:
        for poll in due:
            future = self._waiting.get(poll)
            if future is not None and not future.done():
                future.set_result(poll.is_worth_a_run)
