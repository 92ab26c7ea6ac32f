"""Limits on connections that uvicorn does not know: how many there may be, how large a request's
head may be, how long head and body may take to come, and how slowly an answer may be read; and
that what is no proper request is refused in its turn (``framing.py``), and ends its connection.

Members of uvicorn's class that are overridden: ``connection_made``, ``connection_lost``,
``data_received``, ``on_header``, ``on_headers_complete``, ``on_body``, ``on_message_complete``,
``shutdown``, ``pause_writing``, ``resume_writing``, ``_start_asgi_task``. That are used:
``connections``, ``cycle``, ``flow``, ``headers``, ``limit_concurrency``, ``loop``, ``parser``,
``pipeline``, ``scope``, ``transport``, ``url``, ``_unset_keepalive_if_required``; of a cycle:
``disconnected``, ``keep_alive``, ``message_event``, ``response_complete``.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

import httptools
from uvicorn.protocols.http.flow_control import service_unavailable
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from fastio_cli.errors import FastioError
from fastio_cli.server.framing import HEAD_TOO_LARGE, MALFORMED, refusal_of
from fastio_cli.server.request_context import (
    BODY_FAILURE,
    HAS_LEFT,
    LONG_POLL,
    TASK,
    RequestContext,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from starlette.types import ASGIApp, Receive, Scope, Send

    from fastio_cli.server.framing import Refusal

HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 15.0
IDLE_S = 30.0  # a body that rests for longer is given up
# So is one that comes more slowly than this, over all but its first minute.
BODY_S = 60.0
BODY_BYTES_PER_S_MIN = 1024
COALESCED_BYTES_MAX = 16 * 1024
LINGER_S = 2.0
WRITE_S = 60.0  # an answer of which nothing was taken for so long is given up


class CoalescingTransport:
    """A transport whose writes of one tick of the loop go out as one.

    An answer's head and body are two writes of uvicorn; sent apart they cost a system call more
    and wake the client twice, which is a fifth of what a small request takes.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._unsent: list[bytes] = []
        self.lingers = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send this with what else is written in this tick; at once what is large."""
        if not self._unsent:
            self._loop.call_soon(self.flush)
        self._unsent.append(data)
        if len(data) > COALESCED_BYTES_MAX:
            self.flush()

    def flush(self) -> None:
        """Send what was written."""
        if self._unsent:
            unsent, self._unsent = self._unsent, []
            # Not writelines: from Python 3.12 on, asyncio's fails where the connection is lost,
            # and does not pause who writes too much.
            self._transport.write(unsent[0] if len(unsent) == 1 else b"".join(unsent))

    def close(self) -> None:
        """Close the connection once everything is sent.

        One that ``lingers`` goes on taking bytes for a moment, of which nothing is made: a client
        that is still sending would be cut off before it has read the answer (RFC 9112 §9.6).
        """
        self.flush()
        if self.lingers and self._transport.can_write_eof() and not self._transport.is_closing():
            self.lingers = False
            self._transport.write_eof()
            self._loop.call_later(LINGER_S, self._transport.close)
        else:
            self._transport.close()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._head_bytes: int | None = 0  # None while a body or an answer is on its way
        self._head_since: float | None = None
        self._body_since: float | None = None  # None unless a body is on its way
        self._body_at = 0.0  # when it last grew
        self._body_bytes = 0
        self._around_body_bytes = 0  # since it last grew: extensions of chunks, trailers
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._refusal: Refusal | None = None
        self._served: RequestResponseCycle | None = None  # of those that came, the one being served
        self._is_over = False  # nothing that comes is a request any more

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        transport = CoalescingTransport(transport, self.loop)
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
            return
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != getattr(socket, "AF_UNIX", None):
            # Without this what is sent in several writes waits for an acknowledgement of the first.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head_since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_S, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)
        if self._served is not None and not self._served.response_complete:
            self._served.disconnected = True
            self._served.message_event.set()
            scope = cast("dict[str, Any]", self._served.scope)
            scope[HAS_LEFT] = True
            task: asyncio.Task[None] | None = scope.get(TASK)
            if task is not None:
                task.cancel()  # what is queued for it is dropped

    def data_received(self, data: bytes) -> None:
        """Count what comes, and see to it that the rest comes in time."""
        if self._is_over:
            return
        if self._head_bytes is not None:
            if self._head_since is None:
                self._head_since = self.loop.time()
            self._head_bytes += len(data)
        else:
            self._around_body_bytes += len(data)
        self._parse(data)
        if self._is_over:
            return
        if self._head_bytes is not None:
            if self._head_bytes > HEAD_BYTES_MAX:
                self._refuse(HEAD_TOO_LARGE)
        elif self._around_body_bytes > HEAD_BYTES_MAX:
            self.transport.abort()
        due = self._due()
        if due is not None:  # most requests come whole
            self._check_by(due)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head, without white space around its value (RFC 9110 §5.5); one that
        comes behind the body counts for nothing there (§6.5.1)."""
        if self._head_bytes is not None:
            super().on_header(name, value.strip(b" \t"))

    def on_headers_complete(self) -> None:
        """From here on a body may come."""
        if cast("int", self._head_bytes) > HEAD_BYTES_MAX:  # with what came behind it
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEAD_BYTES_MAX:
                self._refusal = HEAD_TOO_LARGE
        self._refusal = self._refusal or refusal_of(
            self.parser.get_http_version(),
            self.parser.get_method().decode("latin-1"),
            self.url,
            self.headers,
            self.parser.should_upgrade(),
        )
        if self._refusal is not None:
            raise ValueError("the parser is to stop")
        self._head_bytes = self._head_since = None
        self._around_body_bytes = 0
        self._body_since = self._body_at = self.loop.time()
        self._body_bytes = 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Note that a body grows."""
        self._body_at = self.loop.time()
        self._body_bytes += len(body)
        self._around_body_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What follows is the head of the next request."""
        self._body_since = self._head_since = None
        self._head_bytes = 0
        super().on_message_complete()

    def shutdown(self) -> None:
        """Let a request that works finish; cut off one that only waits, and will ask again."""
        super().shutdown()
        waits = self.scope is not None and self.scope.get(LONG_POLL)
        if waits and not self.transport.is_closing():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            self.transport.close()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._write_timer = self.loop.call_later(WRITE_S, self.transport.abort)

    def resume_writing(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
        super().resume_writing()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._served = cycle
        chosen: Any = _unavailable if app is service_unavailable else app
        super()._start_asgi_task(cycle, chosen)

    def _parse(self, data: bytes) -> None:
        """Take requests from what came. The first that is none is refused, and is the last."""
        self._unset_keepalive_if_required()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            # A request that may be answered as if it did not ask (RFC 9110 §7.8), in a parser that
            # does not go on.
            self.cycle.keep_alive = False
            self._end()
        except httptools.HttpParserError:
            if self._head_bytes is None:
                self._end()
                self._fail_body(FastioError("invalid", "The request's body is not well-formed."))
            else:
                self._refuse(self._refusal or MALFORMED)

    def _end(self) -> None:
        """Take no more requests, and let the client read what was answered."""
        self._is_over = True
        cast("CoalescingTransport", self.transport).lingers = True

    def _refuse(self, refusal: Refusal) -> None:
        """Answer what is no request with an error, after the answers to those that came before, and
        close the connection."""
        self._end()
        self._head_since = self._body_since = None
        is_first = self.cycle is None or self.cycle.response_complete
        self.cycle = self._cycle_of_refusal()
        app: Any = _refusing(refusal)
        if is_first:
            self._start_asgi_task(self.cycle, app)
        else:
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, app))

    def _cycle_of_refusal(self) -> RequestResponseCycle:
        method = self.parser.get_method().decode("latin-1") if self._refusal is not None else "GET"
        shared = {"type": "http", "http_version": "1.1", "client": self.client}
        target = {"path": "", "raw_path": b"", "query_string": b"", "headers": []}
        return RequestResponseCycle(
            scope=cast("Any", {**shared, "method": method, **target}),
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=False,
            on_response=self.on_response_complete,
        )

    def _fail_body(self, error: FastioError) -> None:
        """Have the request whose body is on its way answered with an error, unless it was."""
        self._body_since = None
        if self.cycle.response_complete:  # nobody waits for the body of what was refused
            self.transport.close()
            return
        self.cycle.keep_alive = False
        cast("dict[str, Any]", self.scope)[BODY_FAILURE] = error
        self.cycle.message_event.set()

    def _due(self) -> float | None:
        """When what is on its way is late."""
        if self._head_since is not None:
            return self._head_since + HEAD_S
        if self._body_since is None:
            return None
        slow = self._body_since + BODY_S + self._body_bytes / BODY_BYTES_PER_S_MIN
        return min(self._body_at + IDLE_S, slow)

    def _check_by(self, due: float) -> None:
        """Check then at the latest; mostly the check that is planned comes sooner."""
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(due, self._check)

    def _check(self) -> None:
        """Give up what is late. One timer serves many requests: few are ever late."""
        self._timer = None
        due = self._due()
        if due is None:
            return
        if due > self.loop.time():
            self._check_by(due)
        elif self._head_since is not None:
            self.transport.abort()
        elif self.flow.read_paused:  # it is we who keep it waiting
            self._timer = self.loop.call_later(IDLE_S, self._check)
        else:
            self._fail_body(FastioError("timeout", "The request's body stopped coming."))


def _refusing(refusal: Refusal) -> ASGIApp:
    async def refuse(scope: Scope, receive: Receive, send: Send) -> None:
        await RequestContext(scope, receive, send).refuse(refusal.error, refusal.status)

    return refuse


async def _unavailable(scope: Scope, receive: Receive, send: Send) -> None:
    error = FastioError("unavailable", "There are too many connections.", retry_after_s=1)
    await RequestContext(scope, receive, send).refuse(error)
