"""SQL of members and their roles."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row


class Members:
    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, org: str, name: str, workspace_id: int) -> Row | None:
        """A member's role in the org (workspace 0) or in one workspace."""
        return self._db.one(
            """select name, role, created_at from members
            where org = :org and name = :name and workspace_id = :workspace_id""",
            org=org,
            name=name,
            workspace_id=workspace_id,
        )

    def page(self, org: str, after: str, after_id: int, limit: int) -> list[Row]:
        """Members by name, their role in the org before those in workspaces."""
        return self._db.all(
            """select members.name, members.role, members.created_at, members.workspace_id,
            workspaces.name as workspace
            from members left join workspaces on workspaces.id = members.workspace_id
            where members.org = :org
            and (members.name, members.workspace_id) > (:after, :after_id)
            order by members.name, members.workspace_id limit :limit""",
            org=org,
            after=after,
            after_id=after_id,
            limit=limit,
        )

    def put(self, org: str, name: str, workspace_id: int, role: str, now_ms: int) -> None:
        self._db.run(
            """insert into members (org, name, workspace_id, role, created_at)
            values (:org, :name, :workspace_id, :role, :now_ms)
            on conflict (org, name, workspace_id) do update set role = excluded.role""",
            org=org,
            name=name,
            workspace_id=workspace_id,
            role=role,
            now_ms=now_ms,
        )

    def remove(self, org: str, name: str, workspace_id: int) -> None:
        self._db.run(
            """delete from members
            where org = :org and name = :name and workspace_id = :workspace_id""",
            org=org,
            name=name,
            workspace_id=workspace_id,
        )

    def has_role(self, org: str, name: str) -> bool:
        """Whether somebody has a role in the org or in any of its workspaces."""
        row = self._db.one(
            "select name from members where org = :org and name = :name limit 1", org=org, name=name
        )
        return row is not None

    def owners(self, org: str) -> list[Row]:
        return self._db.all(
            """select name from members
            where org = :org and workspace_id = 0 and role = 'owner' order by name""",
            org=org,
        )
