"""Comparing a database's schema with what the migrations make of one.

A store or backup may come from anybody. A trigger, a view or a virtual table in it would act when
fastio reads and writes, and so would an expression in an index or a column (see "Security Against
Untrusted Database Files", sqlite.org/security.html).
"""

from __future__ import annotations

import sqlite3

from fastio_cli.storage.migrations import statements

DIALECT = "sqlite"
# Without SQLite's own, as sqlite_autoindex_…; what acts has another type, or no page of its own.
_OBJECTS = """select type, name, tbl_name, sql from sqlite_schema
    where type not in ('table', 'index') or rootpage = 0 or substr(name, 1, 7) <> 'sqlite_'"""


def schema_difference(sql: sqlite3.Connection, version: int) -> str | None:
    """What a database has that no migration up to ``version`` makes, or lacks; None if nothing."""
    pristine = sqlite3.connect(":memory:")
    try:
        for statement in statements(DIALECT, version):
            pristine.execute(statement)
        expected = _objects(pristine)
    finally:
        pristine.close()
    found = _objects(sql)
    for key in sorted(found.keys() - expected.keys()):
        return f"it has a {key[0]} {key[1]!r}, which fastio did not make"
    for key in sorted(expected.keys() - found.keys()):
        return f"it has no {key[0]} {key[1]!r}"
    for key, text in sorted(found.items()):
        if text != expected[key]:
            return f"its {key[0]} {key[1]!r} is not as fastio makes it"
    return None


def _objects(sql: sqlite3.Connection) -> dict[tuple[str, str], tuple[str, str]]:
    """Every object of a schema by type and name: its table, and its text without its layout."""
    return {
        (str(type), str(name)): (str(table), "".join(str(text).split()).lower())
        for type, name, table, text in sql.execute(_OBJECTS)
    }
