"""SQL of what orgs use, counted in the transaction that changes it.

An org's counters are spread over rows by workspace, so that busy workspaces of one org do not wait
for each other's commits; what the org has is their sum. Deleted workspaces count: they can be
restored.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

SHARDS = 32
ADD_USAGE = """update org_usage set object_count = object_count + :objects,
    size_bytes = size_bytes + :bytes where org = :org and shard = :shard"""
# Of the org that a workspace is in.
ORG_BYTES_BESIDE = """select cast(coalesce(sum(u.size_bytes), 0) as bigint) as size_bytes
    from org_usage u join workspaces w on w.org = u.org
    where w.name = :name and w.deleted_at is null"""
_SUMS = """cast(coalesce(sum(workspace_count), 0) as bigint) as workspace_count,
    cast(coalesce(sum(object_count), 0) as bigint) as object_count,
    cast(coalesce(sum(size_bytes), 0) as bigint) as size_bytes"""


def shard_of(workspace_id: int) -> int:
    """Which of an org's rows counts a workspace."""
    return workspace_id % SHARDS


class Usage:
    def __init__(self, db: Db) -> None:
        self._db = db

    def of_org(self, org: str) -> Row:
        """How many workspaces, objects and bytes an org has, the deleted ones included."""
        row = self._db.one(f"select {_SUMS} from org_usage where org = :org", org=org)
        assert row is not None
        return row

    def add_workspace(self, org: str, workspace_id: int) -> None:
        """Count a new, empty workspace."""
        self._db.run(
            """insert into org_usage (org, shard, workspace_count, object_count, size_bytes)
            values (:org, :shard, 1, 0, 0) on conflict (org, shard)
            do update set workspace_count = org_usage.workspace_count + 1""",
            org=org,
            shard=shard_of(workspace_id),
        )

    def counted(self) -> list[Row]:
        """Every row of the counters, in order."""
        return self._db.all(
            """select org, shard, workspace_count, object_count, size_bytes from org_usage
            where workspace_count <> 0 or object_count <> 0 or size_bytes <> 0
            order by org, shard"""
        )

    def recounted(self) -> list[Row]:
        """The same rows as the workspaces add up to."""
        return self._db.all(
            f"""select org, id % {SHARDS} as shard, count(*) as workspace_count,
            cast(sum(object_count) as bigint) as object_count,
            cast(sum(size_bytes) as bigint) as size_bytes
            from workspaces group by org, id % {SHARDS} order by 1, 2"""
        )

    def set_counters(self, row: Row) -> None:
        """Make a row of the counters what it has to be."""
        self._db.run(
            """insert into org_usage (org, shard, workspace_count, object_count, size_bytes)
            values (:org, :shard, :workspace_count, :object_count, :size_bytes)
            on conflict (org, shard) do update set workspace_count = excluded.workspace_count,
            object_count = excluded.object_count, size_bytes = excluded.size_bytes""",
            **row,
        )
