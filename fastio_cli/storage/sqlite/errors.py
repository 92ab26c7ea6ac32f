"""SQLite's failures in fastio's terms."""

from __future__ import annotations

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3

BUSY_TIMEOUT_S = 10.0


def translate(error: sqlite3.Error, file: str) -> FastioError:
    """SQLite's failure in fastio's terms."""
    name = getattr(error, "sqlite_errorname", "") or ""
    if name.startswith("SQLITE_FULL"):
        return FastioError(
            "unavailable",
            "The disk is full; nothing was changed.",
            "Free some disk space and try again: fastio doctor",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_PERM")):
        return FastioError(
            "forbidden",
            f"The store {file} is read-only; nothing was changed.",
            "Check its permissions, or choose another store with --store.",
        )
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return FastioError(
            "unavailable",
            f"The store file {file} is damaged.",
            "See what is damaged and how to restore it: fastio doctor",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return FastioError(
            "unavailable",
            f"The store stayed busy for {BUSY_TIMEOUT_S:g} seconds; nothing was changed.",
            "Try again; another program may hold it open: fastio doctor",
        )
    if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")):
        return FastioError(
            "unavailable",
            f"The store {file} cannot be read or written ({name.removeprefix('SQLITE_')}).",
            "Check the disk, its free space and the folder's permissions: fastio doctor",
        )
    return FastioError("internal", f"The store failed: {error}.")


def foreign_schema(place: str, difference: str) -> FastioError:
    """The error for a store whose schema is not of fastio's making."""
    return FastioError(
        "unavailable",
        f"The store {place} was not made by fastio, or was changed by another program: "
        f"{difference}. It was not used.",
        "Put back a backup that you know: fastio restore FILE",
        transient=False,
    )
