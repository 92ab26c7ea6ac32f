"""The unit of work on SQLite: what is pending until the commit, what is known without reading."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, contextmanager
from threading import Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.storage.repositories.workspaces import COUNTER_NAMES
from fastio_cli.storage.sqlite.connection import FILE
from fastio_cli.storage.sqlite.store import SqliteStore
from fastio_cli.storage.tx import Work
from fastio_cli.storage.unit_of_work import Prefetch
from tests.backends import BACKENDS
from tests.requirements import lacking

PATHS = st.sampled_from(["a", "b", "c/d"])
NUMBERS = st.integers(0, 3)
CHANGES = st.one_of(
    st.tuples(
        st.just("state.set"),
        st.fixed_dictionaries({"path": PATHS, "value": NUMBERS}, optional={"if_version": NUMBERS}),
    ),
    st.tuples(st.just("state.increment"), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(st.just("state.append"), st.fixed_dictionaries({"path": PATHS, "value": NUMBERS})),
    st.tuples(st.just("object.delete"), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(
        st.just("object.restore"), st.fixed_dictionaries({"path": PATHS, "version": NUMBERS})
    ),
    st.tuples(st.just("object.move"), st.fixed_dictionaries({"path": PATHS, "to": PATHS})),
    st.tuples(st.just("lock.acquire"), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(st.just("lock.break"), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(
        st.just("state.transact"),
        st.fixed_dictionaries(
            {
                "changes": st.lists(
                    st.fixed_dictionaries(
                        {"op": st.sampled_from(["set", "append"]), "path": PATHS, "value": NUMBERS}
                    ),
                    min_size=1,
                    max_size=3,
                )
            }
        ),
    ),
)
KEYS = st.one_of(st.none(), st.sampled_from(["k1", "k2"]))
TABLES = ("workspaces", "objects", "versions", "events", "locks", "requests", "org_usage")


def opened(folder, **limits):
    store = SqliteStore(str(folder), durability="normal", clock=lambda: 1_800_000_000.0)
    return Engine(store, BlobStore(str(folder / "blobs")), Limits(**limits))


def prepared(engine, change, key=None):
    operation, params = change
    return engine.work(engine.prepare(operation, params, "default", "ada", key))


def plain(outcome):
    """An outcome without what is random in it."""
    if isinstance(outcome, FastioError):
        return outcome.code, outcome.message
    return {name: value for name, value in outcome.items() if name != "token"}


def rows(engine):
    """Everything that is stored, but for what is random."""
    with closing(sqlite3.connect(f"{engine.store.folder}/{FILE}")) as file:
        file.row_factory = sqlite3.Row
        return {
            table: sorted(
                str({k: row[k] for k in row.keys() if k not in ("token_hash", "result")})  # noqa: SIM118
                for row in file.execute(f"select * from {table}")
            )
            for table in TABLES
        }


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(batches=st.lists(st.lists(st.tuples(CHANGES, KEYS), min_size=1, max_size=8), max_size=5))
def test_a_batch_does_what_its_works_would_do_one_by_one(tmp_path_factory, batches):
    folder = tmp_path_factory.mktemp("stores")
    together, single = (
        opened(folder / "many", versions_max=2),
        opened(folder / "one", versions_max=2),
    )
    for batch in batches:
        outcomes = together.store.write_batch([prepared(together, c, key) for c, key in batch])
        expected = []
        for change, key in batch:
            # Opened anew: nothing is known from before.
            single.store.close()
            expected += single.store.write_batch([prepared(single, change, key)])
        assert list(map(plain, outcomes)) == list(map(plain, expected))
        assert rows(together) == rows(single)
    assert together.call("audit.verify")["verified"]
    together.store.close()
    single.store.close()


@pytest.fixture
def engine(tmp_path):
    engine = opened(tmp_path)
    yield engine
    engine.store.close()


def elsewhere(work):
    """Do something on a connection of its own, as another process would."""
    thread = Thread(target=work)
    thread.start()
    thread.join()


@contextmanager
def full_disk(engine):
    """The store has no room for another page meanwhile."""
    sql = engine.store._connection().sql
    pages = sql.execute("pragma page_count").fetchone()[0]
    sql.execute(f"pragma max_page_count = {pages}")
    yield
    sql.execute("pragma max_page_count = 1000000")


def test_what_others_write_is_seen_though_it_was_known(engine):
    engine.call("workspace.create", {"name": "w"})
    for _ in range(3):
        engine.call("state.set", {"path": "n", "value": 0}, workspace="w")
    elsewhere(lambda: engine.call("state.set", {"path": "n", "value": 10}, workspace="w"))
    assert engine.call("state.increment", {"path": "n"}, workspace="w")["value"] == 11
    elsewhere(lambda: engine.call("lock.acquire", {"path": "n"}, workspace="w", actor="bob"))
    with pytest.raises(FastioError, match="locked by bob"):
        engine.call("state.increment", {"path": "n"}, workspace="w")
    elsewhere(lambda: engine.call("workspace.rename", {"name": "other"}, workspace="w"))
    with pytest.raises(FastioError, match="no workspace"):
        engine.call("state.get", {"path": "n"}, workspace="w")
    assert engine.call("state.get", {"path": "n"}, workspace="other")["value"] == 11
    assert engine.call("audit.verify", {}, workspace="other")["verified"]


def test_what_a_commit_that_failed_would_have_written_is_not_known(engine):
    for value in range(3):
        engine.call("state.set", {"path": "n", "value": value})
    large = {"path": "n", "value": "x" * 1_000_000}
    with full_disk(engine):
        with pytest.raises(FastioError, match="disk is full"):
            engine.call("state.set", large)
        assert engine.call("state.get", {"path": "n"})["value"] == 2
    assert engine.call("state.increment", {"path": "n"})["version"] == 4
    assert engine.call("audit.verify")["verified"]


def test_a_batch_that_cannot_be_written_fails_as_a_whole(engine):
    """The first work's rows are what does not fit, the second is the one that has them written."""
    for value in range(3):
        engine.call("state.set", {"path": "n", "value": value})
    works = [
        prepared(engine, ("state.set", {"path": "n", "value": "x" * 1_000_000})),
        prepared(engine, ("lock.acquire", {"path": "m"})),
        prepared(engine, ("state.increment", {"path": "n"})),
    ]
    with full_disk(engine), pytest.raises(FastioError, match="disk is full"):
        engine.store.write_batch(works)
    assert engine.call("lock.list")["items"] == []
    assert engine.call("state.increment", {"path": "n"})["version"] == 4
    assert engine.call("audit.verify")["verified"]


@pytest.mark.parametrize("name", ["read", "write", "write_batch", "try_write_batch"])
def test_a_transaction_that_cannot_begin_is_not_left_open(engine, name):
    """Its first look at the file is what fails, as with a disk that is away for a moment."""
    store = engine.store
    transaction = getattr(store, name)
    argument = [] if "batch" in name else len
    sql = store._connection().sql
    sql.set_authorizer(
        lambda action, pragma, *_: (
            sqlite3.SQLITE_DENY if pragma == "data_version" else sqlite3.SQLITE_OK
        )
    )
    with pytest.raises(FastioError):
        transaction(argument)
    sql.set_authorizer(None)
    assert store.write(lambda tx: 1) == store.read(lambda tx: 1) == 1


def test_a_batch_is_not_waited_for(engine):
    """While somebody else writes, with our lock or without it, nothing is done, or hangs."""
    store = engine.store
    engine.call("state.set", {"path": "n", "value": 0})
    work = prepared(engine, ("state.increment", {"path": "n"}))
    assert store.try_write_batch([work])[0]["value"] == 1
    held: list[list[object] | None] = []

    def beside(tx):
        elsewhere(lambda: held.append(store.try_write_batch([work])))

    store.write(beside)
    foreign = sqlite3.connect(store.file, isolation_level=None)
    foreign.execute("begin immediate")
    held.append(store.try_write_batch([work]))
    foreign.execute("rollback")
    assert held == [None, None]
    assert store.try_write_batch([work])[0]["value"] == 2
    store.sync()


def test_what_was_written_is_not_read_again(engine):
    """Also not when the first batch found nothing known, and several paths in one batch."""
    for path in ("a", "b", "c"):
        engine.call("state.set", {"path": path, "value": 0})
    engine.store.close()  # so that nothing is known
    works = [prepared(engine, ("state.increment", {"path": p})) for p in ("a", "b", "c", "a")]
    for _ in range(2):
        engine.store.write_batch(works)
    statements: list[str] = []
    engine.store._connection().sql.set_trace_callback(statements.append)
    engine.store.write_batch(works)
    assert [s for s in statements if s.startswith("select")] == []
    updates = [s.split()[1] for s in statements if s.startswith("update")]
    assert sorted(updates) == ["objects"] * 3 + ["org_usage", "workspaces"]


def version_of(path, version, body):
    """The columns of a version, as ``UnitOfWork.add_version`` takes them."""
    return {
        "workspace_id": 1,
        "path": path,
        "version": version,
        "kind": "state",
        "etag": hashlib.sha256(body).hexdigest(),
        "media_type": "application/json",
        "size_bytes": len(body),
        "body": body,
        "blob": None,
        "chain": None,
        "schema": None,
        "author": "ada",
        "created_at": 1,
        "updated_at": 1,
        "at": 1,
        "change": "set",
        "deleted": 0,
    }


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_statements_see_what_is_pending(kind, tmp_path):
    """Also outside of an operation, as a job would use it."""
    if BACKENDS[kind].missing() is not None:
        lacking(f"backend {kind} is missing: {BACKENDS[kind].missing()}")
    store = BACKENDS[kind](tmp_path / "store").open().store

    def work(tx):
        row = tx.unit.enter(Prefetch("default", "a"))
        assert tx.unit.head(row["id"], "a") is None
        tx.unit.add_version(version_of("a", 1, b"1"), is_new=True)
        tx.unit.add_version(version_of("a", 2, b"22"), is_new=False)
        assert tx.unit.live_content(1, "a")["body"] == b"22"  # nothing is written for it
        assert tx.unit.content(1, "a", 1)["body"] == b"1"
        assert [v["version"] for v in tx.objects.versions(1, "a", 9, 9)] == [2, 1]
        tx.unit.add_version(version_of("a", 3, b"333"), is_new=False)
        assert tx.unit.prune_versions(1, "a", 3) == 3
        assert [v["version"] for v in tx.objects.versions(1, "a", 9, 9)] == [3]
        counters = {name: row[name] for name in COUNTER_NAMES}
        counters |= {"size_bytes": 3, "object_count": 1, "updated_at": 1}
        tx.unit.save_workspace(row, counters)
        assert tx.unit.org_bytes("") == 3
        assert tx.usage.of_org("")["size_bytes"] == 3

    store.write(work)
    assert store.read(lambda tx: tx.unit.live_content(1, "a"))["body"] == b"333"
    assert store.read(lambda tx: tx.unit.org_bytes("")) == 3
    store.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_a_work_that_fails_is_undone_alone_whichever_way_it_wrote(kind, tmp_path):
    if BACKENDS[kind].missing() is not None:
        lacking(f"backend {kind} is missing: {BACKENDS[kind].missing()}")
    store = BACKENDS[kind](tmp_path / "store").open().store

    def write(number, *, by_statement, fails):
        def run(tx):
            row = tx.unit.enter(Prefetch("default", "a"))
            head = tx.unit.head(row["id"], "a")
            version = head["version"] + 1 if head is not None else 1
            tx.unit.add_version(version_of("a", version, b"%d" % number), is_new=head is None)
            if by_statement:
                tx.locks.enqueue(row["id"], "a", str(number), "ada", tx.now_ms)
            tx.unit.add_version(version_of(f"b{number}", 1, b"b"), is_new=True)
            if fails:
                raise FastioError("invalid", "It fails.")
            return version

        return Work(run, Prefetch("default", "a"))

    outcomes = store.write_batch(
        [
            write(1, by_statement=False, fails=False),
            write(2, by_statement=True, fails=True),
            write(3, by_statement=False, fails=True),
            write(4, by_statement=True, fails=False),
            write(5, by_statement=True, fails=True),
            write(6, by_statement=False, fails=False),
        ]
    )
    assert [o if isinstance(o, int) else o.code for o in outcomes] == [
        *(1, "invalid", "invalid"),
        *(2, "invalid", 3),
    ]
    bodies, queue, paths = store.read(
        lambda tx: (
            [tx.unit.content(1, "a", n)["body"] for n in (1, 2, 3)],
            [waiter["waiter_id"] for waiter in tx.locks.queue(1, "a", tx.now_ms)],
            [head["path"] for head in tx.objects.page(1, "", "", None, 9)],
        )
    )
    assert (bodies, queue, paths) == ([b"1", b"4", b"6"], ["4"], ["a", "b1", "b4", "b6"])
    store.close()
