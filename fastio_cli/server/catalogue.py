"""The catalogue over HTTP: everything below ``/v1``, as one application to be mounted.

What is special about an operation is said by its traits, by which its endpoint is chosen when the
server starts. Two further routes are not operations: the stream of a workspace's events, and the
parts of an upload.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial

from fastio_cli.blobs.content import inline
from fastio_cli.errors import FastioError
from fastio_cli.json_text import record_text
from fastio_cli.operations import every, find
from fastio_cli.operations.files import Download
from fastio_cli.server import events
from fastio_cli.server.http import etag_of, is_known
from fastio_cli.server.request_context import LONG_POLL, SMALL_BYTES_MAX, Disconnected
from fastio_cli.server.responses import BODYLESS, JSON, NO_STORE
from fastio_cli.server.routes import Routes
from fastio_cli.server.shares import share_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from fastio_cli.engine.engine import Call, Engine
    from fastio_cli.operations.operation import Operation
    from fastio_cli.server.executor import RequestExecutor
    from fastio_cli.server.metrics import Metrics
    from fastio_cli.server.pipeline import Pipeline
    from fastio_cli.server.request_context import RequestContext
    from fastio_cli.server.responses import Headers
    from fastio_cli.server.uploads import ByteTransfers

    InPath = dict[str, str]
    Endpoint = Callable[[RequestContext, InPath], Awaitable[None]]

WORKSPACE = "/v1/workspaces/{workspace}"
ANYONES_BYTES_MAX = 4096
STREAMED = "event.list"  # the operation that a stream repeats
UPLOADS = "file.put"  # the operation that parts of an upload are for


class Catalogue:
    """Serves every operation of the catalogue at its route."""

    def __init__(
        self,
        engine: Engine,
        pipeline: Pipeline,
        executor: RequestExecutor,
        transfers: ByteTransfers,
        metrics: Metrics,
    ) -> None:
        self._engine = engine
        self._pipeline = pipeline
        self._executor = executor
        self._transfers = transfers
        self._metrics = metrics
        self._routes: Routes[Endpoint] = Routes()
        for operation in every():
            endpoint = partial(self._endpoint_of(operation), operation)
            self._routes.add(operation.method, operation.route, endpoint)
        self._routes.add("GET", f"{WORKSPACE}/events/stream", self._stream)
        self._routes.add("GET", f"{WORKSPACE}/uploads/{{id}}", self._upload_offset)
        self._routes.add("PATCH", f"{WORKSPACE}/uploads/{{id}}", self._upload_part)

    async def __call__(self, ctx: RequestContext) -> None:
        """Serve one request. Raises what is to be answered as a problem."""
        self._pipeline.limit(ctx)
        method = "GET" if ctx.method == "HEAD" else ctx.method
        endpoint, in_path = self._routes.match(method, ctx.raw_path)
        ctx.workspace = in_path.pop("workspace", "")
        await endpoint(ctx, in_path)

    def _endpoint_of(self, operation: Operation) -> Callable[..., Awaitable[None]]:
        if operation.upload_param is not None:
            return self._upload
        if operation.response == "bytes":
            return self._download
        if operation.response == "chunks":
            return self._tell
        if operation.wait_param is not None:
            return self._wait
        return self._serve

    async def _prepared(self, ctx: RequestContext, operation: Operation, in_path: InPath) -> Call:
        ctx.operation = operation.name
        identity = await self._pipeline.identify(ctx, operation.role)
        if identity.digest is None:  # nobody's: no more than a secret or a name
            body = await ctx.body(ANYONES_BYTES_MAX)
        else:
            body = b"" if ctx.method in BODYLESS else await ctx.body()
        if len(body) <= SMALL_BYTES_MAX:
            return self._pipeline.call(ctx, operation, in_path, identity, body)
        return await self._executor.prepare(
            share_of(identity), self._pipeline.call, ctx, operation, in_path, identity, body
        )

    async def _serve(self, operation: Operation, ctx: RequestContext, in_path: InPath) -> None:
        if ctx.is_small:
            call = await self._prepared(ctx, operation, in_path)
            await _answer(ctx, await self._executor.call(call, is_small=True))
            return
        owner = share_of(await self._pipeline.identify(ctx, operation.role))
        async with self._pipeline.bodies.held(owner, ctx.body_bytes_max):
            call = await self._prepared(ctx, operation, in_path)
            await _answer(ctx, await self._executor.call(call))

    async def _wait(self, operation: Operation, ctx: RequestContext, in_path: InPath) -> None:
        call = await self._prepared(ctx, operation, in_path)
        if call.wait_s > 0:
            ctx.scope[LONG_POLL] = True
            await _answer(ctx, await _unless_left(ctx, self._executor.call(call)))
        else:
            await _answer(ctx, await self._executor.call(call, is_small=ctx.is_small))

    async def _tell(self, operation: Operation, ctx: RequestContext, in_path: InPath) -> None:
        """Send the chunks of an answer as they come to a client that accepts a stream."""
        call = await self._prepared(ctx, operation, in_path)

        def begin(on_chunk: Callable[[str], None]) -> Awaitable[object]:
            call.on_chunk = on_chunk
            return self._executor.call(call)

        if events.is_accepted(ctx):
            await events.tell(ctx, begin)
        else:
            await _answer(ctx, await self._executor.call(call))

    async def _download(self, operation: Operation, ctx: RequestContext, in_path: InPath) -> None:
        call = await self._prepared(ctx, operation, in_path)
        download: Download = await self._executor.call(call, is_small=ctx.is_small)
        if is_known(ctx, etag_of(download.record)):
            await _answer(ctx, download.record)
        else:
            await self._transfers.send(ctx, download, share_of(call.identity))

    async def _upload(self, operation: Operation, ctx: RequestContext, in_path: InPath) -> None:
        ctx.operation = operation.name
        identity = await self._admitted(ctx, operation)
        most = self._engine.limits.file_bytes_max
        if not ctx.is_small or "upload-id" in ctx.headers:  # else it leaves nothing in any case
            asked = self._pipeline.call(ctx, operation, in_path, identity, content=inline(b""))
            size_bytes = await self._transfers.announced_size(ctx, identity)
            admission = self._engine.upload_admission(asked, size_bytes)
            most = await self._executor.read(admission, share_of(identity))
        content = await self._transfers.content(ctx, identity, most)
        call = self._pipeline.call(ctx, operation, in_path, identity, content=content)
        try:
            answer = await self._executor.call(call, is_small=ctx.is_small)
        except FastioError:
            await self._transfers.reopen(ctx, identity)
            raise
        await _answer(ctx, answer)

    async def _admitted(self, ctx: RequestContext, operation: Operation) -> Any:
        """The identity, which may do the operation: asked before bytes are taken in."""
        identity = await self._pipeline.identify(ctx, operation.role)
        admission = self._engine.admission(operation, ctx.workspace, identity)
        await self._executor.read(admission, share_of(identity))
        return identity

    async def _upload_part(self, ctx: RequestContext, in_path: InPath) -> None:
        ctx.operation = UPLOADS
        identity = await self._admitted(ctx, find(UPLOADS))
        await _answer_offset(ctx, await self._transfers.add_part(ctx, in_path["id"], identity))

    async def _upload_offset(self, ctx: RequestContext, in_path: InPath) -> None:
        ctx.operation = UPLOADS
        identity = await self._admitted(ctx, find(UPLOADS))
        await _answer_offset(ctx, await self._transfers.part_size(in_path["id"], identity))

    async def _stream(self, ctx: RequestContext, in_path: InPath) -> None:
        """Send the events of a workspace as they happen."""
        ctx.operation = STREAMED
        identity = await self._pipeline.identify(ctx)
        cursor, filters = events.asked_by(ctx)

        def page_after(seq: int, wait_s: float = events.HEARTBEAT_S) -> Awaitable[Any]:
            params = {"after": seq, "limit": events.PAGE, "wait_s": wait_s, **filters}
            return self._executor.call(self._pipeline.prepare(ctx, STREAMED, params, identity))

        # What is to be refused is refused before the stream begins.
        if cursor is None:
            show = self._pipeline.prepare(ctx, "workspace.show", {}, identity)
            cursor = (await self._executor.call(show))["seq"]
        else:
            await page_after(cursor, 0)
        ctx.scope[LONG_POLL] = True
        with self._metrics.streams.track_inprogress():
            await events.stream(ctx, page_after, cursor)


async def _answer(ctx: RequestContext, record: object) -> None:
    """Answer with a record, unless its client has it as well."""
    etag = etag_of(record)
    tag: Headers = [] if etag is None else [(b"etag", etag.encode())]
    if is_known(ctx, etag):
        await ctx.respond(304, tag, b"")
    else:
        await ctx.respond(200, [JSON, NO_STORE, *tag], record_text(record))


async def _answer_offset(ctx: RequestContext, offset: int) -> None:
    headers = [JSON, NO_STORE, (b"upload-offset", str(offset).encode())]
    await ctx.respond(200, headers, json.dumps({"offset": offset}).encode())


async def _unless_left(ctx: RequestContext, waiting: Any) -> Any:
    """The result of a call that waits, unless the client goes away meanwhile."""
    call = asyncio.ensure_future(waiting)
    leaving = asyncio.ensure_future(ctx.disconnected())
    try:
        await asyncio.wait((call, leaving), return_when=asyncio.FIRST_COMPLETED)
        if call.done():
            return call.result()
        call.cancel()
        raise Disconnected()
    finally:
        leaving.cancel()
