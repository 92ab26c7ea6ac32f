"""The rows of the search index, as types. Imported by type checkers only."""

from __future__ import annotations

from typing import Literal, TypedDict


class IndexRow(TypedDict):
    """The index of a workspace: how far it has read the event log, and its totals."""

    enabled: int
    seq: int
    next_id: int
    embedded_id: int
    format: str
    model: str
    passage_count: int
    token_count: int
    revision: int
    counted_bytes: int


class ObjectRow(TypedDict):
    """An indexed object. ``complete`` is 0 while some of its passages are still to be added."""

    path: str
    version: int
    kind: Literal["state", "file"]
    updated_at: int
    passage_count: int
    complete: int
    problem: str | None


class PassageText(TypedDict):
    """The text of a passage and its location in the object."""

    line: int | None
    end_line: int | None
    page: int | None
    pointer: str | None
    heading: str
    body: str


class AnalyzedPassage(PassageText):
    """A passage to be added: ``words`` are its encoded term frequencies."""

    words: str
    token_count: int


class PassageRow(PassageText):
    """A stored passage."""

    id: int


class HitRow(PassageRow):
    """A passage with what is known of its object."""

    path: str
    version: int
    kind: Literal["state", "file"]
    updated_at: int


class MemtableRow(TypedDict):
    """A passage of the memtable: its encoded term frequencies and its length in terms."""

    id: int
    token_count: int
    words: str


class SegmentRow(TypedDict):
    """A segment: the ids and lengths of its passages, in order; a deleted one has length 0."""

    first_id: int
    last_id: int
    passage_count: int
    alive_count: int
    revision: int
    ids: bytes
    token_counts: bytes


class PostingsRow(TypedDict):
    """The posting list of a term in a segment."""

    first_id: int
    word: str
    places: bytes


class RevisionRow(TypedDict):
    """A segment of the inverted index or a block of vectors, and the state it is in."""

    first_id: int
    revision: int | str


class VectorBlockRow(TypedDict):
    """Vectors packed together: ids, scales (float32) and codes (int8), one after another."""

    first_id: int
    last_id: int
    revision: int | str
    ids: bytes
    scales: bytes
    codes: bytes


class CosineRow(TypedDict):
    """The cosine of a passage's vector with that of a query."""

    id: int
    cosine: float


class PassageBody(TypedDict):
    """A passage that has no vector yet."""

    id: int
    body: str


class ProblemRow(TypedDict):
    """An object that could not be indexed, or not completely."""

    path: str
    version: int
    problem: str
