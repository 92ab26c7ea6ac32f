"""Numbered schema files, each applied once, in order, by one process at a time.

A file only adds to the schema, so that processes of the previous version keep working.
"""

from __future__ import annotations

import os

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Migratable(Protocol):
        """A store's connection inside a transaction that keeps every other migration out."""

        dialect: str
        place: str

        def run(self, sql: str, **params: object) -> None: ...

        def schema_version(self) -> int: ...

        def keep_writers_out(self) -> None:
            """Wait for those who write, and let nobody else begin, before tables are altered."""

        def set_schema_version(self, version: int) -> None: ...


# As the first schema has it.
_FIRST_WORKSPACE = f"""insert into workspaces
    (name, object_count, size_bytes, seq, head_hash, created_at, updated_at)
    values ('default', 0, 0, 0, '{"0" * 64}', :now_ms, :now_ms)"""
_FOLDER = os.path.join(os.path.dirname(__file__), "schema")


def newest(dialect: str) -> int:
    """The number of the newest schema of a database."""
    return len(_files(dialect))


def expected(dialect: str, version: int) -> set[str]:
    """The names of the tables that a store of this schema has."""
    made = (s.split() for s in statements(dialect, version))
    return {words[2] for words in made if [w.lower() for w in words[:2]] == ["create", "table"]}


def statements(dialect: str, version: int) -> list[str]:
    """The statements that make a store of this schema."""
    return [s for name in _files(dialect)[:version] for s in _statements(name)]


def upgrade(db: Migratable, now_ms: int) -> None:
    """Bring a store to this version's schema; called under the adapter's lock.

    Safe while other processes do the same: the first makes the change, the others find it done.
    Raises ``unavailable`` for a store made by a newer version.
    """
    files = _files(db.dialect)
    current = db.schema_version()
    check_version(db.place, current, len(files))
    if 0 < current < len(files):
        db.keep_writers_out()
    for number, name in enumerate(files[current:], current + 1):
        for statement in _statements(name):
            db.run(statement)
        if number == 1:
            db.run(_FIRST_WORKSPACE, now_ms=now_ms)
        db.set_schema_version(number)


def check_version(place: str, current: int, newest: int) -> None:
    """Refuse a store that this version does not understand. Raises ``unavailable``."""
    if current > newest:
        raise FastioError(
            "unavailable",
            f"The store {place} was made by a newer fastio (schema {current}).",
            "Upgrade fastio: pip install --upgrade fastio-durable",
        )


def _files(dialect: str) -> list[str]:
    return sorted(name for name in os.listdir(_FOLDER) if name.endswith(f".{dialect}.sql"))


def _statements(name: str) -> list[str]:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as f:
        lines = [line for line in f if not line.lstrip().startswith("--")]
    # Our own files hold no ';' but at the end of a statement; executescript would commit first.
    return [s for s in "".join(lines).split(";") if s.strip()]
