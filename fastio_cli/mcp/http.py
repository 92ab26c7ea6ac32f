"""``/mcp`` and ``/sse`` of a server: the protocol over HTTP, for clients with a token.

``/mcp`` is Streamable HTTP without sessions: each request stands alone, so that a restart between
two of them harms nothing, and any replica answers any request. ``/sse`` is the transport of before
2025, for clients that know no other: a stream with a session, whose messages come to
``/sse/messages``. Both take ``/mcp/PROFILE`` and the query ``read_only=1`` and ``workspace=NAME``.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import anyio
from mcp.server.auth.middleware.bearer_auth import AuthenticatedUser
from mcp.server.auth.provider import AccessToken
from mcp.server.sse import SseServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.routing import Route

from fastio_cli.errors import FastioError
from fastio_cli.mcp.calls import Caller, Memory
from fastio_cli.mcp.port import EnginePort
from fastio_cli.mcp.profiles import profile
from fastio_cli.mcp.protocol import protocol_server
from fastio_cli.mcp.resources import Subscriptions
from fastio_cli.mcp.session import ClientSession
from fastio_cli.operations.types import NAME_RULE
from fastio_cli.server.request_context import LONG_POLL
from fastio_cli.server.routes import wrong_method
from fastio_cli.server.run import is_loopback

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.routing import BaseRoute
    from starlette.types import Message, Scope

    from fastio_cli.engine.engine import Engine
    from fastio_cli.identity import Identity
    from fastio_cli.mcp.protocol import Extend
    from fastio_cli.server.app import App
    from fastio_cli.server.request_context import RequestContext

SESSION = "fastio.mcp"  # in the scope of a request: the session that it is answered in
BODY_BYTES_MAX = 4 * 1024 * 1024
MESSAGES = "/sse/messages"


class McpSurface:
    """The protocol as a surface of the server; ``extend`` as of ``protocol_server``."""

    def __init__(self, engine: Engine, extend: Extend | None = None) -> None:
        self._engine = engine
        self._extend = extend
        self._sse = SseServerTransport(MESSAGES, max_request_body_size=BODY_BYTES_MAX)
        self._manager = StreamableHTTPSessionManager(
            protocol_server(_session_of, extend=extend),
            stateless=True,
            max_request_body_size=BODY_BYTES_MAX,
        )

    def routes(self, app: App) -> list[BaseRoute]:
        """Where it is reached."""
        self._app = app
        serve, listen = app.answered(self._serve), app.answered(self._listen)
        return [
            Route("/mcp", serve),
            Route("/mcp/{profile}", serve),
            Route("/sse", listen),
            Route(MESSAGES, app.answered(self._message)),
            Route("/sse/{profile}", listen),
        ]

    @asynccontextmanager
    async def lifespan(self) -> AsyncIterator[None]:
        """Runs while the server does."""
        async with self._manager.run():
            yield

    async def _serve(self, ctx: RequestContext) -> None:
        """One request of a client without a session; no stream stands open without one."""
        if ctx.method != "POST":
            raise wrong_method(ctx.method, ["POST"])
        identity = await self._admit(ctx)
        ctx.scope[SESSION] = self._session(ctx, identity, None)
        await self._manager.handle_request(ctx.scope, ctx.receive, Observed(ctx))

    async def _listen(self, ctx: RequestContext) -> None:
        """A stream with a session, until its client leaves."""
        identity = await self._admit(ctx)
        if ctx.method != "GET":
            raise wrong_method(ctx.method, ["GET"])
        ctx.scope.update({LONG_POLL: True, "user": _user(identity)})
        session = self._session(ctx, identity, Memory())
        async with anyio.create_task_group() as tasks:
            session.subscriptions = Subscriptions(session.caller, tasks)
            server = protocol_server(lambda _: session, is_session=True, extend=self._extend)
            async with self._sse.connect_sse(ctx.scope, ctx.receive, Observed(ctx)) as (
                read,
                write,
            ):
                await server.run(read, write, server.create_initialization_options())
            tasks.cancel_scope.cancel()

    async def _message(self, ctx: RequestContext) -> None:
        """A message of a session; only whoever began it may send one."""
        ctx.scope["user"] = _user(await self._admit(ctx))
        await self._sse.handle_post_message(ctx.scope, ctx.receive, Observed(ctx))

    async def _admit(self, ctx: RequestContext) -> Identity:
        """Whose request it is, if it may be answered at all."""
        ctx.operation = "mcp"
        self._app.pipeline.limit(ctx)
        _check_origin(ctx)
        return await self._app.pipeline.identify(ctx)

    def _session(
        self, ctx: RequestContext, identity: Identity, memory: Memory | None
    ) -> ClientSession:
        asked = parse_qs(ctx.query.decode("latin-1"))
        workspace = asked.get("workspace", ["default"])[-1]
        NAME_RULE.check(workspace, "workspace")
        is_read_only = asked.get("read_only", ["0"])[-1] not in ("0", "false")
        name = ctx.scope["path_params"].get("profile", "core")
        port = EnginePort(self._engine, self._app.executor, "", identity, ctx.is_small)
        shown = profile(name, is_read_only=is_read_only)
        return ClientSession(shown, Caller(port, workspace, memory))


class Observed:
    """Sends an answer of the SDK's, and notes its status for the log."""

    def __init__(self, ctx: RequestContext) -> None:
        self._ctx = ctx

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._ctx.status = message["status"]
            message = {**message, "headers": [*message["headers"], *self._ctx.own_headers]}
        await self._ctx.send(message)


def _session_of(ctx: Any) -> ClientSession:
    scope: Scope = ctx.request.scope
    if ctx.method == "subscriptions/listen":
        scope[LONG_POLL] = True
    session: ClientSession = scope[SESSION]
    return session


def _check_origin(ctx: RequestContext) -> None:
    """Refuse what a page of another site has a browser send.

    The page may have its own name lead to this machine (DNS rebinding), so that it asks the host
    that it came from: what reaches us at a loopback address has to have asked for one.
    """
    origin, host = ctx.headers.get("origin"), ctx.headers.get("host", "")
    if origin is None:
        return
    address = (ctx.scope.get("server") or ("",))[0]
    name = host if host.endswith("]") else host.rpartition(":")[0] or host  # without its port
    is_rebound = is_loopback(address) and not is_loopback(name.strip("[]").lower())
    if is_rebound or origin.partition("://")[2] != host:
        raise FastioError("forbidden", "Pages of other sites may not ask.", "Ask from no page.")


def _user(identity: Identity) -> AuthenticatedUser:
    """The owner of a session, as the SDK compares them."""
    token = AccessToken(token="", client_id=str(identity.digest), scopes=[])
    return AuthenticatedUser(token)
