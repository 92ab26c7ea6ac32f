"""The PostgreSQL store: the same SQL as the embedded one, for any number of machines.

What carries it:

* **Order.** A writing transaction locks its workspace's row first, under READ COMMITTED, so every
  later statement sees what the writer before committed.
* **Few round trips.** Statements are sent without waiting (``postgres_line``) until an answer is
  needed: begin, lock and what the call will read are one trip, all changes and the commit another.
  Changes of different tables travel as one statement.
* **Losing the database.** A work that met a broken connection, a failover, a deadlock or a
  serialization failure runs again within ``RETRY_S``. When the connection broke in mid-commit, or
  the server warned that it gave up waiting for its standby, the outcome is unknown; the work then
  finds its own idempotency record if it was done.
* **PgBouncer.** Behind a pooler nothing outlives a transaction on the server: no prepared
  statements, no session settings; and nowhere advisory locks or LISTEN. A session that is ours
  alone is told by its process: a pooler names another one.
"""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from fastio_cli.errors import FastioError
from fastio_cli.retry import Retries, RetryPolicy
from fastio_cli.storage import migrations as migrate
from fastio_cli.storage.postgres.ahead import SentAhead
from fastio_cli.storage.postgres.errors import (
    NoConnection,
    Unknown,
    address,
    all_busy,
    cannot_connect,
    is_passing,
    is_unknown,
    server_error,
    unknown_outcome,
)
from fastio_cli.storage.postgres.pipeline import Answer, Connection, Line
from fastio_cli.storage.postgres.tx import PostgresTx
from fastio_cli.storage.tables import changed_table
from fastio_cli.storage.tx import Tx

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TypeVar

    from fastio_cli.storage.contract import Db, Row
    from fastio_cli.storage.postgres.search import PostgresSearch

    T = TypeVar("T")
    Raw = Connection

DIALECT = "postgres"
SERVER_VERSION_MIN = 150000
CONNECT_TIMEOUT_S = 10
POOL_SIZE_MAX = 10
RETRY_S = 30.0
RETRY = RetryPolicy(0.02, 1.0)
TAKEN_MAX = 3  # how often a key that somebody else took is looked for again
POLL_S = 0.01
POLL_MAX_S = 0.1
LOCK_TIMEOUT_S = 10
STATEMENT_TIMEOUT_S = 30
IDLE_TIMEOUT_S = 30

_READ = "begin isolation level repeatable read, read only"
_WRITE = "begin isolation level read committed, read write"
# Settings of a session that is ours alone, else of this transaction. A server that acknowledges
# before its disk does is overruled.
_SETTINGS = f"""select {{local}} as local,
    set_config('lock_timeout', '{LOCK_TIMEOUT_S}s', {{local}}),
    set_config('statement_timeout', '{STATEMENT_TIMEOUT_S}s', {{local}}),
    set_config('idle_in_transaction_session_timeout', '{IDLE_TIMEOUT_S}s', {{local}}),
    set_config('synchronous_commit', {{commit}}, {{local}})"""
_COMMIT = {
    "full": """case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end""",
    "normal": "'off'",
}
# In a row that had to be waited for it is computed again, so that it is the time of the lock.
_NOW = "floor(extract(epoch from clock_timestamp()) * 1000)::bigint as now_ms"
_CLOCK = f"select {_NOW}"


class PostgresStore:
    """A store in a PostgreSQL database; see ``contract.Store`` for the guarantees.

    Parameters: ``url`` as libpq reads it (several hosts and ``target_session_attrs`` too);
    ``durability`` is ``full`` (as the server is set, but never before its disk) or ``normal`` (a
    commit may be lost with the server); ``clock`` gives seconds since 1970, by default the
    database's. Raises ``invalid`` or ``unavailable`` when the store cannot be opened.
    """

    reruns = True
    local = False

    def __init__(
        self,
        url: str,
        *,
        durability: str = "full",
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.address = address(url)
        self._url = url
        self._clock = clock
        settings = partial(_SETTINGS.format, commit=_COMMIT[durability])
        self._settings = settings(local="true")
        self._settings_of = settings
        # Ids never change; a wrong guess costs a needless read and nothing else.
        self._ids: dict[str, int] = {}
        self._pgvector: list[str | None] = []  # its schema, once somebody searched
        first = self._connect(url)
        try:
            _check_server(first, self.address)
            self._migrate(first)
            self._set_up(first)
        except BaseException:
            first.close()
            raise
        self._pool = _pool(url, first, self._set_up)
        self._pool.wait(CONNECT_TIMEOUT_S)

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run ``work`` on one snapshot."""

        def attempt() -> T:
            with self._transaction(_READ) as t:
                result = work(t.tx)
                t.end("commit")  # of a snapshot, nothing but its end
                return result

        return self._retried(attempt)

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run ``work``, commit, and return its result once it is durable."""

        def attempt() -> T:
            with self._transaction(_WRITE) as t:
                result = work(t.tx)
                t.commit()
                return result

        return self._retried(attempt)

    def write_many(
        self, works: list[Callable[[Tx], Any]], unlocked: Callable[[], None] | None = None
    ) -> list[Any]:
        """Run several works in one commit; each fails alone. Results or exceptions, in order."""

        def attempt() -> list[Any]:
            with self._transaction(_WRITE) as t:
                t.tx.share([work.reads for work in works if hasattr(work, "reads")])
                results = [t.attempt(work) for work in works]
                t.commit()
                return results

        try:
            return self._retried(attempt)
        except FastioError as e:
            if e.code != "internal" or len(works) == 1:
                raise
        # The database itself refused one of them: that one alone fails.
        return [self._alone(work) for work in works]

    def _alone(self, work: Callable[[Tx], Any]) -> Any:
        try:
            return self.write(work)
        except Exception as e:
            return e

    def now_ms(self) -> int:
        if self._clock is not None:
            return int(self._clock() * 1000)
        return self._retried(self._server_time)

    def change_token(self, workspace: str) -> object:
        return workspace, self._retried(lambda: self._seq(workspace))

    def wait_for_change(self, token: object, timeout_s: float) -> None:
        """Poll the workspace's event counter (one indexed row) until it moves."""
        assert isinstance(token, tuple)
        deadline = time.monotonic() + timeout_s
        pause = POLL_S
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(pause, left))
            if self.change_token(token[0]) != token:
                return
            pause = min(pause * 1.3, POLL_MAX_S)

    def build_ann_index(self, workspace_id: int) -> None:
        """Refresh the planner's statistics, and build the workspace's HNSW index if it is large."""
        from fastio_cli.storage.postgres.search import build_hnsw_index, refresh_statistics

        try:
            with self._connection() as raw:
                refresh_statistics(raw, workspace_id)
                build_hnsw_index(raw, workspace_id)
        except psycopg.Error as e:
            raise server_error(e, self.address) from None

    def close(self) -> None:
        """Close the connections of all threads."""
        self._pool.close()

    def _seq(self, workspace: str) -> int:
        with self._connection() as raw:
            return Tx(_Plain(raw)).workspaces.seq(workspace)

    def _server_time(self) -> int:
        with self._connection() as raw:
            return _time(_Plain(raw))

    def _retried(self, attempt: Callable[[], T]) -> T:
        """The result of the first attempt that the database does not fail in passing."""
        retries = Retries(RETRY, total_s=RETRY_S)
        unknown = False
        taken = 0
        while True:
            try:
                return attempt()
            except psycopg.Error as e:
                unknown = unknown or is_unknown(e)
                taken += isinstance(e, psycopg.errors.UniqueViolation)
                hopeless = not is_passing(e) or taken > TAKEN_MAX
                if hopeless or not retries.wait():
                    raise self._failure(e, unknown) from None

    def _failure(self, error: psycopg.Error, unknown: bool) -> FastioError:
        if unknown:
            return unknown_outcome(self.address)
        if isinstance(error, NoConnection):
            return self._why_no_connection()
        return server_error(error, self.address)

    def _why_no_connection(self) -> FastioError:
        try:
            psycopg.connect(self._url, **_options()).close()
        except psycopg.Error as e:
            return cannot_connect(e, self.address)
        return all_busy(self.address)

    @contextmanager
    def _connection(self) -> Iterator[Raw]:
        try:
            raw = self._pool.getconn(RETRY_S)
        except PoolTimeout as e:
            raise NoConnection(str(e)) from None
        try:
            yield raw
        except psycopg.OperationalError:
            if raw.broken:
                self._pool.check()  # the others are most likely broken too
            raise
        finally:
            self._pool.putconn(raw)

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[Transaction]:
        with self._connection() as raw:
            t = Transaction(raw, self._ids, self._pgvector, writable=begin is _WRITE)
            try:
                t.begin(begin, self._settings, self._clock)
                yield t
            except BaseException:
                t.abandon()
                raise

    def _set_up(self, raw: Raw) -> None:
        """Give a connection its line, and the settings to a session that stays ours."""
        raw.line = Line(raw)
        try:
            local = f"pg_backend_pid() <> {raw.info.backend_pid}"
            row = raw.execute(self._settings_of(local=local)).fetchone()
        except psycopg.Error as e:
            raise cannot_connect(e, self.address) from None
        raw.line.is_direct = row is not None and not row["local"]

    def _connect(self, url: str) -> Raw:
        try:
            return Connection.connect(url, **_options())
        except psycopg.Error as e:
            raise cannot_connect(e, self.address) from None

    def _migrate(self, raw: Raw) -> None:
        try:
            newest = migrate.newest(DIALECT)
            for _ in range(3):  # who loses a race to create the first table finds it there
                version = _schema_version(raw)
                migrate.check_version(self.address, version or 0, newest)
                if version == newest:
                    return
                try:
                    self._upgrade(raw, version)
                except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
                    continue
        except psycopg.Error as e:
            raise server_error(e, self.address) from None

    def _upgrade(self, raw: Raw, version: int | None) -> None:
        with raw.transaction():
            from fastio_cli.storage.postgres.search import create_vector_table

            db = Migration(raw, self.address, self._clock)
            if version is None:
                db.run("create table fastio_schema (version bigint not null primary key)")
                db.run("insert into fastio_schema (version) values (0)")
            migrate.upgrade(db)
            create_vector_table(raw)


class Transaction:
    """One transaction on one connection, as the SQL modules use it."""

    def __init__(
        self, raw: Raw, ids: dict[str, int], pgvector: list[str | None], writable: bool
    ) -> None:
        self.lock_clause = "for update" if writable else ""
        self.now_column = f", {_NOW}"
        self.tx = PostgresTx(self, ids)
        self.tx.writable = writable
        self._raw = raw
        self._line = raw.line
        self._open = False
        self._pgvector = pgvector
        self._clock: Callable[[], float] | None = None
        self._sent_ahead: dict[Any, SentAhead] = {}
        self._changes: list[tuple[str, dict[str, object]]] = []
        self._changed: set[str] = set()
        self._warnings: list[str] = []

    def one(self, sql: str, **params: object) -> Row | None:
        ahead = self._sent_ahead.get(_key(sql, params)) if self._sent_ahead else None
        if ahead is not None:
            rows = ahead.rows()
            return rows[0] if rows else None
        return self._send(sql, params).fetchone()

    def all(self, sql: str, **params: object) -> list[Row]:
        rows: list[Row] = self._send(sql, params).fetchall()
        return rows

    def run(self, sql: str, **params: object) -> None:
        """Execute a statement for its effect, together with others if they allow it."""
        table = changed_table(sql)
        for key, ahead in list(self._sent_ahead.items()):
            if ahead.may_differ(table, params):
                del self._sent_ahead[key]
        if table is None:
            self._send(sql, params)
            return
        if table in self._changed:
            self._send_changes()  # in one statement neither would see the other
        self._changed.add(table)
        self._changes.append((sql, params))

    def open_search(self) -> PostgresSearch:
        """The search index of this store."""
        from fastio_cli.storage.postgres.search import PostgresSearch, pgvector_schema

        if not self._pgvector:
            self._pgvector.append(pgvector_schema(self))
        return PostgresSearch(self, self._pgvector[0])

    def put(self, sql: str, row: dict[str, object]) -> None:
        self.run(sql, **row)

    def begin(self, statement: str, settings: str, clock: Callable[[], float] | None) -> None:
        """Send the transaction's beginning; nobody waits for the answer yet."""
        self._clock = clock
        self._line.open()
        self._open = True
        self._send(statement)
        if not self._line.is_direct:
            self._send(settings)

    def enter(self, sql: str, params: dict[str, object], ahead: list[tuple[str, Any]]) -> Any:
        """Send the statement that locks, and behind it, in the same trip, what comes next."""
        first = self._send(sql, params)
        self.send_ahead(ahead)
        return first.fetchone()

    def send_ahead(self, reads: list[tuple[str, Any]]) -> None:
        """Send reads whose answers nobody waits for yet; ``one`` finds them."""
        for sql, params in reads:
            key = _key(sql, params)
            if key not in self._sent_ahead:
                self._sent_ahead[key] = SentAhead(sql, params, self._send(sql, params))

    def time_of(self, row: Row) -> int:
        """The store's time, by the row that ``enter`` gave."""
        return int(self._clock() * 1000) if self._clock is not None else int(row["now_ms"])

    def now_ms(self) -> int:
        """The store's time."""
        return int(self._clock() * 1000) if self._clock is not None else _time(self)

    def attempt(self, work: Callable[[Tx], Any]) -> Any:
        """Run one of many works; undo it alone and return the exception when it fails."""
        self._send("savepoint work")
        try:
            result = work(self.tx)
        except psycopg.Error:
            raise  # the database's failures are not of one work
        except Exception as e:
            self._changes.clear()
            self._changed.clear()
            self._sync()  # raises what the works before this one met
            self._sent_ahead.clear()
            self.tx.forget()
            self._send("rollback to savepoint work")
            self._send("release savepoint work")
            return e
        self._send("release savepoint work")
        return result

    def commit(self) -> None:
        """Commit. Raises :class:`Unknown` when the server will not say that it is durable."""
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
        self._changes.clear()
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

    def _leave(self) -> None:
        if self._open:
            self._open = False
            self._line.close()

    def _note(self, diagnostic: psycopg.errors.Diagnostic) -> None:
        if diagnostic.severity_nonlocalized == "WARNING":
            self._warnings.append(diagnostic.message_primary or "warning")

    def _send_changes(self) -> None:
        statements = tuple(sql for sql, _ in self._changes)
        params = {
            f"{name}__{number}": value
            for number, (_, values) in enumerate(self._changes)
            for name, value in values.items()
        }
        self._changes.clear()
        self._changed.clear()
        self._line.send(_as_one(statements), params)

    def _send(self, sql: str, params: dict[str, Any] | None = None) -> Answer:
        if self._changes:
            self._send_changes()
        return self._line.send(_placeholders(sql), params or {})

    def _sync(self) -> None:
        if self._changes:
            self._send_changes()
        self._line.trip()


class _Plain:
    """A Db that sends each statement by itself and waits for its answer."""

    lock_clause = now_column = ""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw

    def one(self, sql: str, **params: Any) -> Row | None:
        return self._raw.execute(_placeholders(sql), params, binary=True).fetchone()

    def all(self, sql: str, **params: Any) -> list[Row]:
        return self._raw.execute(_placeholders(sql), params, binary=True).fetchall()

    def run(self, sql: str, **params: Any) -> None:
        self.put(sql, params)

    def put(self, sql: str, row: dict[str, Any]) -> None:
        self._raw.execute(_placeholders(sql), row)

    def open_search(self) -> PostgresSearch:
        raise AssertionError("an index is searched in a transaction")


class Migration(_Plain):
    """A migration's transaction; the row of the schema's version is its lock."""

    dialect = DIALECT

    def __init__(self, raw: Raw, place: str, clock: Callable[[], float] | None) -> None:
        super().__init__(raw)
        self.place = place
        self.tx = Tx(self)
        self.tx.now_ms = int(clock() * 1000) if clock is not None else _time(self)

    def schema_version(self) -> int:
        """The schema that the database has; others wait until this transaction ends."""
        row = self.one("select version from fastio_schema for update")
        assert row is not None
        version: int = row["version"]
        return version

    def set_schema_version(self, version: int) -> None:
        self.run("update fastio_schema set version = :version", version=version)


def _time(db: Db) -> int:
    row = db.one(_CLOCK)
    assert row is not None
    now: int = row["now_ms"]
    return now


def _options() -> dict[str, Any]:
    return {
        "autocommit": True,
        "prepare_threshold": None,
        "row_factory": dict_row,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "application_name": "fastio",
        "client_encoding": "UTF8",
        # A machine that vanished is noticed instead of being waited for.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }


def _pool(url: str, first: Raw, set_up: Callable[[Raw], None]) -> ConnectionPool[Raw]:
    """A pool whose first connection is one that was opened and set up already."""
    import logging

    # The driver logs what it also raises; an error is told once.
    logging.getLogger("psycopg").addHandler(logging.NullHandler())
    spare = [first]

    class Pooled(Connection):
        @classmethod
        def connect(cls, conninfo: str = "", **kwargs: Any) -> Any:
            if spare:
                return spare.pop()
            raw = Connection.connect(conninfo, **kwargs)
            set_up(raw)
            return raw

    return ConnectionPool(
        url,
        connection_class=Pooled,
        kwargs=_options(),
        min_size=1,
        max_size=POOL_SIZE_MAX,
        num_workers=1,
        open=True,
        name="fastio",
    )


def _check_server(raw: Raw, place: str) -> None:
    if raw.info.server_version < SERVER_VERSION_MIN:
        version = raw.info.parameter_status("server_version")
        raise FastioError(
            "unavailable",
            f"The server at {place} is PostgreSQL {version}; fastio needs 15 or newer.",
            "Use a newer server, or a folder as the store: --store FOLDER",
        )
    encoding = raw.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise FastioError(
            "invalid",
            f"The database at {place} has the encoding {encoding}; fastio needs UTF8.",
            "Create one that has: createdb --encoding=UTF8 --template=template0 NAME",
        )


def _schema_version(raw: Raw) -> int | None:
    """The schema's number; None for a database that is no store yet."""
    found = raw.execute("select to_regclass('fastio_schema') as name").fetchone()
    if found is None or found["name"] is None:
        return None
    row = raw.execute("select version from fastio_schema").fetchone()
    return row["version"] if row is not None else None


def _key(sql: str, params: dict[str, object]) -> tuple[object, ...]:
    return (sql, *(tuple(v) if type(v) is list else v for v in params.values()))


@lru_cache(maxsize=256)
def _placeholders(sql: str, suffix: str = "") -> str:
    """``:name`` as psycopg writes it, with a suffix to the name."""
    return re.sub(r"(?<!:):([a-z_][a-z_0-9]*)", rf"%(\g<1>{suffix})s", sql.replace("%", "%%"))


@lru_cache(maxsize=256)
def _as_one(statements: tuple[str, ...]) -> str:
    """Changes of different tables as one statement; the parameters of the nth end with __n."""
    *first, last = (_placeholders(sql, f"__{number}") for number, sql in enumerate(statements))
    parts = ", ".join(f"change{number} as ({sql})" for number, sql in enumerate(first))
    return f"with {parts} {last}" if parts else last
