"""The embedded store against named peers: bare SQLite, cp and sha256sum, and itself when small.

Run with the Python of the environment that fastio is installed in: .venv/bin/python
benchmarks/embedded.py. Measured work and peer take turns; figures are medians over the rounds.
"""

from __future__ import annotations

import io
import json
import os
import random
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable, Iterator

from harness import (
    FASTIO,
    Budget,
    arguments,
    median_ratio,
    run,
    run_parts,
    seconds_of,
    worker,
)

from fastio_cli.blobs import Blobs
from fastio_cli.config import Limits
from fastio_cli.engine import Engine
from fastio_cli.store.sqlite import FILE, SqliteStore

MIB = 1024 * 1024
PROCESSES = 16
WARM_UP = 20
ACTOR = "writer@machine"


def open_engine(folder: str) -> Engine:
    return Engine(SqliteStore(folder), Blobs(os.path.join(folder, "blobs")), Limits())


class Bare:
    """The peer of a write: the same two inserts and one update in one commit, and nothing else.

    The rows are those of fastio's own schema, filled with ready-made values: no lock, no check, no
    hash, no JSON. ``own_sync`` commits with NORMAL and syncs the log itself, as fastio does;
    otherwise SQLite syncs at every commit (FULL).
    """

    def __init__(self, folder: str, own_sync: bool) -> None:
        open_engine(folder).store.close()
        file = os.path.join(folder, FILE)
        self.sql = sqlite3.connect(file, isolation_level=None)
        self.sql.execute(f"pragma synchronous = {'normal' if own_sync else 'full'}")
        self.sql.execute("pragma foreign_keys = on")
        self.number = 0
        self._log = os.open(file + "-wal", os.O_RDONLY) if own_sync else None

    def write(self, path: str, body: bytes) -> None:
        self.number += 1
        at = 1_790_000_000_000 + self.number
        self.sql.execute("begin immediate")
        self.sql.execute(
            """insert into versions (workspace_id, path, version, kind, etag, media_type,
            size_bytes, author, at, change, deleted, body)
            values (1, ?, ?, 'state', ?, 'application/json', ?, ?, ?, 'set', 0, ?)""",
            (path, self.number, "e" * 64, len(body), ACTOR, at, body),
        )
        self.sql.execute(
            """insert into events (workspace_id, seq, type, actor, path, version, at, data,
            prev_hash, hash) values (1, ?, 'state.set', ?, ?, ?, ?, ?, ?, ?)""",
            (self.number, ACTOR, path, self.number, at, "d" * 90, "p" * 64, "h" * 64),
        )
        self.sql.execute(
            """update workspaces set seq = ?, head_hash = ?, object_count = ?, size_bytes = ?,
            updated_at = ? where id = 1""",
            (self.number, "h" * 64, self.number, self.number, at),
        )
        self.sql.execute("commit")
        if self._log is not None:
            os.fdatasync(self._log)


def write_rate(folder: str, quick: bool) -> Iterator[Budget]:
    """``state set`` in one process against the bare loop, in turns of some writes each."""
    engine = open_engine(os.path.join(folder, "fastio"))
    full = Bare(os.path.join(folder, "full"), own_sync=False)
    own = Bare(os.path.join(folder, "own"), own_sync=True)
    turn = 100
    value = {"step": 1, "log": ["fetched"]}
    body = json.dumps(value).encode()

    def ours() -> None:
        for n in range(turn):
            params = {"path": f"plan-{n}.json", "value": value}
            engine.call("state.set", params, actor=ACTOR)

    def bare(peer: Bare) -> Callable[[], None]:
        def loop() -> None:
            for n in range(turn):
                peer.write(f"plan-{n}.json", body)

        return loop

    works = (ours, bare(full), bare(own))
    for work in works:
        work()
    rounds = []
    for _ in range(5 if quick else 40):
        rounds.append([seconds_of(work) for work in works])
    for number, name in ((1, "synchronous=FULL"), (2, "NORMAL + fdatasync of the log")):
        ratio = median_ratio([(times[number], times[0]) for times in rounds])
        each = [statistics.median(times[i] for times in rounds) / turn * 1e6 for i in (0, number)]
        note = f"{each[0]:.0f} us a write, peer {each[1]:.0f} us"
        yield Budget(f"state set by bare loop, {name}", ratio, 0.8, at_least=True, note=note)


def contention(folder: str, quick: bool) -> Iterator[Budget]:
    """16 processes that increment one number, against one process doing so alone."""
    seconds = 1.0 if quick else 3.0
    engine = open_engine(folder)
    engine.call("state.set", {"path": "n.json", "value": 0}, actor=ACTOR)
    sync_s = sync_time(folder)
    alone = [increments(folder, 1, seconds)]
    crowds = []
    for _ in range(1 if quick else 3):
        crowds.append(increments(folder, PROCESSES, seconds))
        alone.append(increments(folder, 1, seconds))
    made = sum(done["count"] + WARM_UP for processes in alone + crowds for done in processes)
    found = engine.call("state.get", {"path": "n.json"})["value"]
    assert found == made, f"{made} increments were acknowledged, {found} are there"

    def total(processes: list[dict[str, float]]) -> float:
        return sum(done["count"] / done["seconds"] for done in processes)

    one = statistics.median(total(processes) for processes in alone)
    all16 = statistics.median(total(processes) for processes in crowds)
    yield Budget(
        "16 processes: total by one process's rate",
        all16 / one,
        0.8,
        at_least=True,
        note=f"{all16:.0f}/s by {one:.0f}/s",
    )
    fairness = statistics.median(
        min(d["count"] for d in processes) / statistics.mean(d["count"] for d in processes)
        for processes in crowds
    )
    yield Budget("16 processes: slowest by mean", fairness, 0.5, at_least=True)
    longest = statistics.median(max(d["longest"] for d in processes) for processes in crowds)
    limit = 0.1 + 20 * sync_s
    note = f"100 ms + 20 syncs of {sync_s * 1e3:.2f} ms"
    yield Budget("16 processes: longest wait", longest * 1e3, limit * 1e3, "ms", note=note)


def sync_time(folder: str) -> float:
    """The median time of one sync after overwriting a page of an allocated file."""
    with open(os.path.join(folder, "sync"), "wb", buffering=0) as f:
        f.write(b"x" * MIB)
        os.fsync(f.fileno())

        def once(n: int) -> float:
            os.pwrite(f.fileno(), os.urandom(4096), n * 4096)
            return seconds_of(lambda: os.fdatasync(f.fileno()))

        return statistics.median(once(n) for n in range(100))


def increments(folder: str, processes: int, seconds: float) -> list[dict[str, float]]:
    """Let processes increment for a while, all from the same moment; what each of them did."""
    children = [worker([__file__, "--worker", folder, str(seconds)]) for _ in range(processes)]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()  # it is ready
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    results = []
    for child in children:
        assert child.stdout is not None
        results.append(json.loads(child.stdout.readline()))
        child.wait()
    return results


def increment_worker(folder: str, seconds: float) -> None:
    engine = open_engine(folder)

    def increment() -> None:
        engine.call("state.increment", {"path": "n.json"}, actor=f"process {os.getpid()}")

    for _ in range(WARM_UP):
        increment()
    print("ready", flush=True)
    sys.stdin.read()  # the start: its end
    started = now = time.perf_counter()
    count, longest = 0, 0.0
    while now - started < seconds:
        increment()
        before, now = now, time.perf_counter()
        count, longest = count + 1, max(longest, now - before)
    print(json.dumps({"count": count, "seconds": now - started, "longest": longest}))


def file_put(folder: str, quick: bool) -> Iterator[Budget]:
    """``fastio file put`` of a large file against cp + sync + sha256sum."""
    size = (128 if quick else 1024) * MIB
    source, copy = os.path.join(folder, "source"), os.path.join(folder, "copy")
    with open(source, "wb") as f:
        for _ in range(size // MIB):
            f.write(os.urandom(MIB))
        f.flush()
        os.fsync(f.fileno())
    peer = ["/bin/sh", "-c", 'cp "$0" "$1" && sync "$1" && sha256sum "$1"', source, copy]
    pairs, memory = [], 0
    for n in range(2 if quick else 3):
        store = os.path.join(folder, f"store-{n}")
        theirs = run(peer, folder)
        os.unlink(copy)
        ours = run([FASTIO, "file", "put", source, "big.bin", "--store", store], folder)
        run(["/bin/rm", "-r", store], folder)
        pairs.append((ours.seconds, theirs.seconds))
        memory = max(memory, ours.memory_bytes)
    name = f"file put of {size // MIB} MiB"
    note = f"{statistics.median(a for a, _ in pairs):.2f} s"
    yield Budget(f"{name} by cp + sync + sha256sum", median_ratio(pairs), 1.3, note=note)
    yield Budget(f"{name}: peak memory", memory / MIB, 64, "MiB")


def file_append(folder: str, quick: bool) -> Iterator[Budget]:
    """Appending a line to a log of 100 MB against one of 1 KB."""
    engine = open_engine(folder)

    def append(path: str, data: bytes) -> float:
        def do() -> None:
            content = engine.upload(io.BytesIO(data))
            engine.call("file.append", {"path": path, "content": content}, actor=ACTOR)

        return seconds_of(do)

    for _ in range(100):
        append("large.log", b"x" * 1_000_000)
    append("small.log", b"x" * 1000)
    line = b'{"t": 1, "event": "a line as logs have them"}\n'
    pairs = []
    for _ in range(50 if quick else 500):
        small = append("small.log", line)
        pairs.append((append("large.log", line), small))
    large, small = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
    note = f"{large * 1e6:.0f} us by {small * 1e6:.0f} us"
    yield Budget("file append to 100 MB by to 1 KB", large / small, 1.5, note=note)


def many_objects(folder: str, quick: bool) -> Iterator[Budget]:
    """Reading and listing in a store of many objects against one of 1,000."""
    count = 100_000 if quick else 1_000_000
    stores = {n: os.path.join(folder, str(n)) for n in (1000, count)}
    engines = {n: filled(path, n) for n, path in stores.items()}
    pick = random.Random(1)

    def get(n: int) -> float:
        path = object_path(pick.randrange(n))
        return seconds_of(lambda: engines[n].call("state.get", {"path": path}))

    def page(n: int, at: float) -> float:
        params = {"cursor": object_path(int(n * at)), "limit": 50}
        return seconds_of(lambda: engines[n].call("object.list", params))

    def command(n: int) -> float:
        path = object_path(pick.randrange(n))
        return run([FASTIO, "state", "get", path, "--store", stores[n]], folder).seconds

    rounds = 200 if quick else 2000
    for name, work, times in (
        ("state get", get, rounds),
        ("state get as a command", command, 20),
        ("list 50 in the middle", lambda n: page(n, 0.5), rounds // 4),
    ):
        for n in engines:
            work(n)
        pairs = [(work(count), work(1000)) for _ in range(times)]
        large, small = (statistics.median(pair[i] for pair in pairs) for i in (0, 1))
        note = f"{large * 1e6:.0f} us by {small * 1e6:.0f} us"
        yield Budget(f"{name}: {count:,} objects by 1,000", large / small, 1.5, note=note)
    pairs = [(page(count, 0.99), page(count, 0)) for _ in range(rounds // 4)]
    ratio = median_ratio(pairs)
    yield Budget(f"list 50 at the end by at the start of {count:,}", ratio, 1.5)


def object_path(number: int) -> str:
    return f"runs/{number // 1000:04d}/step-{number % 1000:03d}.json"


def filled(folder: str, count: int) -> Engine:
    """A store of ``count`` state objects, written by bulk SQL into fastio's own schema.

    Their events are left out: reading and listing do not look at them.
    """
    engine = open_engine(folder)
    sql = sqlite3.connect(os.path.join(folder, FILE), isolation_level=None)
    sql.create_function("object_path", 1, object_path, deterministic=True)
    sql.execute("pragma synchronous = off")
    sql.execute("begin")
    sql.execute(
        """insert into versions (workspace_id, path, version, kind, etag, media_type, size_bytes,
        author, at, change, deleted, body)
        with recursive n (i) as (select 0 union all select i + 1 from n where i + 1 < ?)
        select 1, object_path(i), 1, 'state', hex(zeroblob(32)), 'application/json', 36, ?,
        1790000000000 + i, 'set', 0, cast(printf('{"step":%d,"status":"waiting here"}', i) as blob)
        from n""",
        (count, ACTOR),
    )
    sql.execute(
        """insert into objects (workspace_id, path, kind, version, etag, media_type, size_bytes,
        author, created_at, updated_at, deleted)
        select workspace_id, path, kind, version, etag, media_type, size_bytes, author, at, at, 0
        from versions order by path"""
    )
    sql.execute("update workspaces set object_count = ?, size_bytes = 36 * ?", (count, count))
    sql.execute("commit")
    sql.execute("pragma wal_checkpoint(truncate)")
    sql.close()
    return engine


PARTS: dict[str, Callable[[str, bool], Iterator[Budget]]] = {
    "write_rate": write_rate,
    "contention": contention,
    "file_put": file_put,
    "file_append": file_append,
    "many_objects": many_objects,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        increment_worker(sys.argv[2], float(sys.argv[3]))
    else:
        sys.exit(run_parts(arguments(str(__doc__)).parse_args(), PARTS))
