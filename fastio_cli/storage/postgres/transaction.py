"""One transaction on PostgreSQL: statements are sent without waiting until an answer is needed.

What a call will look at comes in the round trip that locks its workspace, all that it changed goes
out with the commit. The lock comes first and alone: under READ COMMITTED a statement that waits for
a row sees all others as they were before it waited.
"""

from __future__ import annotations

import re
from functools import lru_cache
from itertools import zip_longest

import psycopg

from fastio_cli.storage.postgres.errors import Unknown, is_unknown
from fastio_cli.storage.repositories.events import ADD_EVENT
from fastio_cli.storage.repositories.locks import LOCK_OF
from fastio_cli.storage.repositories.objects import (
    ADD_HEAD,
    ADD_VERSION,
    DROP_VERSIONS,
    HEAD_OF,
    SET_HEAD,
)
from fastio_cli.storage.repositories.requests import DROP_EXPIRED, PUT_REQUEST, STORED
from fastio_cli.storage.repositories.tokens import GRANT
from fastio_cli.storage.repositories.usage import ADD_USAGE, OF_ORG
from fastio_cli.storage.repositories.workspaces import SAVE_COUNTERS, Workspaces
from fastio_cli.storage.tx import Tx
from fastio_cli.storage.unit_of_work import AutoflushDb, UnitOfWork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.postgres.pipeline import Connection, PendingResult
    from fastio_cli.storage.postgres.search import PostgresSearch
    from fastio_cli.storage.unit_of_work import ChangeSet, IdentityMap, Prefetch

# In a row that had to be waited for it is computed again, so that it is the time of the lock.
_NOW = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms"
_CLOCK = f"select {_NOW}"


class PlainDb:
    """A Db that sends each statement by itself and waits for its answer."""

    lock_clause = now_column = ""

    def __init__(self, raw: Connection) -> None:
        self._raw = raw

    def one(self, sql: str, **params: object) -> Row | None:
        return self._raw.execute(_placeholders(sql), params, binary=True).fetchone()

    returning = one

    def all(self, sql: str, **params: object) -> list[Row]:
        return self._raw.execute(_placeholders(sql), params, binary=True).fetchall()

    def run(self, sql: str, **params: object) -> None:
        self._raw.execute(_placeholders(sql), params)

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        for row in rows:
            self._raw.execute(_placeholders(sql), row)


class Transaction:
    """One transaction on one connection: its statements, and what its unit of work needs."""

    def __init__(
        self,
        raw: Connection,
        known: dict[str, tuple[int, str]],
        pgvector: list[str | None],
        writable: bool,
    ) -> None:
        self.lock_clause = "for update" if writable else ""
        self.now_column = f", {_NOW}"
        self._raw = raw
        self._pipeline = raw.pipelined
        self._open = False
        self._known = known
        self._pgvector = pgvector
        self._clock: Callable[[], float] | None = None
        self._warnings: list[str] = []
        self.unit = UnitOfWork(self, self)
        self.unit.begin(writable=writable)
        self.tx = Tx(AutoflushDb(self, self.unit), self.unit, self.open_search)

    def one(self, sql: str, **params: object) -> Row | None:
        return self._send(sql, params).fetchone()

    returning = one

    def all(self, sql: str, **params: object) -> list[Row]:
        rows: list[Row] = [*self._send(sql, params).fetchall()]
        return rows

    def run(self, sql: str, **params: object) -> None:
        self._send(sql, params)

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        for row in rows:
            self._send(sql, row)

    def open_search(self, db: Db) -> PostgresSearch:
        """The search index of this store."""
        from fastio_cli.storage.postgres.search import PostgresSearch, pgvector_schema

        if not self._pgvector:
            self._pgvector.append(pgvector_schema(db))
        return PostgresSearch(db, self._pgvector[0])

    def begin(self, statement: str, settings: str, clock: Callable[[], float] | None) -> None:
        """Send the transaction's beginning; nobody waits for the answer yet."""
        self._clock = clock
        self._pipeline.open()
        self._open = True
        self._send(statement)
        if not self._pipeline.session_is_exclusive:
            self._send(settings)

    def load(self, identity: IdentityMap, prefetch: Prefetch, others: list[Prefetch]) -> Row | None:
        """Lock a workspace, and read in the same round trip what calls in it look at."""
        name = prefetch.workspace
        locked = self._send(Workspaces(self).by_name_sql(), {"name": name})
        answers = []
        if (known := self._known.get(name)) is not None:
            calls = [prefetch, *(other for other in others if other.workspace == name)]
            answers = self._send_reads(identity, *known, calls)
        row = locked.fetchone()
        if row is None:
            return None
        self.unit.saw_time(self._time_of(row.pop("now_ms")))
        self._known[name] = row["id"], row["org"]
        identity.workspaces[name] = row
        for rows, key, answer in answers:
            rows[key] = answer.fetchone()
        return row

    def _send_reads(
        self, identity: IdentityMap, id: int, org: str, calls: list[Prefetch]
    ) -> list[tuple[dict[object, object], object, PendingResult]]:
        """Send what calls in a workspace look at: where each answer goes, and by which key."""
        reads: dict[tuple[str, object], tuple[dict[object, object], object, str, Row]] = {}

        def read(rows: dict[Any, Any], key: object, sql: str, params: Row) -> None:
            reads[sql, key] = rows, key, sql, params

        for call in calls:
            if call.token_digest is not None:
                digest = {"digest": call.token_digest, "workspace_id": id}
                read(identity.grants, (call.token_digest, id), GRANT, digest)
                if self.unit.writable:
                    read(identity.org_usage, org, OF_ORG, {"org": org})
            if call.request_key is not None:
                key = {"workspace_id": id, "key": call.request_key}
                read(identity.requests, (id, call.request_key), STORED, key)
            if call.path is not None:
                path = {"workspace_id": id, "path": call.path}
                read(identity.heads, (id, call.path), HEAD_OF, path)
                if self.unit.writable:
                    read(identity.locks, (id, call.path), LOCK_OF, path)
        return [(rows, key, self._send(sql, params)) for rows, key, sql, params in reads.values()]

    def apply(self, changes: ChangeSet) -> None:
        """Write a change set: the first rows of all tables as one statement, then the next."""
        tables: list[tuple[str, list[Row]]] = [
            (ADD_VERSION, changes.versions),
            (ADD_HEAD, changes.head_rows(is_new=True)),
            (SET_HEAD, changes.head_rows(is_new=False)),
            (ADD_EVENT, changes.events),
            (PUT_REQUEST, list(changes.requests.values())),
            (SAVE_COUNTERS, list(changes.workspaces.values())),
        ]
        usage = [(ADD_USAGE, row) for row in changes.usage_rows()]
        for rows in zip_longest(*(rows for _, rows in tables)):
            layer = [(sql, row) for (sql, _), row in zip(tables, rows, strict=True) if row]
            is_last = max(len(rows) for _, rows in tables) == 1
            if is_last and len(usage) == 1 and not changes.prunings and not changes.expired:
                layer.append(usage.pop())
            self._send_together(layer)
        self.run_many(DROP_VERSIONS, changes.prunings.values())
        self.run_many(DROP_EXPIRED, changes.expired.values())
        for sql, row in usage:
            self._send(sql, row)

    def savepoint(self) -> None:
        """Begin what can be undone alone."""
        self._send("savepoint work")

    def release(self) -> None:
        """Keep what was done since the savepoint."""
        self._send("release savepoint work")

    def rollback(self) -> None:
        """Undo what was done since the savepoint."""
        self._pipeline.sync()  # raises what the works before this one met
        self._send("rollback to savepoint work")

    def is_lost(self, error: Exception) -> bool:
        """The database's failures are not of one work."""
        return isinstance(error, psycopg.Error)

    def time_ms(self) -> int:
        """The store's time."""
        if self._clock is not None:
            return int(self._clock() * 1000)
        return server_time(self)

    def commit(self) -> None:
        """Commit. Raises :class:`Unknown` when the server will not say that it is durable."""
        self.unit.flush()
        self._raw.add_notice_handler(self._note)
        try:
            self.end("commit")
        except psycopg.OperationalError as e:
            if self._raw.broken or is_unknown(e):
                raise Unknown(str(e)) from None
            raise
        finally:
            self._raw.remove_notice_handler(self._note)
        if self._warnings:
            raise Unknown(self._warnings[0])

    def end(self, statement: str) -> None:
        """Send the last statement and wait for the answers to all that were sent."""
        self._send(statement)
        self._leave()

    def abandon(self) -> None:
        """Roll back, if there is anybody to hear it."""
        try:
            if self._open:
                self.end("rollback")
        except psycopg.Error:
            pass  # it follows from the failure that is being told already
        try:
            if self._raw.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
                self._raw.execute("rollback")
        except psycopg.Error:
            self._raw.close()

    def _time_of(self, now_ms: int) -> int:
        return int(self._clock() * 1000) if self._clock is not None else now_ms

    def _leave(self) -> None:
        if self._open:
            self._open = False
            self._pipeline.close()

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warnings.append(diagnostic.message_primary or "warning")

    def _send_together(self, statements: list[tuple[str, Row]]) -> None:
        params = {
            f"{name}__{number}": value
            for number, (_, row) in enumerate(statements)
            for name, value in row.items()
        }
        self._pipeline.send(_as_one(tuple(sql for sql, _ in statements)), params)

    def _send(self, sql: str, params: Row | None = None) -> PendingResult:
        return self._pipeline.send(_placeholders(sql), params or {})


class Migration(PlainDb):
    """A migration's transaction; the row of the schema's version is its lock."""

    dialect = "postgres"

    def __init__(self, raw: Connection, place: str) -> None:
        super().__init__(raw)
        self.place = place

    def schema_version(self) -> int:
        """The schema that the database has; others wait until this transaction ends."""
        row = self.one("select version from fastio_schema for update")
        assert row is not None
        version: int = row["version"]
        return version

    def keep_writers_out(self) -> None:
        """Take what every write takes first, so that none holds what the migration waits for."""
        self.run("lock table workspaces in access exclusive mode")

    def set_schema_version(self, version: int) -> None:
        """Note the number of the schema that the database now has."""
        self.run("update fastio_schema set version = :version", version=version)


def server_time(db: Db) -> int:
    """The database's time."""
    row = db.one(_CLOCK)
    assert row is not None
    now: int = row["now_ms"]
    return now


@lru_cache(maxsize=256)
def _placeholders(sql: str, suffix: str = "") -> str:
    """``:name`` as psycopg writes it, with a suffix to the name."""
    return re.sub(r"(?<!:):([a-z_][a-z_0-9]*)", rf"%(\g<1>{suffix})s", sql.replace("%", "%%"))


@lru_cache(maxsize=256)
def _as_one(statements: tuple[str, ...]) -> str:
    """Changes of different rows as one statement; the parameters of the nth end with __n."""
    *first, last = (_placeholders(sql, f"__{number}") for number, sql in enumerate(statements))
    parts = ", ".join(f"change{number} as ({sql})" for number, sql in enumerate(first))
    return f"with {parts} {last}" if parts else last
