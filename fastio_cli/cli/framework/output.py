"""What a command prints: records and documents on stdout, everything else on stderr.

At a terminal records are tables; piped they are one JSON document. Text that could control the
terminal is escaped before it is shown there.
"""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.selection import Selection
from fastio_cli.cli.framework.text import dumps, visible
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

    from fastio_cli.cli.framework import tables


class Output:
    """Prints in one format. ``format`` None chooses: table at a terminal, JSON otherwise."""

    def __init__(
        self,
        format: str | None,
        *,
        selection: Selection | None = None,
        quiet: bool = False,
    ) -> None:
        self.terminal = sys.stdout.isatty()
        self.format = format or ("table" if self.terminal else "json")
        self.quiet = quiet
        self.selection = selection or Selection(None, None)

    @property
    def is_whole(self) -> bool:
        """Whether results are printed as a person reads them: no part of them was asked for."""
        selection = self.selection
        return selection.paths is None and selection.expression is None and not self.quiet

    @property
    def is_row_by_row(self) -> bool:
        """Whether a list is printed a row at a time, however long it is."""
        return self.quiet or self.format in ("jsonl", "raw")

    def record(self, record: Any, *, essential: str | None = None) -> None:
        """Print one record; ``-q`` prints the value of its ``essential`` key alone."""
        if self.selection.expression is not None:
            self._answer(self.selection.of(record))
            return
        if self.selection.paths is None and (self.quiet or self.format == "raw"):
            if essential is not None and record.get(essential) is not None:
                self.line(_plain(record[essential]))
            elif self.format == "raw" and not self.quiet:
                self.document(record)
            return
        record = self.selection.of(record)
        if self.quiet or self.format == "raw":
            self.line("\t".join(map(_plain, record.values())))
        elif self.format in ("json", "jsonl"):
            self.document(record)
        else:
            self._tables().record(record)

    def value(self, record: Any, *, key: str = "value", essential: str | None = None) -> None:
        """Print the value of a record as a document; the record where parts of it are named.

        ``-q`` prints the ``essential`` key alone, where there is one.
        """
        if self.selection.paths is not None or (self.quiet and essential is not None):
            self.record(record, essential=essential)
        elif self.selection.expression is not None:
            self._answer(record[key])
        else:
            self.document(record[key])

    def page(
        self, page: Any, *, columns: str, essential: str, more: str | None = "--cursor"
    ) -> None:
        """Print a list; ``columns`` are the fields of a table, ``a,b.c``.

        ``more`` is the option for the next page, None where the list has no end.
        """
        items = page["items"]
        if not items:
            self.selection.check()
        if self.selection.expression is not None:
            self._answer({**page, "items": [self.selection.of(item) for item in items]})
            return
        if self.format == "json" and not self.quiet:
            self.document({**page, "items": [self.selection.of(item) for item in items]})
            return
        failed = page.get("failed", ()) if self.format == "jsonl" and not self.quiet else ()
        self._rows([*items, *failed], columns, essential)
        has_more = page["next_cursor"] is not None and page.get("has_more", True)
        if more is not None and has_more:
            # Also with -q: a list that ends in silence would be taken for the whole.
            print(f"More: repeat with {more} {visible(page['next_cursor'])}", file=sys.stderr)

    def _rows(self, items: list[Any], columns: str, essential: str) -> None:
        paths = self.selection.paths
        if paths is None and (self.quiet or self.format == "raw"):
            for item in items:
                self.line(_plain(item[essential]))
        elif self.quiet or self.format == "raw":
            for item in items:
                self.line("\t".join(map(_plain, self.selection.of(item).values())))
        elif self.format == "jsonl":
            for item in items:
                self.row(item)
        else:
            for item in items[:1]:
                self.selection.check(item)
            names = columns if paths is None else ",".join(".".join(path) for path in paths)
            self._tables().page(items, names, essential)

    def row(self, item: object) -> None:
        """Print one record of a stream on a line of its own, at once."""
        self.line(dumps(self.selection.query(self.selection.of(item))))
        sys.stdout.flush()

    def document(self, value: object) -> None:
        """Print a JSON value: indented at a terminal, compact otherwise."""
        if self.format == "raw" and isinstance(value, str):
            self.line(value)
        else:
            pretty = self.terminal and self.format != "jsonl"
            self.line(dumps(value, indent=2 if pretty else None))

    def line(self, text: str) -> None:
        """Print text unchanged, but escaped at a terminal."""
        if self.terminal:
            text = visible(text)
        sys.stdout.buffer.write(text.encode("utf-8", "surrogateescape") + b"\n")

    def chunk(self, text: str) -> None:
        """Print a chunk of a streamed answer, at once."""
        sys.stdout.buffer.write((visible(text) if self.terminal else text).encode())
        sys.stdout.flush()

    def note(self, text: str) -> None:
        """Print a note for the user on stderr."""
        if not self.quiet:
            print(visible(text), file=sys.stderr)

    def error(self, error: FastioError) -> None:
        """Print an error on stderr, after which the command goes on."""
        fail(error, self.format in ("json", "jsonl"), sys.stderr)

    def copy(self, chunks: Iterable[bytes]) -> None:
        """Write bytes to stdout; binary data for a terminal is refused."""
        stream = sys.stdout.buffer
        for chunk in chunks:
            stream.write(visible(_decode(chunk)).encode() if self.terminal else chunk)

    def _answer(self, value: object) -> None:
        """Print what the expression of ``--query`` makes of a result; text as it is with ``-q``."""
        answer = self.selection.query(value)
        if self.quiet or self.format == "raw":
            self.line(_plain(answer))
        else:
            self.document(answer)

    def _tables(self) -> tables.Csv | tables.Markdown | tables.Terminal:
        from fastio_cli.cli.framework import tables

        if self.format == "csv":
            return tables.Csv(self.line)
        if self.format == "markdown":
            return tables.Markdown(self.line)
        return tables.Terminal(self.note)


def fail(error: FastioError, as_json: bool, stream: TextIO) -> None:
    """Print an error: for users its message and hint, for programs the whole object."""
    if as_json:
        print(dumps({"error": error.as_dict()}), file=stream)
        return
    print(f"error: {visible(error.message)}", file=stream)
    if error.hint:
        print(f"  try: {visible(error.hint)}", file=stream)


def wants_json(flags: dict[str, object]) -> bool:
    """Whether errors are printed as JSON, before the settings are read."""
    from fastio_cli.config.settings import FORMATS

    format = "json" if flags.get("json") else flags.get("format")
    format = format or os.environ.get("FASTIO_FORMAT")
    if format in FORMATS:
        return format in ("json", "jsonl")
    return not sys.stdout.isatty()


def _plain(value: object) -> str:
    return value if isinstance(value, str) else dumps(value)


def _decode(chunk: bytes) -> str:
    if b"\0" in chunk:
        raise FastioError(
            "invalid",
            "The file is binary; it is not shown on a terminal.",
            "Write it to a file: fastio file get PATH -o FILE",
        )
    return chunk.decode("utf-8", "replace")
