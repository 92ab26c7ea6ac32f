"""A copy in memory of a store that cannot be written, or is not there yet.

Searching keeps what it derives, an index, in the store. Where that cannot be, it keeps it in such a
copy, for one call.
"""

from __future__ import annotations

import os

from fastio_cli.storage.sqlite.connection import MemoryConnection
from fastio_cli.storage.sqlite.store import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.sqlite.connection import Connection

COPY_BYTES_MAX = 256 * 1024 * 1024  # what is worth copying, and fits into memory


class ScratchStore(SqliteStore):
    """What another store holds at this moment, in memory. Of one thread."""

    def __init__(self, of: SqliteStore) -> None:
        self.is_copy = os.path.exists(of.file)
        self._memory = MemoryConnection(of.folder)
        super().__init__(of.folder, durability="normal", clock=of.clock)
        self._connections.add(self._memory)
        if self.is_copy:
            of.copy_to(self._memory.sql)

    def _connection(self) -> Connection:
        if self._memory.schema_version() == 0:
            self._open(self._memory)
        return self._memory

    def _writable(self) -> Connection:
        return self._connection()


def scratch_copy(store: Store) -> ScratchStore | None:
    """A copy of a store; None where none is needed, or it is too large or too far away."""
    if not isinstance(store, SqliteStore) or isinstance(store, ScratchStore):
        return None
    try:
        size_bytes = os.path.getsize(store.file)
    except FileNotFoundError:
        return ScratchStore(store)
    is_written = os.access(store.file, os.W_OK) and os.access(store.folder, os.W_OK)
    return None if is_written or size_bytes > COPY_BYTES_MAX else ScratchStore(store)
