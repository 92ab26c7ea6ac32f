"""What a transaction wrote itself it need not ask for: memory for works that share a commit.

A work that follows another in one transaction mostly reads what that one wrote: the workspace's
counter, the head of a path, its content. The workspace is locked, so nobody else can have changed
them. Only transactions of a store that is far away remember.
"""

from __future__ import annotations

from fastio_cli.storage.repositories.objects import KnownObjects
from fastio_cli.storage.repositories.workspaces import Workspaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.storage.db import Db, Row


class WrittenObjects(KnownObjects):
    """Objects that remember the versions written."""

    def __init__(self, db: Db) -> None:
        super().__init__(db)
        self._written: dict[tuple[int, str], Row] = {}

    def known(self, workspace_id: int, path: str) -> Row | None:
        return self._written.get((workspace_id, path))

    def write(self, columns: dict[str, Any], is_new: bool) -> None:
        super().write(columns, is_new)
        self._written[columns["workspace_id"], columns["path"]] = columns

    def forget(self) -> None:
        """What was written was undone."""
        self._written.clear()


class WrittenWorkspaces(Workspaces):
    """Workspaces that remember those entered, with their counters as they were written."""

    def __init__(self, db: Db) -> None:
        super().__init__(db)
        self._entered: dict[str, Row] = {}

    def entered(self, name: str) -> Row | None:
        """A workspace that this transaction has locked already."""
        return self._entered.get(name)

    def remember(self, name: str, row: Row) -> None:
        self._entered[name] = dict(row)

    def save(self, id: int, **counters: Any) -> None:
        super().save(id, **counters)
        for row in self._entered.values():
            if row["id"] == id:
                row.update(counters)

    def rename(self, id: int, name: str) -> None:
        super().rename(id, name)
        self.forget()

    def mark_deleted(self, id: int, deleted_at: int | None) -> None:
        super().mark_deleted(id, deleted_at)
        self.forget()

    def forget(self) -> None:
        """What was written was undone, or is not counters alone."""
        self._entered.clear()
