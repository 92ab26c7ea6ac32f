"""What a transaction wrote itself it need not ask for: memory for works that share a commit.

A work that follows another in one transaction mostly reads what that one wrote: the workspace's
counter, the head of a path, its content. The workspace is locked, so nobody else can have changed
them. Only transactions of a store that is far away remember.
"""

from __future__ import annotations

from fastio_cli.store.objects import Objects
from fastio_cli.store.workspaces import Workspaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.store.contract import Db, Row


class WrittenObjects(Objects):
    """Objects that remember the heads and contents written."""

    def __init__(self, db: Db) -> None:
        super().__init__(db)
        self._heads: dict[tuple[int, str], Row] = {}
        self._contents: dict[tuple[int, str], Row] = {}

    def head(self, workspace_id: int, path: str) -> Row | None:
        return self._heads.get((workspace_id, path)) or super().head(workspace_id, path)

    def content(self, workspace_id: int, path: str, version: int) -> Row | None:
        row = self._contents.get((workspace_id, path))
        if row is not None and row["version"] == version:
            return row
        return super().content(workspace_id, path, version)

    def live_content(self, workspace_id: int, path: str) -> Row | None:
        head = self._heads.get((workspace_id, path))
        if head is None:
            return super().live_content(workspace_id, path)
        return None if head["deleted"] else self.content(workspace_id, path, head["version"])

    def set_head(self, workspace_id: int, **columns: Any) -> None:
        super().set_head(workspace_id, **columns)
        self._heads[workspace_id, columns["path"]] = columns

    def add_version(self, workspace_id: int, **columns: Any) -> None:
        super().add_version(workspace_id, **columns)
        self._contents[workspace_id, columns["path"]] = columns

    def knows(self, workspace_id: int, path: str) -> bool:
        """Whether the head of a path was written."""
        return (workspace_id, path) in self._heads

    def forget(self) -> None:
        """What was written was undone."""
        self._heads.clear()
        self._contents.clear()


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

    def save(self, id: int, *, now_ms: int, **columns: Any) -> None:
        super().save(id, now_ms=now_ms, **columns)
        for row in self._entered.values():
            if row["id"] == id:
                row.update(columns, updated_at=now_ms)

    def rename(self, id: int, name: str) -> None:
        super().rename(id, name)
        self.forget()

    def mark_deleted(self, id: int, deleted_at: int | None) -> None:
        super().mark_deleted(id, deleted_at)
        self.forget()

    def forget(self) -> None:
        """What was written was undone, or is not counters alone."""
        self._entered.clear()
