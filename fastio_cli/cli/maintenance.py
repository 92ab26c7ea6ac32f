"""fastio doctor, fastio backup, fastio restore"""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.command import Arg, Flag, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.framework.options import YES
from fastio_cli.cli.framework.values import STDIN
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.cli.framework.session import Session
    from fastio_cli.storage.doctor import Check


REVOKE_TOKENS = Flag("--revoke-tokens", help="Let no token of before count any longer")


@command(
    "doctor",
    Flag("--sweep", help="Also free bytes that nothing has used for a day, and count anew"),
    op=("audit.verify", "workspace.list"),
    help="Check the installation and the store, and say how to fix what is wrong.",
)
def doctor(cli: Session, sweep: bool) -> None:
    """Exits with 1 if something is wrong."""
    items: list[dict[str, object]] = []
    for check in _checks(cli, sweep):
        hint = check.hint or None
        items.append({"check": check.name, "ok": check.ok, "message": check.message, "hint": hint})
    page = {"items": items, "next_cursor": None}
    cli.out.page(page, columns="check,ok,message,hint", essential="ok")
    if not all(item["ok"] for item in items):
        raise Exit(1)


@command(
    "backup",
    Arg("file", "The file to write, or - for standard output", complete="file"),
    Flag("--overwrite", help="Replace the file if it exists"),
    help="Copy the whole store into one file, while it is in use.",
)
def backup(cli: Session, file: str, overwrite: bool) -> None:
    """Examples:
    fastio backup monday.backup
    fastio backup - | gzip > monday.backup.gz
    """
    from fastio_cli.storage import backup as archive
    from fastio_cli.storage.sqlite.store import SqliteStore

    if file == STDIN and cli.out.terminal:
        raise FastioError(
            "invalid",
            "A backup is not shown on a terminal.",
            "Pass it on or name a file: fastio backup store.backup",
        )
    if file != STDIN and os.path.exists(file) and not overwrite:
        raise FastioError(
            "already_exists", f"{file} exists.", "Choose another name, or add --overwrite."
        )
    cli.config.store_folder()  # a database is backed up by its own means
    engine = cli.local_engine()
    assert isinstance(engine.store, SqliteStore)
    if file == STDIN:
        written = archive.backup_to_stream(engine.store, engine.blobs, sys.stdout.buffer)
        cli.out.note(f"{written['size_bytes']:,} bytes, {written['blobs']} blobs")
        return
    written = archive.backup(engine.store, engine.blobs, file)
    cli.out.record({"file": file, **written}, essential="file")


@command(
    "restore",
    Arg("file", "A file that fastio backup wrote, or - for standard input", complete="file"),
    REVOKE_TOKENS,
    YES,
    help="Replace the whole store by what a backup file holds.",
)
def restore(cli: Session, file: str, revoke_tokens: bool, yes: bool) -> None:
    """What the store holds now is gone afterwards, so make a backup of it before. Versions, events
    and fences go on above those of the store that is replaced; where it cannot be read, far above.
    """
    from fastio_cli.storage.backup import restore as restore_backup

    if file != STDIN and not os.path.isfile(file):
        raise FastioError("invalid", f"There is no file {file}.")
    if file == STDIN and sys.stdin.isatty():
        raise FastioError("invalid", "No backup comes from a terminal.", "Name its file.")
    folder = cli.config.store_folder()
    cli.confirm(f"Replace the store in {folder} by {file}?", yes)
    name, stream = ("Standard input", sys.stdin.buffer) if file == STDIN else (file, None)
    restored = restore_backup(name, folder, stream, revoke_tokens=revoke_tokens)
    begin_numbers(cli, restored)
    cli.out.record({"store": folder, "file": file, **restored}, essential="store")


def begin_numbers(cli: Session, restored: dict[str, object]) -> None:
    """Write down in every workspace that its numbers go on higher, and say what is not known."""
    cli.local_engine().begin_numbers(cli.config.actor())
    if not restored["revocations_known"]:
        cli.out.note(
            f"{restored['tokens']} tokens count again, also any that was revoked since the backup: "
            "see fastio token list, or repeat this with --revoke-tokens."
        )


def _checks(cli: Session, sweep: bool) -> Iterator[Check]:
    from fastio_cli.storage import doctor
    from fastio_cli.storage.recount import check_counters, mend_counters

    yield _installation()
    if cli.is_remote:
        yield _answers(cli)
        yield from _chains(cli)
        return
    if "://" in cli.config.store():
        yield _answers(cli)
        hint = "Name the place that holds them: fastio config set blobs PLACE"
    else:
        folder = cli.config.store_folder()
        for check in doctor.check_file(folder):
            yield check
        if not check.ok or not os.path.isdir(folder):  # the last says whether it can be read
            return
        yield from doctor.check_bodies(folder)
        hint = "Put them back from a backup: fastio restore FILE"
    engine = cli.local_engine()
    if "://" in cli.config.store():  # a file was compared with all else that is wrong with files
        yield from doctor.check_schema(engine.store)
    yield from doctor.check_blobs(engine.store, engine.blobs, hint)
    yield from _chains(cli)
    if sweep:
        mended = mend_counters(engine.store)
        yield doctor.Check("recount", None, f"{mended:,} counters set")
    yield from check_counters(engine.store)
    if sweep:
        freed = doctor.sweep(engine.store, engine.blobs)
        yield doctor.Check("sweep", None, f"{freed:,} bytes freed")


def _installation() -> Check:
    import sqlite3
    import sys

    from fastio_cli.storage.doctor import Check
    from fastio_cli.version import __version__

    versions = f"fastio {__version__}, Python {sys.version.split()[0]}, "
    return Check("installation", None, versions + f"SQLite {sqlite3.sqlite_version}")


def _answers(cli: Session) -> Check:
    """That the server or database answers; raises what is wrong."""
    from fastio_cli.storage.doctor import Check

    cli.call("workspace.list", limit=1)
    return Check("store", None, "it answers")


def _chains(cli: Session) -> Iterator[Check]:
    """Verify the hash chain of every workspace's log."""
    from fastio_cli.storage.doctor import Check

    for workspace in cli.every_workspace():
        report = cli.call("audit.verify", workspace=workspace)
        yield Check(
            f"log of {workspace}",
            report["problem"],
            f"{report['events']} events, the chain holds",
            "The log was changed from outside; compare with a backup: fastio event list",
        )
