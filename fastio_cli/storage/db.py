"""The lowest interface of a store: statements in one open transaction. For type checkers only."""

from __future__ import annotations

from typing import Any, Protocol

Row = Any  # reads as a mapping: row["name"]


class Db(Protocol):
    """One open transaction, as repositories use it; parameters are written ``:name``."""

    lock_clause: str
    """What a SELECT ends with to keep other writers from its rows, where that needs words."""

    now_column: str
    """A further column ``, ... as now_ms`` with the time, where the clock is the database's."""

    def one(self, sql: str, **params: object) -> Row | None: ...

    def all(self, sql: str, **params: object) -> list[Row]: ...

    def run(self, sql: str, **params: object) -> None:
        """Execute a statement for its effect. Its failure may show at a later one, or at commit."""

    def put(self, sql: str, row: dict[str, object]) -> None:
        """``run`` with parameters that stand in a dict already, among others perhaps."""
