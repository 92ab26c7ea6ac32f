"""The PostgreSQL store: the same SQL as the embedded one, for any number of machines.

What carries it:

* **Order.** A writing transaction locks its workspace's row first, under READ COMMITTED, so every
  later statement sees what the writer before committed.
* **Few round trips.** Statements are sent without waiting (``pipeline``) until an answer is
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

import time
from contextlib import contextmanager
from functools import partial
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg_pool import ConnectionPool, PoolTimeout

from fastio_cli.errors import FastioError
from fastio_cli.retry import Retries, RetryPolicy
from fastio_cli.storage import migrations as migrate
from fastio_cli.storage.absent import no_store
from fastio_cli.storage.postgres.errors import (
    NoConnection,
    address,
    all_busy,
    cannot_connect,
    foreign_schema,
    is_transient,
    is_unknown,
    server_error,
    unknown_outcome,
)
from fastio_cli.storage.postgres.pipeline import Connection, Pipeline
from fastio_cli.storage.postgres.transaction import Migration, PlainDb, Transaction, server_time
from fastio_cli.storage.repositories.workspaces import Workspaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypeVar

    from fastio_cli.storage.tx import Tx, Work

    T = TypeVar("T")

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
# What acts on a table, or in its place, though no migration makes it.
_ACTING = """select c.relname as name, case
        when c.relkind not in ('r', 'p') then 'is no table of this database'
        when exists (select from pg_inherits i where i.inhparent = c.oid) and c.relkind = 'r'
            then 'has another table below it'
        when exists (select from pg_rewrite r where r.ev_class = c.oid) then 'has a rule'
        else 'has a trigger' end as what
    from pg_class c
    where c.relnamespace = current_schema()::regnamespace and c.relname = any(%(tables)s)
        and (c.relkind not in ('r', 'p')
            or exists (select from pg_rewrite r where r.ev_class = c.oid)
            or exists (select from pg_trigger t where t.tgrelid = c.oid and not t.tgisinternal)
            or c.relkind = 'r'
                and exists (select from pg_inherits i where i.inhparent = c.oid))
    limit 1"""
_COMMIT = {
    "full": """case current_setting('synchronous_commit') when 'off' then 'on'
        else current_setting('synchronous_commit') end""",
    "normal": "'off'",
}


class PostgresStore:
    """A store in a PostgreSQL database; see ``contract.Store`` for the guarantees.

    Parameters: ``url`` as libpq reads it (several hosts and ``target_session_attrs`` too);
    ``durability`` is ``full`` (as the server is set, but never before its disk) or ``normal`` (a
    commit may be lost with the server); ``clock`` gives seconds since 1970, by default the
    database's; without ``make`` a database that holds no store is ``not_found``. Raises ``invalid``
    or ``unavailable`` when the store cannot be opened.
    """

    retries_whole_transaction = True
    local = False
    is_copy = False

    def __init__(
        self,
        url: str,
        *,
        durability: str = "full",
        clock: Callable[[], float] | None = None,
        make: bool = True,
    ) -> None:
        self.address = address(url)
        self._url = url
        self._clock = clock
        settings = partial(_SETTINGS.format, commit=_COMMIT[durability])
        self._settings = settings(local="true")
        self._settings_of = settings
        # The id and org of workspaces by name: a wrong guess costs a needless read, nothing else.
        self._known: dict[str, tuple[int, str]] = {}
        self._pgvector: list[str | None] = []  # its schema, once somebody searched
        first = self._connect(url)
        try:
            _check_server(first, self.address)
            self._migrate(first, make)
            self._on_connect(first)
        except BaseException:
            first.close()
            raise
        self._pool = _pool(url, first, self._on_connect)
        self._pool.wait(CONNECT_TIMEOUT_S)

    def read(self, run: Callable[[Tx], T]) -> T:
        """Run a function on one snapshot."""

        def attempt() -> T:
            with self._transaction(_READ) as t:
                result = run(t.tx)
                t.end("commit")  # of a snapshot, nothing but its end
                return result

        return self._retried(attempt)

    def write(self, run: Callable[[Tx], T]) -> T:
        """Run a function, commit, and return its result once it is durable."""

        def attempt() -> T:
            with self._transaction(_WRITE) as t:
                result = run(t.tx)
                t.commit()
                return result

        return self._retried(attempt)

    def write_batch(
        self, works: Sequence[Work], on_commit: Callable[[], None] | None = None
    ) -> list[object]:
        """Run several works in one commit; each fails alone. Results or exceptions, in order."""

        def attempt() -> list[object]:
            with self._transaction(_WRITE) as t:
                t.unit.share([work.prefetch for work in works if work.prefetch is not None])
                results = [t.unit.attempt(work.run, t.tx) for work in works]
                t.commit()
                return results

        try:
            return self._retried(attempt)
        except FastioError as e:
            if e.code != "internal" or len(works) == 1:
                raise
        # The database itself refused one of them: that one alone fails.
        return [self._run_single(work) for work in works]

    def _run_single(self, work: Work) -> object:
        try:
            return self.write(work.run)
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

    def check_schema(self) -> None:
        """Raise ``unavailable`` if a trigger, a rule or another kind of table acts in its place."""

        def check() -> None:
            with self._connection() as raw:
                self._check_schema(raw, migrate.newest(DIALECT))

        self._retried(check)

    def _check_schema(self, raw: Connection, version: int) -> None:
        tables = sorted(migrate.expected(DIALECT, version) | {"fastio_schema"})
        row = raw.execute(_ACTING, {"tables": tables}).fetchone()
        if row is not None:
            raise foreign_schema(self.address, row["name"], row["what"])

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
            return Workspaces(PlainDb(raw)).seq(workspace)

    def _server_time(self) -> int:
        with self._connection() as raw:
            return server_time(PlainDb(raw))

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
                hopeless = not is_transient(e) or taken > TAKEN_MAX
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
    def _connection(self) -> Iterator[Connection]:
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
            t = Transaction(raw, self._known, self._pgvector, writable=begin is _WRITE)
            try:
                t.begin(begin, self._settings, self._clock)
                yield t
            except BaseException:
                t.abandon()
                raise

    def _on_connect(self, raw: Connection) -> None:
        """Give a connection its line, and the settings to a session that stays ours."""
        raw.pipelined = Pipeline(raw)
        try:
            local = f"pg_backend_pid() <> {raw.info.backend_pid}"
            row = raw.execute(self._settings_of(local=local)).fetchone()
        except psycopg.Error as e:
            raise cannot_connect(e, self.address) from None
        raw.pipelined.session_is_exclusive = row is not None and not row["local"]

    def _connect(self, url: str) -> Connection:
        try:
            return Connection.connect(url, **_options())
        except psycopg.Error as e:
            raise cannot_connect(e, self.address) from None

    def _migrate(self, raw: Connection, make: bool) -> None:
        try:
            newest = migrate.newest(DIALECT)
            for _ in range(3):  # who loses a race to create the first table finds it there
                version = _schema_version(raw)
                migrate.check_version(self.address, version or 0, newest)
                if version == newest:
                    return
                if version is None and not make:
                    raise no_store(self.address, self.address)
                try:
                    self._upgrade(raw, version)
                except (psycopg.errors.UniqueViolation, psycopg.errors.DuplicateTable):
                    continue
        except psycopg.Error as e:
            raise server_error(e, self.address) from None

    def _upgrade(self, raw: Connection, version: int | None) -> None:
        with raw.transaction():
            from fastio_cli.storage.postgres.search import create_vector_table

            db = Migration(raw, self.address)
            if version is None:
                db.run("create table fastio_schema (version bigint not null primary key)")
                db.run("insert into fastio_schema (version) values (0)")
            if version is not None:
                self._check_schema(raw, version)
            migrate.upgrade(db, self.now_ms() if self._clock is not None else server_time(db))
            create_vector_table(raw)


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


def _pool(
    url: str, first: Connection, on_connect: Callable[[Connection], None]
) -> ConnectionPool[Connection]:
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
            on_connect(raw)
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


def _check_server(raw: Connection, place: str) -> None:
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


def _schema_version(raw: Connection) -> int | None:
    """The schema's number; None for a database that is no store yet."""
    found = raw.execute("select to_regclass('fastio_schema') as name").fetchone()
    if found is None or found["name"] is None:
        return None
    row = raw.execute("select version from fastio_schema").fetchone()
    return row["version"] if row is not None else None
