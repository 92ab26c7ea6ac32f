"""Many clients, a server that is killed among them: what they saw could have happened in a row.

The checker is shown to catch planted faults in ``tests/concurrency/test_linearizability.py``, and
here for compare-and-set.
"""

from __future__ import annotations

import itertools
import signal
import threading
import time

import pytest

from fastio_cli.client.remote import Remote
from fastio_cli.errors import FastioError
from tests.backends import until
from tests.concurrency.linearizability import Impossible, Operation, counter, linearizable
from tests.server.test_killed import engine, folder, process
from tests.storage.proxy import Proxy

__all__ = ["engine", "folder", "process"]  # fixtures
CLIENTS = 32
CALLS = 8
KILLS = 3
CUTS = 20


def compare_and_set(version: int, operation: Operation) -> int:
    """A version that is moved on by whoever names the one it is at."""
    expected, found = operation.result
    if found is None:
        if expected != version:
            raise Impossible
        return version + 1
    if found != version or found == expected:
        raise Impossible
    return version


GOOD = [Operation("set", (1, None), 0, 1), Operation("set", (1, 2), 2, 3)]
BAD = {
    "both succeed": [Operation("set", (1, None), 0, 1), Operation("set", (1, None), 2, 3)],
    "a refusal for nothing": [Operation("set", (1, 1), 0, 1)],
    "an old version": [Operation("set", (1, None), 0, 1), Operation("set", (2, 1), 2, 3)],
}


def test_the_checker_takes_what_is_right():
    assert linearizable(GOOD, 1, compare_and_set)


@pytest.mark.parametrize("history", BAD.values(), ids=BAD)
def test_the_checker_catches_faults(history):
    assert not linearizable(history, 1, compare_and_set)


def run_clients(process, engine, work):
    """Run ``work(remote, history)`` in many clients while the server is killed again and again."""

    def kill(done):
        for kill in range(1, KILLS + 1):
            done(CLIENTS * CALLS * kill // (KILLS + 1))
            process.stop(signal.SIGKILL)
            process.start()

    return run_disturbed(process.url, engine, work, kill)


def run_disturbed(url, engine, work, disturb):
    """What many clients did meanwhile; ``disturb`` is given a function that waits until so many
    operations were answered."""
    history: list[Operation] = []
    failures: list[BaseException] = []

    def client(token):
        remote = Remote(url, token, retry_s=120)
        try:
            work(remote, history)
        except BaseException as e:
            failures.append(e)
        finally:
            remote.close()

    threads = []
    for n in range(CLIENTS):
        made = engine.call("token.create", {"member": f"m{n}", "role": "editor"})
        threads.append(threading.Thread(target=client, args=(made["token"],)))
    for thread in threads:
        thread.start()
    disturb(lambda enough: until(lambda: len(history) >= enough or failures))
    for thread in threads:
        thread.join(120)
    assert not failures
    return history


def increment_and_read(remote, history):
    for n in range(CALLS):
        kind = "read" if n % 4 == 3 else "increment"
        began = time.monotonic_ns()
        name = "state.get" if kind == "read" else "state.increment"
        value = remote.call(name, {"path": "n.json"})["value"]
        history.append(Operation(kind, value, began, time.monotonic_ns()))


def test_increments_and_reads(process, engine):
    engine.call("state.set", {"path": "n.json", "value": 0})
    assert linearizable(run_clients(process, engine, increment_and_read), 0, counter)


def test_requests_and_replies_that_are_lost_on_the_way(process, engine):
    """Connections break before a request arrives, and before its answer does."""
    engine.call("state.set", {"path": "n.json", "value": 0})
    with Proxy(process.port) as proxy:

        def cut(done):
            for cut in range(CUTS):
                proxy.cut(b"state-increment", after=cut % 2 == 0)
                done(CLIENTS * CALLS * cut // (CUTS + 1))

        url = f"http://127.0.0.1:{proxy.port}"
        history = run_disturbed(url, engine, increment_and_read, cut)
        assert proxy.cuts >= CUTS // 2
    assert linearizable(history, 0, counter)
    assert engine.call("state.get", {"path": "n.json"})["value"] == CLIENTS * CALLS * 3 // 4


def test_compare_and_set(process, engine):
    engine.call("state.set", {"path": "n.json", "value": 0})

    def work(remote, history):
        expected = 1
        for _ in range(CALLS):
            began = time.monotonic_ns()
            found = None
            params = {"path": "n.json", "value": 1, "if_version": expected}
            try:
                remote.call("state.set", params)
            except FastioError as e:
                found = e.details["current_version"]
            history.append(Operation("set", (expected, found), began, time.monotonic_ns()))
            expected = expected + 1 if found is None else found

    assert linearizable(run_clients(process, engine, work), 1, compare_and_set)


def test_locks_exclude_each_other(process, engine):
    """Between an acquisition's answer and the release's call nobody else holds the lock."""

    def work(remote, history):
        for _ in range(2):
            lock = remote.call("lock.acquire", {"path": "v", "wait_s": 120, "ttl_s": 300})
            began = time.monotonic_ns()
            ended = time.monotonic_ns()
            remote.call("lock.release", {"path": "v", "lock_token": lock["token"]})
            history += [Operation("hold", lock["fence"], began, ended)] * (CALLS // 2)

    holds = sorted(set(run_clients(process, engine, work)), key=lambda hold: hold.began)
    assert len(holds) == CLIENTS * 2
    assert all(a.ended <= b.began for a, b in itertools.pairwise(holds))
    fences = [hold.result for hold in holds]
    assert fences == sorted(set(fences))
