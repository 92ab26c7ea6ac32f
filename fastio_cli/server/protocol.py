"""Limits on connections that uvicorn does not know: how many there may be, how large a request's
head may be, how long head and body may take to come, and how slowly an answer may be read.

And a shorter way for what most requests are: small and here whole. They are offered to the
application before uvicorn makes a task and ASGI's messages for them, which cost more than their
work; those it does not take go uvicorn's way from there.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from functools import partial
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from fastio_cli.server.http import LATE, SMALL_BYTES_MAX, WHOLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from typing import Any

    from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

    from fastio_cli.server.http import Headers, SendWhole

    Direct = Callable[[MutableMapping[str, Any], bytes, SendWhole], bool]

WAITS = "fastio.waits"  # set in the scope of a request that does nothing but wait
HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 15.0
IDLE_S = 30.0  # a body that rests for longer is given up
# So is one that comes more slowly than this, over all but its first minute.
BODY_S = 60.0
BODY_BYTES_PER_S_MIN = 1024
WRITE_S = 60.0  # an answer of which nothing was taken for so long is given up


class DirectCycle:
    """Stands where uvicorn keeps the request it is working on, for one on the short way."""

    message_event = asyncio.Event()  # nobody waits for it

    def __init__(self, scope: dict[str, Any], keep_alive: bool) -> None:
        self.scope = scope
        self.keep_alive = keep_alive
        self.disconnected = self.response_started = self.response_complete = False


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with limits."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The application's own short way, unless something stands in front of it.
        self._direct: Direct | None = getattr(self.app, "direct", None)
        self._small: bytearray | None = None  # the body of a request that may go that way
        self._head_bytes: int | None = 0  # None while a body or an answer is on its way
        self._head_since: float | None = None
        self._body_since: float | None = None  # None unless a body is on its way
        self._body_at = 0.0  # when it last grew
        self._body_bytes = 0
        self._around_body_bytes = 0  # since it last grew: extensions of chunks, trailers
        self._idle_since: float | None = None  # since an answer on the short way
        self._timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Begin to wait for the first request."""
        super().connection_made(transport)
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency:
            transport.abort()
            return
        connection = transport.get_extra_info("socket")
        if connection is not None and connection.family != getattr(socket, "AF_UNIX", None):
            # An answer's head and body are two writes; without this the second waits for an ack.
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head_since = self.loop.time()
        self._timer = self.loop.call_later(HEAD_S, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        for timer in (self._timer, self._write_timer):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count what comes, and see to it that the rest comes in time."""
        self._idle_since = None
        if self._head_bytes is not None:
            if self._head_since is None:
                self._head_since = self.loop.time()
            self._head_bytes += len(data)
        else:
            self._around_body_bytes += len(data)
        super().data_received(data)
        if self._head_bytes is not None:
            if self._head_bytes > HEAD_BYTES_MAX:
                self.send_400_response("The request's head is too large.")
        elif self._around_body_bytes > HEAD_BYTES_MAX:
            self.transport.abort()
        due = self._due()
        if due is not None:  # most requests come whole and are answered already
            self._look_by(due)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; one that comes behind the body counts for nothing there
        (RFC 9110 §6.5.1)."""
        if self._head_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on a body may come; a small one is waited for before anything begins."""
        if cast("int", self._head_bytes) > HEAD_BYTES_MAX:  # with what came behind it
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEAD_BYTES_MAX:
                raise ValueError("the request's head is too large")  # the parser's error: 400
        self._head_bytes = self._head_since = None
        self._around_body_bytes = 0
        self._body_since = self._body_at = self.loop.time()
        self._body_bytes = 0
        if self._may_be_direct():
            self._small = bytearray()
        else:
            self._go_the_long_way()

    def on_body(self, body: bytes) -> None:
        """Keep a small body, hand on others."""
        self._body_at = self.loop.time()
        self._body_bytes += len(body)
        self._around_body_bytes = 0
        if self._small is None:
            super().on_body(body)
        else:
            self._small += body

    def on_message_complete(self) -> None:
        """Serve a small request, which is here whole."""
        self._body_since = None
        self._head_bytes = 0  # what follows is the head of the next request
        if self._small is not None:
            if self._serve_directly(bytes(self._small)):
                self._small = None
                return
            self._leave_the_short_way(self._small)
        super().on_message_complete()

    def shutdown(self) -> None:
        """Let a request that works finish; cut off one that only waits, and will ask again."""
        super().shutdown()
        if self.scope is not None and self.scope.get(WAITS) and not self.transport.is_closing():
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

    def _leave_the_short_way(self, body: bytearray) -> None:
        self._small = None
        self._go_the_long_way()
        if body:
            super().on_body(bytes(body))

    def _go_the_long_way(self) -> None:
        """Have uvicorn make a cycle and a task for the request whose head is here."""
        super().on_headers_complete()
        extensions = {WHOLE: partial(self._answer_whole, self.cycle)}
        cast("dict[str, Any]", self.scope)["extensions"] = extensions

    def _may_be_direct(self) -> bool:
        """Whether the request whose head is here is small and plain, and nothing is before it."""
        if self.cycle is not None and not self.cycle.response_complete:
            return False
        if self.flow.write_paused:
            return False
        if self._direct is None or not self.url.startswith(b"/v1/workspaces/"):
            return False
        if len(self.connections) >= (self.limit_concurrency or sys.maxsize):
            return False
        if self.parser.get_http_version() != "1.1" or self.parser.should_upgrade():
            return False
        for name, value in self.headers:
            if name == b"content-length":
                if len(value) > 5 or int(value) > SMALL_BYTES_MAX:
                    return False
            elif name in (b"transfer-encoding", b"expect"):
                return False
        return True

    def _serve_directly(self, body: bytes) -> bool:
        assert self._direct is not None
        raw_path, _, query = self.url.partition(b"?")
        scope = cast("dict[str, Any]", self.scope)
        scope["method"] = self.parser.get_method().decode("ascii")
        scope["raw_path"], scope["query_string"] = raw_path, query
        before = self.cycle
        cycle = self.cycle = cast("Any", DirectCycle(scope, self.parser.should_keep_alive()))
        if self._direct(scope, body, partial(self._answer_whole, cycle)):
            return True
        self.cycle = before
        return False

    def _answer_whole(
        self,
        cycle: RequestResponseCycle | DirectCycle,
        status: int,
        headers: Headers,
        body: bytes,
    ) -> bool:
        """Send a response in one piece, for a third of what two messages cost.

        False, with nothing done, if its client has not taken the last one yet: that is waited for
        in the usual way.
        """
        if self.flow.write_paused:
            return False
        fields = [*self.server_state.default_headers, *headers]
        if not cycle.keep_alive:
            fields.append((b"connection", b"close"))
        head = b"".join([b"%b: %b\r\n" % field for field in fields])
        if head.count(b"\n") != len(fields):
            raise ValueError("a header holds a line break")
        if status != 304:  # which has no content, and no length of one (RFC 9110 §8.6)
            head += b"content-length: %d\r\n" % len(body)
        if cycle.scope["method"] == "HEAD":
            body = b""
        if not cycle.disconnected:
            self.transport.write(b"%b%b\r\n%b" % (STATUS_LINE[status], head, body))
            if not cycle.keep_alive:
                self.transport.close()
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if isinstance(cycle, DirectCycle) and not self.pipeline:
            self._rest()
        else:
            self.on_response_complete()
        return True

    def _rest(self) -> None:
        """``on_response_complete`` where nothing is to follow: without uvicorn's timer."""
        self.server_state.total_requests += 1
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self._idle_since = self.loop.time()
            self._look_by(self._idle_since + self.timeout_keep_alive)

    def _due(self) -> float | None:
        """When what is on its way is late, or nothing has come for too long."""
        if self._head_since is not None:
            return self._head_since + HEAD_S
        if self._idle_since is not None:
            return self._idle_since + self.timeout_keep_alive
        if self._body_since is None:
            return None
        slow = self._body_since + BODY_S + self._body_bytes / BODY_BYTES_PER_S_MIN
        return min(self._body_at + IDLE_S, slow)

    def _look_by(self, due: float) -> None:
        """Have a look then at the latest; mostly the one that is planned comes sooner."""
        if self._timer is not None:
            if self._timer.when() <= due:
                return
            self._timer.cancel()
        self._timer = self.loop.call_at(due, self._look)

    def _look(self) -> None:
        """Give up what is late. One timer serves many requests: few are ever late."""
        self._timer = None
        due = self._due()
        if due is None:
            return
        if due > self.loop.time():
            self._look_by(due)
        elif self._head_since is not None:
            self.transport.abort()
        elif self._idle_since is not None:
            self.transport.close()
        elif self.flow.read_paused:  # it is we who keep it waiting
            self._timer = self.loop.call_later(IDLE_S, self._look)
        else:
            if self._small is not None:
                self._leave_the_short_way(self._small)
            if self.cycle.response_complete:  # nobody waits for the body of what was refused
                self.transport.close()
                return
            cast("dict[str, Any]", self.scope)[LATE] = True
            self.cycle.message_event.set()
