"""Reads that are sent before they are asked for, and what may make their answers untrue."""

from __future__ import annotations

from fastio_cli.storage.tables import read_tables

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.storage.db import Row


class SentAhead:
    """A read whose answer comes with that to another, good until what it reads is written."""

    def __init__(self, sql: str, params: dict[str, object], cursor: Any) -> None:
        self._tables = read_tables(sql)
        self._params = params
        self._cursor = cursor
        self._rows: list[Row] | None = None

    def rows(self) -> list[Row]:
        """The answer; waits for it the first time."""
        if self._rows is None:
            self._rows = self._cursor.fetchall()
        return self._rows

    def may_differ(self, table: str | None, params: dict[str, object]) -> bool:
        """Whether a change of a table (None: of any) may have changed the answer."""
        if table is not None and table not in self._tables:
            return False
        if len(self._tables) > 1:
            return True
        # A change of one row, by its key, is no change of another.
        named = [name for name in ("path", "key") if name in self._params and name in params]
        return all(self._params[name] == params[name] for name in named)


class Noted:
    """A Db that notes which reads it is asked for instead of doing them."""

    def __init__(self, lock_clause: str = "", now_column: str = "") -> None:
        self.lock_clause = lock_clause
        self.now_column = now_column
        self.reads: list[tuple[str, dict[str, object]]] = []

    def one(self, sql: str, **params: object) -> None:
        self.reads.append((sql, params))

    def all(self, sql: str, **params: object) -> list[Row]:
        self.reads.append((sql, params))
        return []

    def run(self, sql: str, **params: object) -> None:
        self.put(sql, params)

    def put(self, sql: str, row: dict[str, object]) -> None:
        raise AssertionError("only reads are sent ahead")
