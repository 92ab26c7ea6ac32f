"""The server against its peers: durable increments over HTTP, overhead, memory of idle streams.

Peers are used when they are found: ``redis-server`` and ``workerd`` on the PATH, or workerd below
``node_modules/.bin`` of the folder given by ``--node`` (``npm install workerd`` puts it there).
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from harness import FASTIO, Budget, arguments, environment, median_ratio, run_parts, seconds_of

HERE = Path(__file__).parent
WORKER = """
export class Counter {
  constructor(ctx) {
    this.sql = ctx.storage.sql;
    this.sql.exec("create table if not exists n (id integer primary key, value integer)");
    this.sql.exec("insert or ignore into n values (1, 0)");
  }
  async fetch() {
    const row = this.sql.exec("update n set value = value + 1 returning value").one();
    return Response.json(row);
  }
}
export default {
  async fetch(request, env) {
    const name = new URL(request.url).pathname;
    return env.COUNTER.get(env.COUNTER.idFromName(name)).fetch(request);
  }
}
"""
CONFIG = """
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .counter),
    (name = "disk", disk = (path = "{folder}", writable = true)),
  ],
  sockets = [(name = "http", address = "127.0.0.1:{port}", http = (), service = "main")],
);
const counter :Workerd.Worker = (
  modules = [(name = "worker.js", esModule = embed "worker.js")],
  compatibilityDate = "2025-01-01",
  durableObjectNamespaces = [
    (className = "Counter", uniqueKey = "counter", enableSql = true),
  ],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [(name = "COUNTER", durableObjectNamespace = "Counter")],
);
"""
BARE = """
import json, sqlite3, sys, uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route
db = sqlite3.connect(sys.argv[1], check_same_thread=False, isolation_level=None)
async def get(request):
    row = db.execute("select version, etag, body from versions where workspace_id = 1 "
        "and path = ? order by version desc limit 1", (request.path_params["path"],)).fetchone()
    body = {"version": row[0], "etag": row[1], "value": json.loads(row[2])}
    return Response(json.dumps(body), media_type="application/json")
app = Starlette(routes=[Route("/v1/workspaces/{workspace}/state/{path:path}", get)])
uvicorn.run(app, port=int(sys.argv[2]), access_log=False, log_level="error", loop="uvloop",
    http="httptools")
"""
# Makes a sync take 2 ms, as on a disk that is slower than this machine's.
SLOW_SYNC = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>
static int slowly(const char *name, int fd) {
    struct timespec begun, now;
    clock_gettime(CLOCK_MONOTONIC, &begun);
    int result = ((int (*)(int)) dlsym(RTLD_NEXT, name))(fd);
    clock_gettime(CLOCK_MONOTONIC, &now);
    long left = 2000000 - (now.tv_sec - begun.tv_sec) * 1000000000L - (now.tv_nsec - begun.tv_nsec);
    struct timespec rest = {0, left};
    if (left > 0) nanosleep(&rest, 0);
    return result;
}
int fsync(int fd) { return slowly("fsync", fd); }
int fdatasync(int fd) { return slowly("fdatasync", fd); }
"""
NODE = "."


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port: int = s.getsockname()[1]
        return port


@contextmanager
def process(argv: list[str], port: int, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that runs until the end of the block."""
    child = subprocess.Popen(
        argv,
        env={**environment(), **more},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                if child.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{argv[0]} did not start") from None
                time.sleep(0.05)
        yield child
    finally:
        child.terminate()
        child.wait()


@contextmanager
def fastio_server(
    folder: str,
    objects: int = 1,
    *,
    store: str = "",
    workspaces: int = 0,
    workers: int = 1,
    **environ: str,
) -> Iterator[tuple[int, str, int]]:
    """``fastio serve`` with objects n0.json … in its default workspace, and n0.json in further
    workspaces w0 …; its port, a token, and its process id."""
    more = {
        "FASTIO_STORE": store or os.path.join(folder, "store"),
        "FASTIO_RATE_PER_S": "1000000000",
        "XDG_CONFIG_HOME": folder,
    }
    first = {"op": "state.set", "value": 0}
    lines = [{**first, "path": f"n{n}.json"} for n in range(objects)]
    for n in range(workspaces):
        lines += [{"op": "workspace.create", "name": f"w{n}"}]
        lines += [{**first, "path": "n0.json", "workspace": f"w{n}"}]
    env = {**environment(), **more}
    text = "\n".join(map(json.dumps, lines)).encode()
    subprocess.run([FASTIO, "init", "-q"], env=env, capture_output=True, check=True)
    subprocess.run([FASTIO, "batch"], env=env, input=text, capture_output=True, check=True)
    made = subprocess.run(
        [FASTIO, "token", "create", "bench", "--role", "editor", "-q"],
        env=env,
        capture_output=True,
        check=True,
    )
    port = free_port()
    argv = [FASTIO, "serve", "--port", str(port), "--no-access-log", "--workers", str(workers)]
    with process(argv, port, **more, **environ) as child:
        yield port, made.stdout.decode().strip(), child.pid


@contextmanager
def workerd_server(folder: str) -> Iterator[int | None]:
    """workerd with a counter in a SQLite-backed Durable Object, if it is installed."""
    binary = shutil.which("workerd") or shutil.which("workerd", path=f"{NODE}/node_modules/.bin")
    if binary is None:
        yield None
        return
    port = free_port()
    disk = os.path.join(folder, "workerd")
    os.makedirs(disk, exist_ok=True)
    Path(folder, "worker.js").write_text(WORKER)
    config = Path(folder, "config.capnp")
    config.write_text(CONFIG.replace("{folder}", disk).replace("{port}", str(port)))
    with process([binary, "serve", str(config)], port):
        yield port


@contextmanager
def redis_server(folder: str, **environ: str) -> Iterator[int | None]:
    binary = shutil.which("redis-server")
    if binary is None:
        yield None
        return
    port = free_port()
    argv = [binary, "--port", str(port), "--dir", folder, "--save", ""]
    argv += ["--appendonly", "yes", "--appendfsync", "always"]
    with process(argv, port, **environ):
        yield port


def http(method: str, path: str, token: str = "", body: str = "") -> str:
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    if token:
        lines += [f"Authorization: Bearer {token}", "Content-Type: application/json"]
    if method != "GET":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", body])


def load(
    folder: str, port: int, clients: int, requests: list[str], quick: bool
) -> dict[str, float]:
    """Requests a second and latencies."""
    file = os.path.join(folder, "requests")
    Path(file).write_text("\n".join(json.dumps(request) for request in requests) + "\n")
    seconds = "1" if quick else "3"
    done = subprocess.run(
        [sys.executable, str(HERE / "load.py"), str(port), str(clients), seconds, file],
        capture_output=True,
        check=True,
    )
    figures: dict[str, float] = json.loads(done.stdout)
    if figures["failures"]:
        raise SystemExit(f"{figures['failures']} requests failed")
    return figures


def sync_s(folder: str) -> float:
    """The median time of one sync of this disk."""
    times = []
    with open(os.path.join(folder, "sync"), "wb", buffering=0) as f:
        for _ in range(100):
            f.write(b"x" * 4096)
            times.append(seconds_of(lambda: os.fdatasync(f.fileno())))
    return statistics.median(times)


def increments(folder: str, quick: bool) -> Iterator[Budget]:
    """Durable increments of one object, and of a hundred."""
    path = "/v1/workspaces/default/state-increment"
    with (
        fastio_server(folder, 100) as (port, token, _),
        workerd_server(folder) as workerd,
        redis_server(folder) as redis,
    ):
        one = [http("POST", f"{path}/n0.json", token, "{}")]
        many = [http("POST", f"{path}/n{n}.json", token, "{}") for n in range(100)]
        peers = {
            "workerd": (
                workerd,
                [http("POST", "/n0")],
                [http("POST", f"/n{n}") for n in range(100)],
            ),
            "redis": (
                redis,
                ["INCR n0\r\n"],
                [f"INCR n{n}\r\n" for n in range(100)],
            ),
        }
        limits = {
            ("workerd", 1, 1): 1.1,
            ("workerd", 32, 1): 3.0,
            ("workerd", 32, 2): 4.0,
            ("redis", 32, 1): 0.13,
            ("redis", 32, 2): 0.13,
        }
        for clients, ours, which, what in (
            (1, one, 1, "one object"),
            (32, one, 1, "one object"),
            (32, many, 2, "100 objects"),
        ):
            pairs: dict[str, list[tuple[float, float]]] = {name: [] for name in peers}
            p99 = []
            for _ in range(1 if quick else 3):
                figures = load(folder, port, clients, ours, quick)
                p99.append(figures["p99_ms"])
                for name, peer in peers.items():
                    if peer[0] is not None:
                        theirs = load(folder, peer[0], clients, peer[which], quick)
                        pairs[name].append((figures["per_s"], theirs["per_s"]))
            label = f"increments, {what}, {clients} clients"
            for name, measured in pairs.items():
                if not measured:
                    print(f"{name} is not installed: not compared", file=sys.stderr)
                elif (name, clients, which) in limits:
                    note = f"{measured[-1][0]:,.0f}/s against {measured[-1][1]:,.0f}/s"
                    limit = limits[name, clients, which]
                    ratio = median_ratio(measured)
                    yield Budget(f"{label}: {name}", ratio, limit, at_least=True, note=note)
            sync_ms = sync_s(folder) * 1000
            yield Budget(
                f"{label}: 99th percentile",
                statistics.median(p99),
                10 * sync_ms + 10,
                "ms",
                note=f"one sync takes {sync_ms:.2f} ms",
            )


def slow_disk(folder: str, quick: bool) -> Iterator[Budget]:
    """Increments of one object where a sync takes 2 ms, ours and redis'."""
    compiler, redis_program = shutil.which("gcc"), shutil.which("redis-server")
    if compiler is None or redis_program is None:
        print("gcc or redis-server is not installed: no slow disk", file=sys.stderr)
        return
    library = os.path.join(folder, "slow_sync.so")
    source = Path(folder, "slow_sync.c")
    source.write_text(SLOW_SYNC)
    subprocess.run([compiler, "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl"], check=True)
    slow = {"LD_PRELOAD": library}
    request = "/v1/workspaces/default/state-increment/n0.json"
    with (
        fastio_server(folder, **slow) as (port, token, _),
        redis_server(folder, **slow) as redis,
    ):
        assert redis is not None
        pairs = []
        for _ in range(1 if quick else 3):
            ours = load(folder, port, 32, [http("POST", request, token, "{}")], quick)
            theirs = load(folder, redis, 32, ["INCR n0\r\n"], quick)
            pairs.append((ours["per_s"], theirs["per_s"]))
    note = f"{pairs[-1][0]:,.0f}/s against {pairs[-1][1]:,.0f}/s"
    label = "increments, one object, 32 clients, syncs of 2 ms: redis"
    yield Budget(label, median_ratio(pairs), 0.5, at_least=True, note=note)


def overhead(folder: str, quick: bool) -> Iterator[Budget]:
    """Catalogue, token, validation and threads against a bare handler that reads the same row."""
    with fastio_server(folder) as (port, token, _):
        bare_port = free_port()
        database = os.path.join(folder, "store", "store.sqlite")
        path = "/v1/workspaces/default/state/n0.json"
        with process([sys.executable, "-c", BARE, database, str(bare_port)], bare_port):
            pairs = []
            for _ in range(1 if quick else 3):
                ours = load(folder, port, 32, [http("GET", path, token)], quick)
                bare = load(folder, bare_port, 32, [http("GET", path)], quick)
                pairs.append((bare["per_s"], ours["per_s"]))
    note = f"{pairs[-1][1]:,.0f}/s against {pairs[-1][0]:,.0f}/s"
    yield Budget("a read: bare Starlette", median_ratio(pairs), 1.7, note=note)


def postgres(folder: str, quick: bool) -> Iterator[Budget]:
    """Increments on PostgreSQL: one hot workspace, and one or two processes over many."""
    from postgres import server as database

    path = "/v1/workspaces/{}/state-increment/n0.json"
    with database(folder) as pg:
        with fastio_server(folder, store=pg.url, workspaces=64) as (port, token, _):
            hot = [http("POST", path.format("default"), token, "{}")]
            rates = [load(folder, port, n, hot, quick)["per_s"] for n in (1, 32)]
            many = [http("POST", path.format(f"w{n}"), token, "{}") for n in range(64)]
            one = load(folder, port, 32, many, quick)["per_s"]
        note = f"{rates[1]:,.0f}/s against {rates[0]:,.0f}/s"
        yield Budget(
            "PostgreSQL, one workspace: 32 clients by 1", rates[1] / rates[0], 1, "x", True, note
        )
        with fastio_server(folder, store=pg.url, workers=2) as (port, token, _):
            many = [http("POST", path.format(f"w{n}"), token, "{}") for n in range(64)]
            two = load(folder, port, 32, many, quick)["per_s"]
        note = f"{two:,.0f}/s against {one:,.0f}/s on {os.cpu_count()} cores, load included"
        yield Budget(
            "PostgreSQL, 64 workspaces: two processes by one", two / one, 1.5, "x", True, note
        )


def streams(folder: str, quick: bool) -> Iterator[Budget]:
    """What a thousand idle event streams add to the memory of the server."""
    count = 1000
    with fastio_server(folder) as (port, token, pid):
        request = http("GET", "/v1/workspaces/default/events/stream", token).encode()
        load_model(port, token, folder)
        before = memory_bytes(pid)
        connections = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
        for connection in connections:
            connection.sendall(request)
        for connection in connections:
            while b"hello" not in connection.recv(4096):
                pass
        time.sleep(1)
        grown = memory_bytes(pid) - before
        for connection in connections:
            connection.close()
    yield Budget("1,000 idle event streams", grown / 1e6, 40, "MB")


def large_files(folder: str, quick: bool) -> Iterator[Budget]:
    """What the server's memory grows by while a file of 1 GiB goes up and comes down."""
    size = (128 if quick else 1024) * 1024 * 1024
    source, copy = os.path.join(folder, "source"), os.path.join(folder, "copy")
    with open(source, "wb") as f:
        for _ in range(size // 2**20):
            f.write(os.urandom(2**20))
    with fastio_server(folder) as (port, token, pid):
        env = load_model(port, token, folder)
        before = peak_bytes(pid)
        up_s = seconds_of(lambda: _run([FASTIO, "file", "put", source, "f.bin"], env))
        down_s = seconds_of(lambda: _run([FASTIO, "file", "get", "f.bin", "-o", copy], env))
        grown = peak_bytes(pid) - before
    subprocess.run(["cmp", source, copy], check=True)
    note = f"up at {size / up_s / 1e6:.0f} MB/s, down at {size / down_s / 1e6:.0f} MB/s"
    yield Budget(
        f"a file of {size // 2**20} MiB up and down: memory", grown / 1e6, 64, "MB", note=note
    )


def load_model(port: int, token: str, folder: str) -> dict[str, str]:
    """Have the server load its embedding model, and the runtime for many texts if there is one:
    their memory is another matter. A client's environment."""
    env = {
        **environment(),
        "FASTIO_STORE": f"http://127.0.0.1:{port}",
        "FASTIO_TOKEN": token,
        "XDG_CONFIG_HOME": folder,
    }
    _run([FASTIO, "state", "set", "warm.json", '"warm"'], env)
    for n in range(6):  # it is loaded at the fifth text
        _run([FASTIO, "query", f"warm {n}"], env)
    return env


def peak_bytes(pid: int) -> int:
    """The most memory a process had so far."""
    with open(f"/proc/{pid}/status") as f:
        line = next(line for line in f if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def memory_bytes(pid: int) -> int:
    with open(f"/proc/{pid}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def command(folder: str, quick: bool) -> Iterator[Budget]:
    """One read as a whole process, against importing the HTTP library alone."""
    with fastio_server(folder) as (port, token, _):
        env = {
            **environment(),
            "FASTIO_STORE": f"http://127.0.0.1:{port}",
            "FASTIO_TOKEN": token,
            "XDG_CONFIG_HOME": folder,
        }
        pairs = []
        for _ in range(5 if quick else 20):
            ours = seconds_of(lambda: _run([FASTIO, "state", "get", "n0.json"], env))
            peer = seconds_of(lambda: _run([sys.executable, "-c", "import httpx"], env))
            pairs.append((ours, peer))
    note = f"{statistics.median(a for a, _ in pairs) * 1000:.0f} ms"
    yield Budget("state get from a server: import httpx", median_ratio(pairs), 1.6, note=note)


def _run(argv: list[str], env: dict[str, str]) -> None:
    subprocess.run(argv, env=env, check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    parser = arguments(__doc__ or "")
    parser.add_argument("--node", default=".", help="folder with node_modules, for workerd")
    options = parser.parse_args()
    NODE = options.node
    parts = {
        "increments": increments,
        "slow_disk": slow_disk,
        "overhead": overhead,
        "postgres": postgres,
        "streams": streams,
        "large_files": large_files,
        "command": command,
    }
    sys.exit(run_parts(options, parts))
