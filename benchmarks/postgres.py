"""The PostgreSQL store against pgbench doing the same statements, and against itself when small.

Run with the Python of the environment that fastio is installed in (with its test extra, which
brings a server): .venv/bin/python benchmarks/postgres.py. Measured work and peer take turns.
"""

from __future__ import annotations

import os
import random
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness import Budget, arguments, median_ratio, run_parts, seconds_of, worker

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.postgres.store import PostgresStore
from tests.postgres import Server, binaries, children

CLIENTS = 16
WORKSPACES = 1000
EVENTS = 10_000_000
OBJECTS = 1_000_000
BODY = {"step": 1, "note": "x" * 100}

# What one `state set` sends, a statement at a time, prepared as ours are, with values that pgbench
# can make up.
PEER = """
begin isolation level read committed, read write;
select id as w, seq + 1 as seq, floor(extract(epoch from clock_timestamp()) * 1000)::bigint as at
    from workspaces where name = 'w' || :number and deleted_at is null
    for update \\gset
\\set key random(1, 9000000000000000000)
select path, kind, version, etag, media_type, size_bytes, schema, author, created_at, updated_at,
    deleted from objects where workspace_id = :w and path = 'plan.json';
select path, fence, token_hash, holder, purpose, ttl_ms, acquired_at, renewed_at, expires_at
    from locks where workspace_id = :w and path = 'plan.json';
insert into versions (workspace_id, path, version, kind, etag, media_type, size_bytes, author, at,
    change, deleted, body) values (:w, 'plan.json', :seq, 'state', repeat('e', 64),
    'application/json', 119, 'writer@machine', :at, 'set', 0, convert_to(repeat('x', 119), 'UTF8'));
insert into objects (workspace_id, path, kind, version, etag, media_type, size_bytes, author,
    created_at, updated_at, deleted) values (:w, 'plan.json', 'state', :seq, repeat('e', 64),
    'application/json', 119, 'writer@machine', :at, :at, 0)
    on conflict (workspace_id, path) do update set kind = excluded.kind,
    version = excluded.version, etag = excluded.etag, media_type = excluded.media_type,
    size_bytes = excluded.size_bytes, schema = excluded.schema, author = excluded.author,
    created_at = excluded.created_at, updated_at = excluded.updated_at, deleted = excluded.deleted;
insert into events (workspace_id, seq, type, actor, path, version, at, data, prev_hash, hash)
    values (:w, :seq, 'state.set', 'writer@machine', 'plan.json', :seq, :at, repeat('d', 90),
    repeat('p', 64), repeat('h', 64));
update workspaces set seq = :seq, head_hash = repeat('h', 64), object_count = 1,
    size_bytes = :seq, updated_at = :at where id = :w;
insert into requests (workspace_id, key, request_hash, result, expires_at)
    values (:w, :key::text, '', repeat('r', 330), :at::bigint + 600000)
    on conflict (workspace_id, key) do update set request_hash = excluded.request_hash,
    result = excluded.result, expires_at = excluded.expires_at;
commit;
"""


def open_engine(url: str) -> Engine:
    return Engine(PostgresStore(url), BlobStore(os.devnull), Limits())


@contextmanager
def server(folder: str) -> Iterator[Server]:
    """A server with its data on the measured disk, durable as it comes."""
    programs = binaries()
    if not programs:
        raise SystemExit("There is no PostgreSQL: pip install -e '.[test]'")
    running = Server(
        programs[0],
        data=Path(folder) / "data",
        max_connections=100,
        shared_buffers="256MB",
        max_wal_size="4GB",
    )
    running.start()
    try:
        yield running
    finally:
        running.kill()


def write_rate(folder: str, quick: bool) -> Iterator[Budget]:
    """``state set`` by 16 clients: over 1,000 workspaces, and all on one."""
    seconds, rounds = (3, 3) if quick else (8, 5)
    with server(folder) as pg:
        engine = open_engine(pg.url)
        for number in range(WORKSPACES):
            engine.call("workspace.create", {"name": f"w{number}"})
        engine.store.close()
        peer_url = f"{pg.url.rpartition('/')[0]}/peer"
        with psycopg.connect(pg.url, autocommit=True) as c:
            c.execute("create database peer template postgres")
        for name, workspaces in (("1,000 workspaces", WORKSPACES), ("one hot workspace", 1)):
            runs = []
            for _ in range(rounds):
                clients = ready_clients(pg.url, workspaces, seconds)
                ours = measured(pg, seconds, lambda c=clients: fastio_run(c))
                peer = measured(
                    pg,
                    seconds,
                    lambda w=workspaces: pgbench_run(pg.programs, peer_url, w, seconds, folder),
                )
                runs.append((ours, peer))
            rates = ", ".join(f"{a.rate:,.0f}/{b.rate:,.0f}" for a, b in runs)
            yield Budget(
                f"state set, {CLIENTS} clients, {name}: rate to pgbench's",
                median_ratio([(a.rate, b.rate) for a, b in runs]),
                0.5,
                at_least=True,
                note=f"writes a second: {rates}; {processor_time(runs)}",
            )


@dataclass
class Run:
    """What a load came to: writes a second, and CPU seconds of its clients and of the server."""

    rate: float
    client_us: float
    server_us: float


def measured(pg: Server, seconds: float, load: Callable[[], tuple[int, float]]) -> Run:
    """Run a load, which tells its writes and the CPU seconds of its clients."""
    before = server_seconds(pg)
    count, client = load()
    server = server_seconds(pg) - before
    return Run(count / seconds, client / count * 1e6, server / count * 1e6)


def processor_time(runs: list[tuple[Run, Run]]) -> str:
    """CPU a write, as medians: it says more than the rate where 16 clients share two cores."""
    parts = []
    for name, side in (("fastio", 0), ("pgbench", 1)):
        client = statistics.median(pair[side].client_us for pair in runs)
        server = statistics.median(pair[side].server_us for pair in runs)
        parts.append(f"{name} {client:.0f} + {server:.0f}")
    return f"CPU us a write, client + server: {', '.join(parts)}"


def server_seconds(pg: Server) -> float:
    """CPU seconds of a server so far, its ended processes included."""
    assert pg.process is not None
    total = 0
    for pid in (pg.process.pid, *children(pg.process.pid)):
        with suppress(FileNotFoundError):  # it ended meanwhile, and its parent counts it
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15]))
    return total / os.sysconf("SC_CLK_TCK")


def ready_clients(url: str, workspaces: int, seconds: float) -> list[subprocess.Popen[str]]:
    """16 processes that have written to each of their workspaces once."""
    share = max(workspaces // CLIENTS, 1)
    workers = []
    for number in range(CLIENTS):
        first = number * share % workspaces
        argv = [os.path.abspath(__file__), "--worker", url, str(first), str(share), str(seconds)]
        workers.append(worker(argv))
    for w in workers:
        assert w.stdout is not None
        assert w.stdout.readline() == "ready\n"
    return workers


def fastio_run(workers: list[subprocess.Popen[str]]) -> tuple[int, float]:
    """Let them write; their writes and CPU seconds."""
    for w in workers:
        assert w.stdin is not None
        w.stdin.write("\n")
        w.stdin.flush()
    told = [w.communicate()[0].split() for w in workers]
    return sum(int(count) for count, _ in told), sum(float(cpu) for _, cpu in told)


def write_for(url: str, first: int, count: int, seconds: float) -> None:
    """One client: write to its share of the workspaces at random until the time is up."""
    engine = open_engine(url)
    mine = range(first, first + count)

    def write(number: int) -> None:
        name = f"w{number}"
        params = {"path": "plan.json", "value": BODY}
        engine.call("state.set", params, workspace=name, actor="writer@machine")

    for number in mine:
        write(number)
    print("ready", flush=True)
    sys.stdin.readline()
    done = 0
    began = time.process_time()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        write(random.choice(mine))
        done += 1
    print(done, time.process_time() - began, flush=True)
    engine.store.close()


def pgbench_run(
    programs: Path, url: str, workspaces: int, seconds: int, folder: str
) -> tuple[int, float]:
    """Transactions and CPU seconds of pgbench with 16 clients and the same statements."""
    script = os.path.join(folder, "peer.sql")
    with open(script, "w", encoding="utf-8") as f:
        f.write(f"\\set number random(0, {workspaces - 1})\n{PEER}")
    command = [str(programs / "pgbench"), "-n", "-M", "prepared", "-f", script]
    command += ["-c", str(CLIENTS), "-j", "2", "-T", str(seconds), url]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, capture_output=True, text=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = re.search(r"actually processed: ([0-9]+)", done.stdout)
    if found is None:
        raise SystemExit(f"pgbench failed: {done.stderr[-1000:]}")
    cpu = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return int(found[1]), cpu


def large_store(folder: str, quick: bool) -> Iterator[Budget]:
    """Reads and writes of a store of 10 million events and 1 million objects."""
    events, objects = (EVENTS // 20, OBJECTS // 20) if quick else (EVENTS, OBJECTS)
    rounds = 7
    with server(folder) as pg:
        large, small = pg.url, f"{pg.url.rpartition('/')[0]}/small"
        with psycopg.connect(pg.url, autocommit=True) as c:
            c.execute("create database small")
        engines = [open_engine(large), open_engine(small)]
        fill(large, events, objects)
        fill(small, 1000, 1000)
        sizes = ((events, objects), (1000, 1000))
        for name in ("get", "patch", "event list --after"):
            pairs = []
            for _ in range(rounds):
                times = [
                    seconds_of(lambda e=e, s=s, n=name: use(e, n, *s))
                    for e, s in zip(engines, sizes, strict=True)
                ]
                pairs.append((times[0], times[1]))
            yield Budget(
                f"{name} in {events:,} events, {objects:,} objects: to 1,000",
                median_ratio(pairs),
                1.5,
                note=f"{statistics.median(a for a, _ in pairs) * 1000 / USES:.2f} ms",
            )
        for engine in engines:
            engine.store.close()


USES = 200


def use(engine: Engine, name: str, events: int, objects: int) -> None:
    """One kind of call, at places all over the store."""
    chance = random.Random(1)
    for _ in range(USES):
        path = f"o/{chance.randrange(objects):08}.json"
        if name == "get":
            engine.call("state.get", {"path": path})
        elif name == "patch":
            engine.call("state.patch", {"path": path, "patch": {"n": chance.random()}})
        else:
            engine.call("event.list", {"after": chance.randrange(events - 50)})


def fill(url: str, events: int, objects: int) -> None:
    """Rows as fastio makes them, made in bulk."""
    statements: list[tuple[str, Any]] = [
        (
            """insert into versions (workspace_id, path, version, kind, etag, media_type,
            size_bytes, author, at, change, deleted, body)
            select 1, 'o/' || lpad(n::text, 8, '0') || '.json', 1, 'state', repeat('e', 64),
            'application/json', 9, 'a', 1790000000000, 'set', 0, '{"n":1234}'::bytea
            from generate_series(0, %s - 1) as n""",
            objects,
        ),
        (
            """insert into objects (workspace_id, path, kind, version, etag, media_type,
            size_bytes, author, created_at, updated_at, deleted)
            select 1, 'o/' || lpad(n::text, 8, '0') || '.json', 'state', 1, repeat('e', 64),
            'application/json', 9, 'a', 1790000000000, 1790000000000, 0
            from generate_series(0, %s - 1) as n""",
            objects,
        ),
        (
            """insert into events (workspace_id, seq, type, actor, path, version, at, data,
            prev_hash, hash)
            select 1, n, 'state.set', 'a', 'o/0.json', 1, 1790000000000, '{}', repeat('p', 64),
            repeat('h', 64) from generate_series(1, %s) as n""",
            events,
        ),
        ("update workspaces set seq = %s where id = 1", events),
    ]
    with psycopg.connect(url, autocommit=True) as c:
        for sql, value in statements:
            c.execute(sql, [value])
        c.execute("vacuum analyze")
        c.execute("checkpoint")


PARTS: dict[str, Callable[[str, bool], Iterator[Budget]]] = {
    "write_rate": write_rate,
    "large_store": large_store,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        write_for(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5]))
    else:
        sys.exit(run_parts(arguments(str(__doc__)).parse_args(), PARTS))
