"""Whole rows of the tables beside a workspace's log, as a copy of the store takes them."""

from __future__ import annotations

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db

# With their keys; those that others refer to come first.
TABLES = {
    "orgs": ("name",),
    "members": ("org", "name", "workspace_id"),
    "tokens": ("digest",),
    "transfers": ("digest",),
    "credits": ("org", "month"),
    "imports": ("workspace_id", "id"),
}


class Rows:
    def __init__(self, db: Db) -> None:
        self._db = db

    def page(
        self,
        table: str,
        after: tuple[object, ...] | None,
        last: tuple[object, ...] | None,
        limit: int,
    ) -> list[dict[str, object]]:
        """Rows in the order of their keys, between two keys (without the first, with the last)."""
        bounds = [f"{_tuple(table)} > {_tuple(table, ':after_')}"] if after is not None else []
        bounds += [f"{_tuple(table)} <= {_tuple(table, ':last_')}"] if last is not None else []
        rows = self._db.all(
            f"""select * from {table} {"where" if bounds else ""} {" and ".join(bounds)}
            order by {", ".join(TABLES[table])} limit :limit""",
            limit=limit,
            **_named(table, "after_", after),
            **_named(table, "last_", last),
        )
        return [dict(row) for row in rows]

    def put(self, table: str, row: dict[str, object]) -> None:
        """Add a row, or replace the one of its key. Raises ``invalid`` for a column's odd name."""
        odd = [name for name in row if not name.isidentifier()]
        if odd:  # the row is from another store, whose file may be anybody's
            raise FastioError("invalid", f"{table} has the column {odd[0]!r}, which no store has.")
        keys = ", ".join(TABLES[table])
        others = [f"{name} = excluded.{name}" for name in row if name not in TABLES[table]]
        self._db.run(
            f"""insert into {table} ({", ".join(row)}) values (:{", :".join(row)})
            on conflict ({keys}) do update set {", ".join(others)}""",
            **row,
        )

    def remove(self, table: str, key: tuple[object, ...]) -> None:
        condition = " and ".join(f"{name} = :key_{name}" for name in TABLES[table])
        self._db.run(f"delete from {table} where {condition}", **_named(table, "key_", key))


def key_of(table: str, row: dict[str, object]) -> tuple[object, ...]:
    """A row's key."""
    return tuple(row[name] for name in TABLES[table])


def _tuple(table: str, prefix: str = "") -> str:
    return f"({', '.join(prefix + name for name in TABLES[table])})"


def _named(table: str, prefix: str, key: tuple[object, ...] | None) -> dict[str, object]:
    if key is None:
        return {}
    return {prefix + name: value for name, value in zip(TABLES[table], key, strict=True)}
