"""Text extraction: the passages of an object, by its format.

Text, code, JSON and tables that are small are read here. What is large, or in a format that needs a
parser, which a hostile document may attack, is read by ``sandbox.py`` in a process with limits.
"""

from __future__ import annotations

import csv
import io

from fastio_cli.json_text import foreign
from fastio_cli.search import chunking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastio_cli.search.chunking import Passage, Record

IN_PLACE_BYTES_MAX = 128 * 1024
# What passages may repeat of a text, as a multiple of it, and of a small one.
REPEATED_MAX = 8
REPEATED_MIN = 1024 * 1024
DELIMITERS = ",;\t|"
_MARKDOWN = ("md", "markdown", "mdx", "rst")
_JSON_LINES = ("jsonl", "ndjson")


def passages(path: str, kind: str, data: bytes) -> tuple[list[Passage], str | None]:
    """The passages of an object, and what kept it from being read completely, if anything did."""
    from fastio_cli.search import sandbox

    suffix = _suffix(path, data)
    if kind == "file" and sandbox.handles(suffix):
        return sandbox.passages(suffix, data)
    if len(data) > IN_PLACE_BYTES_MAX and not chunking.is_binary(data):
        return sandbox.passages(suffix, data, kind)
    found: list[Passage] = []
    for passage in text_passages(suffix, kind, data):
        if isinstance(passage, str):
            return found, passage
        found.append(passage)
    return found, None


def text_passages(suffix: str, kind: str, data: bytes) -> Iterator[Passage | str]:
    """The passages of a text, then what kept it from being read completely, if anything did."""
    text = chunking.decode(data)
    if text is None:
        yield "It is not text, nor a document whose format is known."
        return
    problem = chunking.unread(text, data)
    if len(text) > chunking.CHARACTERS_MAX:
        text = text[: chunking.CHARACTERS_MAX]
        problem = f"Only the first {chunking.CHARACTERS_MAX // 2**20} MiB are searched."
    room = REPEATED_MIN + REPEATED_MAX * len(text)
    try:
        found = limit(_chunk(suffix, kind, text), room)
        if kind == "state" or suffix in ("json", *_JSON_LINES):
            found = iter(list(found))
        yield from found
    except RecursionError:  # JSON that is too deep is searched as text
        yield from limit(chunking.chunk_text(text), room)
    if problem is not None:
        yield problem


def limit(passages: Iterable[Passage], room: int) -> Iterator[Passage | str]:
    """As many passages as an object may have, then whether these are not all.

    ``room`` is for their characters: they repeat names and headings.
    """
    count = 0
    for passage in passages:
        if not passage.text.strip():
            continue
        room -= len(passage.text) + len(passage.heading)
        if count == chunking.PASSAGES_MAX or room < 0:
            yield f"Only the first {count:,} passages are searched."
            return
        count += 1
        yield passage


def is_unsearchable(path: str, head: bytes) -> bool:
    """Whether an object that begins like this is neither text nor a known document."""
    from fastio_cli.search import sandbox

    return chunking.is_binary(head) and not sandbox.handles(_suffix(path, head))


def _suffix(path: str, data: bytes) -> str:
    """The format of an object by the suffix of its name; without one, by its beginning."""
    name, dot, suffix = path.rpartition("/")[2].lower().rpartition(".")
    if dot and name:
        return suffix
    head = data[:64].lstrip().lower()
    if head.startswith(b"%pdf-"):
        return "pdf"
    return "html" if head.startswith((b"<!doctype html", b"<html")) else ""


def _chunk(suffix: str, kind: str, text: str) -> Iterator[Passage]:
    if kind == "state" or suffix == "json":
        try:
            return chunking.chunk_json(foreign(text))
        except ValueError:
            return chunking.chunk_text(text)
    if suffix in _JSON_LINES:
        return chunking.chunk_records(_json_lines(text))
    if suffix in ("csv", "tsv"):
        return chunking.chunk_records(_rows(text))
    return chunking.chunk_text(text, markdown=suffix in _MARKDOWN)


def _json_lines(text: str) -> Iterator[Record]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = foreign(line)
        except ValueError:
            value = line
        yield number, number, value


def _rows(text: str) -> Iterator[Record]:
    """The rows of a table, keyed by the names in its first row; a cell may have line breaks."""
    first_line = text[: text.find("\n") + 1] or text
    delimiter = max(DELIMITERS, key=first_line.count)
    reader = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter)
    names: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error:  # a field is too long; the rows after it are read
            continue
        if row is None:
            return
        if names is None:
            names = row
        elif row:
            yield line, reader.line_num, _fields(names, row)


def _fields(names: list[str], row: list[str]) -> dict[str, str]:
    """The values of a row by their names; those without one by the number of their column."""
    fields: dict[str, str] = {}
    for i, value in enumerate(row):
        name = names[i] if i < len(names) else ""
        fields[f"column {i + 1}" if name in fields or not name else name] = value
    return fields
