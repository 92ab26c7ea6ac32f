"""What a transaction on SQLite will write at its end, and what it need not ask for.

**Written at the end.** The rows that every change writes (versions, heads, events, counters, stored
requests) are kept until the transaction ends and go in together: many rows a statement, and one row
where many works of a commit changed the same head or counter. They go in sooner when a statement
reads their tables. Until a work does that, or changes another table, undoing it is forgetting it:
it needs no savepoint.

**Not asked for.** What the last transactions of this connection wrote, and a few things that hardly
ever change, are known without reading them, as long as nobody else has committed since.
"""

from __future__ import annotations

from itertools import chain

from fastio_cli.storage.repositories.events import ADD_EVENT, Events
from fastio_cli.storage.repositories.objects import (
    ADD_HEAD,
    ADD_VERSION,
    DROP_VERSIONS,
    SET_HEAD,
    KnownObjects,
)
from fastio_cli.storage.repositories.requests import DROP_EXPIRED, PUT_REQUEST, Requests
from fastio_cli.storage.repositories.workspaces import SAVE_COUNTERS, Workspaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from fastio_cli.storage.db import Db, Row

    Execute = Callable[[str, Iterable[Row]], None]

# Stored requests are missing here: they are only ever read by ``LaterRequests.stored``.
WRITTEN_LATER = frozenset(("versions", "objects", "events", "workspaces"))
_BYTES_OF_VERSIONS = """select coalesce(sum(size_bytes), 0) as size_bytes from versions
    where workspace_id = :workspace_id and path = :path
    and version >= :since and version < :below and chain is null"""
KNOWN_MAX = 1000
KNOWN_BYTES_MAX = 16 * 1024 * 1024


class Unwritten:
    """Rows that one work, or all works of a commit so far, will write."""

    __slots__ = ("counters", "dropped", "events", "expired", "heads", "requests", "versions")

    def __init__(self) -> None:
        self.versions: list[Row] = []
        self.dropped: dict[tuple[int, str], Row] = {}  # paths whose old versions go, and which
        self.events: list[Row] = []
        self.heads: dict[tuple[int, str], tuple[Row, bool]] = {}
        self.counters: dict[int, Row] = {}
        self.requests: dict[tuple[int, str], Row] = {}
        self.expired: dict[int, Row] = {}  # workspaces whose old requests are to be dropped

    def __bool__(self) -> bool:
        return bool(self.events or self.counters or self.requests or self.versions)

    def set_head(self, key: tuple[int, str], columns: Row, is_new: bool) -> None:
        """The newest version of a path, in place of one that is not written yet either."""
        before = self.heads.get(key)
        self.heads[key] = columns, is_new or (before is not None and before[1])

    def take(self, other: Unwritten) -> None:
        """Add what came later, and leave it empty."""
        self.versions += other.versions
        self.dropped.update(other.dropped)
        self.events += other.events
        for key, (columns, is_new) in other.heads.items():
            self.set_head(key, columns, is_new)
        self.counters.update(other.counters)
        self.requests.update(other.requests)
        self.expired.update(other.expired)
        other.clear()

    def clear(self) -> None:
        """Have nothing to write."""
        self.versions.clear()
        self.events.clear()
        for rows in (self.dropped, self.heads, self.counters, self.requests, self.expired):
            rows.clear()

    def write(self, execute: Execute) -> None:
        """Write all of it, and be empty."""
        for sql, rows in (
            (ADD_VERSION, self.versions),
            (DROP_VERSIONS, self.dropped.values()),
            (ADD_HEAD, [columns for columns, is_new in self.heads.values() if is_new]),
            (SET_HEAD, [columns for columns, is_new in self.heads.values() if not is_new]),
            (ADD_EVENT, self.events),
            (DROP_EXPIRED, self.expired.values()),
            (PUT_REQUEST, self.requests.values()),
            (SAVE_COUNTERS, self.counters.values()),
        ):
            if rows:
                execute(sql, rows)
        self.clear()


class Later:
    """What is not written yet, in two layers, and what is known of what is.

    ``mine`` belongs to the work that runs, ``ours`` to those before it in this commit.
    """

    def __init__(self, execute: Execute) -> None:
        self._execute = execute
        self.mine = Unwritten()
        self.ours = Unwritten()
        self.heads: dict[tuple[int, str], Row] = {}
        self.slots: dict[tuple[int, str], Row | None] = {}
        self.workspaces: dict[str, Row] = {}
        self.rows: dict[tuple[object, ...], Row | None] = {}  # by statement and parameters
        self._bytes = 0

    def keep(self) -> None:
        """The work that ran has succeeded."""
        self.ours.take(self.mine)

    def write(self) -> None:
        """Write all that is left to be written."""
        self.write_ours()
        self.write_mine()

    def write_ours(self) -> None:
        self._write(self.ours)

    def write_mine(self) -> None:
        self._write(self.mine)

    def _write(self, unwritten: Unwritten) -> None:
        if not unwritten:
            return
        for key, (columns, _) in unwritten.heads.items():
            self.heads[key] = columns
            self.slots.pop(key, None)
            self._bytes += columns["size_bytes"]
        for row in self.workspaces.values() if unwritten.counters else ():
            row.update(unwritten.counters.get(row["id"], ()))
        unwritten.write(self._execute)

    def forget(self) -> None:
        """Nothing is known any longer, as others may have changed it."""
        self.heads.clear()
        self.slots.clear()
        self.workspaces.clear()
        self.rows.clear()
        self._bytes = 0

    def drop(self) -> None:
        """Nothing of this transaction happened."""
        self.mine.clear()
        self.ours.clear()
        self.forget()

    def bound(self) -> None:
        """Forget all when that is much."""
        known = max(len(self.heads), len(self.workspaces), len(self.rows))
        if known > KNOWN_MAX or self._bytes > KNOWN_BYTES_MAX:
            self.forget()

    def workspace(self, name: str) -> Row | None:
        """A workspace that is known, with its counters as they will be."""
        row = self.workspaces.get(name)
        return None if row is None else self.moved(row)

    def moved(self, row: Row) -> Row:
        """A workspace's row with the counters that are not written yet."""
        counters = self.ours.counters.get(row["id"])
        return row if counters is None else {**row, **counters}

    def is_unwritten(self, key: tuple[int, str]) -> bool:
        """Whether a path has versions that are not written yet."""
        return key in self.mine.heads or key in self.ours.heads

    def head(self, key: tuple[int, str]) -> Row | None:
        """The newest version of a path with its content, if it is known."""
        for unwritten in (self.mine, self.ours):
            found = unwritten.heads.get(key)
            if found is not None:
                return found[0]
        return self.heads.get(key)


class LaterObjects(KnownObjects):
    """Objects whose changes are written at the end."""

    def __init__(self, db: Db, later: Later, read: Callable[[str, Row], Any]) -> None:
        super().__init__(db)
        self._later = later
        self._read = read

    def known(self, workspace_id: int, path: str) -> Row | None:
        return self._later.head((workspace_id, path))

    def _of_path(self, sql: str, **params: Any) -> Row | None:
        if self._later.is_unwritten((params["workspace_id"], params["path"])):
            return super()._of_path(sql, **params)
        return self._read(sql, params)

    def slot(self, workspace_id: int, path: str) -> Row | None:
        """What a change has to know of the head; perhaps it came with the workspace."""
        key = (workspace_id, path)
        found = self._later.head(key)
        if found is None and key in self._later.slots:
            return self._later.slots[key]
        return found or super().slot(workspace_id, path)

    def write(self, columns: Row, is_new: bool) -> None:
        self._later.mine.versions.append(columns)
        self._later.mine.set_head((columns["workspace_id"], columns["path"]), columns, is_new)

    def forget_versions(self, workspace_id: int, path: str, below: int) -> int:
        """Drop old versions at the end, but tell their bytes now."""
        mine, ours, key = self._later.mine, self._later.ours, (workspace_id, path)
        before = mine.dropped.get(key) or ours.dropped.get(key)
        since = 0 if before is None else before["below"]
        mine.dropped[key] = {"workspace_id": workspace_id, "path": path, "below": below}
        row = self._read(_BYTES_OF_VERSIONS, {**mine.dropped[key], "since": since})
        written: int = row["size_bytes"]
        unwritten: int = sum(
            version["size_bytes"]
            for version in chain(ours.versions, mine.versions)
            if since <= version["version"] < below
            and version["path"] == path
            and version["workspace_id"] == workspace_id
            and version["chain"] is None
        )
        return written + unwritten


class LaterEvents(Events):
    """Events that are written at the end."""

    def __init__(self, db: Db, later: Later) -> None:
        super().__init__(db)
        self._later = later

    def add(self, columns: Row) -> None:
        self._later.mine.events.append(columns)


class LaterWorkspaces(Workspaces):
    """Workspaces whose counters are written at the end."""

    def __init__(self, db: Db, later: Later) -> None:
        super().__init__(db)
        self._later = later

    def save(self, id: int, **counters: object) -> None:
        self._later.mine.counters[id] = {"id": id, **counters}


class LaterRequests(Requests):
    """Stored requests that are written at the end."""

    def __init__(self, db: Db, later: Later) -> None:
        super().__init__(db)
        self._later = later

    def stored(self, workspace_id: int, key: str) -> Row | None:
        for unwritten in (self._later.mine, self._later.ours):
            found = unwritten.requests.get((workspace_id, key))
            if found is not None:
                return found
        return super().stored(workspace_id, key)

    def add(self, row: Row) -> None:
        self._later.mine.requests[row["workspace_id"], row["key"]] = row

    def drop_expired(self, workspace_id: int, now_ms: int) -> None:
        self._later.mine.expired[workspace_id] = {"workspace_id": workspace_id, "now_ms": now_ms}
