"""A share for everyone: turns, places, and what is dropped when nobody waits for it any more."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import threading
import weakref
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.operations import find
from fastio_cli.server import compute
from fastio_cli.server.compute import HelperPool
from fastio_cli.server.executor import KeyedQueue
from fastio_cli.server.fair_pool import FairPool, current_task
from fastio_cli.server.shares import Budget, Places, Turns, by_turns
from fastio_cli.storage.tx import Work
from tests.backends import Background, until
from tests.server.test_hostile import FILE, STATE, connected, head, status_of

SLOW = "[@,@]" + "|[@,@]" * 30 + "|to_string(@)"  # takes until it is ended
MIB = 1024 * 1024


def test_owners_take_turns():
    turns: Turns[int] = Turns()
    for number, owner in enumerate("aaaabbc"):
        turns.put(owner, number)
    assert turns.remove("a", 1)
    assert not turns.remove("a", 1)
    assert not turns.remove("x", 1)
    assert turns.take_many(10) == [0, 4, 6, 2, 5, 3]
    assert not turns


def test_those_who_may_not_are_passed_over_and_keep_their_turn():
    turns: Turns[int] = Turns()
    for number, owner in enumerate("aab"):
        turns.put(owner, number)
    assert turns.take(lambda owner, _, alone: owner == "b" and not alone) == 2
    assert turns.take(lambda owner, _, alone: not alone) is None
    assert turns.take(lambda owner, _, alone: alone) == 0


def test_the_order_of_a_batch():
    assert by_turns([("a", 1), ("a", 2), ("a", 3), ("b", 4)]) == [
        ("a", 1),
        ("b", 4),
        ("a", 2),
        ("a", 3),
    ]


def test_nobody_holds_more_than_half_or_a_quarter_while_others_wait():
    places = Places(16)
    for _ in range(4):
        assert places.may_take("a", alone=False)
        places.take("a")
    assert not places.may_take("a", alone=False)
    for _ in range(4):
        assert places.may_take("a", alone=True)
        places.take("a")
    assert not places.may_take("a", alone=True)
    assert places.may_take("b", alone=False)
    places.give_back("a")
    assert places.may_take("a", alone=True)


def test_one_place_is_everybodys():
    places = Places(1)
    assert places.may_take("a", alone=False)
    places.take("a")
    assert not places.may_take("b", alone=False)


@pytest.fixture
def pool():
    """A pool, to be used in a loop; its gate lets its work through."""
    pool = FairPool("test", 8)
    yield pool
    pool.close(10)


class Gate:
    """Holds threads until it is opened; says who came."""

    def __init__(self):
        self.came = []
        self._open = threading.Event()

    def __call__(self, who):
        self.came.append(who)
        assert self._open.wait(60)
        return who

    def open(self):
        self._open.set()


def test_one_org_leaves_threads_to_another(pool):
    async def script():
        pool.start(asyncio.get_running_loop())
        gate = Gate()
        slow = [pool.run("a", gate, n) for n in range(50)]
        await asyncio.to_thread(until, lambda: len(gate.came) == 4)  # half, as nobody else waits
        assert await pool.run("b", str, 7) == "7"
        assert len(gate.came) == 4
        gate.open()
        assert await asyncio.gather(*slow) == list(range(50))

    asyncio.run(script())


def test_queued_work_is_not_begun_when_nobody_waits_for_it(pool):
    async def script():
        pool.start(asyncio.get_running_loop())
        gate = Gate()
        slow = [pool.run("a", gate, n) for n in range(50)]
        await asyncio.to_thread(until, lambda: len(gate.came) == 4)
        for future in slow[4:]:
            future.cancel()
        await asyncio.sleep(0)
        assert not pool._waiting
        gate.open()
        await asyncio.gather(*slow[:4])
        assert gate.came == [0, 1, 2, 3]

    asyncio.run(script())


def test_an_error_is_its_callers(pool):
    async def script():
        pool.start(asyncio.get_running_loop())
        with pytest.raises(ZeroDivisionError):
            await pool.run("a", lambda: 1 // 0)
        assert await pool.run("a", lambda: ValueError) is ValueError

    asyncio.run(script())


def test_a_budget_is_shared_and_never_lost():
    async def script():
        budget = Budget(16)
        order = []

        async def hold(owner, amount):
            async with budget.held(owner, amount):
                order.append((owner, amount))
                await asyncio.sleep(0)

        async with budget.held("a", 8):
            waits = [asyncio.create_task(hold("a", 3)) for _ in range(3)]
            await asyncio.sleep(0)
            assert order == []
            await hold("b", 5)
            waits[0].cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*waits, return_exceptions=True)
        assert order == [("b", 5), ("a", 3), ("a", 3)]
        await hold("a", 16)  # who holds nothing may have all that is free

    asyncio.run(script())


def test_writes_of_many_orgs_take_turns_in_a_commit():
    queue = KeyedQueue(batch_max=4)
    loop = asyncio.new_event_loop()
    writes = {n: (Work(lambda tx: None), loop.create_future()) for n in range(8)}
    for n in range(6):
        queue.put("", writes[n], "a")
    queue.put("", writes[6], "b")
    queue.remove("", writes[1], "a")
    taken = queue.take()
    assert taken == ("", [writes[0], writes[6], writes[2], writes[3]])
    loop.close()


def test_one_org_leaves_helpers_to_another():
    """Each waits for one that it may have; two of four is what one has alone."""
    pool = HelperPool(4)
    taken = [pool._seek(compute._Seeker("a"), None) for _ in range(2)]
    other = pool._seek(compute._Seeker("b"), None)
    assert len({*taken, other}) == 3
    waits = Background(lambda: pool._seek(compute._Seeker("a"), None))
    until(lambda: pool._waiting)
    pool._give_back("a", taken[0])
    assert waits.result() is not None
    pool.close()


@pytest.fixture
def acme(server):
    """A member of another org, as a remote client's token."""
    server.engine.call("org.create", {"name": "acme"}, actor="ada")
    return server.token("eve", org="acme")


def test_reads_that_take_for_ever_leave_room_for_another_org(
    server, client, token, acme, monkeypatch
):
    gate = Gate()
    listing = find("object.list")
    run = listing.run

    def slow(ctx, **params):
        if ctx.org == "acme":
            gate("acme")
        return run(ctx, **params)

    monkeypatch.setattr(listing, "run", slow)
    attack = [Background(lambda: client(acme).call("object.list")) for _ in range(40)]
    until(lambda: len(gate.came) >= 8)
    assert client(token).call("object.list")["items"] == []
    assert len(gate.came) == 8
    gate.open()
    for call in attack:
        call.result()


def test_uploads_that_hardly_come_hold_no_thread(server, token, http):
    """More than there are threads; and nothing of them is left when they end."""
    with ExitStack() as stack:
        start = head(token, "PUT", FILE, "Content-Length: 10000000") + b"x" * 100_000
        for _ in range(40):
            connection = stack.enter_context(closing(connected(server)))
            connection.sendall(start)
        folder = server.engine.blobs.folder
        until(lambda: len(temporary_files(folder)) == 40)
        threads = [t for t in threading.enumerate() if t.name.startswith("transfer")]
        until(lambda: not server.app._transfers._threads._running)
        assert len(threads) <= 16
        body = b"y" * MIB
        assert http.put(FILE, content=body).status_code == 200
        assert http.get(FILE).content == body
    until(lambda: temporary_files(folder) == [])


def temporary_files(folder):
    return [file.name for file in (Path(folder) / "tmp").glob("*")]


def test_what_a_helper_does_is_ended_when_its_client_leaves(server, token, http):
    state = "/v1/workspaces/default/state/v"
    http.put(state, json={"value": [1]}).raise_for_status()
    pool = server.engine.compute
    with closing(connected(server)) as connection:
        connection.sendall(head(token, "GET", f"{state}?query={quote(SLOW)}"))
        [helper] = until(lambda: list(pool._busy))
        process = until(lambda: helper._process)
    process.wait(30)
    assert process.returncode == -9
    until(lambda: not pool._busy)
    assert http.get(f"{state}?query=[0]").json()["value"] == 1


def test_a_queued_write_is_dropped_when_its_client_leaves(server, token, http):
    begun = []

    def hold(tx):
        with closing(connected(server)) as connection:
            lines = ("Content-Type: application/json", "Content-Length: 12")
            connection.sendall(head(token, "POST", "/v1/workspaces", *lines) + b'{"name":"w"}')
            begun.append(until(lambda: len(server.app.executor.queue)))
        until(lambda: not any(server.app.executor.queue._writes.values()))

    server.engine.store.write(hold)
    assert begun
    until(lambda: not len(server.app.executor.queue))
    assert [w["name"] for w in http.get("/v1/workspaces").json()["items"]] == ["default"]


def test_nobodys_body_is_small(server):
    """What needs no token is given next to nothing."""
    start = b"POST /v1/transfers-claim HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    with closing(connected(server)) as connection:
        connection.sendall(start + b"Content-Length: 16500000\r\n\r\n")
        assert status_of(connection.recv(65536)) == 413


def test_large_bodies_of_one_org_leave_room_for_another(server, token, acme, http):
    with ExitStack() as stack:
        for _ in range(20):
            connection = stack.enter_context(closing(connected(server)))
            lines = ("Content-Type: application/json", "Content-Length: 16000000")
            connection.sendall(head(acme, "PUT", STATE, *lines) + b" " * 65536)
        held = server.app.pipeline.bodies._places._held
        until(lambda: held["acme"] == 8 * 16_000_000)
        answer = http.put(STATE, json={"value": "x" * MIB})
        assert answer.status_code == 200
        assert held["acme"] == 8 * 16_000_000
    until(lambda: not held)


def test_a_failure_keeps_nothing_of_its_request(pool):
    """Not even until cycles are collected: a large body would be kept with it."""

    class Body:
        pass

    def fail(body):
        task = current_task()  # as whatever looks for its task does
        raise FastioError("too_large", f"{body} of {task}")

    async def script():
        pool.start(asyncio.get_running_loop())
        body = Body()
        left = weakref.ref(body)
        with contextlib.suppress(FastioError):
            await pool.run("a", fail, body)
        del body
        await asyncio.to_thread(until, lambda: left() is None)

    gc.disable()
    try:
        asyncio.run(script())
    finally:
        gc.enable()
