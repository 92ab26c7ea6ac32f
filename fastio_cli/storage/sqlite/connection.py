"""One connection to an embedded store: its transactions, its file lock, its write-ahead log."""

from __future__ import annotations

import os
import re
import sqlite3
from functools import lru_cache
from operator import itemgetter
from sys import intern

from fastio_cli.blobs.files import sync_data
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import NOFOLLOW
from fastio_cli.storage.repositories.events import ADD_EVENT
from fastio_cli.storage.repositories.objects import (
    ADD_HEAD,
    ADD_VERSION,
    DROP_VERSIONS,
    HEAD_NAMES,
    SET_HEAD,
)
from fastio_cli.storage.repositories.requests import DROP_EXPIRED, PUT_REQUEST
from fastio_cli.storage.repositories.usage import ADD_USAGE
from fastio_cli.storage.repositories.workspaces import COUNTER_NAMES, SAVE_COUNTERS
from fastio_cli.storage.sqlite.errors import BUSY_TIMEOUT_S, foreign_schema
from fastio_cli.storage.tx import Tx
from fastio_cli.storage.unit_of_work import AutoflushDb, UnitOfWork

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.sqlite.search import SqliteSearch
    from fastio_cli.storage.unit_of_work import ChangeSet, IdentityMap, Prefetch

FILE = "store.sqlite"
LOCK_FILE = "write.lock"
_NAME = re.compile(r":([a-z_][a-z_0-9]*)")

# One statement reads what a change of a path looks at; a lock is read whole if there is one.
_WORKSPACE_NAMES = ("id", "org", *COUNTER_NAMES, "number_floor", "folder_locks")
_LOAD = f"""select l.fence, {", ".join(f"w.{name}" for name in _WORKSPACE_NAMES)},
    {", ".join(f"o.{name}" for name in HEAD_NAMES)} from workspaces w
    left join objects o on o.workspace_id = w.id and o.path = ?
    left join locks l on l.workspace_id = w.id and l.path = ?
    where w.name = ? and w.deleted_at is null"""
_HEAD_AT = 1 + len(_WORKSPACE_NAMES)


# Only tables and indexes that hold something have a page of their own.
_ACTING = """select type, name from sqlite_schema
    where type not in ('table', 'index') or rootpage = 0 limit 1"""


class Connection:
    """One thread's SQLite connection, its file lock and its handle on the write-ahead log."""

    dialect = "sqlite"
    now_column = ""
    lock_clause = ""  # the file has one writer at a time; no row needs a lock

    in_memory = False

    def __init__(self, folder: str, synced: bool, uri: str | None = None) -> None:
        self.place = os.path.join(folder, FILE)
        self.is_closed = False
        self.sql = sqlite3.connect(
            uri or self.place,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            uri=uri is not None,
        )
        self._own_sync = synced and fcntl is not None
        level = "normal" if self._own_sync or not synced else "full"
        try:
            self.sql.execute(f"pragma synchronous = {level}")
            self.sql.execute("pragma foreign_keys = on")
            self.sql.execute("pragma trusted_schema = off")
        except BaseException:
            self.sql.close()
            raise
        self.unit = UnitOfWork(self, self)
        self.tx = Tx(AutoflushDb(self, self.unit), self.unit, self.open_search)
        self._data_version: int | None = None
        self._has_begun = False
        self._waits = True
        self._lock_file = os.path.join(folder, LOCK_FILE)
        self._lock_fd: int | None = None
        self._log_fd: int | None = None

    def one(self, sql: str, **params: object) -> Row | None:
        """The first row that a statement gives."""
        statement = _statement(sql)
        cursor = self.sql.execute(statement.text, statement.in_order(params))
        row = cursor.fetchone()
        return None if row is None else statement.record(cursor, row)

    returning = one

    def all(self, sql: str, **params: object) -> list[Row]:
        """Every row that a statement gives."""
        statement = _statement(sql)
        cursor = self.sql.execute(statement.text, statement.in_order(params))
        return [statement.record(cursor, row) for row in cursor]

    def run(self, sql: str, **params: object) -> None:
        """Execute a statement for its effect."""
        statement = _statement(sql)
        self.sql.execute(statement.text, statement.in_order(params))

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        """Execute a statement for each of many rows of parameters."""
        statement = _statement(sql)
        self.sql.executemany(statement.text, map(statement.in_order, rows))

    def load(self, identity: IdentityMap, prefetch: Prefetch, others: list[Prefetch]) -> Row | None:
        """Read a workspace and, for a change, the head of a path and whether it is locked."""
        path = prefetch.path if self.unit.writable else None
        found = self.sql.execute(_LOAD, (path, path, prefetch.workspace)).fetchone()
        if found is None:
            return None
        row = dict(zip(_WORKSPACE_NAMES, found[1:_HEAD_AT], strict=True))
        row["name"] = prefetch.workspace
        identity.workspaces[prefetch.workspace] = row
        if path is not None:
            key = row["id"], path
            head = found[_HEAD_AT:]
            has_head = head[0] is not None
            identity.heads[key] = dict(zip(HEAD_NAMES, head, strict=True)) if has_head else None
            if found[0] is None:
                identity.locks[key] = None
        return row

    def apply(self, changes: ChangeSet) -> None:
        """Write a change set: each table's rows with one statement."""
        for sql, rows in (
            (ADD_VERSION, changes.versions),
            (DROP_VERSIONS, changes.prunings.values()),
            (ADD_HEAD, changes.head_rows(is_new=True)),
            (SET_HEAD, changes.head_rows(is_new=False)),
            (ADD_EVENT, changes.events),
            (DROP_EXPIRED, changes.expired.values()),
            (PUT_REQUEST, changes.requests.values()),
            (SAVE_COUNTERS, changes.workspaces.values()),
            (ADD_USAGE, changes.usage_rows()),
        ):
            if rows:
                statement = _statement(sql)
                if len(rows) == 1:
                    (row,) = rows
                    self.sql.execute(statement.text, statement.in_order(row))
                else:
                    self.sql.executemany(statement.text, map(statement.in_order, rows))

    def savepoint(self) -> None:
        """Begin what can be undone alone."""
        self.sql.execute("savepoint work")

    def release(self) -> None:
        """Keep what was done since the savepoint."""
        self.sql.execute("release work")

    def rollback(self) -> None:
        """Undo what was done since the savepoint."""
        self.sql.execute("rollback to work")

    def is_lost(self, error: Exception) -> bool:
        """Whether SQLite has rolled the whole transaction back."""
        return not self.sql.in_transaction

    def time_ms(self) -> int:
        """Never asked for: every transaction begins with its time."""
        raise AssertionError("a transaction without a time")

    def open_search(self, db: Db) -> SqliteSearch:
        """The search index of this store."""
        from fastio_cli.storage.sqlite.search import SqliteSearch

        return SqliteSearch(db)

    def schema_version(self) -> int:
        """The number of the schema that the file has."""
        version: int = self.sql.execute("pragma user_version").fetchone()[0]
        return version

    def keep_writers_out(self) -> None:
        """Nothing: a file has one writer at a time, and that is the migration."""

    def refuse_foreign_schema(self) -> None:
        """Raise ``unavailable`` if the file has what would act by itself: a trigger, a view, a
        virtual table. No store of the newest schema has one."""
        row = self.sql.execute(_ACTING).fetchone()
        if row is not None:
            raise foreign_schema(
                self.place, f"it has a {row[0]} {row[1]!r}, which fastio did not make"
            )

    def set_schema_version(self, version: int) -> None:
        """Note the number of the schema that the file now has."""
        self.sql.execute(f"pragma user_version = {version}")

    def begin(self, now_ms: int, *, writable: bool) -> None:
        """Begin a transaction at this time; what is known is forgotten if it may be old."""
        self.unit.begin(writable=writable, now_ms=now_ms)
        self.sql.execute("begin immediate" if writable else "begin")
        try:
            self._forget_what_is_old()
        except BaseException:
            self.end()
            raise

    def end(self) -> None:
        """Undo the transaction, unless it is committed or SQLite has undone it."""
        if self.sql.in_transaction:
            self.sql.execute("rollback")

    def _forget_what_is_old(self) -> None:
        if not self._has_begun:  # most commands have one transaction, and nothing to compare
            self._has_begun = True
            return
        version: int = self.sql.execute("pragma data_version").fetchone()[0]
        if version != self._data_version:  # somebody else has committed
            self._data_version = version
            self.unit.identity.clear()
        self.unit.identity.trim()

    def change_token(self) -> object:
        """A value that differs after any commit, of whichever connection."""
        # data_version sees the others' commits, total_changes our own.
        row = self.sql.execute("pragma data_version").fetchone()
        return (row[0], self.sql.total_changes)

    def lock(self) -> None:
        """Stand in the kernel's queue of writers."""
        if fcntl is not None:
            fcntl.flock(self._lock_file_open(), fcntl.LOCK_EX)

    def try_lock(self) -> bool:
        """Take the lock if nobody has it. SQLite does not wait on this connection from then on."""
        if self._waits:
            self.sql.execute("pragma busy_timeout = 0")
            self._waits = False
        if fcntl is not None:
            try:
                fcntl.flock(self._lock_file_open(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        return True

    def unlock(self) -> None:
        """Let the next writer begin."""
        if self._lock_fd is not None:
            fcntl.flock(self._lock_fd, fcntl.LOCK_UN)

    def sync_log(self) -> None:
        """Make every commit so far durable. Raises ``unavailable`` when the disk will not."""
        if not self._own_sync:
            return
        try:
            if self._log_fd is None:
                self._log_fd = os.open(self.place + "-wal", os.O_RDONLY | os.O_CLOEXEC)
            sync_data(self._log_fd)
        except OSError as e:
            raise FastioError(
                "unavailable",
                f"The disk did not confirm the write: {e.strerror}. Whether it holds is unknown.",
                "Read the object back before going on: fastio doctor",
            ) from e

    def close(self) -> None:
        """Let go of the file; once more changes nothing."""
        self.is_closed = True
        self.sql.close()
        for fd in (self._lock_fd, self._log_fd):
            if fd is not None:
                os.close(fd)
        self._lock_fd = self._log_fd = None

    def _lock_file_open(self) -> int:
        if self._lock_fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | NOFOLLOW
            try:
                self._lock_fd = os.open(self._lock_file, flags, 0o600)
            except OSError as e:
                raise FastioError(
                    "forbidden",
                    f"The store cannot be written: {self._lock_file}: {e.strerror}.",
                    "Check the folder's permissions, or choose another with --store.",
                ) from e
        return self._lock_fd


class MemoryConnection(Connection):
    """A database in memory: it holds nothing yet, is nobody else's, and ends with the connection.

    What stands in for a store that is not there, or that cannot be written.
    """

    in_memory = True

    def __init__(self, folder: str) -> None:
        super().__init__(folder, False, "file::memory:")

    def change_token(self) -> object:
        """A value that no store on a disk has."""
        return ("memory", self.sql.total_changes)

    def lock(self) -> None:
        """Nobody else writes here."""

    def try_lock(self) -> bool:
        """Nobody else writes here."""
        return True


class Statement:
    """A statement with ``?`` for ``:name``: parameters go in by position, columns come out by name.

    The driver's own ways cost more than all else of a small statement: it looks up and encodes each
    name at every execution, and its rows compare names one by one at every access.
    """

    def __init__(self, sql: str) -> None:
        names = [intern(name) for name in _NAME.findall(sql)]
        self.text = _NAME.sub("?", sql)
        self.in_order: Callable[[Row], Sequence[object]] = (
            itemgetter(*names)
            if len(names) > 1
            else lambda params: [params[name] for name in names]
        )
        self._columns: list[str] = []

    def record(self, cursor: sqlite3.Cursor, row: tuple[object, ...]) -> Row:
        """A row by the names of its columns."""
        if not self._columns:
            self._columns = [intern(column[0]) for column in cursor.description]
        return dict(zip(self._columns, row, strict=False))


_statement = lru_cache(maxsize=512)(Statement)


def is_frozen(folder: str) -> bool:
    """Whether a store can be read only as a file that nobody changes.

    To read beside a writer SQLite needs the log and its index, which it would have to make: where
    they are not, and cannot be made, nobody writes (sqlite.org/wal.html, "Read-Only Databases").
    """
    file = os.path.join(folder, FILE)
    return (
        not os.access(folder, os.W_OK)
        and os.path.exists(file)
        and not os.path.exists(f"{file}-wal")
    )


def as_uri(folder: str) -> str:
    """The store's file for a connection that only reads it."""
    from urllib.parse import quote

    mode = "immutable=1" if is_frozen(folder) else "mode=ro"
    return f"file:{quote(os.path.abspath(os.path.join(folder, FILE)))}?{mode}"
