"""Reading Server-Sent Events (WHATWG HTML, section 9.2), as far as a fastio server sends them."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import contextmanager

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import httpx

EVENTS = "text/event-stream"
MESSAGE_BYTES_MAX = 16 * 1024 * 1024


class Message:
    """One message; without ``data`` it is a sign of life, and may yet move ``id`` on."""

    __slots__ = ("data", "id", "type")

    def __init__(self, id: str, type: str, data: str) -> None:
        self.id = id
        self.type = type
        self.data = data


def is_stream(response: httpx.Response) -> bool:
    """Whether an answer comes as messages."""
    media_type: str = response.headers.get("content-type", "").partition(";")[0]
    return media_type == EVENTS


def messages(chunks: Iterable[bytes]) -> Iterator[Message]:
    """The messages in a stream of bytes; what a cut left unfinished is none.

    Raises ``unavailable`` for a message of more than :data:`MESSAGE_BYTES_MAX`, whether it has one
    line or many. (The public part of httpx-sse would keep any number of bytes of either, and drop
    the empty messages that are signs of life.)
    """
    id = type = ""
    data: list[str] = []
    size_bytes = 0
    for line in _lines(chunks):
        size_bytes = size_bytes + len(line) if line else 0
        if size_bytes > MESSAGE_BYTES_MAX:
            raise _endless()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            yield Message(id, type, "\n".join(data))
            type, data = "", []
        elif name == "id":
            id = value
        elif name == "event":
            type = value
        elif name == "data":
            data.append(value)


def _lines(chunks: Iterable[bytes]) -> Iterator[str]:
    begun: list[bytes] = []  # what there is of the line that is not ended yet
    size_bytes = 0
    for chunk in chunks:
        first, *others = chunk.split(b"\n")
        begun.append(first)
        size_bytes += len(first)
        for other in others:
            yield b"".join(begun).removesuffix(b"\r").decode("utf-8", "replace")
            begun, size_bytes = [other], len(other)
        if size_bytes > MESSAGE_BYTES_MAX:
            raise _endless()


def _endless() -> FastioError:
    return FastioError("unavailable", "A message of the stream is endless.")


@contextmanager
def cut_at(deadline: float | None, response: httpx.Response) -> Iterator[None]:
    """End a response's stream at a ``time.monotonic()``, whatever does or does not come.

    A read has one time limit, set before the first byte; so another thread ends the connection
    below it. The reader sees it as cut.
    """
    stream = response.extensions.get("network_stream")
    line = stream.get_extra_info("socket") if stream is not None else None
    if deadline is None or line is None:
        yield
        return

    def cut() -> None:
        try:
            socket.socket.shutdown(line, socket.SHUT_RDWR)  # also where TLS is on top of it
        except OSError:
            pass  # it is closed already

    timer = threading.Timer(max(0.0, deadline - time.monotonic()), cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
