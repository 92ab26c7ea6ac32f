"""SQL of workspaces. The row of a workspace is also its writer lock and its event counter."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_COLUMNS = """id, name, object_count, size_bytes, seq, head_hash,
    created_at, updated_at, deleted_at"""
SAVE_COUNTERS = """update workspaces set seq = :seq, head_hash = :head_hash,
    object_count = :object_count, size_bytes = :size_bytes, updated_at = :updated_at
    where id = :id"""


class Workspaces:
    genesis_hash = "0" * 64  # what the first event of a log follows

    def __init__(self, db: Db) -> None:
        self._db = db

    def by_name(self, name: str) -> Row | None:
        """The live workspace of this name; in a writing transaction it is ours alone from here."""
        return self._db.one(
            f"""select {_COLUMNS} {self._db.now_column} from workspaces
            where name = :name and deleted_at is null {self._db.lock_clause}""",
            name=name,
        )

    def by_id(self, id: int) -> Row | None:
        """The live workspace of this number; like ``by_name`` in a writing transaction."""
        return self._db.one(
            f"""select {_COLUMNS} from workspaces where id = :id and deleted_at is null
            {self._db.lock_clause}""",
            id=id,
        )

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

    def add(self, name: str, now_ms: int) -> Row:
        row = self._db.one(
            f"""insert into workspaces
            (name, object_count, size_bytes, seq, head_hash, created_at, updated_at)
            values (:name, 0, 0, 0, :genesis_hash, :now_ms, :now_ms) returning {_COLUMNS}""",
            name=name,
            now_ms=now_ms,
            genesis_hash=self.genesis_hash,
        )
        assert row is not None
        return row

    def save(
        self,
        id: int,
        *,
        seq: int,
        head_hash: str,
        object_count: int,
        size_bytes: int,
        updated_at: int,
    ) -> None:
        """Move the counter and the totals on; the last statement of every write."""
        self._db.run(
            SAVE_COUNTERS,
            id=id,
            seq=seq,
            head_hash=head_hash,
            object_count=object_count,
            size_bytes=size_bytes,
            updated_at=updated_at,
        )

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
        condition = _in_org(org)
        condition += " and deleted_at is not null" if deleted else " and deleted_at is null"
        if member is not None:
            condition += """ and id in (select workspace_id from members
                where members.org = :org and members.name = :member)"""
        return self._db.all(
            f"""select {_COLUMNS} from workspaces
            where (name, id) > (:after, :after_id) and {condition}
            order by name, id limit :limit""",
            after=after,
            after_id=after_id,
            limit=limit,
            **_org_params(org),
            **({"org": org, "member": member} if member is not None else {}),
        )

    def usage(self, org: str) -> Row:
        """How many workspaces, objects and bytes an org has, the deleted ones included."""
        condition = _in_org(org)
        row = self._db.one(
            f"""select count(*) as workspace_count,
            cast(coalesce(sum(object_count), 0) as bigint) as object_count,
            cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes
            from workspaces where {condition}""",
            **_org_params(org),
        )
        assert row is not None
        return row


def _in_org(org: str) -> str:
    # A workspace of the store's first org has a plain name, that of another "org/name".
    if not org:
        return "replace(name, '/', '') = name"
    return "name >= :org_first and name < :org_last"


def _org_params(org: str) -> dict[str, object]:
    return {"org_first": f"{org}/", "org_last": f"{org}0"} if org else {}  # "0" follows "/"
