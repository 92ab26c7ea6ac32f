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

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.sqlite.connection import FILE
from fastio_cli.storage.sqlite.store import SqliteStore

MIB = 1024 * 1024
PROCESSES = 16
WARM_UP = 20
ACTOR = "writer@machine"


def open_engine(folder: str) -> Engine:
    return Engine(SqliteStore(folder), BlobStore(os.path.join(folder, "blobs")), Limits())


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
        yield Budget(f"state set by bare loop, {name}", ratio, 0.62, at_least=True, note=note)


def contention(folder: str, quick: bool) -> Iterator[Budget]:
    """16 processes on one store against one alone: each its own object, then all the same."""
    for verb in ("set", "increment"):
        alone, crowds, syncs = [crowd(folder, verb, 1, quick)], [], []
        for _ in range(1 if quick else 3):
            syncs.append(sync_time(folder))
            crowds.append(crowd(folder, verb, PROCESSES, quick))
            alone.append(crowd(folder, verb, 1, quick))
        if verb == "increment":
            made = sum(done["count"] + WARM_UP for did in alone + crowds for done in did)
            found = open_engine(folder).call("state.get", {"path": "n.json"})["value"]
            assert found == made, f"{made} increments were acknowledged, {found} are there"
        name = f"{PROCESSES} processes, state {verb}:"
        one = statistics.median(map(total_rate, alone))
        together = statistics.median(map(total_rate, crowds))
        note = f"{together:.0f}/s by {one:.0f}/s"
        ratio = together / one
        yield Budget(f"{name} total by one's rate", ratio, 0.8, at_least=True, note=note)
        yield Budget(
            f"{name} slowest by mean",
            statistics.median(
                min(done["count"] for done in did) / statistics.mean(done["count"] for done in did)
                for did in crowds
            ),
            0.5,
            at_least=True,
        )
        longest_s = statistics.median(max(done["longest"] for done in did) for did in crowds)
        sync_s = statistics.median(syncs)
        limit_s = 0.1 + 20 * sync_s
        note = f"100 ms + 20 syncs of {sync_s * 1e3:.2f} ms"
        yield Budget(f"{name} longest wait", longest_s * 1e3, limit_s * 1e3, "ms", note=note)


def total_rate(did: list[dict[str, float]]) -> float:
    return sum(done["count"] / done["seconds"] for done in did)


def sync_time(folder: str) -> float:
    """The median time of one sync after overwriting a page of an allocated file."""
    with open(os.path.join(folder, "sync"), "wb", buffering=0) as f:
        f.write(b"x" * MIB)
        os.fsync(f.fileno())

        def once(n: int) -> float:
            os.pwrite(f.fileno(), os.urandom(4096), n * 4096)
            return seconds_of(lambda: os.fdatasync(f.fileno()))

        return statistics.median(once(n) for n in range(100))


def crowd(folder: str, verb: str, processes: int, quick: bool) -> list[dict[str, float]]:
    """Let processes write for a while, all from the same moment; what each of them did."""
    open_engine(folder).call("state.init", {"path": "n.json", "value": 0}, actor=ACTOR)
    seconds = "1" if quick else "3"
    children = [worker([__file__, "--worker", folder, verb, seconds]) for _ in range(processes)]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()  # it is ready
    for child in children:
        assert child.stdin is not None
        child.stdin.close()
    did = []
    for child in children:
        assert child.stdout is not None
        did.append(json.loads(child.stdout.readline()))
        child.wait()
    return did


def write_for(folder: str, verb: str, seconds: float) -> None:
    """What one of the processes does, from when its input ends."""
    engine = open_engine(folder)
    params: dict[str, object] = {"path": "n.json"}
    if verb == "set":
        params = {"path": f"{os.getpid()}.json", "value": {"step": 1}}

    def write() -> None:
        engine.call(f"state.{verb}", params, actor=f"process {os.getpid()}")

    for _ in range(WARM_UP):
        write()
    print("ready", flush=True)
    sys.stdin.read()
    started = now = time.perf_counter()
    count, longest = 0, 0.0
    while now - started < seconds:
        write()
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
        run([FASTIO, "init", "--store", store], folder)
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
        write_for(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        sys.exit(run_parts(arguments(str(__doc__)).parse_args(), PARTS))
