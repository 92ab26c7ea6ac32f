"""A changed object on its way into the index: its text divided into passages and analysed."""

from __future__ import annotations

import re
import time

from fastio_cli.errors import FastioError
from fastio_cli.search import analysis, extraction
from fastio_cli.search.chunking import NAME_CHARACTERS_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.search.chunking import Passage
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.search_rows import (
        AnalyzedPassage,
        ObjectRow,
        PassageRow,
        PassageText,
    )

    Analysis = tuple[list[AnalyzedPassage], str | None]
    # What does as ``analyze``, here or in another process.
    Analyze = Callable[[str, str, bytes, int], Analysis]

ADJACENT_CHARACTERS = 300  # of the passage before and after, which are context

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_IDENTIFIER = re.compile(r"\b(?=\w*[a-z0-9][A-Z])\w+")


class DocumentChange:
    """An object whose newest version is not in the index; ``head`` is None if it was deleted.

    ``indexed`` is what the index has of it, ``stored`` the passages of its older version. The
    first of those that are unchanged in the newest version stay, with their vectors: ``kept_ids``.
    """

    def __init__(
        self,
        path: str,
        head: Row | None,
        indexed: ObjectRow | None,
        data: bytes,
        stored: list[PassageRow] | None = None,
    ) -> None:
        self.path = path
        self.head = head
        self.indexed = indexed
        self.data = data
        self.kept_ids: list[int] = []
        self.passages: list[AnalyzedPassage] = []
        self.problem: str | None = None
        self._stored = stored or []
        self._is_analyzed = False

    def analyze(self, analyze: Analyze) -> None:
        """Divide the object into passages and analyse them: slow, so outside any transaction."""
        if self.head is None or self._is_analyzed:
            return
        kind, updated_at = self.head["kind"], self.head["updated_at"]
        try:
            self.passages, self.problem = analyze(self.path, kind, self.data, updated_at)
        except FastioError as e:
            if e.code != "too_large":  # of which another try makes nothing better
                raise
            self.problem = "It needs more time or memory to read than is allowed."
        self._is_analyzed = True
        self.data = b""
        for stored, passage in zip(self._stored, self.passages, strict=False):
            if _text_of(stored) != _text_of(passage):
                break
            self.kept_ids.append(stored["id"])
        self._stored = []


def analyze(path: str, kind: str, data: bytes, updated_at: int) -> Analysis:
    """The passages of an object, analysed, and what kept it from being read completely.

    ``updated_at`` is in milliseconds since 1970. It is pure, and what goes in and out can be
    pickled, so that a server has a process of its own do it (``SearchService.analyze``).
    """
    found, problem = extraction.passages(path, kind, data)
    date = time.strftime("%Y-%m-%d %d %B %Y", time.gmtime(updated_at / 1000))
    title = f"{_words_of_path(path)[-NAME_CHARACTERS_MAX:]} {date}"
    return [_analyze_passage(found, i, title) for i in range(len(found))], problem


def split_identifiers(text: str) -> str:
    """``getUserName`` as ``get User Name``, for every identifier of a text."""
    identifiers = dict.fromkeys(_IDENTIFIER.findall(text))
    return " ".join(_CAMEL.sub(" ", identifier) for identifier in identifiers)


def _analyze_passage(passages: list[Passage], i: int, title: str) -> AnalyzedPassage:
    """A passage with the term frequencies of its body and of its context.

    The context is what it is searched by beside its text: the words of the path and the date,
    the headings, the parts of identifiers, the text before and after.
    """
    passage = passages[i]
    before = passages[i - 1].text[-ADJACENT_CHARACTERS:] if i else ""
    after = passages[i + 1].text[:ADJACENT_CHARACTERS] if i + 1 < len(passages) else ""
    context = (
        title,
        passage.heading,
        _month_names(passage.heading),
        split_identifiers(passage.text),
        before,
        after,
    )
    body = _storable(passage.text)
    terms, token_count = analysis.analyze_document(body, " ".join(filter(None, context)))
    return {
        "line": passage.line,
        "end_line": passage.end_line,
        "page": passage.page,
        "pointer": passage.pointer,
        "heading": passage.heading,
        "body": body,
        "words": _storable(terms),
        "token_count": token_count,
    }


def _text_of(passage: PassageText) -> tuple[object, ...]:
    """What has to be the same for a stored passage to stay."""
    location = (passage["line"], passage["end_line"], passage["page"], passage["pointer"])
    return (*location, passage["heading"], passage["body"])


def _words_of_path(path: str) -> str:
    """The words of a path, and its dates with the names of their months."""
    words = _CAMEL.sub(" ", re.sub(r"[/._-]+", " ", path))
    return f"{words} {' '.join(analysis.iso_dates(path))} {_month_names(path)}"


def _month_names(text: str) -> str:
    """The names of the months of the dates in a path or a heading."""
    months = (int(date[4:6]) for date in analysis.iso_dates(text))
    return " ".join(time.strftime("%B", (2000, month, 1, 0, 0, 0, 0, 1, 0)) for month in months)


def _storable(text: str) -> str:
    """Text that every store can hold: without lone surrogates and NUL."""
    text = text.replace("\0", " ")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
