"""What one client costs the others: large objects, large requests, many workspaces in one org.

Each figure compares a client with itself on the same server in the same run: alone, and beside a
neighbour that asks for much. The latency of ``/healthz`` tells how long the event loop was held up.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import FASTIO, Budget, arguments, environment, run_parts
from server import HERE, fastio_server, http, load

STATE = "/v1/workspaces/default/state"
INCREMENT = "/v1/workspaces/default/state-increment"
HUGE_BYTES = 13_000_000
LARGE_BYTES = 1_200_000
HEALTHZ_P99_MS = 20


def records(size_bytes: int) -> list[dict[str, object]]:
    """A JSON list of about this many bytes, of records as agents keep them."""
    record = {"id": 0, "title": "A finding worth keeping", "score": 0.75, "tags": ["a", "b", "c"]}
    return [{**record, "id": n} for n in range(size_bytes // len(json.dumps(record)))]


def put(port: int, token: str, path: str, value: object) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{STATE}/{path}",
        data=json.dumps({"value": value}).encode(),
        method="PUT",
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
    )
    urllib.request.urlopen(request).read()


@contextmanager
def neighbours(folder: str, port: int, clients: int, requests: list[str]) -> Iterator[None]:
    """Clients that send these requests until the end of the block."""
    file = os.path.join(folder, "neighbours")
    Path(file).write_text("\n".join(json.dumps(request) for request in requests) + "\n")
    argv = [sys.executable, str(HERE / "load.py"), str(port), str(clients), "3600", file]
    child = subprocess.Popen(argv, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        child.kill()
        child.wait()


def event_loop(folder: str, quick: bool) -> Iterator[Budget]:
    """``/healthz`` beside one client who works on an object of 13 MB."""
    healthz = [http("GET", "/healthz")]
    body = json.dumps({"value": {"items": records(HUGE_BYTES)}})
    with fastio_server(folder) as (port, token, _):
        put(port, token, "huge.json", {"n": 0, "items": records(HUGE_BYTES)})
        put(port, token, "other.json", {"items": []})
        alone = load(folder, port, 1, healthz, quick)
        kinds = {
            "reads it": http("GET", f"{STATE}/huge.json", token),
            "queries it": http("GET", f"{STATE}/huge.json?query=length(items)", token),
            "increments a number of it": http(
                "POST", f"{INCREMENT}/huge.json", token, '{"at":"/n"}'
            ),
            "replaces it": http("PUT", f"{STATE}/other.json", token, body),
        }
        for what, request in kinds.items():
            with neighbours(folder, port, 1, [request]):
                beside = load(folder, port, 1, healthz, quick)
            yield Budget(
                f"/healthz p99 while a client {what} (13 MB)",
                beside["p99_ms"],
                HEALTHZ_P99_MS,
                "ms",
                note=f"alone {alone['p99_ms']:.1f} ms; p50 {beside['p50_ms']:.1f} ms",
            )


def large_values(folder: str, quick: bool) -> Iterator[Budget]:
    """Objects of 1.2 MB: written, read, and beside them the increments of somebody else."""
    body = json.dumps({"value": {"items": records(LARGE_BYTES)}})
    with fastio_server(folder) as (port, token, _):
        for n in range(8):
            put(port, token, f"large{n}.json", {"items": records(LARGE_BYTES)})
        written = load(folder, port, 1, [http("PUT", f"{STATE}/large.json", token, body)], quick)
        yield Budget("PUT of 1.2 MB, 1 client", written["p50_ms"], 25, "ms")
        reads = [http("GET", f"{STATE}/large{n}.json", token) for n in range(8)]
        read = load(folder, port, 1, reads, quick)
        yield Budget("GET of 1.2 MB, 1 client", read["p50_ms"], 4, "ms")
        increments = [http("POST", f"{INCREMENT}/n0.json", token, "{}")]
        rates = []
        for _ in range(1 if quick else 3):
            time.sleep(1)  # until what was sent before has been dealt with
            alone = load(folder, port, 1, increments, quick)["per_s"]
            with neighbours(folder, port, 8, reads):
                rates.append((load(folder, port, 1, increments, quick)["per_s"], alone))
        yield Budget(
            "increments beside 8 readers of 1.2 MB: alone",
            statistics.median(beside / alone for beside, alone in rates),
            0.4,
            at_least=True,
            note=f"{rates[-1][0]:,.0f}/s against {rates[-1][1]:,.0f}/s",
        )


def workspaces(folder: str, quick: bool) -> Iterator[Budget]:
    """Served writes in an org of one workspace, and of very many."""
    sizes = (1_000, 10_000) if quick else (1_000, 10_000, 50_000)
    with fastio_server(folder) as (port, token, _):
        increments = [http("POST", f"{INCREMENT}/n0.json", token, "{}")]
        one = load(folder, port, 32, increments, quick)["per_s"]
        made = 1
        for size in sizes:
            add_workspaces(folder, made, size)
            made = size
            many = load(folder, port, 32, increments, quick)["per_s"]
            yield Budget(
                f"writes/s, 1 workspace: {size:,} workspaces in the org",
                one / many,
                1.2,
                note=f"{one:,.0f}/s against {many:,.0f}/s",
            )


def add_workspaces(folder: str, first: int, end: int) -> None:
    """Workspaces w<first> … in the store that a server has open."""
    lines = [json.dumps({"op": "workspace.create", "name": f"w{n}"}) for n in range(first, end)]
    env = {**environment(), "FASTIO_STORE": os.path.join(folder, "store")}
    text = "\n".join(lines).encode()
    subprocess.run([FASTIO, "batch"], env=env, input=text, stdout=subprocess.DEVNULL, check=True)


PARTS = {"event_loop": event_loop, "large_values": large_values, "workspaces": workspaces}

if __name__ == "__main__":
    sys.exit(run_parts(arguments(__doc__ or "").parse_args(), PARTS))
