"""Stores whose operations are called as tools, by the SDK's own client: another backend."""

from __future__ import annotations

import asyncio
import base64
import json
import threading
from typing import Any

from mcp.client.client import Client

from fastio_cli.blobs.content import Content
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.mcp.calls import Caller
from fastio_cli.mcp.port import EnginePort
from fastio_cli.mcp.profiles import profile
from fastio_cli.mcp.protocol import protocol_server
from fastio_cli.mcp.session import ClientSession
from fastio_cli.mcp.tools import tool_name
from fastio_cli.operations import find
from fastio_cli.server.executor import RequestExecutor


class ThroughMcp:
    """An engine whose operations are called as tools, over streams in memory."""

    tells_commands = False

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._executor = RequestExecutor(engine)
        self._clients: dict[str, Client] = {}
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._closing: list[asyncio.Event] = []
        self._serving: list[asyncio.Task[None]] = []
        self._loop.call_soon_threadsafe(self._executor.start, self._loop)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def close(self) -> None:
        """Close the connections, then the store."""
        self._run(self._close())
        self._executor.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._engine.close()

    def call(
        self,
        name: str,
        params: dict[str, Any] | None = None,
        *,
        workspace: str = "default",
        actor: str = "",
        idempotency_key: str | None = None,
    ) -> Any:
        """Call the operation's tool; what no tool can be told goes to the engine itself."""
        operation = find(name)
        place = {"workspace": workspace} if operation.in_workspace else {}
        key = {} if idempotency_key is None else {"idempotency_key": idempotency_key}
        arguments = _arguments(name, {**(params or {}), **place, **key})
        if arguments is None:
            return self._engine.call(
                name, params, workspace=workspace, actor=actor, idempotency_key=idempotency_key
            )
        with self._lock:
            if actor not in self._clients:
                self._clients[actor] = self._run(self._connect(actor))
        result = self._run(self._clients[actor].call_tool(tool_name(operation), arguments))
        structured = result.structured_content
        assert json.loads(result.content[0].text) == structured
        if not result.is_error:
            return structured
        error = structured["error"]
        if "tokens_max" in error["details"]:  # a client would read it in parts
            return self._engine.call(name, params, workspace=workspace, actor=actor)
        raise FastioError(error["code"], error["message"], error["hint"], **error["details"])

    def _run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()

    async def _connect(self, actor: str) -> Client:
        """A client that acts as this actor; its connection is opened and closed by one task."""
        caller = Caller(EnginePort(self._engine, self._executor, actor), "default")
        session = ClientSession(profile("all"), caller)
        ready: asyncio.Future[Client] = self._loop.create_future()
        closing = asyncio.Event()

        async def serve() -> None:
            async with Client(protocol_server(lambda ctx: session)) as client:
                ready.set_result(client)
                await closing.wait()

        self._closing.append(closing)
        self._serving.append(self._loop.create_task(serve()))
        return await ready

    async def _close(self) -> None:
        for event in self._closing:
            event.set()
        await asyncio.gather(*self._serving)


def _arguments(name: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """The arguments of the tool; None if they are no JSON, or the answer is a file."""
    operation = find(name)
    arguments = dict(params)
    if operation.upload_param is not None:
        content = arguments.pop(operation.upload_param, None)
        if not isinstance(content, Content) or content.body is None:
            return None
        arguments["base64"] = base64.b64encode(content.body).decode()
    try:
        json.dumps(arguments, allow_nan=False).encode()
        json.dumps(arguments, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError):
        return None
    return None if operation.response == "bytes" else arguments


def through_mcp(backend: type) -> type:
    """The same backend, called through the Model Context Protocol."""

    class Through(backend):  # type: ignore[misc]
        def open(self, *args: Any, **options: Any) -> Any:
            return ThroughMcp(super().open(*args, **options))

    return Through
