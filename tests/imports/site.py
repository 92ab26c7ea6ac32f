"""A real HTTP server on loopback that does what a test tells it to, misbehaviour included."""

from __future__ import annotations

import hashlib
import re
import ssl
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

Route = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server
    timeout = 30

    def do_GET(self) -> None:
        site = self.server.site
        path = urlsplit(self.path).path
        length = int(self.headers.get("content-length") or 0)
        self.body = self.rfile.read(length)
        with site.lock:
            site.requests.append((self.command, self.path, dict(self.headers.items()), self.body))
        route = site.routes.get(path)
        if route is None:
            self.answer(404, b"nothing here")
        else:
            route(self)

    do_POST = do_GET
    do_PUT = do_GET

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A whole, correct answer; underscores in header names are dashes."""
        self.begin(status, **{"Content-Length": str(len(body)), **headers})
        self.wfile.write(body)

    def begin(self, status: int, **headers: str) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def cut(self) -> None:
        """End the connection here and now."""
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    site: Site

    def handle_error(self, *_: Any) -> None:
        """A client that went away is what many tests are about."""


class Site:
    """``routes`` maps a path to what answers it; ``requests`` is what was asked."""

    def __init__(self, host: str = "127.0.0.1", context: ssl.SSLContext | None = None) -> None:
        self.routes: dict[str, Route] = {}
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.lock = threading.Lock()
        self.host = host
        self.server = Server((host, 0), Handler)
        self.server.site = self
        self.scheme = "http"
        if context is not None:
            self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
            self.scheme = "https"
        self.port = self.server.server_address[1]
        self._thread = threading.Thread(
            target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def url(self, path: str = "/", host: str | None = None) -> str:
        return f"{self.scheme}://{host or self.host}:{self.port}{path}"

    def headers(self, name: str) -> list[str | None]:
        """The values of one header in all requests so far."""
        with self.lock:
            return [
                next((v for k, v in headers.items() if k.lower() == name.lower()), None)
                for _, _, headers, _ in self.requests
            ]

    def file(self, path: str, body: bytes, **headers: str) -> File:
        """Serve a file as a good server does: validators, ranges, conditions."""
        route = File(body, headers)
        self.routes[path] = route
        return route

    def redirect(self, path: str, to: str, status: int = 302) -> None:
        self.routes[path] = lambda h: h.answer(status, Location=to)

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self._thread.join(5)


class File:
    """A well-served file; ``cut_every`` breaks each answer after so many bytes."""

    def __init__(self, body: bytes, headers: dict[str, str]) -> None:
        self.body = body
        self.headers = headers
        self.etag = f'"{hashlib.md5(body).hexdigest()}"'
        self.cut_every: int | None = None
        self.before_body: Callable[[Handler], None] = lambda h: None

    def __call__(self, h: Handler) -> None:
        if h.headers.get("if-none-match") == self.etag:
            h.answer(304, ETag=self.etag)
            return
        start = 0
        wanted = re.fullmatch(r"bytes=(\d+)-", h.headers.get("range") or "")
        if wanted and h.headers.get("if-range") in (None, self.etag):
            start = int(wanted[1])
        headers = {"ETag": self.etag, "Accept-Ranges": "bytes", **self.headers}
        rest = self.body[start:]
        headers["Content-Length"] = str(len(rest))
        if start:
            headers["Content-Range"] = f"bytes {start}-{len(self.body) - 1}/{len(self.body)}"
        h.begin(206 if start else 200, **headers)
        self.before_body(h)
        if self.cut_every is not None and len(rest) > self.cut_every:
            h.wfile.write(rest[: self.cut_every])
            h.cut()
        else:
            h.wfile.write(rest)
