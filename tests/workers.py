"""Processes that work on one store, for the tests of concurrency and of crashes.

``python -m tests.workers NAME FOLDER ARGUMENT...`` runs one function of this module; what it
acknowledges it writes to standard output, a JSON line each.
"""

from __future__ import annotations

import io
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.storage.sqlite.store import SqliteStore
from tests import engines

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 120.0
LOCK_TTL_S = 30.0


def open_engine(folder: Any, clock: Any = None) -> Engine:
    """An engine that keeps every version."""
    return engines.open_engine(folder, clock, Limits(versions_max=10**9))


class Worker:
    """One process running a function of this module."""

    def __init__(self, name: str, folder: Any, *arguments: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.workers", name, str(folder), *map(str, arguments)],
            cwd=ROOT,
            bufsize=0,  # what a buffer had read ahead would be lost to communicate()
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self.errors = ""
        self._lines: list[Any] = []

    def line(self) -> Any:
        """Wait for the next line it writes."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.process.communicate()[1].decode()
        self._lines.append(json.loads(line))
        return self._lines[-1]

    def kill(self) -> list[Any]:
        """End it as the kernel would; everything it acknowledged."""
        self.process.kill()
        return self.rest()

    def finish(self) -> list[Any]:
        """Wait for its end, which has to be a good one; everything it wrote."""
        lines = self.rest()
        assert self.process.returncode == 0, self.errors
        return lines

    def rest(self) -> list[Any]:
        """Wait for its end, however it ends; everything it acknowledged."""
        try:
            out, err = self.process.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.errors = err.decode()
        # A line that the kill cut off was not acknowledged.
        self._lines += [json.loads(line) for line in out.split(b"\n")[:-1]]
        return self._lines


def say(**record: Any) -> None:
    os.write(1, json.dumps(record).encode() + b"\n")


def increments(engine: Engine, actor: str, count: str) -> None:
    for _ in range(int(count)):
        began = time.monotonic_ns()
        value = engine.call("state.increment", {"path": "n.json"}, actor=actor)["value"]
        say(kind="increment", result=value, began=began, ended=time.monotonic_ns())
        began = time.monotonic_ns()
        value = engine.call("state.get", {"path": "n.json"}, actor=actor)["value"]
        say(kind="read", result=value, began=began, ended=time.monotonic_ns())


def register(engine: Engine, actor: str, count: str) -> None:
    """Write distinct values to one register, and read it."""
    for n in range(int(count)):
        began = time.monotonic_ns()
        engine.call("state.set", {"path": "r.json", "value": f"{actor}:{n}"}, actor=actor)
        say(kind="write", result=f"{actor}:{n}", began=began, ended=time.monotonic_ns())
        began = time.monotonic_ns()
        value = engine.call("state.get", {"path": "r.json"}, actor=actor)["value"]
        say(kind="read", result=value, began=began, ended=time.monotonic_ns())


def guarded(engine: Engine, actor: str, count: str) -> None:
    """Read, change and write back under a lock."""
    for _ in range(int(count)):
        held = engine.call("lock.acquire", {"path": "n.json", "wait_s": DEADLINE_S}, actor=actor)
        value = engine.call("state.get", {"path": "n.json"}, actor=actor)["value"]
        change = {"path": "n.json", "value": value + 1, "lock_token": held["token"]}
        engine.call("state.set", change, actor=actor)
        release = {"path": "n.json", "lock_token": held["token"]}
        engine.call("lock.release", release, actor=actor)
        say(fence=held["fence"])


def compare_and_set(engine: Engine, actor: str, count: str) -> None:
    """Read, change and write back if nobody else did meanwhile."""
    done = 0
    while done < int(count):
        got = engine.call("state.get", {"path": "n.json"}, actor=actor)
        change = {"path": "n.json", "value": got["value"] + 1, "if_version": got["version"]}
        try:
            engine.call("state.set", change, actor=actor)
            done += 1
        except FastioError as e:
            if e.code != "version_conflict":
                raise


def take_turn(engine: Engine, actor: str) -> None:
    """Wait in line for the lock, note the turn, and give it back."""
    held = engine.call("lock.acquire", {"path": "v", "wait_s": DEADLINE_S}, actor=actor)
    engine.call("state.append", {"path": "turns.json", "value": actor}, actor=actor)
    engine.call("lock.release", {"path": "v", "lock_token": held["token"]}, actor=actor)
    say(fence=held["fence"])


def transfers(engine: Engine, actor: str, count: str) -> None:
    """Move amounts between accounts, never below zero."""
    chance = random.Random(actor)
    for _ in range(int(count)):
        source, target = chance.sample(range(5), 2)
        amount = chance.randint(1, 20)
        changes = [
            {"op": "increment", "path": f"account{source}.json", "by": -amount},
            {"op": "increment", "path": f"account{target}.json", "by": amount},
        ]
        try:
            engine.call("state.transact", {"changes": changes}, actor=actor)
        except FastioError as e:
            if e.code != "schema_violation":
                raise


def writes(engine: Engine, actor: str) -> None:
    """Write until the end of all days, acknowledging each write once it is made."""
    chance = random.Random()
    engine.call("state.set", {"path": f"{actor}.json", "value": 0}, actor=actor)
    while True:
        chance.choice((_set, _increment, _append, _put, _locked, _transact))(engine, actor)


def _set(engine: Engine, actor: str) -> None:
    value = os.urandom(20).hex()
    put = engine.call("state.set", {"path": f"{actor}-set.json", "value": value}, actor=actor)
    say(path=put["path"], version=put["version"], value=value)


def _increment(engine: Engine, actor: str) -> None:
    got = engine.call("state.increment", {"path": "shared.json"}, actor=actor)
    say(path=got["path"], version=got["version"], value=got["value"])


def _append(engine: Engine, actor: str) -> None:
    content = engine.upload(io.BytesIO(os.urandom(50)))
    put = engine.call("file.append", {"path": "shared.log", "content": content}, actor=actor)
    say(path=put["path"], version=put["version"], size_bytes=put["size_bytes"])


def _put(engine: Engine, actor: str) -> None:
    content = engine.upload(io.BytesIO(os.urandom(70_000)))
    put = engine.call("file.put", {"path": f"{actor}.bin", "content": content}, actor=actor)
    say(path=put["path"], version=put["version"], sha256=put["etag"])


def _locked(engine: Engine, actor: str) -> None:
    path = f"{actor}.json"
    held = engine.call("lock.acquire", {"path": path, "ttl_s": LOCK_TTL_S}, actor=actor)
    change = {"path": path, "lock_token": held["token"]}
    got = engine.call("state.increment", change, actor=actor)
    say(path=path, version=got["version"], value=got["value"])
    engine.call("lock.release", change, actor=actor)


def _transact(engine: Engine, actor: str) -> None:
    changes = [
        {"op": "increment", "path": "debit.json", "by": -1},
        {"op": "increment", "path": "credit.json", "by": 1},
    ]
    for item in engine.call("state.transact", {"changes": changes}, actor=actor)["items"]:
        say(path=item["path"], version=item["version"])


def die_at(engine: Engine, actor: str, point: str, moment: str, call: str) -> None:
    """Write until this call of a step of the product is reached, and die before or after it."""
    _make_fatal(point, moment, int(call))
    writes(engine, actor)


def index_and_die(engine: Engine, actor: str, point: str, moment: str, call: str) -> None:
    """Bring the search index up to date in small steps, and die at one of them."""
    _make_fatal(point, moment, int(call))
    _index(engine)


def index_anew(engine: Engine, actor: str) -> None:
    """Make the search index again and again."""
    while True:
        say(passages=_index(engine))
        engine.call("index.rebuild", actor=actor)


def _index(engine: Engine) -> int:
    from fastio_cli.search import indexer

    indexer.LOCK_S_MAX = 0  # every transaction does as little as it can
    indexer.EMBED_PASSAGES = 4
    while True:
        status = engine.call("index.update")
        if status["indexed_seq"] == status["seq"] and not status["pending"]:
            return int(status["passages"])


def run_jobs(engine: Engine, actor: str) -> None:
    """Run the jobs that count until none is due."""
    from fastio_cli.jobs.runner import JobRunner
    from tests.jobs.counting import Counting, work_off

    runner = JobRunner(engine, [Counting()])
    say(ended=len(work_off(runner)))
    runner.close()


def run_jobs_and_die(engine: Engine, actor: str, point: str, moment: str, call: str) -> None:
    """Run the jobs that count until this call of a step is reached, and die at it."""
    _make_fatal(point, moment, int(call))
    run_jobs(engine, actor)


def make_and_die(folder: str, point: str) -> None:
    """Make a new store, and die after a step of that."""
    _make_fatal(point, "after", 1)
    open_engine(folder)


def _make_fatal(point: str, moment: str, call: int) -> None:
    owner, name = _step(point)
    step = getattr(owner, name)
    count = 0

    def fatal(*args: Any, **kwargs: Any) -> Any:
        nonlocal count
        count += 1
        last = count == call
        if last and moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = step(*args, **kwargs)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, fatal)


def _step(point: str) -> tuple[Any, str]:
    from fastio_cli.jobs.runner import JobRunner
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.postgres.transaction import Migration, Transaction
    from fastio_cli.storage.repositories.jobs import Jobs
    from fastio_cli.storage.repositories.locks import Locks
    from fastio_cli.storage.repositories.objects import Objects
    from fastio_cli.storage.sqlite.connection import Connection
    from fastio_cli.storage.unit_of_work import UnitOfWork
    from tests.jobs.counting import Counting

    nouns = (Context, UnitOfWork, Locks, Objects, BlobStore)
    stores = (Connection, SqliteStore, Migration, Transaction)
    owners = (*nouns, *stores, Jobs, JobRunner, Counting)
    name, _, method = point.partition(".")
    return next(owner for owner in owners if owner.__name__ == name), method


if __name__ == "__main__":
    function, where, *rest = sys.argv[1:]
    globals()[function](where if function == "make_and_die" else open_engine(where), *rest)
