"""What of an object is searched: its passages, chosen by what it is.

Text, code, JSON and tables are read here. What needs a parser of a format that may be hostile is
left to ``sandbox.py``, which works in a process with limits.
"""

from __future__ import annotations

import csv
import io
import json

from fastio_cli.search import chunking as text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

DELIMITERS = ",;\t|"
_MARKDOWN = ("md", "markdown", "mdx", "rst")
_LINES = ("jsonl", "ndjson")


def passages(path: str, kind: str, data: bytes) -> tuple[list[text.Passage], str | None]:
    """The passages of an object, and what kept it from being read whole (None: nothing)."""
    suffix = _suffix(path, data)
    if kind == "file":
        from fastio_cli.search import sandbox as documents

        if documents.handles(suffix):
            return documents.passages(suffix, data)
    body = text.readable(data)
    if body is None:
        return [], "It is not text, nor a document whose format is known."
    problem = None
    if len(body) > text.CHARACTERS_MAX:
        body = body[: text.CHARACTERS_MAX]
        problem = f"Only the first {text.CHARACTERS_MAX // 2**20} MiB are searched."
    try:
        found, is_whole = _bounded(_by_format(suffix, kind, body))
    except RecursionError:  # JSON deeper than it can be walked is read as the text it is
        found, is_whole = _bounded(text.prose(body))
    if not is_whole:
        problem = f"Only the first {text.PASSAGES_MAX:,} passages are searched."
    return found, problem


def is_unsearchable(path: str, head: bytes) -> bool:
    """Whether an object that begins like this is neither text nor a known document."""
    from fastio_cli.search import sandbox as documents

    return text.is_binary(head) and not documents.handles(_suffix(path, head))


def _suffix(path: str, data: bytes) -> str:
    """The kind of an object by its name; one without a known name by how it begins."""
    name, dot, suffix = path.rpartition("/")[2].lower().rpartition(".")
    if dot and name:
        return suffix
    begin = data[:64].lstrip().lower()
    if begin.startswith(b"%pdf-"):
        return "pdf"
    return "html" if begin.startswith((b"<!doctype html", b"<html")) else ""


def _bounded(passages: Iterator[text.Passage]) -> tuple[list[text.Passage], bool]:
    """As many passages as an object may have, and whether they are all."""
    found: list[text.Passage] = []
    for passage in passages:
        if len(found) == text.PASSAGES_MAX:
            return found, False
        if passage.text.strip():
            found.append(passage)
    return found, True


def _by_format(suffix: str, kind: str, body: str) -> Iterator[text.Passage]:
    if kind == "state" or suffix == "json":
        try:
            return text.document(json.loads(body))
        except (ValueError, RecursionError):
            return text.prose(body)
    if suffix in _LINES:
        return text.records(_json_lines(body))
    if suffix in ("csv", "tsv"):
        return text.records(_rows(body))
    return text.prose(body, markdown=suffix in _MARKDOWN)


def _json_lines(body: str) -> Iterator[text.Record]:
    for number, line in enumerate(body.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = line
        yield number, number, value


def _rows(body: str) -> Iterator[text.Record]:
    """The rows of a table by the names in its first row; a cell may hold line breaks."""
    first = body[: body.find("\n") + 1] or body
    delimiter = max(DELIMITERS, key=first.count)
    reader = csv.reader(io.StringIO(body, newline=None), delimiter=delimiter)
    names: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader, None)
        except csv.Error:  # a field that is far too long; the rows after it are read
            continue
        if row is None:
            return
        if names is None:
            names = row
        elif row:
            yield line, reader.line_num, _fields(names, row)


def _fields(names: list[str], row: list[str]) -> dict[str, str]:
    """A row's values by their names; those without one by their column."""
    fields: dict[str, str] = {}
    for i, value in enumerate(row):
        name = names[i] if i < len(names) else ""
        fields[f"column {i + 1}" if name in fields or not name else name] = value
    return fields
