"""The ASGI application: one request's way from bytes to the engine and back.

``/v1`` is the catalogue. Around it stand ``/openapi.json``, ``/healthz`` (the process lives),
``/readyz`` (the store answers) and ``/metrics`` (Prometheus).
"""

from __future__ import annotations

import asyncio
import json
import time
from functools import partial

from fastio_cli.engine.authorization import authorise_monitoring
from fastio_cli.engine.engine import new_id
from fastio_cli.errors import FastioError
from fastio_cli.json_text import compact
from fastio_cli.operations import every, find
from fastio_cli.operations.files import Download
from fastio_cli.server import events as sse
from fastio_cli.server.access_log import AccessLog
from fastio_cli.server.authentication import Authenticator
from fastio_cli.server.executor import Desk
from fastio_cli.server.http import (
    BODYLESS,
    JSON,
    NO_SNIFF,
    NO_STORE,
    Disconnected,
    Request,
    etag_of,
    is_known,
    params_of,
    problem,
    query_of,
    range_of,
    respond,
    text_of,
)
from fastio_cli.server.metrics import Metrics
from fastio_cli.server.protocol import WAITS
from fastio_cli.server.rate_limit import RateLimit, network_of
from fastio_cli.server.routes import Routes, decoded, wrong_method
from fastio_cli.server.uploads import Transfers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.blobs.content import Content
    from fastio_cli.engine.engine import Call, Engine
    from fastio_cli.identity import Identity
    from fastio_cli.operations.operation import Operation
    from fastio_cli.server.http import Headers, Receive, Scope, Send, SendWhole
    from fastio_cli.server.run import Background

RATE_PER_S = 1000
AROUND = ("/healthz", "/readyz", "/openapi.json", "/metrics")


STOPPING = FastioError("unavailable", "The server is being stopped.", "Try again in a moment.")


class Exchange:
    """One request on its way, and what the log will say of it."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.request = Request(scope, receive)
        self.scope = scope
        self.receive = receive
        self.send = send
        self.id = new_id()
        self.started = time.perf_counter()
        self.operation = ""
        self.actor = ""
        self.workspace = ""
        self.status = 0

    @property
    def headers(self) -> Headers:
        """What every answer has."""
        return [(b"x-request-id", self.id.encode()), NO_SNIFF]

    async def answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.status = status
        await respond(self.scope, self.send, status, [*headers, *self.headers], body)


class Direct:
    """A request on the short way, as the desk sees it: someone to tell what came of its call."""

    __slots__ = ("_app", "_send", "_x")

    def __init__(self, app: App, x: Exchange, send: SendWhole) -> None:
        self._app = app
        self._x = x
        self._send = send

    def done(self) -> bool:
        return False

    def set_result(self, result: Any) -> None:
        self._app.end_direct(self._x, self._send, result)

    def set_exception(self, error: Exception) -> None:
        self._app.end_direct(self._x, self._send, error)


class App:
    """The ASGI application on one engine."""

    def __init__(
        self,
        engine: Engine,
        *,
        rate_per_s: int = RATE_PER_S,
        access_log: AccessLog | None = None,
        background: Background | None = None,
    ) -> None:
        self._background = background
        self._engine = engine
        self._routes = Routes()
        self._short = {op.name for op in every() if op.inline and op.upload_param is None}
        self._limit = RateLimit(rate_per_s)
        self._log = access_log
        self._metrics = Metrics()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(Exchange(scope, receive, send))
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close"})

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        loop = asyncio.get_running_loop()
        self._desk = Desk(self._engine, loop)
        self._authenticator = Authenticator(self._desk)
        self._transfers = Transfers(self._engine, loop)
        if self._background is not None:
            self._background.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._transfers.close()
        if self._background is not None:
            await loop.run_in_executor(None, self._background.stop)
        await loop.run_in_executor(None, self._desk.close)
        if self._log is not None:
            self._log.flush()
        await send({"type": "lifespan.shutdown.complete"})

    def direct(self, scope: Scope, body: bytes, send: SendWhole) -> bool:
        """Serve a small request that is here whole on the short way, if it is of the usual kind.

        Its call is quick and waits for nothing, so it needs no task and none of ASGI's messages.
        False for all others: nothing was done, and they go the long way.
        """
        if not self._desk.is_near:
            return False
        x = Exchange(scope, _no_more, _no_more)
        identity = self._authenticator.at_hand(x.request.token)
        if identity is None:
            return False
        try:
            operation, in_path = self._routes.match(x.request.method, x.request.raw_path)
        except FastioError:
            return False  # a stream, or nothing
        if operation.name not in self._short:
            return False
        reply = Direct(self, x, send)
        refused: FastioError | None = None
        try:
            if x.request.method not in BODYLESS:
                x.request.refuse_encoding()
            elif body:
                return False
            x.operation, x.actor = operation.name, identity.member
            call = self._call_of(x, operation, in_path, identity, body)
            if self._engine.may_wait(call) or call.params.get("query"):
                return False
        except FastioError as e:
            refused = e
        try:
            self._limit.take(x.request.token or "")  # what is wrong counts as well
        except FastioError as e:
            refused = e
        if refused is not None:
            reply.set_exception(refused)
        else:
            self._desk.submit(call, reply)
        return True

    def end_direct(self, x: Exchange, send: SendWhole, outcome: Any) -> None:
        """Answer on the short way with a result or an error.

        An answer that cannot be sent becomes an error: those of the same commit are still to come.
        """
        if not isinstance(outcome, Exception):
            try:
                x.status, headers, content = _answer_of(x.request, outcome)
                send(x.status, [*headers, *x.headers], content)
            except Exception as e:
                outcome = e
        if isinstance(outcome, Exception):
            error = outcome if isinstance(outcome, FastioError) else _internal(outcome, x.id)
            x.status, headers, content = problem(error, x.id)
            send(x.status, [*headers, *x.headers], content)
        self._note(x)

    async def _serve(self, x: Exchange) -> None:
        try:
            if x.request.raw_path.startswith("/v1/"):
                await self._catalogue(x)
            else:
                await self._around(x)
        except FastioError as e:
            await self._refuse(x, e)
        except Exception as e:
            await self._refuse(x, _internal(e, x.id))
        except asyncio.CancelledError:  # the server ends, and has waited long enough
            await self._refuse(x, STOPPING)
        finally:
            self._note(x)

    def _note(self, x: Exchange) -> None:
        elapsed_s = time.perf_counter() - x.started
        self._metrics.record(x.operation or "-", x.status, elapsed_s)
        if self._log is not None:
            self._log.note(x, elapsed_s)

    async def _refuse(self, x: Exchange, error: FastioError) -> None:
        if x.status or isinstance(error, Disconnected):
            return  # the answer had begun, or nobody reads it
        status, headers, body = problem(error, x.id)
        await x.answer(status, headers, body)

    async def _around(self, x: Exchange) -> None:
        path, method = x.request.raw_path, x.request.method
        if method not in ("GET", "HEAD") and path in AROUND:
            raise wrong_method(method, ["GET", "HEAD"])
        if path == "/healthz":
            await x.answer(200, [JSON, NO_STORE], b'{"status":"ok"}')
        elif path == "/readyz":
            await self._desk.read(lambda tx: tx.workspaces.by_name("default"))
            await x.answer(200, [JSON, NO_STORE], b'{"status":"ready"}')
        elif path == "/openapi.json":
            from fastio_cli.server.openapi import document_bytes

            await x.answer(200, [JSON], document_bytes())
        elif path == "/metrics":
            identity = await self._identify(x, None)
            await self._desk.read(lambda tx: authorise_monitoring(tx, identity))
            await x.answer(
                200, [(b"content-type", Metrics.media_type.encode())], self._metrics.text()
            )
        else:
            raise FastioError("not_found", "Nothing is here.", "See what there is: /openapi.json")

    async def _catalogue(self, x: Exchange) -> None:
        request = x.request
        client = self._authenticator.known(request.token) or network_of(request.client)
        self._limit.take(client)
        parts = request.raw_path.split("/")
        if len(parts) == 6 and parts[4:] == ["events", "stream"] and request.method == "GET":
            await self._stream(x, decoded(parts[3]))
        elif len(parts) == 6 and parts[4] == "uploads":
            await self._upload_part(x, decoded(parts[3]), parts[5])
        else:
            method = "GET" if request.method == "HEAD" else request.method
            operation, in_path = self._routes.match(method, request.raw_path)
            await self._call(x, operation, in_path)

    async def _call(self, x: Exchange, operation: Operation, in_path: dict[str, str]) -> None:
        request = x.request
        x.operation = operation.name
        identity = await self._identify(x, operation)
        upload = operation.upload_param
        has_body = upload is None and request.method not in BODYLESS
        body = await request.body() if has_body else b""
        content = None
        if upload is not None:
            workspace = in_path.get("workspace", "default")
            await self._desk.read(self._engine.admission(operation, workspace, identity))
            content = await self._transfers.content(request, identity)
        call = self._call_of(x, operation, in_path, identity, body, content)
        if self._engine.may_wait(call):
            x.scope[WAITS] = True
            result = await _unless_left(self._desk.call(call), x.receive)
        elif operation.response == "chunks" and sse.is_accepted(request):
            await sse.answer(x.send, x.receive, partial(self._heard_by, x, call), x.headers)
            x.status = 200
            return
        else:
            result = await self._desk.call(call, small=request.is_small)
        await self._answer(x, result)

    async def _heard_by(self, x: Exchange, call: Call, hear: Callable[[str], None]) -> Any:
        """Do a call whose answer comes in pieces."""
        call.on_chunk = hear
        try:
            return await self._desk.call(call)
        except FastioError:
            raise
        except Exception as e:
            raise _internal(e, x.id) from e

    def _call_of(
        self,
        x: Exchange,
        operation: Operation,
        in_path: dict[str, str],
        identity: Identity,
        body: bytes,
        content: Content | None = None,
    ) -> Call:
        """The call that a request asks for, from all its parts."""
        request = x.request
        x.workspace = in_path.pop("workspace", "default")
        params = params_of(operation, request, in_path, body)
        if content is not None:
            assert operation.upload_param is not None
            params[operation.upload_param] = content
        asked = range_of(request) if operation.response == "bytes" else None
        if asked is not None:
            params["offset"], length = asked
            if length is not None:
                params["length"] = length
        key = request.headers.get("idempotency-key")
        key = text_of(key) if key is not None else None
        return self._engine.prepare(operation.name, params, x.workspace, "", key, identity=identity)

    async def _identify(self, x: Exchange, operation: Operation | None) -> Identity:
        identity = await self._authenticator.identify(x.request.token)
        if identity.digest is None and (operation is None or operation.role != "anyone"):
            from fastio_cli.identity import unauthenticated

            raise unauthenticated()
        x.actor = identity.member
        await self._authenticator.note_use(identity)
        return identity

    async def _answer(self, x: Exchange, result: Any) -> None:
        if isinstance(result, Download) and not is_known(x.request, etag_of(result.record)):
            x.status = 200
            x.status = await self._transfers.send(x.send, x.request, result, x.headers)
        else:
            await x.answer(*_answer_of(x.request, result))

    async def _upload_part(self, x: Exchange, workspace: str, id: str) -> None:
        x.operation, x.workspace = "file.put", workspace
        identity = await self._identify(x, None)
        await self._desk.read(self._engine.admission(find("file.put"), workspace, identity))
        if x.request.method == "PATCH":
            size = await self._transfers.add_part(x.request, id, identity)
        elif x.request.method == "GET":
            size = await self._transfers.part_size(id, identity)
        else:
            raise wrong_method(x.request.method, ["GET", "PATCH"])
        offset = (b"upload-offset", str(size).encode())
        await x.answer(200, [JSON, NO_STORE, offset], json.dumps({"offset": size}).encode())

    async def _stream(self, x: Exchange, workspace: str) -> None:
        x.operation, x.workspace = "event.list", workspace
        identity = await self._identify(x, find("event.list"))
        query = dict(query_of(x.request.query))
        cursor = sse.start_of(query, x.request.headers.get("last-event-id"))
        filters: Any = {name: query[name] for name in ("type", "path") if name in query}
        if unknown := set(query) - {"after", "type", "path"}:
            raise FastioError("invalid", f"A stream has no parameter {unknown.pop()!r}.")

        def page_after(seq: int, wait_s: float = sse.HEARTBEAT_S) -> Any:
            params = {"after": seq, "limit": sse.PAGE, "wait_s": wait_s, **filters}
            return self._desk.call(
                self._engine.prepare("event.list", params, workspace, "", identity=identity)
            )

        show = self._engine.prepare("workspace.show", {}, workspace, "", identity=identity)
        newest = (await self._desk.call(show))["seq"]  # refuses before the stream begins
        self._metrics.streams.inc()
        x.scope[WAITS] = True
        try:
            x.status = 200
            after = newest if cursor is None else cursor
            await sse.stream(x.send, x.receive, page_after, after, x.headers)
        finally:
            self._metrics.streams.dec()


def _answer_of(request: Request, result: Any) -> tuple[int, Headers, bytes]:
    """A record as status, headers and body; a download that its client has as well."""
    etag = etag_of(result.record if isinstance(result, Download) else result)
    tag: Headers = [] if etag is None else [(b"etag", etag.encode())]
    if is_known(request, etag):
        return 304, tag, b""
    return (
        200,
        [JSON, NO_STORE, *tag],
        compact(result).encode(),
    )


async def _no_more(*_: Any) -> Any:
    """Stands for the messages of ASGI on the short way, where there are none."""
    raise AssertionError("the short way has no messages")


async def _unless_left(waiting: Any, receive: Receive) -> Any:
    """The result of a call that waits, unless the client goes away meanwhile."""
    call = asyncio.ensure_future(waiting)
    leaving = asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((call, leaving), return_when=asyncio.FIRST_COMPLETED)
        if call.done():
            return call.result()
        call.cancel()
        raise Disconnected()
    finally:
        leaving.cancel()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _internal(error: Exception, request_id: str) -> FastioError:
    """An unknown failure: the log gets the traceback, the client an id to ask about."""
    import logging

    logging.getLogger("fastio").error("request %s failed", request_id, exc_info=error)
    return FastioError(
        "internal",
        "Something went wrong in the server.",
        f"Tell its operator the request's id: {request_id}",
        request_id=request_id,
    )
