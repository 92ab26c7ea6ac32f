"""Limits on connections that uvicorn does not know: how many there may be, how large a request's
head may be, how long head and body may take to come, and how slowly an answer may be read.

Members of uvicorn's class that are overridden: ``connection_made``, ``connection_lost``,
``data_received``, ``on_header``, ``on_headers_complete``, ``on_body``, ``on_message_complete``,
``shutdown``, ``pause_writing``, ``resume_writing``. That are used: ``connections``, ``cycle``,
``flow``, ``headers``, ``limit_concurrency``, ``loop``, ``scope``, ``send_400_response``,
``transport``, ``url``; of a cycle: ``disconnected``, ``message_event``, ``response_complete``.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fastio_cli.server.request_context import BODY_TIMED_OUT, LONG_POLL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HEAD_BYTES_MAX = 64 * 1024
HEAD_S = 15.0
IDLE_S = 30.0  # a body that rests for longer is given up
# So is one that comes more slowly than this, over all but its first minute.
BODY_S = 60.0
BODY_BYTES_PER_S_MIN = 1024
COALESCED_BYTES_MAX = 16 * 1024
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
        """Close the connection once everything is sent."""
        self.flush()
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

    def data_received(self, data: bytes) -> None:
        """Count what comes, and see to it that the rest comes in time."""
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
        if due is not None:  # most requests come whole
            self._check_by(due)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a field of the head; one that comes behind the body counts for nothing there
        (RFC 9110 §6.5.1)."""
        if self._head_bytes is not None:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """From here on a body may come."""
        if cast("int", self._head_bytes) > HEAD_BYTES_MAX:  # with what came behind it
            size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
            if size > HEAD_BYTES_MAX:
                raise ValueError("the request's head is too large")  # the parser's error: 400
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
        elif self.cycle.response_complete:  # nobody waits for the body of what was refused
            self.transport.close()
        else:
            cast("dict[str, Any]", self.scope)[BODY_TIMED_OUT] = True
            self.cycle.message_event.set()
