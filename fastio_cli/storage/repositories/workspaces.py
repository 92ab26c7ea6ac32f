"""SQL of workspaces. The row of a workspace is also its writer lock and its event counter."""

from __future__ import annotations

from fastio_cli.storage.repositories.usage import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

COUNTER_NAMES = (
    "seq",
    "head_hash",
    "object_count",
    "size_bytes",
    "state_count",
    "file_count",
    "live_bytes",
)
_COLUMNS = f"""id, org, name, {", ".join(COUNTER_NAMES)}, number_floor, folder_locks,
    created_at, updated_at, deleted_at"""
_SET_COUNTERS = ", ".join(f"{name} = :{name}" for name in COUNTER_NAMES)
SAVE_COUNTERS = f"""update workspaces set {_SET_COUNTERS},
    updated_at = :updated_at where id = :id"""


class Workspaces:
    genesis_hash = "0" * 64  # what the first event of a log follows

    def __init__(self, db: Db) -> None:
        self._db = db

    def by_name(self, name: str) -> Row | None:
        """The live workspace of this name; in a writing transaction it is ours alone from here."""
        return self._db.one(self.by_name_sql(), name=name)

    def by_name_sql(self) -> str:
        """The statement of ``by_name``, with the time if the clock is the database's."""
        return f"""select {_COLUMNS} {self._db.now_column} from workspaces
            where name = :name and deleted_at is null {self._db.lock_clause}"""

    def expect_folder_locks(self, id: int) -> None:
        """Have every change in a workspace look for locks on folders from now on."""
        self._db.run("update workspaces set folder_locks = 1 where id = :id", id=id)

    def by_id(self, id: int) -> Row | None:
        """The live workspace of this number; like ``by_name`` in a writing transaction."""
        return self._db.one(
            f"""select {_COLUMNS} from workspaces where id = :id and deleted_at is null
            {self._db.lock_clause}""",
            id=id,
        )

    def any_by_id(self, id: int) -> Row | None:
        """The workspace of this number, live or deleted."""
        return self._db.one(f"select {_COLUMNS} from workspaces where id = :id", id=id)

    def seq(self, name: str) -> int:
        """The newest event of the live workspace of this name; 0 when there is none."""
        row = self._db.one(
            "select seq from workspaces where name = :name and deleted_at is null", name=name
        )
        return row["seq"] if row is not None else 0

    def latest_deleted(self, name: str) -> Row | None:
        """The workspace of this name that was deleted last."""
        return self._db.one(
            f"""select {_COLUMNS} from workspaces where name = :name and deleted_at is not null
            order by deleted_at desc, id desc limit 1 {self._db.lock_clause}""",
            name=name,
        )

    def add(self, name: str, now_ms: int, org: str | None = None) -> Row:
        """Make a workspace; its name says in which org it is unless that is given."""
        org = name.rpartition("/")[0] if org is None else org
        row = self._db.returning(
            f"""insert into workspaces
            (org, name, object_count, size_bytes, seq, head_hash, created_at, updated_at)
            values (:org, :name, 0, 0, 0, :genesis_hash, :now_ms, :now_ms) returning {_COLUMNS}""",
            org=org,
            name=name,
            now_ms=now_ms,
            genesis_hash=self.genesis_hash,
        )
        assert row is not None
        Usage(self._db).add_workspace(org, row["id"])
        return row

    def adopt(self, id: int, name: str, created_at: int) -> None:
        """Make an untouched workspace a copy of another."""
        self._db.run(
            "update workspaces set name = :name, created_at = :created_at where id = :id",
            id=id,
            name=name,
            created_at=created_at,
        )

    def rename(self, id: int, name: str) -> None:
        self._db.run("update workspaces set name = :name where id = :id", id=id, name=name)

    def mark_deleted(self, id: int, deleted_at: int | None) -> None:
        self._db.run(
            "update workspaces set deleted_at = :deleted_at where id = :id",
            id=id,
            deleted_at=deleted_at,
        )

    def every(self) -> list[Row]:
        """All workspaces, live and deleted, in the order they were made."""
        return self._db.all(f"select {_COLUMNS} from workspaces order by id")

    def page(
        self,
        org: str,
        after: str,
        after_id: int,
        limit: int,
        deleted: bool,
        *,
        member: str | None = None,
    ) -> list[Row]:
        """Live (or deleted) workspaces of an org by name and id; those where ``member`` has a role,
        if one is named."""
        condition = "deleted_at is not null" if deleted else "deleted_at is null"
        if member is not None:
            condition += """ and id in (select workspace_id from members
                where members.org = :org and members.name = :member)"""
        return self._db.all(
            f"""select {_COLUMNS} from workspaces
            where org = :org and (name, id) > (:after, :after_id) and {condition}
            order by name, id limit :limit""",
            after=after,
            after_id=after_id,
            limit=limit,
            org=org,
            **({"member": member} if member is not None else {}),
        )
