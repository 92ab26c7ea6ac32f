"""Statements sent ahead: what leaves in a trip, what a session keeps, what an error leaves."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Any

import psycopg
import pytest

from fastio_cli.storage.postgres.pipeline import PREPARE_AFTER, PREPARED_MAX, Connection, Pipeline
from fastio_cli.storage.postgres.store import PostgresStore
from tests.backends import until

PREPARED = "select count(*) as n from pg_prepared_statements"


@pytest.fixture
def raw(pg_url):
    with Connection.connect(pg_url, autocommit=True) as raw:
        yield raw


@pytest.fixture
def pipeline(raw):
    pipeline = Pipeline(raw)
    pipeline.session_is_exclusive = True
    pipeline.open()
    return pipeline


def session(store: PostgresStore, sql: str) -> Any:
    """What a statement answers in a session of the store, outside of a transaction."""
    with store._connection() as raw:
        return next(iter(raw.execute(sql).fetchone().values()))


def test_answers_come_in_order(pipeline):
    answers = [
        pipeline.send("select %(n)s as n, %(t)s as t", {"n": n, "t": "ä%"}) for n in range(10)
    ]
    nothing = pipeline.send("select 1 where false", {})
    assert [a.fetchone() for a in answers] == [{"n": n, "t": "ä%"} for n in range(10)]
    assert nothing.fetchone() is None
    assert nothing.fetchall() == []


@pytest.mark.parametrize("number", [1, 2**15, 2**31, 2**40])
def test_a_list_holds_numbers_of_any_size(pipeline, number):
    small = pipeline.send("select %(ids)s::bigint[] as ids", {"ids": [1]})
    large = pipeline.send("select %(ids)s::bigint[] as ids", {"ids": [1, number]})
    words = pipeline.send("select %(words)s::text[] as words", {"words": ["é", "{,}"]})
    bodies = pipeline.send("select %(bodies)s::bytea[] as bodies", {"bodies": [b"", b"\0"]})
    assert small.fetchone() == {"ids": [1]}
    assert large.fetchone() == {"ids": [1, number]}
    assert words.fetchone() == {"words": ["é", "{,}"]}
    assert bodies.fetchone() == {"bodies": [b"", b"\0"]}


def test_more_than_a_socket_holds_goes_both_ways(pipeline):
    body = os.urandom(20_000_000)
    answers = [pipeline.send("select %(b)s as b", {"b": body}) for _ in range(2)]
    assert [a.fetchone() for a in answers] == [{"b": body}] * 2


def test_an_error_is_told_and_the_line_goes_on(pipeline):
    pipeline.send("select 1", {})
    bad = pipeline.send("select 1 / %(n)s", {"n": 0})
    after = pipeline.send("select 2", {})
    with pytest.raises(psycopg.errors.DivisionByZero):
        bad.fetchone()
    assert pipeline.send("select 3 as n", {}).fetchone() == {"n": 3}
    assert after.result.ntuples == 0, "it was not run"


def test_what_is_sent_often_is_prepared_once(pipeline):
    for n in range(PREPARE_AFTER + 5):
        assert pipeline.send("select %(n)s + 1 as n", {"n": n}).fetchone() == {"n": n + 1}
    assert pipeline.send(PREPARED, {}).fetchone() == {"n": 1}
    for n in range(PREPARE_AFTER, 0, -1):
        pipeline.send("select 1 / %(n)s", {"n": n})
    bad = pipeline.send("select 1 / %(n)s", {"n": 0})
    with pytest.raises(psycopg.errors.DivisionByZero):
        bad.fetchone()
    assert pipeline.send("select %(n)s + 1 as n", {"n": 1}).fetchone() == {"n": 2}


def test_a_statement_that_failed_to_be_prepared_can_be_sent_again(pipeline, raw):
    for _ in range(PREPARE_AFTER + 1):
        with pytest.raises(psycopg.errors.UndefinedTable):
            pipeline.send("select n from later", {}).fetchone()
    pipeline.send("create table later (n int)", {})
    assert pipeline.send("select n from later", {}).fetchall() == []


def test_no_more_is_prepared_than_is_good(pipeline):
    for number in range(PREPARED_MAX + 10):
        for _ in range(PREPARE_AFTER):
            pipeline.send(f"select {number}", {})
    pipeline.sync()
    assert pipeline.send(PREPARED, {}).fetchone() == {"n": PREPARED_MAX}


def test_a_lost_connection_is_said_so(pipeline, raw, pg_url):
    with psycopg.connect(pg_url, autocommit=True) as other:
        other.execute("select pg_terminate_backend(%s)", [raw.info.backend_pid])
    with pytest.raises(psycopg.OperationalError):
        pipeline.send("select 1", {}).fetchone()
    assert raw.broken


def test_a_session_of_ours_keeps_its_settings(pg_url, open_engine):
    engine = open_engine(pg_url)
    for n in range(PREPARE_AFTER + 1):
        engine.call("state.set", {"path": "n", "value": n})
    assert session(engine.store, "show lock_timeout") == "10s"
    assert session(engine.store, "show idle_in_transaction_session_timeout") == "30s"
    assert session(engine.store, PREPARED) >= 4


def test_a_server_that_acknowledges_too_early_is_overruled(own_server, open_engine):
    url = own_server(fsync="off", synchronous_commit="off").url
    assert session(open_engine(url).store, "show synchronous_commit") == "on"
    assert session(open_engine(url, durability="normal").store, "show synchronous_commit") == "off"


def test_an_interrupted_call_lets_go_at_once(pg_url, tmp_path):
    """It waits for a workspace that somebody else holds; its session must not go on waiting."""
    PostgresStore(pg_url).close()
    waiting = """select pid from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'"""
    with psycopg.connect(pg_url, autocommit=True) as look, psycopg.connect(pg_url) as holder:
        holder.execute("select * from workspaces for update")
        process = subprocess.Popen(
            [sys.executable, "-m", "fastio_cli", "state", "set", "n", "1", "--store", pg_url],
            env={**os.environ, "HOME": str(tmp_path)},
            cwd=tmp_path,
            stderr=subprocess.PIPE,
        )
        until(lambda: look.execute(waiting).fetchone())
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 130
        assert b"Traceback" not in errors
        until(lambda: look.execute(waiting).fetchone() is None)
