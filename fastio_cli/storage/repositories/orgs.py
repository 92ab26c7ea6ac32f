"""SQL of orgs, and of the credits they used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row


class Orgs:
    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, name: str) -> Row | None:
        return self._db.one("select name, created_at from orgs where name = :name", name=name)

    def count(self) -> int:
        """How many orgs there are."""
        row = self._db.one("select count(*) as count from orgs")
        assert row is not None
        count: int = row["count"]
        return count

    def add(self, name: str, now_ms: int) -> None:
        self._db.run(
            "insert into orgs (name, created_at) values (:name, :now_ms)", name=name, now_ms=now_ms
        )

    def charge(self, org: str, month: str, credits: int) -> None:
        """Count credits that an org used."""
        self._db.run(
            """insert into credits (org, month, used) values (:org, :month, :credits)
            on conflict (org, month) do update set used = credits.used + excluded.used""",
            org=org,
            month=month,
            credits=credits,
        )

    def credits(self, org: str, month: str) -> int:
        row = self._db.one(
            "select used from credits where org = :org and month = :month", org=org, month=month
        )
        return row["used"] if row is not None else 0
