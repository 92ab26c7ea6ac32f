"""What the protocol of agents costs, by a bare server of the same SDK with one empty tool.

Run with the Python of the environment that fastio is installed in. Both sides are spoken to in
bare JSON, so that no client is measured, and take turns. Over standard streams a client begins as
those of 2025-11-25 do, over HTTP each request stands alone, as in 2026-07-28.
"""

from __future__ import annotations

import http.client
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

from embedded import sync_time
from harness import FASTIO, Budget, arguments, environment, median_ratio, run, run_parts
from server import fastio_server, free_port, process

ROUNDS = 15
CALLS = 400
BARE = """
import anyio, sys
from mcp.server.lowlevel import Server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

EMPTY = Tool(name="empty", description="Nothing", input_schema={"type": "object"})

async def list_tools(ctx, params):
    return ListToolsResult(tools=[EMPTY])

async def call_tool(ctx, params):
    return CallToolResult(content=[TextContent(type="text", text="")])

server = Server("bare", on_list_tools=list_tools, on_call_tool=call_tool)

async def over_streams():
    from mcp.server.stdio import stdio_server
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())

if len(sys.argv) > 1:
    import uvicorn
    app = server.streamable_http_app(stateless_http=True, host="127.0.0.1")
    uvicorn.run(app, port=int(sys.argv[1]), access_log=False, log_level="error", loop="uvloop",
        http="httptools")
else:
    anyio.run(over_streams)
"""
BARE_STDIO = [sys.executable, "-c", BARE]
VERSION = "2026-07-28"
META = {
    "io.modelcontextprotocol/protocolVersion": VERSION,
    "io.modelcontextprotocol/clientInfo": {"name": "benchmark", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}
GET: tuple[str, dict[str, object]] = ("state_get", {"path": "plan.json"})
EMPTY: tuple[str, dict[str, object]] = ("empty", {})
Call = Callable[[str, dict[str, object]], None]


class Streams:
    """A server over standard streams, as its client."""

    def __init__(self, argv: list[str], folder: str) -> None:
        self._process = subprocess.Popen(
            argv,
            env={**environment(), "HOME": folder},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._id = 0
        self._ask("initialize", HELLO)
        self._send({"jsonrpc": "2.0", "method": "notifications/initialized"})

    def call(self, tool: str, params: dict[str, object]) -> None:
        """Call a tool, which has to succeed."""
        check(self._ask("tools/call", {"name": tool, "arguments": params}))

    def memory_bytes(self) -> int:
        """What the process holds in memory now."""
        told = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(self._process.pid)], capture_output=True, check=True
        )
        return int(told.stdout) * 1024

    def close(self) -> None:
        assert self._process.stdin is not None
        with suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _ask(self, method: str, params: object) -> dict[str, object]:
        self._id += 1
        self._send({"jsonrpc": "2.0", "id": self._id, "method": method, "params": params})
        assert self._process.stdout is not None
        answer: dict[str, object] = json.loads(self._process.stdout.readline())
        return answer

    def _send(self, message: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()


def check(answer: dict[str, object]) -> None:
    result = answer.get("result")
    if not isinstance(result, dict) or result.get("isError"):
        raise SystemExit(f"A tool failed: {answer}")


@contextmanager
def streams(argv: list[str], folder: str) -> Iterator[Streams]:
    """A server until the end of the block."""
    server = Streams(argv, folder)
    try:
        yield server
    finally:
        server.close()


def caller(port: int, token: str) -> Call:
    """Calls tools of ``/mcp`` on one connection."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(tool: str, params: dict[str, object]) -> None:
        asked = {"name": tool, "arguments": params, "_meta": META}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": asked}
        headers = {
            "authorization": f"Bearer {token}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "mcp-protocol-version": VERSION,
            "mcp-method": "tools/call",
            "mcp-name": tool,
        }
        connection.request("POST", "/mcp", json.dumps(message), headers)
        check(json.loads(connection.getresponse().read()))

    return call


def made_store(folder: str) -> list[str]:
    """A store with one small object; the command that serves it."""
    store = ["--store", os.path.join(folder, "store")]
    run([FASTIO, "init", *store], folder)
    run([FASTIO, "state", "set", "plan.json", '{"n":0,"step":"begin"}', *store], folder)
    return [FASTIO, "mcp", *store]


def first_call(folder: str, quick: bool) -> Iterator[Budget]:
    """From the start of a process to the answer of its first tool."""
    pairs = []
    fastio = made_store(folder)
    for _ in range(5 if quick else ROUNDS):
        times = []
        for argv, tool in ((fastio, GET), (BARE_STDIO, EMPTY)):
            started = time.perf_counter()
            with streams(argv, folder) as server:
                server.call(*tool)
                times.append(time.perf_counter() - started)
        pairs.append((times[0], times[1]))
    peer = statistics.median(peer for _, peer in pairs)
    yield Budget(
        "first call of fastio mcp", median_ratio(pairs), 1.3, note=f"bare: {peer * 1000:.0f} ms"
    )


def memory(folder: str, quick: bool) -> Iterator[Budget]:
    """What an idle process holds after its first call."""
    held = []
    for argv, tool in ((made_store(folder), GET), (BARE_STDIO, EMPTY)):
        with streams(argv, folder) as server:
            server.call(*tool)
            held.append(server.memory_bytes())
    note = f"bare: {held[1] / 2**20:.0f} MiB"
    yield Budget("memory of an idle fastio mcp", held[0] / held[1], 1.5, note=note)


def stdio(folder: str, quick: bool) -> Iterator[Budget]:
    """Calls of a process that is warm."""
    with ExitStack() as open_now:
        fastio = open_now.enter_context(streams(made_store(folder), folder)).call
        bare = open_now.enter_context(streams(BARE_STDIO, folder)).call
        yield from calls(folder, "stdio", fastio, bare, quick)


def over_http(folder: str, quick: bool) -> Iterator[Budget]:
    """The same at ``/mcp`` of a server."""
    bare_port = free_port()
    bare = [sys.executable, "-c", BARE, str(bare_port)]
    with fastio_server(folder) as (port, token, _), process(bare, bare_port):
        fastio = caller(port, token)
        fastio("state_init", {"path": "plan.json", "value": {"n": 0, "step": "begin"}})
        yield from calls(folder, "/mcp", fastio, caller(bare_port, ""), quick)


def calls(folder: str, name: str, fastio: Call, bare: Call, quick: bool) -> Iterator[Budget]:
    """One call after the other, by as many of the empty tool."""
    reads, writes, peers, syncs = [], [], [], []
    number = 0
    for _ in range(5 if quick else ROUNDS):
        times = []
        for kind in ("bare", "read", "write"):
            started = time.perf_counter()
            for _ in range(CALLS // 4 if quick else CALLS):
                number += 1
                if kind == "write":
                    fastio("state_patch", {"path": "plan.json", "patch": {"n": number}})
                elif kind == "read":
                    fastio(*GET)
                else:
                    bare(*EMPTY)
            times.append(time.perf_counter() - started)
        syncs.append(sync_time(folder))
        peers.append(times[0])
        reads.append((times[1], times[0]))
        writes.append((times[2], times[0]))
    peer = statistics.median(peers[1:]) / (CALLS // 4 if quick else CALLS)
    note = f"bare: {peer * 1e6:.0f} µs"
    yield Budget(f"state_get over {name}", median_ratio(reads[1:]), 2, note=note)
    note = f"a sync: {statistics.median(syncs) * 1e6:.0f} µs"
    yield Budget(f"state_patch over {name}", median_ratio(writes[1:]), 2.5, note=note)


PARTS: dict[str, Callable[[str, bool], Iterator[Budget]]] = {
    "first_call": first_call,
    "memory": memory,
    "stdio": stdio,
    "http": over_http,
}

if __name__ == "__main__":
    sys.exit(run_parts(arguments(str(__doc__)).parse_args(), PARTS))
