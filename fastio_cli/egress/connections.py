"""Connections to vetted addresses only, with a deadline for the headers of an answer."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from contextlib import contextmanager
from ipaddress import ip_address

import httpcore
import httpx

from fastio_cli.egress.rules import blocked
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.egress.addresses import Address
    from fastio_cli.egress.rules import EgressRules

    Resolve = Callable[..., list[tuple[Any, ...]]]

FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)


class VettedTransport(httpx.BaseTransport):
    """An httpx transport over a pool whose connections are made by :class:`VettedBackend`."""

    def __init__(self, context: ssl.SSLContext, backend: httpcore.NetworkBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=64,
            max_keepalive_connections=16,
            keepalive_expiry=30,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer."""
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _as_httpx_errors():
            answer = self._pool.handle_request(sent)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer, in chunks as they arrive."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _as_httpx_errors():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _as_httpx_errors() -> Iterator[None]:
    """Raise httpcore's errors as those of httpx, which have the same names."""
    try:
        yield
    except FAILURES as e:
        raise getattr(httpx, type(e).__name__)(str(e)) from e


class VettedBackend(httpcore.NetworkBackend):
    """Connects to vetted addresses only, and bounds the wait for an answer's headers."""

    def __init__(self, rules: EgressRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._connect = httpcore.SyncBackend()
        self._deadline = _Deadline()

    @contextmanager
    def deadline_in(self, seconds: float) -> Iterator[None]:
        """Bound all reads of this thread inside the block."""
        self._deadline.at = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline.at = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Resolve, vet, and connect to the first vetted address that answers."""
        addresses = self._addresses(host, port)
        self._rules.check_addresses(host, port, addresses)
        failure: Exception | None = None
        for address in addresses:
            try:
                stream = self._connect.connect_tcp(
                    str(address),
                    port,
                    timeout=self._deadline.bound(timeout),
                    socket_options=socket_options,
                )
                return _Stream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failure = e
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(self, *_: object, **__: object) -> httpcore.NetworkStream:
        raise blocked("it is a socket of this machine")

    def sleep(self, seconds: float) -> None:
        self._connect.sleep(seconds)

    def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise httpcore.ConnectError(f"{host} is not known: {e}") from None
        # Each address once, in the resolver's order; its scope does not matter.
        return list(dict.fromkeys(ip_address(str(f[4][0]).partition("%")[0]) for f in found))


class _Deadline(threading.local):
    at: float | None = None

    def bound(self, timeout: float | None) -> float | None:
        if self.at is None:
            return timeout
        left = max(self.at - time.monotonic(), 0.001)
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads end at the deadline, however slowly bytes arrive."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.bound(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        bound = self._deadline.bound(timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, bound), self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._inner.get_extra_info(info)


def ssl_context(rules: EgressRules) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if rules.ca_file is not None:
        try:
            context.load_verify_locations(rules.ca_file)
        except (OSError, ssl.SSLError) as e:
            raise FastioError(
                "invalid", f"egress_ca_file: {rules.ca_file} cannot be used: {e}."
            ) from None
    return context
