"""The PostgreSQL store against pgbench doing the same statements, and against itself when small.

Run with the Python of the environment that fastio is installed in (with its test extra, which
brings a server): .venv/bin/python benchmarks/postgres.py. Measured work and peer take turns.
"""

from __future__ import annotations

import os
import random
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import Budget, arguments, median_ratio, run_parts, seconds_of, worker

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg

from fastio_cli.blobs import Blobs
from fastio_cli.config import Limits
from fastio_cli.engine import Engine
from fastio_cli.store.postgres import PostgresStore
from tests.postgres import Server, binaries

CLIENTS = 16
WORKSPACES = 1000
EVENTS = 10_000_000
OBJECTS = 1_000_000
BODY = {"step": 1, "note": "x" * 100}

# What one `state set` sends, a statement at a time, with the values that pgbench can make up.
PEER = """
begin isolation level read committed, read write;
select set_config('lock_timeout', '10s', true), set_config('statement_timeout', '30s', true),
    set_config('idle_in_transaction_session_timeout', '30s', true),
    set_config('synchronous_commit', current_setting('synchronous_commit'), true);
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
    return Engine(PostgresStore(url), Blobs(os.devnull), Limits())


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
            pairs = []
            rates = []
            for _ in range(rounds):
                ours = fastio_rate(pg.url, workspaces, seconds)
                peer = pgbench_rate(pg.programs, peer_url, workspaces, seconds, folder)
                pairs.append((ours, peer))
                rates.append(f"{ours:,.0f}/{peer:,.0f}")
            yield Budget(
                f"state set, {CLIENTS} clients, {name}: rate to pgbench's",
                median_ratio(pairs),
                0.5,
                at_least=True,
                note=f"writes a second: {', '.join(rates)}",
            )


def fastio_rate(url: str, workspaces: int, seconds: float) -> float:
    """Writes a second of 16 processes."""
    share = max(workspaces // CLIENTS, 1)
    workers = []
    for number in range(CLIENTS):
        first = number * share % workspaces
        argv = [os.path.abspath(__file__), "--worker", url, str(first), str(share), str(seconds)]
        workers.append(worker(argv))
    for w in workers:
        assert w.stdout is not None
        assert w.stdout.readline() == "ready\n"
    for w in workers:
        assert w.stdin is not None
        w.stdin.write("\n")
        w.stdin.flush()
    counts = [int(w.communicate()[0]) for w in workers]
    return sum(counts) / seconds


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
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        write(random.choice(mine))
        done += 1
    print(done, flush=True)
    engine.store.close()


def pgbench_rate(programs: Path, url: str, workspaces: int, seconds: int, folder: str) -> float:
    """Transactions a second of pgbench with 16 clients and the same statements."""
    script = os.path.join(folder, "peer.sql")
    with open(script, "w", encoding="utf-8") as f:
        f.write(f"\\set number random(0, {workspaces - 1})\n{PEER}")
    command = [str(programs / "pgbench"), "-n", "-M", "extended", "-f", script]
    command += ["-c", str(CLIENTS), "-j", "2", "-T", str(seconds), url]
    done = subprocess.run(command, capture_output=True, text=True)
    found = re.search(r"tps = ([0-9.]+)", done.stdout)
    if found is None:
        raise SystemExit(f"pgbench failed: {done.stderr[-1000:]}")
    return float(found[1])


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
