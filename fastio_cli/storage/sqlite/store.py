"""The embedded store: one SQLite file in WAL mode, shared fairly by any number of processes.

Three choices carry it, each measured against its alternatives:

* **Fairness.** SQLite's busy handler lets one process win thousands of times while another starves.
  A kernel file lock (``flock``) around each write serves writers in the order they came.
* **Durability at the price of one sync.** With ``synchronous=NORMAL`` a commit only appends to the
  write-ahead log. We sync that log ourselves after the commit, outside the file lock and before the
  write is acknowledged, so one process's sync overlaps with the next one's commit. As the log is
  sequential, a sync makes every earlier commit durable too: nothing that an acknowledged write
  could have seen can be lost without it. Where ``flock`` does not exist (Windows), SQLite's own
  ``synchronous=FULL`` takes over.
* **No close at exit.** A process may leave without closing: the log stays and is not truncated, so
  the next commit overwrites allocated blocks instead of growing the file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from _thread import _local as ThreadLocal  # threading costs a millisecond to import

from fastio_cli.errors import FastioError
from fastio_cli.filesystem import make_private_folder
from fastio_cli.storage.absent import no_store
from fastio_cli.storage.migrations import newest
from fastio_cli.storage.sqlite.connection import (
    FILE,
    Connection,
    MemoryConnection,
    as_uri,
    is_frozen,
)
from fastio_cli.storage.sqlite.errors import foreign_schema, translate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import TypeVar

    from fastio_cli.storage.absent import IfAbsent
    from fastio_cli.storage.tx import Tx, Work

    T = TypeVar("T")

SCHEMA_VERSION = newest("sqlite")
POLL_S = 0.002
POLL_MAX_S = 0.02


class SqliteStore:
    """A store in a folder. One connection a thread; see ``contract.Store`` for the guarantees.

    Parameters: ``durability`` is ``full`` (an acknowledged write survives power loss) or ``normal``
    (it survives the death of the process); ``clock`` gives seconds since 1970; ``if_absent`` says
    what happens where ``folder`` holds no store (``storage/absent.py``). Raises ``not_found`` then,
    ``unavailable`` when the store cannot be opened, is damaged, or was made by a newer version.
    """

    retries_whole_transaction = False
    local = True
    is_copy = False

    def __init__(
        self,
        folder: str,
        *,
        durability: str = "full",
        clock: Callable[[], float] = time.time,
        if_absent: IfAbsent = "make",
    ) -> None:
        self.folder = folder
        self.file = os.path.join(folder, FILE)
        self._synced = durability == "full"
        self.clock = clock
        self._if_absent = if_absent
        self._threads = ThreadLocal()
        self._connections: set[Connection] = set()
        self._connection()

    def __del__(self) -> None:
        if getattr(self, "_connections", None):
            from warnings import warn

            problem = f"the store in {self.folder} was not closed"
            warn(problem, ResourceWarning, stacklevel=2, source=self)
            self.close()

    def read(self, run: Callable[[Tx], T]) -> T:
        """Run a function on one snapshot, and return its result."""
        c = self._connection()
        try:
            c.begin(self.now_ms(), writable=False)
            try:
                return run(c.tx)
            finally:
                c.end()
        except sqlite3.Error as e:
            raise translate(e, self.file) from e

    def write(self, run: Callable[[Tx], T]) -> T:
        """Run a function alone, commit, and return its result once it is durable."""
        return self._commit(run)

    def write_batch(
        self, works: Sequence[Work], on_commit: Callable[[], None] | None = None
    ) -> list[object]:
        """Run several works in one commit; each fails alone. Results or exceptions, in order."""
        return self._commit(lambda tx: _run_each(tx, works), on_commit)

    def try_write_batch(self, works: Sequence[Work]) -> list[object] | None:
        """``write_batch`` without any waiting; see ``contract.EmbeddedStore``."""
        c = self._writable()
        try:
            if not c.try_lock():
                return None
            try:
                return self._transaction(c, lambda tx: _run_each(tx, works))
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
        return int(self.clock() * 1000)

    def change_token(self, workspace: str) -> object:
        return self._connection().change_token()

    def wait_for_change(self, token: object, timeout_s: float) -> None:
        """Poll SQLite's commit counter (a few microseconds a look) until it moves."""
        deadline = time.monotonic() + timeout_s
        pause = POLL_S
        while self._connection().change_token() == token:
            left = deadline - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(pause, left))
            pause = min(pause * 1.1, POLL_MAX_S)

    def build_ann_index(self, workspace_id: int) -> None:
        """Nothing: vectors of this store are searched exactly, in memory."""

    def check_schema(self) -> None:
        """Raise ``unavailable`` if the schema has anything that no migration makes, or lacks it."""
        self._check_schema(self._connection())

    def _check_schema(self, c: Connection) -> None:
        from fastio_cli.storage.sqlite.schema_check import schema_difference

        difference = schema_difference(c.sql, c.schema_version())
        if difference is not None:
            raise foreign_schema(c.place, difference)

    def copy_to(self, target: sqlite3.Connection) -> None:
        """Copy the whole database as it is at one moment, while others go on writing.

        Raises ``not_found`` where there is no store yet.
        """
        c = self._connection()
        if c.in_memory:
            raise no_store(self.folder, self.folder)
        c.sql.backup(target)

    def close(self) -> None:
        """Close the connections of all threads, none of which may be using theirs. A thread that
        uses the store afterwards opens another."""
        while self._connections:
            self._connections.pop().close()

    def _commit(self, run: Callable[[Tx], T], on_commit: Callable[[], None] | None = None) -> T:
        c = self._writable()
        try:
            changes = c.sql.total_changes
            c.lock()
            try:
                result = self._transaction(c, run)
            finally:
                c.unlock()
            if on_commit is not None:
                on_commit()
            if self._synced and c.sql.total_changes != changes:
                c.sync_log()
            return result
        except sqlite3.Error as e:
            raise translate(e, self.file) from e

    def _transaction(self, c: Connection, run: Callable[[Tx], T]) -> T:
        c.begin(self.now_ms(), writable=True)
        try:
            result = run(c.tx)
            c.unit.flush()
            c.sql.execute("commit")
            return result
        except BaseException:
            c.unit.abandon()
            c.end()
            raise

    def _connection(self) -> Connection:
        held: _Held | None = getattr(self._threads, "held", None)
        if held is None or held.connection.is_closed or self._is_there_now(held.connection):
            held = self._threads.held = _Held(self._connect(), self._connections)
        return held.connection

    def _is_there_now(self, c: Connection) -> bool:
        """Whether a store that was absent when this connection was opened has been made since."""
        return c.in_memory and os.path.exists(self.file)

    def _writable(self) -> Connection:
        c = self._connection()
        if c.in_memory:
            self._make_file()
            c = self._connection()
        return c

    def _make_file(self) -> None:
        """Make the file for its owner alone; what SQLite puts beside it takes its mode."""
        try:
            make_private_folder(self.folder)
            os.close(os.open(self.file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
        except FileExistsError:
            if not os.path.isdir(self.folder):
                raise self._cannot_open("it is no folder") from None
            # else another process was quicker
        except OSError as e:
            raise self._cannot_open(e.strerror or str(e)) from e

    def _connect(self) -> Connection:
        try:
            if not os.path.exists(self.file):
                if self._if_absent == "refuse":
                    raise no_store(self.folder, self.folder)
                if self._if_absent == "make_on_write":
                    return self._open(MemoryConnection(self.folder))
                self._make_file()
            uri = as_uri(self.folder) if is_frozen(self.folder) else None
            return self._open(Connection(self.folder, self._synced, uri))
        except sqlite3.Error as e:
            raise translate(e, self.file) from e
        except OSError as e:
            raise self._cannot_open(e.strerror or str(e)) from e

    def _cannot_open(self, why: str) -> FastioError:
        return FastioError(
            "unavailable",
            f"The store in {self.folder} cannot be opened: {why}.",
            "Choose another folder with --store, or check its permissions: fastio doctor",
        )

    def _open(self, c: Connection) -> Connection:
        """A connection whose schema is the newest; closed if that fails."""
        try:
            if c.schema_version() == SCHEMA_VERSION:
                c.refuse_foreign_schema()
            else:
                self._migrate(c)
        except BaseException:
            c.close()
            raise
        return c

    def _migrate(self, c: Connection) -> None:
        from fastio_cli.blobs.files import sync_folder
        from fastio_cli.storage.migrations import check_version, upgrade

        check_version(c.place, c.schema_version(), SCHEMA_VERSION)
        c.lock()
        try:
            self._check_schema(c)
            # The journal mode is kept in the file; setting it needs to be outside a transaction.
            c.sql.execute("pragma journal_mode = wal")
            self._transaction(c, lambda tx: upgrade(c, tx.now_ms))
            if c.in_memory:
                return
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


def _run_each(tx: Tx, works: Sequence[Work]) -> list[object]:
    tx.unit.share([])
    return [tx.unit.attempt(work.run, tx) for work in works]
