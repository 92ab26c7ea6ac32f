"""What one org may do to keep others from being served: ``python -m tests.hostile.attacks``.

Each attack is a process of its own, so that it does not slow down who measures. It goes on until
its input is closed, and says ``ready`` when it is under way.
"""

from __future__ import annotations

import json
import socket
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import count

BASE = "/v1/workspaces/default"
MIB = 1024 * 1024
SLOW = "[@,@]" + "|[@,@]" * 30 + "|to_string(@)"
JSON = "Content-Type: application/json\r\n"
PAUSE_S = 0.05


class Attacker:
    """A member of the attacking org, who has as many connections as it wants."""

    def __init__(self, port: int, token: str, service: int, scale: int) -> None:
        self.scale = scale
        self.service = service  # the port of a service that never answers
        self._port = port
        self._secret = f"Authorization: Bearer {token}\r\n"
        self.held: list[socket.socket] = []

    def connect(self) -> socket.socket:
        self.held.append(socket.create_connection(("127.0.0.1", self._port), timeout=120))
        return self.held[-1]

    def send(
        self, connection: socket.socket, method: str, path: str, *parts: bytes, **options: object
    ) -> None:
        """A request, of whose body some parts may be missing."""
        size = options.get("size", sum(map(len, parts)))
        secret = "" if options.get("anonymous") else self._secret
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: a\r\n{secret}{JSON}Content-Length: {size}\r\n\r\n"
        )
        connection.sendall(head.encode())
        for part in parts:
            connection.sendall(part)

    def ask(self, method: str, path: str, body: object = None) -> bytes:
        """The beginning of the answer to a request on a connection of its own."""
        connection = self.connect()
        try:
            self.send(connection, method, path, b"" if body is None else json.dumps(body).encode())
            return connection.recv(1 << 16)
        except OSError:
            return b""
        finally:
            self.held.remove(connection)
            connection.close()

    def keep_asking(self, times: int, *request: object) -> None:
        """The same request over and over, on so many connections at a time."""

        def go_on() -> None:
            while True:
                self.ask(*request)  # type: ignore[arg-type]

        for _ in range(times):
            threading.Thread(target=go_on, daemon=True).start()


def nothing(attacker: Attacker) -> None:
    """To compare with."""


def idle_connections(attacker: Attacker) -> None:
    """Connections that ask nothing, and heads that do not end."""
    for n in range(50 * attacker.scale):
        connection = attacker.connect()
        if n % 2:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: " + b"a" * n)


def dripping_uploads(attacker: Attacker) -> None:
    """Uploads that come a kilobyte at a time."""
    connections = [attacker.connect() for _ in range(8 * attacker.scale)]
    for n, connection in enumerate(connections):
        attacker.send(connection, "PUT", f"{BASE}/files/f{n}", b"x" * 100_000, size=100 * MIB)

    def drip() -> None:
        while True:
            for connection in connections:
                connection.sendall(b"x" * 1300)
            time.sleep(1)

    threading.Thread(target=drip, daemon=True).start()


def unread_downloads(attacker: Attacker) -> None:
    """Large files that are asked for and not read."""
    attacker.send(attacker.connect(), "PUT", f"{BASE}/files/big", b"x" * 8 * MIB)
    attacker.held[-1].recv(1 << 16)
    for _ in range(10 * attacker.scale):
        attacker.send(attacker.connect(), "GET", f"{BASE}/files/big")


def anonymous_bodies(attacker: Attacker) -> None:
    """Large bodies without a token."""
    body = b"[" * 64 + b" " * 16 * MIB

    def go_on() -> None:
        while True:
            connection = attacker.connect()
            with suppress(OSError):
                attacker.send(connection, "POST", "/v1/transfers-claim", body, anonymous=True)
            attacker.held.remove(connection)
            connection.close()

    for _ in range(2):
        threading.Thread(target=go_on, daemon=True).start()


def large_bodies(attacker: Attacker) -> None:
    """Values that are slow to parse."""
    value = "[" + ",".join(["[]"] * 4_000_000) + "]"
    body = b'{"value":' + value.encode() + b"}"

    def go_on(n: int) -> None:
        while True:
            connection = attacker.connect()
            attacker.send(connection, "PUT", f"{BASE}/state/v{n}", body)
            connection.recv(1 << 16)
            connection.close()

    for n in range(attacker.scale):
        threading.Thread(target=go_on, args=(n,), daemon=True).start()


def large_reads(attacker: Attacker) -> None:
    """A small part of a large value."""
    attacker.ask("PUT", f"{BASE}/state/huge", {"value": [1, *["x" * 100] * 100_000]})
    attacker.keep_asking(4 * attacker.scale, "GET", f"{BASE}/state/huge?at=/0")


def costly_queries(attacker: Attacker) -> None:
    """Expressions that take until they are ended."""
    attacker.ask("PUT", f"{BASE}/state/v", {"value": [1]})
    from urllib.parse import quote

    attacker.keep_asking(8 * attacker.scale, "GET", f"{BASE}/state/v?query={quote(SLOW)}")


def slow_models(attacker: Attacker) -> None:
    """Questions that a model does not answer."""
    attacker.ask("PUT", f"{BASE}/files/a.md", "The price of a crate is 45 euros.")
    asks = {"question": "What is the price of a crate?"}
    attacker.keep_asking(8 * attacker.scale, "POST", f"{BASE}/ask", asks)


def slow_documents(attacker: Attacker) -> None:
    """Documents that are slow to read, and searches that wait for them."""
    page = b"<p>a</p>" + b"<!--" * 300_000
    for n in range(4):
        connection = attacker.connect()
        attacker.send(connection, "PUT", f"{BASE}/files/d{n}.html", page)
        connection.recv(1 << 16)
    attacker.keep_asking(2 * attacker.scale, "POST", f"{BASE}/search", {"query": "a"})


def waits(attacker: Attacker) -> None:
    """Many who wait for a large object, while others are written beside it."""
    attacker.ask("PUT", f"{BASE}/state/w", {"value": {"a": ["x" * 100] * 3500}})
    wait = {"expression": "length(a[?contains(@, 'y')]) > `0`", "timeout_s": 600}
    attacker.keep_asking(20 * attacker.scale, "POST", f"{BASE}/state-wait/w", wait)
    numbers = count()

    def write() -> None:
        while True:
            attacker.ask("PUT", f"{BASE}/state/other", {"value": next(numbers)})
            time.sleep(PAUSE_S)

    threading.Thread(target=write, daemon=True).start()


def slow_imports(attacker: Attacker) -> None:
    """Imports of what never comes."""
    urls = [f"http://127.0.0.1:{attacker.service}/f{n}" for n in range(10 * attacker.scale)]
    attacker.ask("POST", f"{BASE}/imports", {"urls": urls})


def writes(attacker: Attacker) -> None:
    """Writes of what is just small enough for the event loop."""
    value = {"value": ["x" * 100] * 250}
    for n in range(4 * attacker.scale):
        attacker.keep_asking(1, "PUT", f"{BASE}/state/w{n}", value)


def diffs(attacker: Attacker) -> None:
    """Texts whose comparison takes long."""
    for text in ("a", "b"):
        lines = "".join(
            f"{(n * 7919) % 300} {text if n % 9 == 0 else ''}\n" for n in range(100_000)
        )
        connection = attacker.connect()
        attacker.send(connection, "PUT", f"{BASE}/files/t.txt", lines.encode())
        connection.recv(1 << 16)
    attacker.keep_asking(4 * attacker.scale, "GET", f"{BASE}/object-diff/t.txt")


ATTACKS: dict[str, Callable[[Attacker], None]] = {
    attack.__name__: attack
    for attack in (
        nothing,
        idle_connections,
        dripping_uploads,
        unread_downloads,
        anonymous_bodies,
        large_bodies,
        large_reads,
        costly_queries,
        slow_models,
        slow_documents,
        waits,
        slow_imports,
        writes,
        diffs,
    )
}


def main(name: str, port: str, token: str, service: str, scale: str) -> None:
    """Attack until the input is closed."""
    attacker = Attacker(int(port), token, int(service), int(scale))
    ATTACKS[name](attacker)
    print("ready", flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
