"""fastio doctor, fastio backup, fastio restore"""

from __future__ import annotations

import os

from fastio_cli.cli.framework.command import Arg, Flag, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.framework.options import YES
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fastio_cli.cli.framework.session import Session
    from fastio_cli.storage.maintenance import Finding


@command(
    "doctor",
    Flag("--sweep", help="Also remove stored bytes that nothing has used for a day"),
    op=("audit.verify", "workspace.list"),
    help="Check the installation and the store, and say how to mend what is wrong.",
)
def doctor(cli: Session, sweep: bool) -> None:
    """Exits with 1 if something is wrong."""
    items: list[dict[str, Any]] = []
    for finding in _findings(cli, sweep):
        items.append(
            {
                "check": finding.check,
                "ok": finding.ok,
                "message": finding.message,
                "hint": finding.hint or None,
            }
        )
    page = {"items": items, "next_cursor": None}
    cli.out.page(page, columns="check,ok,message,hint", essential="ok")
    if not all(item["ok"] for item in items):
        raise Exit(1)


@command(
    "backup",
    Arg("file", "The file to write", complete="file"),
    Flag("--overwrite", help="Replace the file if it exists"),
    help="Copy the whole store into one file, while it is in use.",
)
def backup(cli: Session, file: str, overwrite: bool) -> None:
    from fastio_cli.storage import maintenance as care

    if os.path.exists(file) and not overwrite:
        raise FastioError(
            "already_exists", f"{file} exists.", "Choose another name, or add --overwrite."
        )
    cli.config.store_folder()  # a database is backed up by its own means
    engine = cli.local_engine()
    written = care.backup(engine.store, engine.blobs, file)  # type: ignore[arg-type]
    cli.out.record({"file": file, **written}, essential="file")


@command(
    "restore",
    Arg("file", "A file that fastio backup wrote", complete="file"),
    YES,
    help="Replace the whole store by what a backup file holds.",
)
def restore(cli: Session, file: str, yes: bool) -> None:
    """What the store holds now is gone afterwards, so make a backup of it before."""
    from fastio_cli.storage import maintenance as care

    if not os.path.isfile(file):
        raise FastioError("invalid", f"There is no file {file}.")
    folder = cli.config.store_folder()
    cli.confirm(f"Replace the store in {folder} by {file}?", yes)
    read = care.restore(file, folder)
    cli.out.record({"store": folder, "file": file, **read}, essential="store")


def _findings(cli: Session, sweep: bool) -> Iterator[Finding]:
    import sqlite3
    import sys

    from fastio_cli import __version__
    from fastio_cli.storage import maintenance as care

    versions = f"fastio {__version__}, Python {sys.version.split()[0]}, "
    yield care.Finding("installation", None, versions + f"SQLite {sqlite3.sqlite_version}")
    if cli.is_remote:
        cli.call("workspace.list", limit=1)  # raises what is wrong
        yield care.Finding("store", None, "it answers")
        yield from _chains(cli)
        return
    if "://" in cli.config.store():
        cli.call("workspace.list", limit=1)
        yield care.Finding("store", None, "it answers")
        hint = "Name the place that holds them: fastio config set blobs PLACE"
    else:
        folder = cli.config.store_folder()
        for finding in care.examine_file(folder):
            yield finding
        if not finding.ok or not os.path.isdir(folder):  # the last tells whether it can be read
            return
        yield from care.examine_bodies(folder)
        hint = "Put them back from a backup: fastio restore FILE"
    engine = cli.local_engine()
    store, blobs = engine.store, engine.blobs
    yield from care.examine_blobs(store, blobs, hint)
    yield from _chains(cli)
    if sweep:
        freed = care.sweep(store, blobs)
        yield care.Finding("sweep", None, f"{freed:,} bytes freed")


def _chains(cli: Session) -> Iterator[Finding]:
    from fastio_cli.storage.maintenance import Finding

    cursor: str | None = ""
    while cursor is not None:
        page = cli.call("workspace.list", cursor=cursor, limit=1000)
        for workspace in page["items"]:
            report = cli.call("audit.verify", workspace=workspace["name"])
            yield Finding(
                f"log of {workspace['name']}",
                report["problem"],
                f"{report['events']} events, the chain holds",
                "The log was changed from outside; compare with a backup: fastio event list",
            )
        cursor = page["next_cursor"]
