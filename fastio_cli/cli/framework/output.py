"""What a command prints: records and documents on stdout, everything else on stderr.

At a terminal records are tables; piped they are one JSON document. Text that could control the
terminal is escaped before it is shown there.
"""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.text import dig, dumps, visible
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TextIO

    from fastio_cli.cli.framework import tables


class Output:
    """Prints in one format. ``format`` None chooses: table at a terminal, JSON otherwise."""

    def __init__(
        self, format: str | None, *, fields: str | None = None, quiet: bool = False
    ) -> None:
        self.terminal = sys.stdout.isatty()
        self.format = format or ("table" if self.terminal else "json")
        self.quiet = quiet
        self._fields = fields

    def record(self, record: Any, *, essential: str | None = None) -> None:
        """Print one record; ``-q`` prints the value of its ``essential`` key alone."""
        if self.quiet or self.format == "raw":
            if essential is not None and record.get(essential) is not None:
                self.line(_plain(record[essential]))
            elif self.format == "raw" and not self.quiet:
                self.document(record)
            return
        record = self._select(record)
        if self.format in ("json", "jsonl"):
            self.document(record)
        else:
            self._tables().record(record)

    def page(
        self, page: Any, *, columns: str, essential: str, more: str | None = "--cursor"
    ) -> None:
        """Print a list; ``columns`` are the fields of a table, ``a,b.c``.

        ``more`` is the option for the next page, None where the list has no end.
        """
        items = page["items"]
        if self.quiet or self.format == "raw":
            for item in items:
                self.line(_plain(item[essential]))
        elif self.format == "json":
            self.document({**page, "items": [self._select(item) for item in items]})
        elif self.format == "jsonl":
            for item in [*items, *page.get("failed", ())]:
                self.row(item)
        else:
            self._tables().page(items, self._fields or columns, essential)
            if more is not None and page["next_cursor"] is not None:
                self.note(f"More: repeat with {more} {page['next_cursor']}")

    def row(self, item: object) -> None:
        """Print one record of a stream on a line of its own, at once."""
        self.line(dumps(self._select(item)))
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

    def _select(self, record: object) -> object:
        if not self._fields or not isinstance(record, dict):
            return record
        from fastio_cli.cli.framework.values import fields

        return {".".join(path): dig(record, path) for path in fields(self._fields)}

    def _tables(self) -> tables.Markdown | tables.Terminal:
        from fastio_cli.cli.framework import tables

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
