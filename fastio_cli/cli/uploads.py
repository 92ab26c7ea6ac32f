"""Local files stored as objects, and written back."""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, contextmanager

from fastio_cli.cli.framework.values import STDIN, file_of, literal
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from typing import Any, BinaryIO

    from rich.progress import Progress

    from fastio_cli.blobs.content import Content
    from fastio_cli.cli.framework.session import Session

PROGRESS_BYTES_MIN = 32 * 1024 * 1024  # takes about a second to store
PROGRESS_AFTER_S = 1.0  # for downloads, whose speed is unknown


def put_file(cli: Session, source: str, path: str | None, params: dict[str, Any]) -> Any:
    """Store one file, or standard input, and return its record."""
    if path is None:
        if source == STDIN:
            raise FastioError(
                "invalid", "Standard input has no name.", "Name it: fastio file put - PATH"
            )
        path = os.path.basename(os.path.abspath(source))
    elif path.endswith("/"):
        path += os.path.basename(os.path.abspath(source))
    content = _stored(cli, source)
    with _sending(cli, content):
        return cli.call("file.put", path=path, content=content, **params)


def put_folder(
    cli: Session, folder: str, path: str | None, dry_run: bool, params: dict[str, object]
) -> None:
    """Store every file below a folder, each by a call of its own."""
    if not os.path.isdir(folder):
        raise FastioError("invalid", f"{folder} is not a folder.", "Leave --recursive out.")
    if any(params[name] for name in ("if_version", "idempotency_key")):
        raise FastioError("invalid", "--if-version and --idempotency-key are for a single file.")
    root = path.strip("/") if path else os.path.basename(os.path.abspath(folder))
    items = []
    for name in _files_below(cli, folder):
        target = "/".join(filter(None, (root, *name.split(os.sep))))
        if dry_run:
            items.append({"path": target, "source": os.path.join(folder, name)})
        else:
            items.append(put_file(cli, os.path.join(folder, name), target, params))
    columns = "path,source" if dry_run else "path,version,size_bytes,media_type"
    cli.out.page({"items": items, "next_cursor": None}, columns=columns, essential="path")


def append_text(cli: Session, text: str, raw: bool, params: dict[str, object]) -> Any:
    """Append a line of text, or as they are the bytes of ``@FILE`` or ``-``; the file's record."""
    import io

    file = file_of(text)
    if file is not None:
        content = _stored(cli, file, hint=_hint_for_text(str(params["path"]), text))
    else:
        line = literal(text).encode("utf-8", "surrogateescape") + (b"" if raw else b"\n")
        content = cli.engine.upload(io.BytesIO(line))
    own_line = None if raw or file is not None else True
    return cli.call("file.append", content=content, own_line=own_line, **params)


def write_file(name: str, chunks: Iterable[bytes]) -> None:
    """Write a file of this machine, whole or not at all."""
    from fastio_cli.filesystem import write_whole

    try:
        write_whole(name, chunks)
    except OSError as e:
        raise FastioError("invalid", f"{name} cannot be written: {e.strerror}.") from None


def received_chunks(
    cli: Session, download: Any, length: int | None
) -> Generator[bytes, None, None]:
    """The bytes of a download, with a progress bar at a terminal."""
    chunks = cli.engine.chunks(download)
    if cli.out.quiet or not sys.stderr.isatty():
        yield from chunks
        return
    total = download.record["size_bytes"] - download.start
    total = total if length is None else min(total, length)
    count, begun = 0, time.monotonic()
    bar = None
    with ExitStack() as stack:
        for chunk in chunks:
            yield chunk
            count += len(chunk)
            if bar is None and time.monotonic() - begun > PROGRESS_AFTER_S:
                bar = stack.enter_context(_bar())
                task = bar.add_task("Receiving", total=total)
            if bar is not None:
                bar.update(task, completed=count)


def _files_below(cli: Session, folder: str) -> Iterator[str]:
    inside = os.path.join(os.path.realpath(folder), "")
    for current, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            file = os.path.join(current, name)
            if not os.path.realpath(file).startswith(inside):
                # A link could disclose files that its owner keeps elsewhere.
                cli.out.note(f"Left out: {file} leads out of the folder")
            elif not os.path.isfile(file):
                cli.out.note(f"Left out: {file} is no file")
            else:
                yield os.path.relpath(file, folder)


def _hint_for_text(path: str, text: str) -> str:
    import shlex

    command = shlex.join(["fastio", "file", "append", path, f"@{text}"])
    return f"Check its name. A text that begins with @ is given with two: {command}"


def _stored(cli: Session, source: str, hint: str | None = None) -> Content:
    if source == STDIN:
        return cli.engine.upload(sys.stdin.buffer)
    try:
        with open(source, "rb") as f:
            size = os.fstat(f.fileno()).st_size
            if _shows_progress(cli, size):
                with _progress(f, size, "Reading" if cli.is_remote else "Storing") as shown:
                    return cli.engine.upload(shown)
            return cli.engine.upload(f)
    except IsADirectoryError:
        raise FastioError(
            "invalid",
            f"{source} is a folder.",
            f"Store all files below it: fastio file put --recursive {source}",
        ) from None
    except OSError as e:
        raise FastioError("invalid", f"{source} cannot be read: {e.strerror}.", hint) from None


def _shows_progress(cli: Session, size: int) -> bool:
    return size >= PROGRESS_BYTES_MIN and sys.stderr.isatty() and not cli.out.quiet


@contextmanager
def _sending(cli: Session, content: Any) -> Iterator[None]:
    """Show the progress of a large upload to a server."""
    if not cli.is_remote or not _shows_progress(cli, content.size_bytes):
        yield
        return
    with _progress(content.stream, content.size_bytes, "Sending") as content.stream:
        yield


@contextmanager
def _progress(f: BinaryIO, size: int, what: str) -> Iterator[BinaryIO]:
    with _bar() as bar:
        yield bar.wrap_file(f, size, description=what)


def _bar() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
