"""fastio file"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.options import (
    ALL,
    CURSOR,
    IF_VERSION,
    KEY,
    LIMIT,
    LOCK_TOKEN,
    PATH,
    PREFIX,
    VERSION,
    given,
)
from fastio_cli.cli.framework.values import integer, secret
from fastio_cli.cli.objects import list_objects, register_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.cli.framework.session import Session

OVERWRITE = Flag("--overwrite", help="Replace the object at the new path")
TO = Arg("to", "The new path, or fio://workspace/path", complete="path")
TO_LOCK_TOKEN = Opt(
    "--to-lock-token",
    help="Token of the lock you hold on the new path; @FILE or - to read it",
    metavar="TOKEN",
    convert=secret,
)


@command(
    "file put",
    Arg(
        "source",
        "Files to read, or - for standard input; after a single one its new path may follow",
        many=True,
        complete="file",
    ),
    Opt("--to", help="The path, or a folder with / at its end", metavar="PATH", complete="path"),
    Flag("--recursive", "-r", help="Store folders with all files below them"),
    Flag("--ignore", help="Leave out what .gitignore and .fastioignore files say"),
    Flag("--dry-run", "-n", help="Only say which files would be stored, and where"),
    Opt("--media-type", help="Default: what the name says", metavar="TYPE"),
    IF_VERSION,
    LOCK_TOKEN,
    KEY,
    op="file.put",
    fields=("source", "error"),
)
def put(
    cli: Session,
    source: list[str],
    to: str | None,
    recursive: bool,
    ignore: bool,
    dry_run: bool,
    **params: Any,
) -> None:
    """Without a path a file keeps its name. Each of many is stored by itself: a refused one does
    not stop the others, and the list says what was stored and what was not. What belongs to a
    store (.fastio, its blobs, your settings) is never stored.

    Examples:
    fastio file put report.pdf
    fastio file put report.pdf reports/may.pdf
    fastio file put a.md b.md --to notes/
    fastio file put --recursive docs notes/docs
    echo hello | fastio file put - hello.txt
    """
    from fastio_cli.cli import uploads

    sources, to = uploads.sources_and_target(source, to, recursive)
    if recursive or dry_run or len(sources) > 1:
        uploads.put_many(
            cli, sources, to or "", params, recursive=recursive, ignore=ignore, dry_run=dry_run
        )
    else:
        cli.out.record(uploads.put_one(cli, sources[0], to, params), essential="version")


@command(
    "file append",
    PATH,
    Arg("text", "Text of the new line (@@ for a first @), or @FILE, or - for bytes as they come"),
    Flag("--raw", help="Append the text alone, without making it a line"),
    IF_VERSION,
    LOCK_TOKEN,
    KEY,
    op="file.append",
)
def append(cli: Session, text: str, raw: bool, **params: object) -> None:
    """Text given as an argument becomes a line of its own, also where the file does not end in a
    newline; @FILE and - are appended as they are.

    Example:
    fastio file append run.jsonl '{"t": 1}'
    """
    from fastio_cli.cli import uploads

    cli.out.record(uploads.append_text(cli, text, raw, params), essential="version")


@command(
    "file get",
    PATH,
    Opt(
        "--output",
        "-o",
        help="Write to this file instead of stdout",
        metavar="FILE",
        complete="file",
    ),
    VERSION,
    Opt("--offset", help="Start at this byte", metavar="BYTES", convert=integer),
    Opt("--length", help="At most this many bytes", metavar="BYTES", convert=integer),
    op="file.get",
)
def get(cli: Session, output: str | None, **params: Any) -> None:
    """Examples:
    fastio file get notes.md
    fastio file get report.pdf -o report.pdf
    """
    download = cli.call("file.get", **given(**params))
    if output is None or output == "-":
        cli.out.copy(cli.engine.chunks(download))
        return
    from contextlib import closing

    from fastio_cli.cli.uploads import received_chunks, write_file

    with closing(received_chunks(cli, download, params["length"])) as chunks:
        write_file(output, chunks)
    cli.out.note(f"{download.record['path']} → {output}")


@command(
    "file list",
    PREFIX,
    Opt("--type", help="Only objects of this kind", choices=("state", "file")),
    LIMIT,
    CURSOR,
    ALL,
    op="object.list",
)
def list_(cli: Session, type: str | None, **params: object) -> None:
    list_objects(cli, type, **params)


@command("file info", PATH, op="object.info")
def info(cli: Session, path: str) -> None:
    cli.out.record(cli.call("object.info", path=path), essential="version")


@command(
    "file move",
    PATH,
    TO,
    OVERWRITE,
    IF_VERSION,
    LOCK_TOKEN,
    TO_LOCK_TOKEN,
    KEY,
    op="object.move",
)
def move(cli: Session, **params: object) -> None:
    """Example:
    fastio file move draft.md fio://archive/draft.md
    """
    cli.out.record(cli.call("object.move", **params), essential="path")


@command("file copy", PATH, TO, OVERWRITE, TO_LOCK_TOKEN, KEY, op="object.copy")
def copy(cli: Session, **params: object) -> None:
    """Example:
    fastio file copy fio://lab/notes.md notes.md
    """
    cli.out.record(cli.call("object.copy", **params), essential="path")


register_common("file")
