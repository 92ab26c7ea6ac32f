"""``fastio mcp``: one client, spoken to over the standard streams of this process."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import anyio
from mcp.server.stdio import stdio_server

from fastio_cli.engine.engine import Engine
from fastio_cli.mcp.calls import Caller, Memory
from fastio_cli.mcp.memory_tools import import_lines
from fastio_cli.mcp.port import ClientPort, EnginePort
from fastio_cli.mcp.protocol import protocol_server
from fastio_cli.mcp.resources import Subscriptions
from fastio_cli.mcp.session import ClientSession
from fastio_cli.server.executor import RequestExecutor

if TYPE_CHECKING:
    from fastio_cli.engine.client import Client
    from fastio_cli.mcp.port import Port
    from fastio_cli.mcp.profiles import Profile


class Options:
    """How one client is served.

    ``remembers``: the session keeps the versions it read and the locks it took (``calls.Memory``).
    ``graph``: JSON lines of a memory server, added to the graph of the profile ``memory`` first.
    """

    def __init__(
        self,
        profile: Profile,
        workspace: str,
        actor: str,
        *,
        remembers: bool = True,
        graph: str | None = None,
    ) -> None:
        self.profile = profile
        self.workspace = workspace
        self.actor = actor
        self.remembers = remembers
        self.graph = graph


def serve(client: Client, options: Options) -> None:
    """Serve until the client closes our input."""
    anyio.run(_serve, client, options)


async def _serve(client: Client, options: Options) -> None:
    executor = None
    port: Port = ClientPort(client, options.actor)
    if isinstance(client, Engine):
        executor = RequestExecutor(client)
        executor.start(asyncio.get_running_loop())
        port = EnginePort(client, executor, options.actor)
    memory = Memory() if options.remembers else None
    session = ClientSession(options.profile, Caller(port, options.workspace, memory))
    server = protocol_server(lambda ctx: session, is_session=True)
    try:
        if options.graph is not None:
            await import_lines(session.caller, options.graph)
        async with anyio.create_task_group() as tasks, stdio_server() as (read, write):
            session.subscriptions = Subscriptions(session.caller, tasks)
            await server.run(read, write, server.create_initialization_options())
            tasks.cancel_scope.cancel()
    finally:
        if executor is not None:
            await anyio.to_thread.run_sync(executor.close)
        client.close()
