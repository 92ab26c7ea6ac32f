"""SQL of what keeps numbers from going back: floors of workspaces and of names, the lineage."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

ALL_NAMES = ""  # no workspace is called so


class Numbers:
    def __init__(self, db: Db) -> None:
        self._db = db

    def of_workspace(self, workspace_id: int) -> Row:
        """A workspace's floor, the reason for it, and how many numbers no event has."""
        row = self._db.one(
            """select number_floor, floor_reason, numbers_skipped from workspaces
            where id = :workspace_id""",
            workspace_id=workspace_id,
        )
        assert row is not None
        return row

    def put(self, workspace_id: int, row: Row) -> None:
        """Set what ``of_workspace`` tells, for the copy of a workspace."""
        self._db.run(
            """update workspaces set number_floor = :number_floor, floor_reason = :floor_reason,
            numbers_skipped = :numbers_skipped where id = :workspace_id""",
            **row,
            workspace_id=workspace_id,
        )

    def of_names(self) -> list[Row]:
        """The highest number that was given out under each name that is free again."""
        return self._db.all("select name, floor from name_floors order by name")

    def raise_floor(self, workspace_id: int, floor: int, reason: str) -> None:
        """Give out only higher numbers from here on; lower ones than before change nothing."""
        self._db.run(
            """update workspaces set number_floor = :floor, floor_reason = :reason,
            numbers_skipped = numbers_skipped + :floor - 1
                - case when seq < number_floor then number_floor - 1 else seq end
            where id = :workspace_id and number_floor < :floor and seq < :floor""",
            workspace_id=workspace_id,
            floor=floor,
            reason=reason,
        )

    def of_name(self, name: str) -> int:
        """The highest number that was given out under a name by workspaces that have it no more."""
        row = self._db.one(
            """select coalesce(max(floor), 0) as floor from name_floors
            where name = :name or name = :all_names""",
            name=name,
            all_names=ALL_NAMES,
        )
        assert row is not None
        floor: int = row["floor"]
        return floor

    def keep(self, name: str, highest: int) -> None:
        """Note the highest number that was given out under a name, or under any."""
        self._db.run(
            """insert into name_floors (name, floor) values (:name, :highest)
            on conflict (name) do update set floor = excluded.floor
            where name_floors.floor < excluded.floor""",
            name=name,
            highest=highest,
        )

    def highest(self) -> int:
        """The highest number that this store may have given out, to whatever."""
        row = self._db.one(
            """select coalesce(max(n), 0) as n from (select max(seq) as n from workspaces
            union all select max(number_floor) from workspaces
            union all select max(floor) from name_floors) as given"""
        )
        assert row is not None
        highest: int = row["n"]
        return highest

    def changed_at(self) -> int:
        """When this store last gave out a number."""
        row = self._db.one("select max(updated_at) as at from workspaces")
        assert row is not None
        at: int = row["at"]
        return at

    def lineage(self) -> str:
        """What the store, its backups and what is restored from them have in common."""
        row = self._db.one("select value from store_keys where name = 'lineage'")
        assert row is not None, "the schema makes it"
        value: str = row["value"]
        return value

    def renew_token_key(self, key: str) -> None:
        """Derive the tokens of locks with another key, in hex, from here on."""
        self._db.run(
            "update store_keys set value = :key where name = 'lock_tokens'",
            key=key,
        )
