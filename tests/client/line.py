"""A line to a server that breaks."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

from tests.storage.proxy import hang_up


class Line:
    """Relays connections to a port. The n-th is cut after ``down[n]`` bytes from the server, or
    ``up[n]`` to it; those beyond the lists are left whole."""

    def __init__(self, port: int, down: tuple[int, ...] = (), up: tuple[int, ...] = ()) -> None:
        self.target = port
        self.connections = 0
        self.sent_up = 0
        self._down, self._up = down, up
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._ends: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break all that is open now."""
        for end in self._ends:
            break_off(end)

    def close(self) -> None:
        hang_up(self._listener)
        self._listener.close()
        self.cut()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                number = self.connections
                server = socket.socket()
                self._ends += [client, server]
                self.connections += 1  # whoever waits for it may cut it at once
                try:
                    server.connect(("127.0.0.1", self.target))
                except OSError:
                    hang_up(client)
                    continue
                down = self._down[number] if number < len(self._down) else None
                up = self._up[number] if number < len(self._up) else None
                for source, target, budget in ((server, client, down), (client, server, up)):
                    work = (source, target, budget, source is client)
                    threading.Thread(target=self._relay, args=work, daemon=True).start()

    def _relay(
        self, source: socket.socket, target: socket.socket, budget: int | None, upward: bool
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536 if budget is None else min(budget, 65536)):
                target.sendall(data)
                if upward:
                    self.sent_up += len(data)
                if budget is not None:
                    budget -= len(data)
                    if budget <= 0:
                        break
        break_off(source)
        break_off(target)


def break_off(end: socket.socket) -> None:
    """End a connection so that whoever still sends on it is told."""
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    hang_up(end)
    end.close()
