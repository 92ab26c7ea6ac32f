"""Load for a server: keep-alive connections that each send the next request when answered.

Run as a process of its own, so that it does not share an interpreter with what it measures:
``load.py PORT CLIENTS SECONDS REQUEST_FILE``; the file holds one request a line, as JSON text.
Prints requests a second and the 50th and 99th percentile of the latency in milliseconds.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, requests: list[bytes], first: int, latencies: list[float]) -> None:
        self._requests = requests
        self._next = first
        self._latencies = latencies
        self._buffer = b""
        self.failures = 0
        self.stopped = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, end, body = self._buffer.partition(b"\r\n\r\n")
        if not end:
            # redis answers in its own protocol: one line
            if self._buffer.startswith(b":") and self._buffer.endswith(b"\r\n"):
                self._answered(True)
            return
        lowered = head.lower()
        if b"content-length:" in lowered:
            length = int(lowered.partition(b"content-length:")[2].partition(b"\r\n")[0])
            if len(body) < length:
                return
        elif b"chunked" in lowered and not body.endswith(b"0\r\n\r\n"):
            return
        self._answered(head.startswith(b"HTTP/1.1 200"))

    def _answered(self, well: bool) -> None:
        self._buffer = b""
        self._latencies.append(time.perf_counter() - self._sent)
        self.failures += not well
        if not self.stopped:
            self._send()

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._requests[self._next % len(self._requests)])
        self._next += 1


async def main(port: int, count: int, seconds: float, requests: list[bytes]) -> None:
    loop = asyncio.get_running_loop()
    latencies: list[float] = []
    clients = []
    for n in range(count):
        _, client = await loop.create_connection(
            lambda n=n: Client(requests, n * 7, latencies), "127.0.0.1", port
        )
        clients.append(client)
    await asyncio.sleep(seconds / 4)  # warm up
    latencies.clear()
    started = time.perf_counter()
    await asyncio.sleep(seconds)
    elapsed = time.perf_counter() - started
    answered = len(latencies)
    done = sorted(latencies) or [elapsed]  # nothing was answered in all this time
    for client in clients:
        client.stopped = True
    print(
        json.dumps(
            {
                "per_s": answered / elapsed,
                "p50_ms": done[len(done) // 2] * 1000,
                "p99_ms": done[len(done) * 99 // 100] * 1000,
                "failures": sum(client.failures for client in clients),
            }
        )
    )


if __name__ == "__main__":
    with open(sys.argv[4], encoding="utf-8") as f:
        lines = [json.loads(line).encode() for line in f]
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), lines))
