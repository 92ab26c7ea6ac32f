"""The SDK for event loops: the same objects, with their methods run on threads.

Nothing is written twice: whatever a method of the synchronous SDK returns is wrapped again if it is
an object of the SDK. A call is awaited, entered (``async with``) or iterated over (``async for``)
as its result is in the synchronous SDK. A call that is cancelled ends on its thread all the same.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from fastio_cli.sdk.calls import Operations, Recorder
from fastio_cli.sdk.files import Download
from fastio_cli.sdk.lease import Lease
from fastio_cli.sdk.store import Store, connect
from fastio_cli.sdk.workspace import Edit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator
    from typing import Any

    Run = Callable[..., object]

THREADS_MAX = 32
WRAPPED = (Operations, Recorder, Download, Lease, Edit, Store)
END = object()


class AsyncObject:
    """An object of the SDK whose methods are called from an event loop."""

    def __init__(self, inner: Any, threads: ThreadPoolExecutor) -> None:
        self._inner = inner
        self._threads = threads

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if isinstance(value, Operations):
            return AsyncObject(value, self._threads)
        return partial(AsyncCall, self._threads, value) if callable(value) else value

    def __setattr__(self, name: str, value: object) -> None:
        if name.startswith("_"):
            super().__setattr__(name, value)
        else:
            setattr(self._inner, name, value)

    def __getitem__(self, key: object) -> Any:
        return self._inner[key]

    def __setitem__(self, key: object, value: object) -> None:
        self._inner[key] = value

    def __aiter__(self) -> AsyncIterator[Any]:
        return _iterate(self._threads, lambda: self._inner)


class AsyncCall:
    """A call that was named and not made yet: to be awaited, entered or iterated over."""

    def __init__(
        self, threads: ThreadPoolExecutor, call: Run, *args: object, **kwargs: object
    ) -> None:
        self._threads = threads
        self._call = partial(call, *args, **kwargs)
        self._entered: Any = None

    def __await__(self) -> Generator[object, None, object]:
        return self._result().__await__()

    async def _result(self) -> Any:
        return _wrapped(await _run(self._threads, self._call), self._threads)

    async def __aenter__(self) -> object:
        self._entered = await _run(self._threads, self._call)
        return _wrapped(await _run(self._threads, self._entered.__enter__), self._threads)

    async def __aexit__(self, *error: object) -> object:
        return await _run(self._threads, self._entered.__exit__, *error)

    def __aiter__(self) -> AsyncIterator[object]:
        return _iterate(self._threads, self._call)


class AsyncStore(AsyncObject):
    """A store for event loops: as :class:`Store`, with methods to be awaited."""

    def workspace(self, name: str | None = None, *, actor: str | None = None) -> AsyncObject:
        """A workspace; nothing has to be awaited for it."""
        return AsyncObject(self._inner.workspace(name, actor=actor), self._threads)

    async def close(self) -> None:
        """Close what was opened, and the threads."""
        await _run(self._threads, self._inner.close)
        self._threads.shutdown(wait=False)

    async def __aenter__(self) -> AsyncStore:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()


async def aconnect(*args: Any, **kwargs: Any) -> AsyncStore:
    """Open a store for an event loop; the parameters are those of ``connect``."""
    threads = ThreadPoolExecutor(THREADS_MAX, thread_name_prefix="fastio")
    try:
        return AsyncStore(await _run(threads, partial(connect, *args, **kwargs)), threads)
    except BaseException:
        threads.shutdown(wait=False)
        raise


async def _run(threads: ThreadPoolExecutor, call: Run, *args: object) -> Any:
    return await asyncio.get_running_loop().run_in_executor(threads, call, *args)


async def _iterate(threads: ThreadPoolExecutor, call: Run) -> AsyncIterator[object]:
    iterator = iter(await _run(threads, call))
    try:
        while (item := await _run(threads, next, iterator, END)) is not END:
            yield item
    finally:
        close = getattr(iterator, "close", None)
        if close is not None:
            await _run(threads, close)


def _wrapped(value: object, threads: ThreadPoolExecutor) -> object:
    return AsyncObject(value, threads) if isinstance(value, WRAPPED) else value
