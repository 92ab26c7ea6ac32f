"""The primary dies under load and its standby takes over: nothing acknowledged is lost or repeated.

A primary with one synchronous standby, writers that go through fastio and name both in their URL.
``FASTIO_FAILOVER_ROUNDS`` sets how often (default 1; ``make test-failover`` does 5).
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from typing import Any

import psycopg
import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.postgres.store import PostgresStore
from tests import postgres
from tests.backends import until
from tests.postgres import Server, as_nobody
from tests.requirements import lacking

ROUNDS = int(os.environ.get("FASTIO_FAILOVER_ROUNDS", "1"))
WRITERS = 6
WRITES_BEFORE = 20
WRITES_AFTER = 20
DEADLINE_S = 90.0
DURABLE = {"fsync": "on", "wal_keep_size": "256MB"}


class Cluster:
    """A primary and its synchronous standby."""

    def __init__(self) -> None:
        programs = postgres.binaries()[0]
        self.primary = Server(programs, **DURABLE, synchronous_standby_names="ANY 1 (standby)")
        # Until the standby is there a commit would wait for it.
        self.primary.settings["synchronous_commit"] = "on"
        self.primary.start()
        self.standby = self._copied()
        self.standby.start()
        with psycopg.connect(self.primary.url, autocommit=True) as c:
            until(lambda: c.execute("select 1 from pg_stat_replication").fetchone())

    @property
    def url(self) -> str:
        """Both hosts; libpq takes the one that can be written to."""
        hosts = ",".join(f"127.0.0.1:{s.port}" for s in (self.primary, self.standby))
        return f"postgresql://fastio@{hosts}/postgres?target_session_attrs=read-write"

    def fail_over(self) -> None:
        """Kill the primary as a power cut would, and make the standby the new one."""
        self.primary.kill_hard()
        with psycopg.connect(self.standby.url, autocommit=True) as c:
            c.execute("select pg_promote(wait => true)")

    def remove(self) -> None:
        self.standby.remove()
        self.primary.remove()

    def _copied(self) -> Server:
        data = self.primary.data.parent / "standby"
        command = ["pg_basebackup", "-D", str(data), "-R", "--checkpoint=fast", "--no-sync"]
        connection = f"host=127.0.0.1 port={self.primary.port} user=fastio application_name=standby"
        subprocess.run(
            [*as_nobody(), str(self.primary.programs / command[0]), *command[1:], "-d", connection],
            check=True,
            capture_output=True,
        )
        return Server(self.primary.programs, data=data, **DURABLE)


class Writer(threading.Thread):
    """Writes through fastio, and keeps what was acknowledged, and when."""

    def __init__(self, url: str, folder: Any, number: int) -> None:
        super().__init__(daemon=True)
        self.engine = Engine(PostgresStore(url), BlobStore(str(folder)), Limits(versions_max=10**9))
        self.actor = f"writer-{number}"
        self.acknowledged: list[tuple[str, int, Any]] = []
        self.times: list[float] = []
        self.fences: list[int] = []
        self.failure: BaseException | None = None
        self.enough = threading.Event()

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                self._write(len(self.acknowledged))
        except BaseException as e:
            self.failure = e
        finally:
            self.engine.store.close()

    def _write(self, n: int) -> None:
        def call(name: str, **params: Any) -> Any:
            return self.engine.call(name, params, actor=self.actor)

        value = f"{self.actor}:{n}"
        done = call("state.append", path=f"{self.actor}.json", value=value)
        self.acknowledged.append((done["path"], done["version"], value))
        self.times.append(time.monotonic())
        call("state.increment", path="counter.json")
        lock = call("lock.acquire", path="locked.json", wait_s=DEADLINE_S)
        self.fences.append(lock["fence"])
        call("lock.release", path="locked.json", lock_token=lock["token"])


@pytest.fixture
def cluster():
    if not postgres.binaries():
        lacking("no PostgreSQL programs were found")
    cluster = Cluster()
    yield cluster
    cluster.remove()


@pytest.mark.parametrize("number", range(ROUNDS))
def test_the_primary_dies_under_load(cluster, tmp_path, number, record_property):
    writers = [Writer(cluster.url, tmp_path, n) for n in range(WRITERS)]
    engine = writers[0].engine
    engine.call("state.set", {"path": "counter.json", "value": 0})
    for n in range(WRITERS):
        engine.call("state.set", {"path": f"writer-{n}.json", "value": []})
    for writer in writers:
        writer.start()
    _wait_for(writers, WRITES_BEFORE)
    killed = time.monotonic()
    cluster.fail_over()
    after = {w: len(w.acknowledged) for w in writers}
    _wait_for(writers, max(after.values()) + WRITES_AFTER)
    for writer in writers:
        writer.enough.set()
    for writer in writers:
        writer.join(DEADLINE_S)
        assert writer.failure is None
    gap = max(min(t for t in w.times if t > killed + 0.001) - killed for w in writers)
    print(f"\nfailover {number}: all writers were going again after {gap:.2f} s")
    record_property("gap_s", gap)
    _check(cluster, writers, tmp_path)


def _wait_for(writers: list[Writer], count: int) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while any(len(w.acknowledged) < count for w in writers):
        assert time.monotonic() < deadline, "the writers did not go on"
        failures = [w.failure for w in writers if w.failure is not None]
        assert not failures, failures
        time.sleep(0.01)


def _check(cluster: Cluster, writers: list[Writer], folder: Any) -> None:
    store = PostgresStore(cluster.url)
    engine = Engine(store, BlobStore(str(folder)), Limits(versions_max=10**9))
    for writer in writers:
        # One append for each acknowledgement, in order: none lost, none twice.
        value = engine.call("state.get", {"path": f"{writer.actor}.json"})["value"]
        assert value == [v for _, _, v in writer.acknowledged]
        versions = [version for _, version, _ in writer.acknowledged]
        assert versions == list(range(2, len(versions) + 2))
        assert writer.fences == sorted(set(writer.fences))
    counted = engine.call("state.get", {"path": "counter.json"})["value"]
    assert counted == sum(len(w.acknowledged) for w in writers)
    fences = [f for w in writers for f in w.fences]
    assert len(fences) == len(set(fences))
    report = engine.call("audit.verify")
    assert report["verified"], report["problem"]
    store.close()
