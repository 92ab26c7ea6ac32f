"""Reads that are sent before they are asked for, and what may make their answers untrue."""

from __future__ import annotations

import re
from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.store.contract import Row


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

    has_search = False

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
        raise AssertionError("only reads are sent ahead")

    def put(self, sql: str, row: dict[str, object]) -> None:
        self.run(sql)


@lru_cache(maxsize=256)
def read_tables(sql: str) -> frozenset[str]:
    """The tables that a read looks into."""
    return frozenset(re.findall(r"\b(?:from|join)\s+(\w+)", sql))


@lru_cache(maxsize=256)
def changed_table(sql: str) -> str | None:
    """The one table that a statement touches; None if it reads others or is of another kind."""
    if re.search(r"\bselect\b", sql):
        return None
    found = re.match(r"\s*(?:insert into|update|delete from) (\w+)", sql)
    return found[1] if found is not None else None
