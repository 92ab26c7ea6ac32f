"""The rules that keep the store movable: between SQLite and PostgreSQL, and to distributed ones.

What can be checked by reading the schema and the statements is checked here: the workspace leads
every key, a write names one workspace, and nothing is used that a distributed PostgreSQL (Citus,
CockroachDB, YugabyteDB) or a pooler in transaction mode does not have.
"""

from __future__ import annotations

import inspect
import re
import sqlite3
from collections import defaultdict
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fastio_cli.blobs.content import Content
from fastio_cli.errors import FastioError
from fastio_cli.storage import migrations as migrate
from fastio_cli.storage.postgres.search import PostgresSearch
from fastio_cli.storage.repositories import objects
from fastio_cli.storage.repositories.events import ADD_EVENT
from fastio_cli.storage.repositories.requests import DROP_EXPIRED, PUT_REQUEST, Requests
from fastio_cli.storage.repositories.usage import ADD_USAGE
from fastio_cli.storage.repositories.workspaces import SAVE_COUNTERS
from fastio_cli.storage.sqlite.connection import FILE
from fastio_cli.storage.sqlite.store import SqliteStore
from fastio_cli.storage.tx import Tx

SCHEMA = Path(migrate.__file__).parent / "schema"
# The small tables of an organisation: their own id is their key.
ORG_TABLES = {
    "workspaces",
    "org_usage",
    "orgs",
    "members",
    "tokens",
    "transfers",
    "credits",
    "accounts",
    "store_keys",
    "name_floors",
}
FORBIDDEN = (
    "trigger",
    "advisory",
    "listen",
    "notify",
    "generated always",
    "nextval",
    "clock_timestamp",
    "now()",
    "skip locked",
    "temporary",
    "prepare ",
)


# What a change set is written with.
OF_THE_UNIT = (
    *(objects.ADD_HEAD, objects.ADD_VERSION, objects.DROP_VERSIONS, objects.SET_HEAD),
    *(ADD_EVENT, ADD_USAGE, DROP_EXPIRED, PUT_REQUEST, SAVE_COUNTERS),
)

SAMPLES: dict[str, Any] = {
    "Content": Content("", 0),
    "FastioError": FastioError("invalid", "x"),
    "FastioError | None": FastioError("invalid", "x"),
    "AnalyzedPassage": defaultdict(int, words="x", token_count=1),
    "IndexRow": defaultdict(int),
    "Row": defaultdict(int),
    "SegmentRow": {"first_id": 0},
    "bytes": bytes(8),
    "dict[str, bytes]": {"x": b""},
    "dict[str, object]": defaultdict(int, words="x", token_count=1),
    "filters": {"path": "*", "kind": "file", "since": 0},
    "list[float]": [0.0],
    "list[int]": [0],
    "Iterable[object]": [],
    "list[str]": ["x"],
    "Sequence[int] | None": [0],
    "str": "x",
    "str | None": "x",
}


class Recorder:
    """A Db that notes every statement and answers with rows of nothing."""

    lock_clause = "for update"
    now_column = ""

    def __init__(self) -> None:
        self.statements: dict[str, set[str]] = defaultdict(set)

    def one(self, sql: str, **params: object) -> Any:
        self._note(sql, "read")
        return _nothing()

    def all(self, sql: str, **params: object) -> list[Any]:
        self._note(sql, "read")
        return []

    def run(self, sql: str, **params: object) -> None:
        self._note(sql, "change")

    def run_many(self, sql: str, rows: Any) -> None:
        self._note(sql, "change")

    def returning(self, sql: str, **params: object) -> Any:
        self._note(sql, "change")
        return _nothing()

    def _note(self, sql: str, kind: str) -> None:
        self.statements[" ".join(sql.split()).lower()].add(kind)


def _nothing() -> Any:
    return defaultdict(int, ids=b"", scales=b"", codes=b"", value="00")


def every_statement() -> dict[str, set[str]]:
    """All statements of the store, by calling every method of every noun."""
    db = Recorder()
    tx = Tx(db, None, lambda db: PostgresSearch(db, None))
    nouns = [noun for name, noun in vars(tx).items() if not name.startswith("_") and noun]
    nouns += [Requests(db), tx.orgs, tx.members, tx.tokens, tx.org_transfers, tx.logins]
    nouns += [tx.jobs, tx.actors]
    indexes = [PostgresSearch(db, pgvector) for pgvector in (None, "public")]
    nouns += [*indexes, *(index.vectors for index in indexes)]
    for noun in nouns:
        for _, method in inspect.getmembers(noun, inspect.ismethod):
            if method.__name__.startswith("_"):
                continue
            parameters = inspect.signature(method).parameters.values()
            for flag in (False, True):
                by_type = {**SAMPLES, "bool": flag}
                samples = {p.name: by_type.get(str(p.annotation), 0) for p in parameters}
                method(**{name: SAMPLES.get(name, sample) for name, sample in samples.items()})
    for sql in OF_THE_UNIT:
        db.run(sql)
    return db.statements


KINDS = every_statement()
STATEMENTS = list(KINDS)
WRITES = [s for s in STATEMENTS if s.startswith(("insert", "update", "delete"))]


@pytest.mark.parametrize("sql", STATEMENTS)
def test_the_method_says_what_a_statement_does(sql):
    """What is pending is written, and what is known forgotten, by the method, not by the words."""
    assert KINDS[sql] == {"read" if sql.startswith(("select", "with recursive")) else "change"}


def test_the_statements_were_found():
    assert len(STATEMENTS) >= 30
    assert len(WRITES) >= 14


@pytest.mark.parametrize("sql", STATEMENTS)
def test_a_statement_uses_nothing_special(sql):
    assert not [word for word in FORBIDDEN if word in sql]
    assert " in (:" not in sql
    for part in re.findall(r"returning .*|on conflict .*", sql):
        assert "(" not in re.sub(r"on conflict \([^)]*\)", "", part), "a function call"


@pytest.mark.parametrize("sql", WRITES)
def test_a_write_names_one_workspace(sql):
    table = re.search(r"^(?:insert into|update|delete from) (\w+)", sql)
    assert table is not None
    if table[1] in ORG_TABLES:
        keys = ("where id = :id", "where org = :org and", "where digest = :digest")
        assert sql.startswith("insert") or any(key in sql for key in keys)
    elif sql.startswith("insert"):
        assert "(workspace_id," in sql
        assert re.search(r"values \(:workspace_id,|select :?workspace_id,", sql)
    else:
        assert "where workspace_id = :workspace_id" in sql


@pytest.mark.parametrize("file", sorted(SCHEMA.glob("*.sql")), ids=lambda p: p.name)
def test_the_schema_uses_nothing_special(file):
    sql = file.read_text().lower()
    assert not [word for word in FORBIDDEN if word in sql]


@pytest.fixture
def migrated(pg_url, open_engine):
    open_engine(pg_url)
    with psycopg.connect(pg_url) as c:
        yield c


def test_the_workspace_leads_every_key(migrated):
    keys = [key for key in _postgres_keys(migrated) if key[1] and key[0] not in ORG_TABLES]
    assert len(keys) >= 8
    assert all(columns[0] == "workspace_id" for _, _, columns in keys)
    foreign = migrated.execute(
        """select conrelid::regclass::text, pg_get_constraintdef(oid) from pg_constraint
        where contype = 'f' and connamespace = 'public'::regnamespace"""
    ).fetchall()
    texts = {text for table, text in foreign if table not in ORG_TABLES}
    assert texts == {"FOREIGN KEY (workspace_id) REFERENCES workspaces(id)"}


def test_what_is_ordered_compares_by_code_point(migrated):
    keys = [(table, columns) for table, unique, columns in _postgres_keys(migrated) if unique]
    keyed = {(table, column) for table, columns in keys for column in columns}
    rows = migrated.execute(
        """select table_name, column_name, collation_name from information_schema.columns
        where table_schema = 'public' and data_type = 'text'"""
    ).fetchall()
    collations = {(table, column): collation for table, column, collation in rows}
    assert {collations[key] for key in keyed & set(collations)} == {"C"}


def test_both_databases_have_the_same_schema(migrated, tmp_path):
    SqliteStore(str(tmp_path)).close()
    sqlite = sqlite3.connect(tmp_path / FILE)
    sqlite.row_factory = sqlite3.Row
    tables = [
        row[0] for row in sqlite.execute("select name from sqlite_master where type = 'table'")
    ]
    assert _sqlite_columns(sqlite, tables) == _postgres_columns(migrated)
    sqlite_keys = {key for table in tables for key in _sqlite_keys(sqlite, table)}
    assert sqlite_keys == {(t, unique, columns) for t, unique, columns in _postgres_keys(migrated)}
    sqlite.close()


TYPES = {"bigint": "integer", "text": "text", "bytea": "blob"}


def _postgres_columns(c: Any) -> dict[str, Any]:
    found: dict[str, Any] = defaultdict(dict)
    for table, column, kind, nullable in c.execute(
        """select table_name, column_name, data_type, is_nullable = 'YES'
        from information_schema.columns where table_schema = 'public'
        and table_name not in ('fastio_schema', 'passage_vectors')"""
    ):
        found[table][column] = (TYPES[kind], nullable)
    return found


def _sqlite_columns(c: Any, tables: list[str]) -> dict[str, Any]:
    found = {}
    for table in tables:
        columns = c.execute(f"pragma table_info({table})").fetchall()
        found[table] = {
            row["name"]: (row["type"].lower(), not (row["notnull"] or row["pk"])) for row in columns
        }
    return found


def _postgres_keys(c: Any) -> list[tuple[str, bool, tuple[str, ...]]]:
    rows = c.execute(
        """select i.indrelid::regclass::text, i.indisunique,
            (select array_agg(a.attname::text order by k.n) from unnest(i.indkey)
            with ordinality as k (attnum, n) join pg_attribute a
            on a.attrelid = i.indrelid and a.attnum = k.attnum)
        from pg_index i join pg_class t on t.oid = i.indrelid
        where t.relnamespace = 'public'::regnamespace
        and t.relname not in ('fastio_schema', 'passage_vectors')"""
    ).fetchall()
    return [(table, unique, tuple(columns)) for table, unique, columns in rows]


def _sqlite_keys(c: Any, table: str) -> list[tuple[str, bool, tuple[str, ...]]]:
    keys = []
    primary = [row for row in c.execute(f"pragma table_info({table})") if row["pk"]]
    keys.append((table, True, tuple(r["name"] for r in sorted(primary, key=lambda r: r["pk"]))))
    for index in c.execute(f"pragma index_list({table})").fetchall():
        if index["origin"] == "c":
            columns = c.execute(f"pragma index_info({index['name']})").fetchall()
            keys.append((table, bool(index["unique"]), tuple(r["name"] for r in columns)))
    return keys


def test_changes_of_different_tables_travel_as_one_statement(pg_url, open_engine):
    """Several changes of one table go one after the other: each has to see the one before."""
    from fastio_cli.storage.postgres.transaction import _as_one

    assert _as_one(("delete from a where x = :x", "update b set x = :x")) == (
        "with change0 as (delete from a where x = %(x__0)s) update b set x = %(x__1)s"
    )
    engine = open_engine(pg_url)
    changes = [{"op": "set", "path": f"a{n}", "value": n} for n in range(3)]
    assert len(engine.call("state.transact", {"changes": changes})["items"]) == 3
    assert engine.call("state.get", {"path": "a2"})["value"] == 2
