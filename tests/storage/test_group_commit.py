"""Several works in one commit: each fails alone, sees those before it, and keeps its own trace."""

from __future__ import annotations

import pytest

from fastio_cli.engine.authorization import identify
from fastio_cli.errors import FastioError
from fastio_cli.identity import digest_of
from fastio_cli.storage.tx import Work
from tests.backends import kind_of

STORES = ("sqlite", "postgres")
MIB = 1024 * 1024


@pytest.fixture(params=STORES)
def backend(request, tmp_path):
    return kind_of(request.param)(tmp_path / "store")


@pytest.fixture
def engine(open_caller):
    return open_caller().engine


def call(engine, operation, workspace="default", key=None, /, **params):
    return engine.prepare(operation, params, workspace, "ada", key)


def together(engine, calls):
    return engine.store.write_batch([engine.work(c) for c in calls])


def test_each_sees_what_those_before_it_did(engine):
    engine.call("state.set", {"path": "n", "value": 0})
    outcomes = together(engine, [call(engine, "state.increment", path="n") for _ in range(50)])
    assert [o["value"] for o in outcomes] == list(range(1, 51))
    assert [o["version"] for o in outcomes] == list(range(2, 52))
    assert engine.call("state.get", {"path": "n"})["value"] == 50
    report = engine.call("audit.verify")
    assert (report["verified"], report["events"]) == (True, 51)


def test_one_that_fails_touches_no_other(engine):
    engine.call("state.set", {"path": "n", "value": 0})
    calls = [
        call(engine, "state.increment", path="n"),
        call(engine, "state.set", path="n", value="lost", if_version=1),
        call(engine, "state.increment", path="n"),
        call(engine, "state.set", path="other", value=1),
        call(engine, "state.append", path="other", value=2),
        call(engine, "state.increment", path="n"),
    ]
    outcomes = together(engine, calls)
    assert [o["value"] for o in (outcomes[0], outcomes[2], outcomes[5])] == [1, 2, 3]
    assert outcomes[1].code == "version_conflict"
    assert outcomes[1].details["current_version"] == 2
    assert outcomes[4].code == "invalid"
    assert engine.call("state.get", {"path": "other"})["version"] == 1
    assert engine.call("audit.verify")["verified"]


def test_what_one_did_before_it_failed_is_undone_alone(engine):
    """A transaction's changes are undone though those after it were to the same objects."""
    for path in ("a", "b"):
        engine.call("state.set", {"path": path, "value": 0})
    changes = [
        {"op": "increment", "path": "a"},
        {"op": "increment", "path": "b"},
        {"op": "set", "path": "a", "value": 1, "if_version": 77},
    ]
    outcomes = together(
        engine,
        [
            call(engine, "state.increment", path="a"),
            call(engine, "state.transact", changes=changes),
            call(engine, "state.increment", path="a"),
            call(engine, "state.increment", path="b"),
        ],
    )
    assert outcomes[1].code == "version_conflict"
    assert [o["value"] for o in (outcomes[0], outcomes[2], outcomes[3])] == [1, 2, 1]
    assert [o["version"] for o in (outcomes[0], outcomes[2], outcomes[3])] == [2, 3, 2]


def test_a_key_used_twice_counts_once(engine):
    engine.call("state.set", {"path": "n", "value": 0})
    calls = [call(engine, "state.increment", "default", f"k{n % 3}", path="n") for n in range(9)]
    calls.append(call(engine, "state.increment", "default", "k0", path="n", by=5))
    outcomes = together(engine, calls)
    assert [o["value"] for o in outcomes[:9]] == [1, 2, 3] * 3
    assert outcomes[9].code == "invalid"
    again = together(engine, [call(engine, "state.increment", "default", "k1", path="n")])
    assert again[0]["value"] == 2


def test_locks_files_and_deletions_follow_each_other(engine):
    calls = [
        call(engine, "state.set", path="v", value=1),
        call(engine, "lock.acquire", path="v"),
        call(engine, "state.set", path="v", value=2),
        call(engine, "state.set", path="free", value=2),
        call(engine, "object.delete", path="free"),
        call(engine, "state.increment", path="free"),
        call(engine, "object.restore", path="free", version=1),
        call(engine, "object.move", path="free", to="moved"),
        call(engine, "state.increment", path="moved"),
    ]
    outcomes = together(engine, calls)
    assert [isinstance(o, FastioError) for o in outcomes].count(True) == 2
    assert outcomes[2].code == "locked"
    assert outcomes[2].details["holder"] == "ada"
    assert outcomes[5].code == "not_found"
    assert outcomes[8]["value"] == 3
    assert engine.call("audit.verify")["verified"]


def test_a_workspace_renamed_or_deleted_is_gone_for_those_after(engine):
    for name in ("one", "two"):
        engine.call("workspace.create", {"name": name})
    outcomes = together(
        engine,
        [
            call(engine, "state.set", "one", path="a", value=1),
            call(engine, "workspace.rename", "one", name="uno"),
            call(engine, "state.set", "one", path="a", value=2),
            call(engine, "state.increment", "uno", path="a"),
            call(engine, "workspace.delete", "two"),
            call(engine, "state.set", "two", path="a", value=2),
        ],
    )
    assert outcomes[2].code == outcomes[5].code == "not_found"
    assert outcomes[3]["value"] == 2


def test_old_versions_go_in_the_middle_of_a_batch(open_caller):
    engine = open_caller(versions_max=20).engine
    engine.call("state.set", {"path": "n", "value": 0})
    outcomes = together(engine, [call(engine, "state.increment", path="n") for _ in range(99)])
    assert outcomes[-1]["version"] == 100
    kept = engine.call("object.history", {"path": "n", "limit": 1000})["items"]
    assert kept[0]["version"] == 100
    assert len(kept) < 40
    assert engine.call("workspace.usage")["size_bytes"] == sum(v["size_bytes"] for v in kept)


def test_large_documents_share_a_commit(engine):
    large = "x" * (8 * MIB)
    calls = [call(engine, "state.set", path=f"d{n % 2}", value=[n, large]) for n in range(6)]
    outcomes = together(engine, calls)
    assert [o["version"] for o in outcomes] == [1, 1, 2, 2, 3, 3]
    assert engine.call("state.get", {"path": "d1", "at": "/0"})["value"] == 5


def test_a_statement_that_the_store_refuses_fails_alone(engine):
    def wrong(tx):
        tx.workspaces._db.one("select 1 from no_such_table")

    works = [
        engine.work(call(engine, "state.set", path="a", value=1)),
        Work(wrong),
        engine.work(call(engine, "state.set", path="b", value=2)),
    ]
    outcomes = engine.store.write_batch(works)
    assert isinstance(outcomes[1], Exception)
    assert [outcomes[0]["version"], outcomes[2]["version"]] == [1, 1]
    assert engine.call("audit.verify")["events"] == 2


def test_a_single_work_that_the_store_refuses_raises_or_returns_it(engine):
    def wrong(tx):
        tx.workspaces._db.one("select 1 from no_such_table")

    try:
        (outcome,) = engine.store.write_batch([Work(wrong)])
    except FastioError as e:
        outcome = e
    assert isinstance(outcome, Exception)


def test_a_token_that_one_revokes_is_worth_nothing_to_those_after(engine):
    made = engine.call("token.create", {"member": "bob", "role": "editor"})
    digest = digest_of(made["token"])
    engine.call("state.set", {"path": "n", "value": 0})
    bob = engine.store.read(lambda tx: identify(tx, digest))

    def increment():
        return engine.prepare("state.increment", {"path": "n"}, "default", "", identity=bob)

    together(engine, [increment()])  # the store has met the workspace
    outcomes = together(
        engine,
        [increment(), increment(), call(engine, "token.revoke", id=made["id"]), increment()],
    )
    assert [o["value"] for o in outcomes[:2]] == [2, 3]
    assert outcomes[3].code == "unauthenticated"
    assert engine.call("state.get", {"path": "n"})["value"] == 3
