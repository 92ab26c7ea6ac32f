"""Local files stored as objects, and written back."""

from __future__ import annotations

import os
import sys
import time
import unicodedata
from contextlib import ExitStack, contextmanager

from fastio_cli.cli.framework.outcomes import Outcomes
from fastio_cli.cli.framework.values import STDIN, file_of, literal
from fastio_cli.cli.local_files import IgnoreRules, StoreFiles, files_below
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


def sources_and_target(
    words: list[str], to: str | None, recursive: bool
) -> tuple[list[str], str | None]:
    """The local files and the path among the words of ``file put``.

    After a single file its path may follow, after many a folder with ``/`` at its end. Raises
    ``invalid`` where the second of two could be either.
    """
    if to is not None or len(words) == 1:
        if to is not None and len(words) > 1 and not to.endswith("/"):
            raise FastioError(
                "invalid",
                f"{len(words)} files cannot all be stored at {to}.",
                f"Name a folder: --to {to}/",
            )
        return words, to
    *sources, last = words
    if last.endswith("/") or (len(sources) == 1 and "://" in last):
        return sources, last
    if len(sources) > 1:
        return words, None
    put = ["file", "put", *(["--recursive"] if recursive else [])]
    if STDIN not in sources and os.path.exists(last) and last != sources[0]:
        raise FastioError(
            "invalid",
            f"{last} is a local file: is it to be stored too, or is it the path for {sources[0]}?",
            f"Both: {_command(*put, *words, '--to', '/')}  The path: "
            + _command(*put, *sources, "--to", last),
        )
    return sources, last


def put_one(cli: Session, source: str, path: str | None, params: dict[str, Any]) -> Any:
    """Store one file, or standard input, and return its record."""
    if path is None and source == STDIN:
        raise _nameless()
    path = _target(source, path or "")
    if source != STDIN:
        StoreFiles(cli.config).refuse(source)
    record = _put(cli, source, path, params)
    if record["version"] > 1 and params["if_version"] is None:
        path = record["path"]
        cli.out.note(
            f"{path} is at version {record['version']} now; those before it are kept: "
            + _command("file", "history", path)
        )
    return record


def put_many(
    cli: Session,
    sources: list[str],
    to: str,
    params: dict[str, Any],
    *,
    recursive: bool = False,
    ignore: bool = False,
    dry_run: bool = False,
) -> None:
    """Store files, and with ``recursive`` all those below folders, each by a call of its own.

    ``to`` is the folder for the files; a single folder becomes it. Two files never become one
    object, also where their names differ only in their Unicode normal form.
    """
    if any(params[name] for name in ("if_version", "idempotency_key")):
        raise FastioError("invalid", "--if-version and --idempotency-key are for a single file.")
    store_files = StoreFiles(cli.config)
    taken: dict[str, str] = {}

    def planned() -> Iterator[dict[str, object]]:
        for source in sources:
            if not (recursive and os.path.isdir(source)):
                yield {"path": _target(source, to), "source": source}
                continue
            root = to.strip("/") if len(sources) == 1 and to else _target(source, to)
            rules = IgnoreRules(source) if ignore else None
            for name in files_below(source, store_files, rules, cli.out.note):
                target = "/".join(filter(None, (root.strip("/"), *name.split(os.sep))))
                yield {"path": target, "source": os.path.join(source, name)}

    def put(names: dict[str, object]) -> object:
        source, path = str(names["source"]), unicodedata.normalize("NFC", str(names["path"]))
        if source == STDIN:
            raise _nameless()
        store_files.refuse(source)
        other = taken.setdefault(path, source)
        if other != source:
            twins = unicodedata.normalize("NFC", source) == unicodedata.normalize("NFC", other)
            why = "; the names differ only in their Unicode form" if twins else ""
            raise FastioError(
                "invalid",
                f"{source} would be stored at {path}, where {other} was{why}.",
                f"Name it yourself: {_command('file', 'put', source, path + '-2')}",
            )
        return names if dry_run else _put(cli, source, path, params)

    outcomes = Outcomes(cli.out, "to be stored" if dry_run else "stored")
    outcomes.each(planned(), put)
    columns = "path,source" if dry_run else "path,version,size_bytes,media_type"
    outcomes.finish(columns, "path")


def _nameless() -> FastioError:
    return FastioError("invalid", "Standard input has no name.", "Name it: fastio file put - PATH")


def _target(source: str, to: str) -> str:
    """The path for a file: ``to``, or its own name in the folder ``to``."""
    if to and not to.endswith("/"):
        return to
    name = os.path.basename(os.path.abspath(source))
    return to.lstrip("/") + name


def _put(cli: Session, source: str, path: str, params: dict[str, Any]) -> Any:
    content = _stored(cli, source)
    with _sending(cli, content):
        return cli.call("file.put", path=path, content=content, **params)


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


def _command(*words: str) -> str:
    import shlex

    return shlex.join(["fastio", *words])


def _hint_for_text(path: str, text: str) -> str:
    command = _command("file", "append", path, f"@{text}")
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
