"""Losing the database: what was acknowledged is there, and nothing is there twice."""

from __future__ import annotations

import threading
import time
from typing import Any

import psycopg
import pytest

from fastio_cli.errors import FastioError
from fastio_cli.search.embedding import FEW_TEXTS
from fastio_cli.storage.postgres import store as postgres
from fastio_cli.storage.tx import Work
from tests.storage.proxy import Proxy

DEADLINE_S = 30.0


def port(url: str) -> int:
    return psycopg.conninfo.conninfo_to_dict(url)["port"]  # type: ignore[return-value]


def through(url: str, proxy: Proxy) -> str:
    return url.replace(f":{port(url)}/", f":{proxy.port}/")


def until(condition: Any) -> Any:
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never came to hold"
        time.sleep(0.005)
    return value


@pytest.fixture
def proxied(pg_url, open_engine):
    with Proxy(int(port(pg_url))) as proxy:
        engine = open_engine(through(pg_url, proxy))
        engine.call("state.set", {"path": "n", "value": 0})
        yield engine, proxy


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("when", [b"begin", b"for update", b"insert into versions", b"commit"])
def test_a_call_whose_line_breaks_is_applied_once(proxied, when, after):
    engine, proxy = proxied
    proxy.cut(when, after=after)
    done = engine.call("state.increment", {"path": "n"})
    assert proxy.cuts == 1
    assert done["version"] == 2
    assert engine.call("state.get", {"path": "n"})["value"] == 1
    assert engine.call("audit.verify")["events"] == 2


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_workspace_is_created_once(proxied, after):
    engine, proxy = proxied
    proxy.cut(b"commit", after=after)
    assert engine.call("workspace.create", {"name": "w"})["seq"] == 1
    assert proxy.cuts == 1
    names = [w["name"] for w in engine.call("workspace.list")["items"]]
    assert names == ["default", "w"]


def test_a_lock_is_granted_once_and_its_token_holds(proxied):
    engine, proxy = proxied
    proxy.cut(b"commit", after=True)
    lock = engine.call("lock.acquire", {"path": "n"})
    assert proxy.cuts == 1
    engine.call("state.set", {"path": "n", "value": 5, "lock_token": lock["token"]})
    types = [e["type"] for e in engine.call("event.list")["items"]]
    assert types == ["state.set", "lock.acquire", "state.set"]


def test_a_batch_is_applied_once(proxied):
    engine, proxy = proxied
    calls = [engine.prepare("state.increment", {"path": "n"}, "default", "ada") for _ in range(3)]
    proxy.cut(b"commit", after=True)
    assert [r["version"] for r in engine.call_many(calls)] == [2, 3, 4]
    assert proxy.cuts == 1
    assert engine.call("state.get", {"path": "n"})["value"] == 3


def test_a_read_is_repeated(proxied):
    engine, proxy = proxied
    proxy.cut(b"select", after=True)
    assert engine.call("state.get", {"path": "n"})["value"] == 0
    assert proxy.cuts == 1


def test_a_write_takes_two_round_trips_and_a_patch_three(proxied):
    engine, proxy = proxied
    engine.call("state.get", {"path": "n"})
    for operation, params, trips in (
        ("state.set", {"path": "n", "value": 2}, 2),
        ("state.patch", {"path": "n", "patch": {"a": 1}}, 3),
    ):
        before = proxy.trips
        engine.call(operation, params)
        assert proxy.trips - before == trips, operation


def test_a_query_of_a_current_index_takes_four_round_trips(proxied):
    """The way in, the index, passages and the way out: a small index is held here."""
    engine, proxy = proxied
    engine.call("state.set", {"path": "a.json", "value": "the heron stands in the reeds"})
    for number in range(FEW_TEXTS + 2):  # the model is loaded by then, the vectors are kept
        engine.call("search.query", {"query": f"heron {number}"})
    before = proxy.trips
    assert engine.call("search.query", {"query": "heron"})["items"][0]["path"] == "a.json"
    assert proxy.trips - before == 4


def test_connections_that_the_server_ended_are_replaced(pg_url, open_engine):
    engine = open_engine(pg_url)
    engine.call("state.set", {"path": "n", "value": 0})
    with psycopg.connect(pg_url, autocommit=True) as c:
        c.execute(
            """select pg_terminate_backend(pid) from pg_stat_activity
            where datname = current_database() and pid <> pg_backend_pid()"""
        )
    assert engine.call("state.increment", {"path": "n"})["version"] == 2


def test_two_batches_that_lock_each_other_out_both_succeed(own_server, open_engine):
    engine = open_engine(own_server(fsync="off", deadlock_timeout="20ms").url)
    for name in ("a", "b"):
        engine.call("workspace.create", {"name": name})
    both_hold_one = threading.Barrier(2)
    outcomes = {}

    def batch(first: str, second: str) -> None:
        met = []

        def meet(tx: Any) -> None:
            if not met:  # only in the first run
                met.append(True)
                both_hold_one.wait(DEADLINE_S)

        def write(workspace: str) -> Any:
            call = engine.prepare("state.set", {"path": "x", "value": 1}, workspace, "ada")
            return Work(lambda tx: engine._run(tx, call))

        outcomes[first] = engine.store.write_batch([write(first), Work(meet), write(second)])

    threads = [threading.Thread(target=batch, args=order) for order in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(DEADLINE_S)
    assert sorted([outcomes["a"][0]["version"], outcomes["b"][2]["version"]]) == [1, 2]
    assert sorted([outcomes["b"][0]["version"], outcomes["a"][2]["version"]]) == [1, 2]


def test_a_serialization_failure_is_run_again(proxied):
    """As a distributed PostgreSQL reports them; the server itself raises it here."""
    engine, _ = proxied
    call = engine.prepare("state.increment", {"path": "n"}, "default", "ada")
    failed = []

    def work(tx: Any) -> Any:
        done = engine._run(tx, call)
        if len(failed) < 3:
            failed.append(True)
            tx._db.one("do $$ begin raise exception using errcode = '40001'; end $$")
        return done

    assert engine.store.write(work)["version"] == 2
    assert len(failed) == 3
    assert engine.call("state.get", {"path": "n"})["value"] == 1
    assert engine.call("audit.verify")["events"] == 2


def test_failures_that_do_not_end_are_told_in_time(proxied, monkeypatch):
    engine, _ = proxied
    monkeypatch.setattr(postgres, "RETRY_S", 0.3)
    began = time.monotonic()
    with pytest.raises(FastioError) as caught:
        engine.store.write(
            lambda tx: tx._db.one("do $$ begin raise exception using errcode = '40001'; end $$")
        )
    assert caught.value.code == "unavailable"
    assert time.monotonic() - began < DEADLINE_S
    assert engine.call("state.increment", {"path": "n"})["version"] == 2


def test_a_commit_that_stopped_waiting_for_its_standby_is_not_done(own_server, open_engine):
    """PostgreSQL answers a cancelled wait with success and a warning."""
    server = own_server(fsync="off")
    engine = open_engine(server.url)
    engine.call("state.set", {"path": "n", "value": 0})
    with psycopg.connect(server.url, autocommit=True) as admin:
        admin.execute("set synchronous_commit = 'local'")
        admin.execute("alter system set synchronous_standby_names = 'nobody'")
        admin.execute("select pg_reload_conf()")
        until(lambda: _value(admin, "show synchronous_standby_names") == "nobody")
        done: list[Any] = []
        call = threading.Thread(
            target=lambda: done.append(engine.call("state.increment", {"path": "n"}))
        )
        call.start()
        waiting = "select pid from pg_stat_activity where wait_event = 'SyncRep'"
        for _ in range(2):
            pid = until(lambda: _value(admin, waiting))
            admin.execute("select pg_cancel_backend(%s)", [pid])
        until(lambda: _value(admin, waiting))
        assert not done
        admin.execute("alter system reset synchronous_standby_names")
        admin.execute("select pg_reload_conf()")
        call.join(DEADLINE_S)
    assert done[0]["version"] == 2
    assert engine.call("state.get", {"path": "n"})["value"] == 1
    assert engine.call("audit.verify")["events"] == 2


def test_a_database_that_stays_away_is_said_so(own_server, open_engine, monkeypatch):
    server = own_server(fsync="off")
    engine = open_engine(server.url)
    server.kill()
    monkeypatch.setattr(postgres, "RETRY_S", 0.2)
    with pytest.raises(FastioError) as caught:
        engine.call("state.set", {"path": "n", "value": 0})
    assert caught.value.code == "unavailable"
    assert "cannot be reached" in caught.value.message or "was lost" in caught.value.message


def _value(c: psycopg.Connection[Any], sql: str) -> Any:
    row = c.execute(sql).fetchone()
    return row and row[0]
