"""Threads that work for an event loop, of which every org has its share (``shares.py``)."""

from __future__ import annotations

import asyncio
import threading
import time
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from typing import TypeVar, cast

from fastio_cli.server.shares import Places, Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Task:
    """Something that a thread of a pool is to do for one org.

    ``is_left``: nobody waits for it any longer. ``on_leave`` is called then while it runs.
    """

    def __init__(
        self, owner: str, function: Callable[[], object], future: asyncio.Future[object]
    ) -> None:
        self.owner = owner
        self.function = function
        self.future = future
        self.is_left = False
        self.on_leave: Callable[[], None] | None = None

    def leave(self) -> None:
        """Say that nobody waits for it."""
        self.is_left = True
        if self.on_leave is not None:
            self.on_leave()


_current = threading.local()


def current_task() -> Task | None:
    """What the calling thread does for a pool; None for other threads."""
    task: Task | None = getattr(_current, "task", None)
    return task


class FairPool:
    """Threads that work for an event loop, of which every org has its share.

    They do not keep the process from ending: one that is busy for ever ends with it.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._places = Places(count)
        self._waiting: Turns[Task] = Turns()
        self._lock = threading.Lock()
        self._begun: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        self._running: set[Task] = set()

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, owner: str, function: Callable[..., T], *args: object) -> asyncio.Future[T]:
        """The future result of a function, to be called in the loop. When the future is cancelled
        the work is not begun, or told so (:attr:`Task.on_leave`)."""
        future: asyncio.Future[object] = self._loop.create_future()
        task = Task(owner, lambda: function(*args), future)
        future.add_done_callback(partial(self._note_end, task))
        with self._lock:
            self._waiting.put(owner, task)
            self._begin()
        return cast("asyncio.Future[T]", future)

    def close(self, timeout_s: float) -> bool:
        """Let the threads end, and wait a moment for that; whether all have. What has not begun is
        dropped."""
        deadline = time.monotonic() + timeout_s
        with self._lock:
            self._waiting = Turns()
            for task in self._running:
                task.leave()
        for _ in self._threads:
            self._begun.put(None)
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _begin(self) -> None:
        """Hand over what may run now."""
        while (task := self._waiting.take(self._may_begin)) is not None:
            self._places.take(task.owner)
            self._running.add(task)
            if len(self._threads) < len(self._running):
                name = f"{self._name}-{len(self._threads)}"
                self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
                self._threads[-1].start()
            self._begun.put(task)

    def _may_begin(self, owner: str, task: Task, alone: bool) -> bool:
        return self._places.may_take(owner, alone)

    def _note_end(self, task: Task, future: asyncio.Future[object]) -> None:
        if not future.cancelled():
            return
        with self._lock:
            self._waiting.remove(task.owner, task)
            if task in self._running:
                task.leave()

    def _work(self) -> None:
        while (task := self._begun.get()) is not None:
            self._do(task)
            del task  # nothing of it is kept until the next one comes

    def _do(self, task: Task) -> None:
        _current.task = task
        result, error = (None, None) if task.is_left else _outcome(task.function)
        _current.task = None
        with self._lock:
            self._running.discard(task)
            self._places.give_back(task.owner)
            self._begin()
        with suppress(RuntimeError):  # the loop is gone, and with it all who asked
            self._loop.call_soon_threadsafe(_resolve, task.future, result, error)
        # An error leads to the frames that it came through, and they to the task and this frame:
        # what the request brought along would be kept until such a cycle is collected.
        del task.future, task.function, error


def _outcome(function: Callable[[], object]) -> tuple[object, Exception | None]:
    """What a function returns or raises."""
    try:
        return function(), None
    except Exception as e:
        return None, e


def _resolve(future: asyncio.Future[object], result: object, error: Exception | None) -> None:
    if future.done():
        return
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(result)
