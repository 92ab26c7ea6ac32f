"""SQL of what orgs use, counted in the transaction that changes it.

An org's counters are spread over rows by workspace, so that busy workspaces of one org do not wait
for each other's commits; what the org has is their sum. Deleted workspaces count: they can be
restored.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

    Shard = tuple[str, int]  # of an org's counters
    Counters = tuple[int, int, int, int]  # workspaces, objects, bytes, bytes of indexes

SHARDS = 32
ADD_USAGE = """update org_usage set object_count = object_count + :objects,
    size_bytes = size_bytes + :bytes where org = :org and shard = :shard"""
_SUMS = """cast(coalesce(sum(workspace_count), 0) as bigint) as workspace_count,
    cast(coalesce(sum(object_count), 0) as bigint) as object_count,
    cast(coalesce(sum(size_bytes + index_bytes), 0) as bigint) as size_bytes,
    cast(coalesce(sum(index_bytes), 0) as bigint) as index_bytes"""
OF_ORG = f"select {_SUMS} from org_usage where org = :org"
_OF_WORKSPACES = f"""org, id % {SHARDS} as shard, count(*) as workspace_count,
    cast(sum(object_count) as bigint) as object_count,
    cast(sum(size_bytes) as bigint) as size_bytes,
    cast(coalesce(sum(i.counted_bytes), 0) as bigint) as index_bytes
    from workspaces left join search_indexes i on i.workspace_id = id"""
HELD_NAMES = ("object_count", "state_count", "file_count", "live_bytes")
_HELD = """select workspace_id, cast(sum(1 - deleted) as bigint) as object_count,
    cast(sum(case when kind = 'state' then 1 - deleted else 0 end) as bigint) as state_count,
    cast(sum(case when kind = 'file' then 1 - deleted else 0 end) as bigint) as file_count,
    cast(sum((1 - deleted) * size_bytes) as bigint) as live_bytes
    from objects group by workspace_id"""
_APPENDED = "select distinct workspace_id from segments"
_STORED = """select workspace_id, cast(sum(size_bytes) as bigint) as size_bytes
    from versions group by workspace_id"""

_IMPORTED = """select workspace_id, cast(sum(counted_bytes + kept_bytes) as bigint) as size_bytes
    from imports group by workspace_id"""


def shard_of(workspace_id: int) -> int:
    """Which of an org's rows counts a workspace."""
    return workspace_id % SHARDS


class Usage:
    def __init__(self, db: Db) -> None:
        self._db = db

    def of_org(self, org: str) -> Row:
        """How many workspaces, objects and bytes an org has: deleted workspaces and search indexes
        included."""
        row = self._db.one(OF_ORG, org=org)
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

    def counted(self) -> dict[Shard, Counters]:
        """What the counters of every org say, by org and shard."""
        return _by_shard(
            self._db.all(
                """select org, shard, workspace_count, object_count, size_bytes, index_bytes
                from org_usage"""
            )
        )

    def recounted(self) -> dict[Shard, Counters]:
        """The same as the workspaces add up to."""
        return _by_shard(self._db.all(f"select {_OF_WORKSPACES} group by org, id % {SHARDS}"))

    def recount(self, org: str, shard: int) -> None:
        """Make one row of an org's counters what its workspaces add up to."""
        self._db.run(
            """insert into org_usage (org, shard, workspace_count, object_count, size_bytes)
            values (:org, :shard, 0, 0, 0) on conflict (org, shard) do nothing""",
            org=org,
            shard=shard,
        )
        # Who changed a workspace either has this row and is waited for, or adds to it after us.
        self._db.one(
            f"""select shard from org_usage where org = :org and shard = :shard
            {self._db.lock_clause}""",
            org=org,
            shard=shard,
        )
        rows = self._db.all(
            f"""select {_OF_WORKSPACES}
            where org = :org and id % {SHARDS} = :shard group by org, id % {SHARDS}""",
            org=org,
            shard=shard,
        )
        nothing = (0, 0, 0, 0)
        workspaces, objects, size_bytes, index = _by_shard(rows).get((org, shard), nothing)
        self._db.run(
            """update org_usage set workspace_count = :workspaces, object_count = :objects,
            size_bytes = :size_bytes, index_bytes = :index_bytes
            where org = :org and shard = :shard""",
            org=org,
            shard=shard,
            workspaces=workspaces,
            objects=objects,
            size_bytes=size_bytes,
            index_bytes=index,
        )

    def add_index_bytes(self, workspace_id: int, added_bytes: int) -> None:
        """Count what the search index of a workspace has more, or less."""
        self._db.run(
            """update org_usage set index_bytes = index_bytes + :added_bytes
            where org = (select org from workspaces where id = :id) and shard = :shard""",
            added_bytes=added_bytes,
            id=workspace_id,
            shard=shard_of(workspace_id),
        )

    def of_workspaces(self) -> dict[int, dict[str, int]]:
        """What every workspace holds by its objects, and by its versions and imports if it has no
        segments: those of an appended file share bytes."""
        found: dict[int, dict[str, int]] = {}
        for row in self._db.all(_HELD):
            found[row["workspace_id"]] = {name: row[name] for name in HELD_NAMES}
        appended = {row["workspace_id"] for row in self._db.all(_APPENDED)}
        for row in self._db.all(_STORED):
            if row["workspace_id"] not in appended:
                found[row["workspace_id"]]["size_bytes"] = row["size_bytes"]
        for row in self._db.all(_IMPORTED):
            if row["workspace_id"] not in appended:
                held = found.setdefault(row["workspace_id"], dict.fromkeys(HELD_NAMES, 0))
                held["size_bytes"] = held.get("size_bytes", 0) + row["size_bytes"]
        return found


def _by_shard(rows: list[Row]) -> dict[Shard, Counters]:
    found = {
        (row["org"], row["shard"]): (
            row["workspace_count"],
            row["object_count"],
            row["size_bytes"],
            row["index_bytes"],
        )
        for row in rows
    }
    return {key: counters for key, counters in found.items() if any(counters)}
