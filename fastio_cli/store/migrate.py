"""Numbered schema files, each applied once, in order, by one process at a time."""

from __future__ import annotations

import os

from fastio_cli.blobs import sync_folder
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.store.sqlite import Connection

_FOLDER = os.path.join(os.path.dirname(__file__), "schema")


def migrate(c: Connection, now_ms: int) -> None:
    """Bring a store to this version's schema.

    Safe while other processes do the same: the first makes the change under the write lock, the
    others find it done. Raises ``unavailable`` for a store made by a newer version.
    """
    steps = sorted(name for name in os.listdir(_FOLDER) if name.endswith(".sqlite.sql"))
    if c.schema_version > len(steps):
        raise _too_new(c)
    c.lock()
    try:
        # The journal mode is kept in the file; setting it needs to be outside a transaction.
        c.sql.execute("pragma journal_mode = wal")
        c.begin("begin immediate", now_ms)
        try:
            # Again, now that nobody else can change it.
            current = c.sql.execute("pragma user_version").fetchone()[0]
            if current > len(steps):
                raise _too_new(c)
            for number, name in enumerate(steps[current:], current + 1):
                _apply(c, name)
                if number == 1:
                    c.tx.workspaces.add("default", now_ms)
                c.sql.execute(f"pragma user_version = {number}")
            c.sql.execute("commit")
        except BaseException:
            if c.sql.in_transaction:
                c.sql.execute("rollback")
            raise
        c.schema_version = len(steps)
        c.sync_log()
        sync_folder(os.path.dirname(c.file))
        sync_folder(os.path.dirname(os.path.dirname(os.path.abspath(c.file))))
    finally:
        c.unlock()


def _apply(c: Connection, name: str) -> None:
    with open(os.path.join(_FOLDER, name), encoding="utf-8") as f:
        lines = [line for line in f if not line.lstrip().startswith("--")]
    # Our own files hold no ';' but at the end of a statement; executescript would commit first.
    for statement in "".join(lines).split(";"):
        if statement.strip():
            c.sql.execute(statement)


def _too_new(c: Connection) -> FastioError:
    return FastioError(
        "unavailable",
        f"The store {c.file} was made by a newer fastio (schema {c.schema_version}).",
        "Upgrade fastio: pip install --upgrade fastio-durable",
    )
