"""A forward proxy, as in a company's network: absolute URLs and CONNECT, any name to one port."""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import urlsplit

from tests.storage.proxy import hang_up


class ForwardProxy:
    """Sends everything to ``port``, and keeps what it was asked for."""

    def __init__(self, port: int, refuse: bytes | None = None) -> None:
        self.asked: list[str] = []
        self._port = port
        self._refuse = refuse
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for end in self._ends:
            hang_up(end)
            end.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._ends.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                head += client.recv(65536)
            method, target, rest = head.split(b" ", 2)
            self.asked.append(f"{method.decode()} {target.decode()}")
            if self._refuse is not None:
                client.sendall(self._refuse)
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._ends.append(server)
            if method == b"CONNECT":
                client.sendall(b"HTTP/1.1 200 Connected\r\n\r\n")
            else:
                parts = urlsplit(target.decode())
                path = parts.path + (f"?{parts.query}" if parts.query else "")
                # One request a connection: the next one has another absolute URL.
                rest = rest.replace(b"\r\n", b"\r\nconnection: close\r\n", 1)
                server.sendall(b" ".join((method, path.encode(), rest)))
            back = threading.Thread(target=self._relay, args=(server, client), daemon=True)
            back.start()
            self._relay(client, server)

    @staticmethod
    def _relay(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
        hang_up(source)
        hang_up(target)
