"""A server on loopback that answers as it is told to: badly, mostly. And a clock moved by hand."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable
from email.parser import BytesParser
from typing import Any

from tests.storage.proxy import hang_up

Answer = Callable[[socket.socket], None]


class Request:
    """What a client sent."""

    def __init__(self, head: bytes, body: bytes) -> None:
        line, _, rest = head.partition(b"\r\n")
        self.method, self.target, _ = line.decode().split(" ")
        self.headers = BytesParser().parsebytes(rest)
        self.body = body


class Scripted:
    """Gives its answers one a request, the last of them for ever; remembers what was asked."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.requests: list[Request] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in (self._listener, *self._open):
            hang_up(end)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                line, _ = self._listener.accept()
                self.connections += 1
                self._open.append(line)
                threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), line.makefile("rb") as stream:
            while head := _head(stream):
                request = Request(head, b"")
                if "transfer-encoding" in request.headers:
                    request.body = b"".join(_chunks(stream))
                else:
                    request.body = stream.read(int(request.headers.get("content-length", 0)))
                self.requests.append(request)
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                answer(line)


def _head(stream: Any) -> bytes:
    lines = []
    while (line := stream.readline()) not in (b"\r\n", b""):
        lines.append(line)
    return b"".join(lines)


def _chunks(stream: Any) -> Any:
    while size := int(stream.readline(), 16):
        yield stream.read(size)
        stream.readline()
    stream.readline()


def reply(status: int, body: bytes, media_type: str = "application/json", **headers: str) -> Answer:
    """A whole answer; ``retry_after="1"`` is the header Retry-After."""
    fields = {"content-type": media_type, "content-length": str(len(body)), **headers}
    head = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in fields.items())
    data = f"HTTP/1.1 {status} Status\r\n{head}\r\n".encode() + body
    return lambda line: line.sendall(data)


def record(value: Any, **headers: str) -> Answer:
    """A record, as fastio answers."""
    return reply(200, json.dumps(value).encode(), **headers)


def problem(status: int, code: str, details: Any = None, **headers: str) -> Answer:
    """An error, as fastio answers."""
    body = {"code": code, "message": f"It is {code}.", "hint": "Do this.", "details": details or {}}
    return reply(status, json.dumps(body).encode(), "application/problem+json", **headers)


def page(status: int, **headers: str) -> Answer:
    """What a proxy or a captive portal answers."""
    return reply(status, b"<html>Please log in.</html>", "text/html", **headers)


def cut(line: socket.socket) -> None:
    """No answer at all."""
    hang_up(line)


def half(line: socket.socket) -> None:
    """Half an answer."""
    line.sendall(
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{"
    )
    hang_up(line)


class HandClock:
    """``time`` for the client: sleeping takes no time, and is remembered."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.pauses: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds
