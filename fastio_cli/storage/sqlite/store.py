"""The embedded store: one SQLite file in WAL mode, shared fairly by any number of processes.

Three choices carry it, each measured against its alternatives:

* **Fairness.** SQLite's busy handler lets one process win thousands of times while another starves.
  A kernel file lock (``flock``) around each write serves writers in the order they came.
* **Durability at the price of one sync.** With ``synchronous=NORMAL`` a commit only appends to the
  write-ahead log. We sync that log ourselves after the commit, outside the file lock and before the
  write is acknowledged, so one process's sync overlaps with the next one's commit. As the log is
  sequential, a sync makes every earlier commit durable too: nothing that an acknowledged write
  could have seen can be lost without it. Where ``flock`` is not to be had (Windows), SQLite's own
  ``synchronous=FULL`` takes over.
* **No close.** A process may leave without closing: the log stays and is not truncated, so the next
  commit overwrites allocated blocks instead of growing the file.
"""

from __future__ import annotations

import os
import re
import sqlite3
import time
from _thread import _local as ThreadLocal  # threading costs a millisecond to import
from functools import lru_cache
from operator import itemgetter
from sys import intern

from fastio_cli.blobs.local import sync_data
from fastio_cli.errors import FastioError
from fastio_cli.storage.repositories.locks import LOCK_OF
from fastio_cli.storage.repositories.objects import SLOT
from fastio_cli.storage.sqlite.later import (
    WRITTEN_LATER,
    Later,
    LaterEvents,
    LaterObjects,
    LaterRequests,
    LaterWorkspaces,
)
from fastio_cli.storage.tables import changes_rows, read_tables
from fastio_cli.storage.tx import Tx

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    from fastio_cli.storage.contract import Row
    from fastio_cli.storage.sqlite.search import SqliteSearch

    T = TypeVar("T")

SCHEMA_VERSION = 6
FILE = "store.sqlite"
LOCK_FILE = "write.lock"
BUSY_TIMEOUT_S = 10.0
POLL_S = 0.002
POLL_MAX_S = 0.02
_NAME = re.compile(r":([a-z_][a-z_0-9]*)")
# Read by every call over the network and hardly ever changed: remembered from call to call.
STEADY = frozenset(("locks", "tokens", "members"))

_SLOT = SLOT.split(", ")
_ENTER = f"""select w.id, w.seq, w.head_hash, w.object_count, w.size_bytes, l.fence,
    {", ".join(f"o.{name}" for name in _SLOT)} from workspaces w
    left join objects o on o.workspace_id = w.id and o.path = ?
    left join locks l on l.workspace_id = w.id and l.path = ?
    where w.name = ? and w.deleted_at is null"""


class SqliteStore:
    """A store in a folder. One connection a thread; see ``contract.Store`` for the guarantees.

    Parameters: ``folder`` is created when missing; ``durability`` is ``full`` (an acknowledged
    write survives power loss) or ``normal`` (it survives the death of the process); ``clock`` gives
    seconds since 1970. Raises ``unavailable`` when the store cannot be opened, is damaged, or was
    made by a newer version.
    """

    reruns = False
    local = True

    def __init__(
        self,
        folder: str,
        *,
        durability: str = "full",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.file = os.path.join(folder, FILE)
        self._synced = durability == "full"
        self._clock = clock
        self._threads = ThreadLocal()
        self._connections: set[Connection] = set()
        self._connection()

    def __del__(self) -> None:
        if getattr(self, "_connections", None):
            from warnings import warn

            problem = f"the store in {self.folder} was not closed"
            warn(problem, ResourceWarning, stacklevel=2, source=self)
            self.close()

    def read(self, work: Callable[[Tx], T]) -> T:
        """Run ``work`` on one snapshot."""
        c = self._connection()
        try:
            c.begin("begin", self.now_ms())
            try:
                return work(c.tx)
            finally:
                c.sql.execute("rollback")
        except sqlite3.Error as e:
            raise translate(e, self.file) from e

    def write(self, work: Callable[[Tx], T]) -> T:
        """Run ``work`` alone, commit, and return its result once it is durable."""
        return self._commit(lambda c: work(c.tx), alone=True)

    def write_many(
        self, works: list[Callable[[Tx], Any]], unlocked: Callable[[], None] | None = None
    ) -> list[Any]:
        """Run several works in one commit; each fails alone. Results or exceptions, in order."""
        return self._commit(lambda c: [c.attempt(work) for work in works], unlocked=unlocked)

    def write_at_once(self, works: list[Callable[[Tx], Any]]) -> list[Any] | None:
        """``write_many`` without any waiting; see ``contract.NearStore``."""
        c = self._connection()
        try:
            if not c.try_lock():
                return None
            try:
                return self._transaction(c, lambda c: [c.attempt(work) for work in works], False)
            finally:
                c.unlock()
        except sqlite3.Error as e:
            if getattr(e, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                return None  # a program that does not know of our lock
            raise translate(e, self.file) from e

    def sync(self) -> None:
        """Make durable whatever was committed before."""
        if self._synced:
            self._connection().sync_log()

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def change_token(self, workspace: str) -> object:
        return self._connection().change_token()

    def wait_for_change(self, token: object, timeout_s: float) -> None:
        """Poll SQLite's commit counter (a few microseconds a look) until it moves."""
        c = self._connection()
        deadline = time.monotonic() + timeout_s
        pause = POLL_S
        while c.change_token() == token:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(pause * 1.1, POLL_MAX_S)

    def build_ann_index(self, workspace_id: int) -> None:
        """Nothing: vectors of this store are searched exactly, in memory."""

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the whole database as it is at one moment, while others go on writing."""
        self._connection().sql.backup(target)

    def close(self) -> None:
        """Close the connections of all threads, none of which may be using theirs. A thread that
        uses the store afterwards opens another."""
        while self._connections:
            self._connections.pop().close()

    def _commit(
        self,
        work: Callable[[Connection], T],
        *,
        alone: bool = False,
        unlocked: Callable[[], None] | None = None,
    ) -> T:
        c = self._connection()
        try:
            changes = c.sql.total_changes
            c.lock()
            try:
                result = self._transaction(c, work, alone)
            finally:
                c.unlock()
            if unlocked is not None:
                unlocked()
            if self._synced and c.sql.total_changes != changes:
                c.sync_log()
            return result
        except sqlite3.Error as e:
            raise translate(e, self.file) from e

    def _transaction(self, c: Connection, work: Callable[[Connection], T], alone: bool = True) -> T:
        c.begin("begin immediate", self.now_ms())
        c.tx.writable, c.alone = True, alone
        try:
            result = work(c)
            c.later.write()
            c.sql.execute("commit")
            return result
        except BaseException:
            c.later.drop()
            if c.sql.in_transaction:
                c.sql.execute("rollback")
            raise
        finally:
            c.tx.writable = False

    def _connection(self) -> Connection:
        held: _Held | None = getattr(self._threads, "held", None)
        if held is None or held.connection.is_closed:
            held = self._threads.held = _Held(self._connect(), self._connections)
        return held.connection

    def _connect(self) -> Connection:
        try:
            if not os.path.exists(self.file):
                self._make_file()
            c = Connection(self.folder, self._synced, is_frozen(self.folder))
            try:
                if c.schema_version() != SCHEMA_VERSION:
                    self._migrate(c)
            except BaseException:
                c.close()
                raise
            return c
        except sqlite3.Error as e:
            raise translate(e, self.file) from e
        except OSError as e:
            raise FastioError(
                "unavailable",
                f"The store in {self.folder} cannot be opened: {e.strerror or e}.",
                "Choose another folder with --store, or check its permissions: fastio doctor",
            ) from e

    def _make_file(self) -> None:
        """Make the file for its owner alone; what SQLite puts beside it takes its mode."""
        os.makedirs(self.folder, mode=0o700, exist_ok=True)
        try:
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            pass  # another process was quicker

    def _migrate(self, c: Connection) -> None:
        from fastio_cli.blobs.local import sync_folder
        from fastio_cli.storage.migrations import check_version, upgrade

        check_version(c.place, c.schema_version(), SCHEMA_VERSION)
        c.lock()
        try:
            # The journal mode is kept in the file; setting it needs to be outside a transaction.
            c.sql.execute("pragma journal_mode = wal")
            self._transaction(c, upgrade)
            c.sync_log()
            sync_folder(self.folder)
            sync_folder(os.path.dirname(os.path.abspath(self.folder)))
        finally:
            c.unlock()


class _Held:
    """A thread's hold on its connection, which is closed when the thread ends."""

    def __init__(self, connection: Connection, all_of_store: set[Connection]) -> None:
        self.connection = connection
        self._all_of_store = all_of_store
        all_of_store.add(connection)

    def __del__(self) -> None:
        try:
            self._all_of_store.remove(self.connection)
        except KeyError:
            return  # the store has closed it, or is about to
        self.connection.close()


class Connection:
    """One thread's SQLite connection, its file lock and its handle on the write-ahead log."""

    dialect = "sqlite"
    now_column = ""
    lock_clause = ""  # the file has one writer at a time; no row needs a lock

    def __init__(self, folder: str, synced: bool, frozen: bool = False) -> None:
        self.place = os.path.join(folder, FILE)
        self.is_closed = False
        self.sql = sqlite3.connect(
            as_uri(folder) if frozen else self.place,
            timeout=BUSY_TIMEOUT_S,
            isolation_level=None,
            check_same_thread=False,
            uri=frozen,
        )
        own_sync = synced and fcntl is not None
        level = "normal" if own_sync or not synced else "full"
        try:
            self.sql.execute(f"pragma synchronous = {level}")
            self.sql.execute("pragma foreign_keys = on")
        except BaseException:
            self.sql.close()
            raise
        self.alone = True  # one work has the transaction for itself
        self.later = Later(self._run_rows)
        self.tx: Tx = SqliteTx(self)
        self._data_version: int | None = None
        self._begun = self._in_savepoint = self._broken = False
        self._waits = True
        self._lock_file = os.path.join(folder, LOCK_FILE)
        self._lock_fd: int | None = None
        self._log_fd: int | None = None
        self._own_sync = own_sync

    def one(self, sql: str, **params: object) -> Row | None:
        """The first row a statement gives, unless it is known."""
        key = (sql, *params.values())
        known = self.later.rows
        if key in known:
            return known[key]
        self._look(sql)
        row = self.written(sql, params)
        if self._data_version is not None and _is_steady(sql):
            known[key] = row
        return row

    def written(self, sql: str, params: dict[str, object]) -> Row | None:
        """The first row a statement gives, by what is written already."""
        statement = _statement(sql)
        cursor = self.sql.execute(statement.text, statement.in_order(params))
        row = cursor.fetchone()
        return None if row is None else statement.record(cursor, row)

    def all(self, sql: str, **params: object) -> list[Row]:
        """Every row a statement gives."""
        self._look(sql)
        statement = _statement(sql)
        cursor = self.sql.execute(statement.text, statement.in_order(params))
        return [statement.record(cursor, row) for row in cursor]

    def run(self, sql: str, **params: object) -> None:
        self.put(sql, params)

    def put(self, sql: str, row: dict[str, object]) -> None:
        """``run`` with parameters that stand in a dict already, among others perhaps."""
        self._change()
        statement = _statement(sql)
        self.sql.execute(statement.text, statement.in_order(row))

    def run_many(self, sql: str, rows: Iterable[tuple[object, ...]]) -> None:
        """Execute a statement for each of many rows of values."""
        self._change()
        self.sql.executemany(sql, rows)

    def enter(self, workspace: str, path: str | None) -> Row | None:
        """The workspace of this name; the head and the lock of a path are known from then on."""
        later = self.later
        row = later.workspace(workspace)
        if row is not None:
            return row
        found = self.sql.execute(_ENTER, (path, path, workspace)).fetchone()
        if found is None:
            return None
        id, seq, head_hash, object_count, size_bytes, fence, *slot = found
        if path is not None:
            head = dict(zip(_SLOT, slot, strict=True)) if slot[0] is not None else None
            later.slots[id, path] = head
            if fence is None:  # else the whole lock is read
                later.rows[LOCK_OF, id, path] = None
        row = later.workspaces[workspace] = {
            "id": id,
            "name": workspace,
            "seq": seq,
            "head_hash": head_hash,
            "object_count": object_count,
            "size_bytes": size_bytes,
        }
        return later.moved(row)

    def open_search(self) -> SqliteSearch:
        """The search index of this store."""
        from fastio_cli.storage.sqlite.search import SqliteSearch

        return SqliteSearch(self)

    def schema_version(self) -> int:
        version: int = self.sql.execute("pragma user_version").fetchone()[0]
        return version

    def set_schema_version(self, version: int) -> None:
        self.sql.execute(f"pragma user_version = {version}")

    def begin(self, statement: str, now_ms: int) -> None:
        """Begin a transaction at this time; what is known is forgotten if it may be old."""
        self.tx.now_ms = now_ms
        self._in_savepoint = self._broken = False
        self.tx.beside_bytes.clear()
        self.sql.execute(statement)
        if not self._begun:  # most commands have one transaction, and nothing to compare
            self._begun = True
            return
        version: int = self.sql.execute("pragma data_version").fetchone()[0]
        if version != self._data_version:  # somebody else has committed
            self._data_version = version
            self.later.forget()
        self.later.bound()

    def attempt(self, work: Callable[[Tx], Any]) -> Any:
        """Run one of many works; undo it alone and return the exception when it fails."""
        try:
            result = work(self.tx)
        except Exception as e:
            if self._broken or not self.sql.in_transaction:
                raise  # what others left to be written is lost with it
            self.later.mine.clear()
            if self._in_savepoint:
                self.sql.execute("rollback to work")
                self.later.forget()
            self._release()
            return e
        self.later.keep()
        self._release()
        return result

    def _release(self) -> None:
        if self._in_savepoint:
            self.sql.execute("release work")
            self._in_savepoint = False

    def _look(self, sql: str) -> None:
        """Before a statement of one's own: write what it may read."""
        later = self.later
        if changes_rows(sql):
            self._change()
        elif (later.mine or later.ours) and not read_tables(sql).isdisjoint(WRITTEN_LATER):
            self._settle()

    def _change(self) -> None:
        """Before a change that is made at once."""
        self._settle()
        self.later.forget()

    def _settle(self) -> None:
        """Write what was left for later; whatever the work does from here can be undone."""
        later = self.later
        later.write_ours()
        if not (self.alone or self._in_savepoint):
            self.sql.execute("savepoint work")
            self._in_savepoint = True
        later.write_mine()

    def _run_rows(self, sql: str, rows: Iterable[Row]) -> None:
        statement = _statement(sql)
        self._broken = True
        self.sql.executemany(statement.text, map(statement.in_order, rows))
        self._broken = False

    def change_token(self) -> object:
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

    def _lock_file_open(self) -> int:
        if self._lock_fd is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
            try:
                self._lock_fd = os.open(self._lock_file, flags, 0o600)
            except OSError as e:
                raise FastioError(
                    "forbidden",
                    f"The store cannot be written: {self._lock_file}: {e.strerror}.",
                    "Check the folder's permissions, or choose another with --store.",
                ) from e
        return self._lock_fd

    def unlock(self) -> None:
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


class SqliteTx(Tx):
    """The nouns of a transaction on SQLite."""

    def __init__(self, db: Connection) -> None:
        super().__init__(db)
        self._connection = db
        self.objects = LaterObjects(db, db.later, db.written)
        self.events = LaterEvents(db, db.later)
        self.workspaces = LaterWorkspaces(db, db.later)
        self.requests = LaterRequests(db, db.later)

    def enter(
        self, workspace: str, path: str | None, key: str | None, digest: str | None
    ) -> Row | None:
        """One statement reads what a change of a path looks at; each column has its price."""
        return self._connection.enter(workspace, path if self.writable else None)


class Statement:
    """A statement with ``?`` for ``:name``: parameters go in by position, columns come out by name.

    The driver's own ways cost more than all else of a small statement: it looks up and encodes each
    name at every execution, and its rows compare names one by one at every access.
    """

    def __init__(self, sql: str) -> None:
        names = [intern(name) for name in _NAME.findall(sql)]
        self.text = _NAME.sub("?", sql)
        self.in_order: Callable[[dict[str, object]], Sequence[object]] = (
            itemgetter(*names)
            if len(names) > 1
            else lambda params: [params[name] for name in names]
        )
        self._columns: list[str] = []

    def record(self, cursor: sqlite3.Cursor, row: tuple[object, ...]) -> Row:
        if not self._columns:
            self._columns = [intern(column[0]) for column in cursor.description]
        return dict(zip(self._columns, row, strict=False))


_statement = lru_cache(maxsize=512)(Statement)


@lru_cache(maxsize=512)
def _is_steady(sql: str) -> bool:
    return read_tables(sql) <= STEADY and not changes_rows(sql)


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


def translate(error: sqlite3.Error, file: str) -> FastioError:
    """SQLite's failure in fastio's terms."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return FastioError(
            "unavailable",
            "The disk is full; nothing was changed.",
            "Free some disk space and try again: fastio doctor",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return FastioError(
            "forbidden",
            f"The store {file} is read-only; nothing was changed.",
            "Check its permissions, or choose another store with --store.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return FastioError(
            "unavailable",
            f"The store file {file} is damaged.",
            "See what is damaged and how to restore it: fastio doctor",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return FastioError(
            "unavailable",
            f"The store stayed busy for {BUSY_TIMEOUT_S:g} seconds; nothing was changed.",
            "Try again; another program may hold it open: fastio doctor",
        )
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return FastioError(
            "unavailable",
            f"The store {file} cannot be read or written ({name.removeprefix('SQLITE_')}).",
            "Check the disk, its free space and the folder's permissions: fastio doctor",
        )
    return FastioError("internal", f"The store failed: {error}.")
