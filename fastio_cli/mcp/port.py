"""The port through which tools call operations: an engine for an event loop, or a client."""

from __future__ import annotations

import io
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import anyio

from fastio_cli.server.shares import share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastio_cli.blobs.content import Content
    from fastio_cli.engine.client import Client
    from fastio_cli.engine.engine import Engine
    from fastio_cli.identity import Identity
    from fastio_cli.operations.operation import Operation
    from fastio_cli.server.executor import RequestExecutor

THREADS_MAX = 32


class Port(Protocol):
    """Calls operations on one store, on behalf of one actor."""

    async def call(
        self,
        operation: Operation,
        params: dict[str, object],
        workspace: str,
        idempotency_key: str | None = None,
    ) -> Any:
        """Do an operation and return its answer. Raises as ``Client.call``."""

    async def upload(self, data: bytes) -> Content:
        """Bytes, as the parameter of an operation that takes an upload."""

    async def read(self, download: Any) -> bytes:
        """The bytes of a download, which the caller has bounded."""


class EnginePort:
    """An engine on the store itself; a call that waits occupies no thread, and ends if cancelled.

    ``identity`` is whose token a server's client has; without one ``actor`` acts for the owner.
    """

    def __init__(
        self,
        engine: Engine,
        executor: RequestExecutor,
        actor: str,
        identity: Identity | None = None,
        is_small: bool = True,
    ) -> None:
        self._engine = engine
        self._executor = executor
        self._actor = actor
        self._identity = identity
        self._owner = share_of(identity)
        self._is_small = is_small

    async def call(
        self,
        operation: Operation,
        params: dict[str, object],
        workspace: str,
        idempotency_key: str | None = None,
    ) -> Any:
        """Do an operation and return its answer."""
        prepare = partial(self._engine.prepare, operation.name, params, workspace, self._actor)
        prepare = partial(prepare, idempotency_key, identity=self._identity)
        call = prepare() if self._is_small else await self._executor.prepare(self._owner, prepare)
        return await self._executor.call(call, is_small=self._is_small)

    async def upload(self, data: bytes) -> Content:
        """Store bytes."""
        return await self._executor.prepare(self._owner, self._engine.upload, io.BytesIO(data))

    async def read(self, download: Any) -> bytes:
        """The bytes of a download."""
        chunks = partial(self._engine.chunks, download)
        return await self._executor.prepare(self._owner, _joined, chunks)


class ClientPort:
    """The client of a server, whose calls are made on threads.

    A call that is cancelled goes on until the server has answered it.
    """

    def __init__(self, client: Client, actor: str) -> None:
        self._client = client
        self._actor = actor
        self._threads = anyio.CapacityLimiter(THREADS_MAX)

    async def call(
        self,
        operation: Operation,
        params: dict[str, object],
        workspace: str,
        idempotency_key: str | None = None,
    ) -> Any:
        """Do an operation and return its answer."""
        call = partial(self._client.call, operation.name, params, workspace=workspace)
        return await self._run(
            partial(call, actor=self._actor, idempotency_key=idempotency_key),
        )

    async def upload(self, data: bytes) -> Content:
        """Bytes to be sent with a call."""
        content: Content = await self._run(partial(self._client.upload, io.BytesIO(data)))
        return content

    async def read(self, download: Any) -> bytes:
        """The bytes of a download."""
        data: bytes = await self._run(partial(_joined, partial(self._client.chunks, download)))
        return data

    async def _run(self, call: Callable[[], Any]) -> Any:
        return await anyio.to_thread.run_sync(call, limiter=self._threads, abandon_on_cancel=True)


def _joined(chunks: Callable[[], Iterator[bytes]]) -> bytes:
    return b"".join(chunks())
