"""Text extraction: the passages of an object, by its format.

Text, code, JSON and tables are read here. Formats that need a parser, which a hostile document may
attack, are read by ``sandbox.py`` in a process with limits.
"""

from __future__ import annotations

import csv
import io

from fastio_cli.json_text import foreign
from fastio_cli.search import chunking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.search.chunking import Passage, Record

DELIMITERS = ",;\t|"
_MARKDOWN = ("md", "markdown", "mdx", "rst")
_JSON_LINES = ("jsonl", "ndjson")


def passages(path: str, kind: str, data: bytes) -> tuple[list[Passage], str | None]:
    """The passages of an object, and what kept it from being read completely, if anything did."""
    suffix = _suffix(path, data)
    if kind == "file":
        from fastio_cli.search import sandbox

        if sandbox.handles(suffix):
            return sandbox.passages(suffix, data)
    text = chunking.decode(data)
    if text is None:
        return [], "It is not text, nor a document whose format is known."
    problem = chunking.unread(text, data)
    if len(text) > chunking.CHARACTERS_MAX:
        text = text[: chunking.CHARACTERS_MAX]
        problem = f"Only the first {chunking.CHARACTERS_MAX // 2**20} MiB are searched."
    try:
        found, is_all = _limit(_chunk(suffix, kind, text))
    except RecursionError:  # JSON that is too deep is searched as text
        found, is_all = _limit(chunking.chunk_text(text))
    if not is_all:
        problem = f"Only the first {chunking.PASSAGES_MAX:,} passages are searched."
    return found, problem


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


def _limit(passages: Iterator[Passage]) -> tuple[list[Passage], bool]:
    """As many passages as an object may have, and whether they are all."""
    found: list[Passage] = []
    for passage in passages:
        if len(found) == chunking.PASSAGES_MAX:
            return found, False
        if passage.text.strip():
            found.append(passage)
    return found, True


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
