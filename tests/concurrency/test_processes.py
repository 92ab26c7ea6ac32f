"""Many processes on one store."""

from __future__ import annotations

import pytest

from tests.backends import until
from tests.concurrency.linearizability import Operation, counter, linearizable, register
from tests.workers import Worker, open_engine

PROCESSES = 16
EACH = 15


@pytest.fixture
def engine(folder):
    engine = open_engine(folder)
    yield engine
    engine.store.close()


@pytest.fixture
def start(folder):
    """Starts workers, and leaves none behind."""
    workers = []

    def start(name, *arguments):
        workers.append(Worker(name, folder, *arguments))
        return workers[-1]

    yield start
    for worker in workers:
        if worker.process.poll() is None:
            worker.kill()


def call(engine, name, **params):
    return engine.call(name, params, actor="test")


def verify(engine):
    report = call(engine, "audit.verify")
    assert report["verified"], report["problem"]
    return report


def test_no_increment_is_lost_and_the_counter_is_linearizable(engine, start):
    call(engine, "state.set", path="n.json", value=0)
    workers = [start("increments", f"agent{n}", EACH) for n in range(PROCESSES)]
    history = [Operation(**line) for worker in workers for line in worker.finish()]
    assert call(engine, "state.get", path="n.json")["value"] == PROCESSES * EACH
    results = sorted(o.result for o in history if o.kind == "increment")
    assert results == list(range(1, PROCESSES * EACH + 1))
    assert linearizable(history, 0, counter)
    assert verify(engine)["events"] == PROCESSES * EACH + 1


def test_a_register_is_linearizable(engine, start):
    call(engine, "state.set", path="r.json", value=None)
    workers = [start("register", f"agent{n}", 8) for n in range(4)]
    history = [Operation(**line) for worker in workers for line in worker.finish()]
    assert linearizable(history, None, register)


def test_no_update_is_lost_under_a_lock(engine, start):
    call(engine, "state.set", path="n.json", value=0)
    workers = [start("guarded", f"agent{n}", 4) for n in range(PROCESSES)]
    fences = [line["fence"] for worker in workers for line in worker.finish()]
    assert call(engine, "state.get", path="n.json")["value"] == PROCESSES * 4
    assert len(set(fences)) == PROCESSES * 4
    verify(engine)


def test_no_update_is_lost_with_preconditions(engine, start):
    call(engine, "state.set", path="n.json", value=0)
    for worker in [start("compare_and_set", f"agent{n}", EACH) for n in range(PROCESSES)]:
        worker.finish()
    assert call(engine, "state.get", path="n.json")["value"] == PROCESSES * EACH


def test_transactions_keep_an_invariant(engine, start):
    schema = {"type": "integer", "minimum": 0}
    for n in range(5):
        call(engine, "state.set", path=f"account{n}.json", value=30, schema=schema)
    workers = [start("transfers", f"agent{n}", EACH) for n in range(PROCESSES)]
    while any(worker.process.poll() is None for worker in workers):
        balances = engine.store.read(
            lambda tx: [
                tx.objects.content(1, f"account{n}.json", head["version"])["body"]
                for n in range(5)
                for head in [tx.objects.head(1, f"account{n}.json")]
            ]
        )
        assert sum(map(int, balances)) == 150
    for worker in workers:
        worker.finish()
    values = [call(engine, "state.get", path=f"account{n}.json")["value"] for n in range(5)]
    assert sum(values) == 150
    assert min(values) >= 0
    verify(engine)


def test_the_lock_is_given_in_the_order_of_asking(engine, start):
    call(engine, "state.set", path="turns.json", value=[])
    held = call(engine, "lock.acquire", path="v", ttl_s=3600)
    names = [f"agent{n}" for n in range(PROCESSES)]
    workers = []
    for n, name in enumerate(names):
        workers.append(start("take_turn", name))
        until(lambda n=n: call(engine, "lock.show", path="v")["waiters"] == n + 1)
    call(engine, "lock.release", path="v", lock_token=held["token"])
    fences = [worker.finish()[0]["fence"] for worker in workers]
    assert call(engine, "state.get", path="turns.json")["value"] == names
    assert fences == sorted(fences)


def test_a_killed_waiter_is_passed_over(engine, start):
    call(engine, "state.set", path="turns.json", value=[])
    held = call(engine, "lock.acquire", path="v", ttl_s=3600)
    workers = []
    for n in range(6):
        workers.append(start("take_turn", f"agent{n}"))
        until(lambda n=n: call(engine, "lock.show", path="v")["waiters"] == n + 1)
    for n in (0, 2, 3):
        workers[n].kill()
    call(engine, "lock.release", path="v", lock_token=held["token"])
    for n in (1, 4, 5):
        workers[n].finish()
    assert call(engine, "state.get", path="turns.json")["value"] == ["agent1", "agent4", "agent5"]


def test_a_killed_holder_is_outlived(engine, start):
    call(engine, "state.set", path="turns.json", value=[])
    first = call(engine, "lock.acquire", path="v", ttl_s=1)
    waiter = start("take_turn", "agent")
    assert waiter.finish()[0]["fence"] > first["fence"]
    with pytest.raises(Exception, match="no longer yours"):
        call(engine, "state.set", path="v", value=1, lock_token=first["token"])


def test_a_reader_of_events_misses_and_repeats_nothing(engine, start):
    call(engine, "state.set", path="n.json", value=0)
    workers = [start("increments", f"agent{n}", EACH) for n in range(PROCESSES)]
    seen, after, total = [], 0, PROCESSES * EACH + 1
    while len(seen) < total:
        page = call(engine, "event.list", after=after, limit=7, wait_s=60)
        seen += [event["seq"] for event in page["items"]]
        assert page["items"], "nothing came for a minute"
        after = int(page["next_cursor"])
    assert seen == list(range(1, total + 1))
    for worker in workers:
        worker.finish()


def test_a_store_is_made_by_whoever_comes_first(folder, start):
    workers = [start("transfers", f"agent{n}", 0) for n in range(PROCESSES)]
    for worker in workers:
        worker.finish()
    engine = open_engine(folder)
    assert [w["name"] for w in call(engine, "workspace.list")["items"]] == ["default"]
    engine.store.close()
