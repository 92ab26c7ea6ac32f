"""What of an object is searched: its passages, chosen by what it is.

Text, code, JSON and tables are read here. What needs a parser of a format that may be hostile is
left to ``documents.py``, which works in a process with limits.
"""

from __future__ import annotations

import csv
import json

from fastio_cli.intelligence import text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

PASSAGES_MAX = 50_000
_MARKDOWN = ("md", "markdown", "mdx", "rst")
_LINES = ("jsonl", "ndjson")


def passages(path: str, kind: str, data: bytes) -> tuple[list[text.Passage], str | None]:
    """The passages of an object, and what kept it from being read whole (None: nothing)."""
    problem = None
    suffix = path.rpartition("/")[2].lower().rpartition(".")[2]
    if kind == "file":
        from fastio_cli.intelligence import documents

        if documents.handles(suffix):
            return documents.passages(suffix, data)
    body = text.readable(data)
    if body is None:
        return [], "It is not text, nor a document whose format is known."
    if len(body) > text.CHARACTERS_MAX:
        body = body[: text.CHARACTERS_MAX]
        problem = f"Only the first {text.CHARACTERS_MAX // 2**20} MiB are searched."
    found: list[text.Passage] = []
    for passage in _by_format(suffix, kind, body):
        if len(found) == PASSAGES_MAX:
            return found, f"Only the first {PASSAGES_MAX:,} passages are searched."
        if passage.text.strip():
            found.append(passage)
    return found, problem


def _by_format(suffix: str, kind: str, body: str) -> Iterator[text.Passage]:
    if kind == "state" or suffix == "json":
        try:
            return text.document(json.loads(body))
        except (ValueError, RecursionError):
            return text.prose(body)
    if suffix in _LINES:
        return text.records(_json_lines(body))
    if suffix in ("csv", "tsv"):
        return text.records(_rows(body, "\t" if suffix == "tsv" else ","))
    return text.prose(body, markdown=suffix in _MARKDOWN)


def _json_lines(body: str) -> Iterator[tuple[int, Any]]:
    for number, line in enumerate(body.split("\n"), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = line
        yield number, value


def _rows(body: str, delimiter: str) -> Iterator[tuple[int, Any]]:
    """The rows of a table by the names in its first row."""
    reader = csv.reader(body.split("\n"), delimiter=delimiter)
    try:
        names = next(reader, [])
        for row in filter(None, reader):
            padded = [*names, *(f"column {i}" for i in range(len(names) + 1, len(row) + 1))]
            yield reader.line_num, dict(zip(padded, row, strict=False))
    except csv.Error:
        yield from enumerate(body.split("\n"), 1)
