"""The lowest interface of a store: statements in one open transaction. For type checkers only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

Row = Mapping[str, Any]


class Db(Protocol):
    """One open transaction, as repositories use it; parameters are written ``:name``.

    The method that a statement is given to says what it does: ``one`` and ``all`` only read, the
    others change something.
    """

    lock_clause: str
    """What a SELECT ends with to keep other writers from its rows, where that needs words."""

    now_column: str
    """A further column ``, ... as now_ms`` with the time, where the clock is the database's."""

    def one(self, sql: str, **params: object) -> Row | None: ...

    def all(self, sql: str, **params: object) -> list[Row]: ...

    def run(self, sql: str, **params: object) -> None:
        """Execute a statement for its effect. Its failure may show at a later one, or at commit."""

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        """``run`` for each of many rows of parameters, which may hold more than the statement's."""

    def returning(self, sql: str, **params: object) -> Row | None:
        """Execute a change of one row and return what it returns; None if there was none."""
