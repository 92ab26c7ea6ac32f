"""A TCP proxy in front of a server: counts round trips, and cuts the line where it is told to."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable
from typing import Any


class Proxy:
    """Relays connections to ``host:port``.

    ``trips`` counts how often the client, having been answered, spoke again. ``cut(when, after)``
    breaks the connection on which the client sends bytes that hold ``when``: before they reach the
    server, or (``after``) once the server has answered them, without passing on the answer.
    """

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        self._target = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.trips = 0
        self.cuts = 0
        self._cut: tuple[bytes, bool] | None = None
        self._sockets = [self._listener]
        self._threads: list[threading.Thread] = []
        self._start(self._accept)

    def cut(self, when: bytes, *, after: bool) -> None:
        """Break the next connection on which these bytes are sent, once."""
        self._cut = (when, after)

    def close(self) -> None:
        for end in self._sockets:
            hang_up(end)
        for thread in self._threads:
            thread.join()
        for end in self._sockets:
            end.close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(client)
            try:
                server = socket.create_connection(self._target)
            except OSError:
                hang_up(client)
                continue
            self._sockets.append(server)
            line = _Line(self, client, server)
            self._start(line.upward)
            self._start(line.downward)

    def _start(self, run: Callable[[], Any]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()


class _Line:
    """One relayed connection."""

    def __init__(self, proxy: Proxy, client: socket.socket, server: socket.socket) -> None:
        self._proxy = proxy
        self._client = client
        self._server = server
        self._answered = True
        self._doomed = False

    def upward(self) -> None:
        with contextlib.suppress(OSError):  # the other direction has hung up
            self._pass_up()
        self._hang_up()

    def _pass_up(self) -> None:
        for data in self._chunks(self._client):
            if self._answered:
                self._answered = False
                self._proxy.trips += 1
            cut = self._proxy._cut
            if cut is not None and cut[0] in data:
                self._proxy._cut = None
                self._proxy.cuts += 1
                if not cut[1]:
                    break
                self._doomed = True
            self._server.sendall(data)

    def downward(self) -> None:
        with contextlib.suppress(OSError):
            for data in self._chunks(self._server):
                self._answered = True
                if self._doomed:
                    break
                self._client.sendall(data)
        self._hang_up()

    @staticmethod
    def _chunks(source: socket.socket) -> Any:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                yield data

    def _hang_up(self) -> None:
        hang_up(self._client)
        hang_up(self._server)


def hang_up(end: socket.socket) -> None:
    """End a connection, and whatever waits for it."""
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)
