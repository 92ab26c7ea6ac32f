"""The ASGI application: the surfaces of the server, mounted side by side.

``/v1`` is the catalogue. Around it are ``/openapi.json``, ``/healthz`` (the process lives),
``/readyz`` (the store answers) and ``/metrics`` (Prometheus).
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount, Route

from fastio_cli.engine.authorization import authorise_monitoring
from fastio_cli.errors import FastioError
from fastio_cli.server.access_log import AccessLog
from fastio_cli.server.catalogue import Catalogue
from fastio_cli.server.executor import RequestExecutor
from fastio_cli.server.forwarded import Forwarded
from fastio_cli.server.http import internal
from fastio_cli.server.metrics import Metrics
from fastio_cli.server.pipeline import Pipeline
from fastio_cli.server.request_context import HAS_LEFT, TASK, RequestContext
from fastio_cli.server.responses import JSON, NO_STORE
from fastio_cli.server.routes import wrong_method
from fastio_cli.server.shares import share_of
from fastio_cli.server.uploads import ByteTransfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from typing import Protocol

    from starlette.routing import BaseRoute
    from starlette.types import ASGIApp, Receive, Scope, Send

    from fastio_cli.engine.engine import Engine
    from fastio_cli.jobs.runner import RunnerThread

    Handler = Callable[[RequestContext], Awaitable[None]]

    class Surface(Protocol):
        """A further way to reach the store, mounted beside the catalogue."""

        def routes(self, app: App) -> list[BaseRoute]:
            """Where it is reached; its endpoints are made by ``app.answered``."""

        def lifespan(self) -> AbstractAsyncContextManager[None]:
            """Entered while the server runs."""


RATE_PER_S = 1000


class App(Starlette):
    """The server's application on one engine.

    ``is_over``: it has ended, and no thread of it works any more.
    """

    is_over = False

    def __init__(
        self,
        engine: Engine,
        *,
        rate_per_s: int = RATE_PER_S,
        access_log: AccessLog | None = None,
        jobs: RunnerThread | None = None,
        behind_proxy: int = 0,
        surfaces: Sequence[Surface] = (),
    ) -> None:
        self._proxies = behind_proxy
        self._jobs = jobs
        self._log = access_log
        self.metrics = Metrics()
        self.executor = RequestExecutor(engine)
        self.pipeline = Pipeline(engine, self.executor, rate_per_s)
        self._transfers = ByteTransfers(engine)
        catalogue = Catalogue(engine, self.pipeline, self.executor, self._transfers, self.metrics)
        routes: list[BaseRoute] = [
            Mount("/v1", self.answered(catalogue)),
            Route("/healthz", self.answered(read_only(self._healthz))),
            Route("/readyz", self.answered(read_only(self._readyz))),
            Route("/openapi.json", self.answered(read_only(self._openapi))),
            Route("/metrics", self.answered(read_only(self._metrics))),
        ]
        self._surfaces = surfaces
        for surface in surfaces:
            routes += surface.routes(self)
        super().__init__(routes=routes, lifespan=self._lifespan)
        self.router.redirect_slashes = False
        self.router.default = self.answered(_nothing)

    def build_middleware_stack(self) -> ASGIApp:
        """None of Starlette's: ``Answered`` does what it would, at a tenth of the cost."""
        return Forwarded(self.router, self._proxies) if self._proxies else self.router

    @asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        self.executor.start(loop)
        self._transfers.start(loop)
        if self._jobs is not None:
            self._jobs.start()
        async with AsyncExitStack() as stack:
            for surface in self._surfaces:
                await stack.enter_async_context(surface.lifespan())
            yield
        ends = [self._transfers.close, self.executor.close]
        if self._jobs is not None:
            ends.append(self._jobs.close)
        self.is_over = all(await asyncio.gather(*(loop.run_in_executor(None, end) for end in ends)))
        if self._log is not None:
            self._log.flush()

    def answered(self, handler: Handler) -> Answered:
        """An endpoint of a surface, whose every failure is answered and every end observed."""
        return Answered(handler, self._observe)

    def _observe(self, ctx: RequestContext) -> None:
        elapsed_s = time.perf_counter() - ctx.started
        self.metrics.record(ctx.operation or "-", ctx.status, elapsed_s)
        if self._log is not None:
            self._log.note(ctx, elapsed_s)

    async def _healthz(self, ctx: RequestContext) -> None:
        await ctx.respond(200, [JSON, NO_STORE], b'{"status":"ok"}')

    async def _readyz(self, ctx: RequestContext) -> None:
        await self.executor.read(lambda tx: tx.workspaces.by_name("default"))
        await ctx.respond(200, [JSON, NO_STORE], b'{"status":"ready"}')

    async def _openapi(self, ctx: RequestContext) -> None:
        from fastio_cli.server.openapi import document_bytes

        await ctx.respond(200, [JSON], document_bytes())

    async def _metrics(self, ctx: RequestContext) -> None:
        self.pipeline.limit(ctx)
        identity = await self.pipeline.identify(ctx)
        await self.executor.read(lambda tx: authorise_monitoring(tx, identity), share_of(identity))
        media_type = (b"content-type", Metrics.media_type.encode())
        await ctx.respond(200, [media_type, NO_STORE], self.metrics.text())


class Answered:
    """An endpoint whose every failure is answered as a problem, and every end observed."""

    def __init__(self, handler: Handler, observe: Callable[[RequestContext], None]) -> None:
        self._handler = handler
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "websocket":
            await send({"type": "websocket.close"})
            return
        ctx = RequestContext(scope, receive, send)
        scope[TASK] = asyncio.current_task()
        try:
            await self._handler(ctx)
        except FastioError as e:
            await ctx.refuse(e)
        except Exception as e:
            await ctx.refuse(internal(e, ctx.id))
        except asyncio.CancelledError:
            if HAS_LEFT not in scope:  # the server ends, and has waited long enough
                await ctx.refuse(_stopping())
        finally:
            self._observe(ctx)


def read_only(handler: Handler) -> Handler:
    """The handler, for GET and HEAD alone."""

    async def checked(ctx: RequestContext) -> None:
        if ctx.method not in ("GET", "HEAD"):
            raise wrong_method(ctx.method, ["GET", "HEAD"])
        await handler(ctx)

    return checked


async def _nothing(ctx: RequestContext) -> None:
    raise FastioError("not_found", "Nothing is here.", "See what there is: /openapi.json")


def _stopping() -> FastioError:
    return FastioError("unavailable", "The server is being stopped.", "Try again in a moment.")
