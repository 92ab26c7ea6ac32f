"""Processes killed at named points and at random moments; what they acknowledged is there.

This is the death of processes (SIGKILL), not the loss of power. ``FASTIO_CRASH_ROUNDS`` sets how
many processes are killed at random moments (default 160).
"""

from __future__ import annotations

import hashlib
import os
import random
import re
import time

import pytest

from fastio_cli.errors import FastioError
from tests.workers import LOCK_TTL_S, Worker, open_engine

ROUNDS = int(os.environ.get("FASTIO_CRASH_ROUNDS", "160"))
WRITERS = 8
SHARED = {"shared.json": 0, "debit.json": 0, "credit.json": 0}

POINTS = (
    "Context.finish",
    "UnitOfWork.add_event",
    "UnitOfWork.add_version",
    "UnitOfWork.flush",
    "UnitOfWork.save_workspace",
    "Objects.add_segment",
    "Locks.put",
    "Locks.remove",
    "BlobStore.put",
    "BlobStore.commit",
)
OWN_POINTS = {
    "sqlite": (
        "Connection.apply",
        "Connection.begin",
        "Connection.lock",
        "Connection.run",
        "Connection.unlock",
        "Connection.sync_log",
        "SqliteStore._transaction",
    ),
    "postgres": (
        "Transaction.apply",
        "Transaction.begin",
        "Transaction.commit",
        "Transaction.load",
    ),
}
MAKING_POINTS = {
    "sqlite": ("Connection.set_schema_version", "Connection.sync_log", "Connection.unlock"),
    "postgres": ("Migration.schema_version", "Migration.run", "Migration.set_schema_version"),
}


def prepare(folder):
    engine = open_engine(folder)
    for path, value in SHARED.items():
        engine.call("state.set", {"path": path, "value": value}, actor="test")
    engine.store.close()


def check(folder, acknowledged, killed_at):
    """Everything that has to hold after the killing."""
    engine = open_engine(folder)

    def call(name, **params):
        return engine.call(name, params, actor="test")

    for line in acknowledged:
        path, version = line["path"], line["version"]
        if "value" in line:
            assert call("state.get", path=path, version=version)["value"] == line["value"]
        else:
            download = call("file.get", path=path, version=version)
            body = b"".join(engine.chunks(download))
            assert len(body) == line.get("size_bytes", len(body))
            assert hashlib.sha256(body).hexdigest() == line.get(
                "sha256", hashlib.sha256(body).hexdigest()
            )
    report = call("audit.verify")
    assert report["verified"], report["problem"]
    debit, credit = (call("state.get", path=f"{n}.json")["value"] for n in ("debit", "credit"))
    assert debit + credit == 0
    check_objects(call)
    check_blobs(engine)
    engine.store.close()
    check_locks(folder, killed_at)


def check_objects(call):
    """Versions are whole sequences, the totals right, and every object readable."""
    items = call("object.list", limit=1000)["items"]
    shown = call("workspace.show")
    assert shown["object_count"] == len(items)
    changes = 0
    for item in items:
        versions = call("object.history", path=item["path"], limit=1000)["items"]
        numbers = [v["version"] for v in versions]
        assert numbers == list(range(item["version"], item["version"] - len(numbers), -1))
        changes += item["version"]
    assert shown["seq"] >= changes


def check_blobs(engine):
    """No blob has a name before all of its bytes, and none in use is missing."""
    kept = set(engine.blobs.names())
    for name in kept:
        assert re.fullmatch("[0-9a-f]{64}", name)
        with engine.blobs.open(name) as f:
            assert hashlib.sha256(f.read()).hexdigest() == name
    used = engine.store.read(lambda tx: {row["blob"] for row in tx.objects.blobs_in_use()})
    assert used <= kept


def check_locks(folder, killed_at):
    """Nothing is locked any more once the ttl has passed since the killing."""
    after = killed_at + LOCK_TTL_S
    engine = open_engine(folder, clock=lambda: after)
    assert engine.call("lock.list")["items"] == []
    for n in range(WRITERS):
        engine.call("lock.acquire", {"path": f"agent{n}.json"}, actor="test")
    engine.store.close()


BATCHES = [min(WRITERS, ROUNDS - start) for start in range(0, ROUNDS, WRITERS)]


# The database does its own crash recovery; a quarter of the rounds is for what is ours there.
@pytest.mark.parametrize(
    ("folder", "count"),
    [("sqlite", count) for count in BATCHES]
    + [("postgres", count) for count in BATCHES[: len(BATCHES) // 4]],
    indirect=["folder"],
)
def test_killed_at_a_random_moment(folder, count):
    prepare(folder)
    workers = [Worker("writes", folder, f"agent{n}") for n in range(count)]
    for worker in workers:
        worker.line()  # all of them are at work
    time.sleep(random.random() * 0.1)
    acknowledged = [line for worker in workers for line in worker.kill()]
    check(folder, acknowledged, time.time())


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point(folder, point, moment):
    killed_at(folder, point, moment)


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize(
    ("folder", "point"),
    [(kind, point) for kind, points in OWN_POINTS.items() for point in points],
    indirect=["folder"],
)
def test_killed_at_a_point_of_its_own(folder, point, moment):
    killed_at(folder, point, moment)


def killed_at(folder, point, moment):
    prepare(folder)
    workers = [Worker("die_at", folder, f"agent{n}", point, moment, 2 + 3 * n) for n in range(2)]
    acknowledged = []
    for worker in workers:
        acknowledged += worker.rest()
        assert worker.process.returncode == -9, worker.errors
    check(folder, acknowledged, time.time())


@pytest.mark.parametrize(
    ("folder", "point"),
    [(kind, point) for kind, points in MAKING_POINTS.items() for point in points],
    indirect=["folder"],
)
def test_killed_while_the_store_is_made(folder, point):
    worker = Worker("make_and_die", folder, point)
    worker.rest()
    assert worker.process.returncode == -9
    engine = open_engine(folder)
    engine.call("state.set", {"path": "v.json", "value": 1}, actor="test")
    assert engine.call("audit.verify")["verified"]
    engine.store.close()


def test_a_killed_holder_leaves_a_token_that_ends(folder):
    engine = open_engine(folder)
    held = engine.call("lock.acquire", {"path": "v.json"}, actor="test")
    engine.store.close()
    later = open_engine(folder, clock=lambda: time.time() + 60)
    with pytest.raises(FastioError) as caught:
        later.call("state.set", {"path": "v.json", "value": 1, "lock_token": held["token"]})
    assert caught.value.code == "lock_lost"
    later.store.close()
