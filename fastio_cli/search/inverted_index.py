"""The inverted index of a workspace's passages, searched by BM25.

It is a log-structured merge tree. Passages just written are in the *memtable*, each with its term
frequencies. As soon as there are enough of them, they are flushed to a *segment*, which has a
posting list for every term. A segment is immutable but for its deletions; one that lost more than
half of its passages is *sparse* and is compacted: the live ones return to the memtable. So a write
costs one row a passage, a query a few rows a term, and deleted passages leave nothing behind.

BM25 (Robertson and Zaragoza, The Probabilistic Relevance Framework, 2009) counts within the
workspace alone: nobody's scores depend on what others wrote.
"""

from __future__ import annotations

import math
import struct
import sys
from array import array
from bisect import bisect_right
from heapq import nlargest
from itertools import accumulate

from fastio_cli.search import analysis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    import numpy as np
    from numpy.typing import NDArray

    from fastio_cli.storage.search_rows import (
        IndexRow,
        MemtableRow,
        PostingsRow,
        RevisionRow,
        SegmentRow,
    )
    from fastio_cli.storage.tx import Tx

    # The posting lists of a term, each with the number of the first passage of its segment.
    PostingLists: TypeAlias = list[tuple[int, bytes]]
    # By first id: revision, ids and lengths of the passages.
    Segments: TypeAlias = dict[int, tuple[int | str, bytes, bytes]]
    # Ids and scores, best first.
    Matches: TypeAlias = tuple[list[int], list[float]]

SEGMENT_PASSAGES = 512  # more would keep writers waiting longer while a segment is flushed
MEMTABLE_PASSAGES_MAX = 2**16  # of those that a query reads: if more are written, they come later
PASSAGE_TERMS_MAX = 2**16 - 1
BM25_K1 = 1.2  # saturation: how soon further occurrences of a term count no more
BM25_B = 0.75  # normalisation: how much a passage's length counts
# The passage's number in its segment, the term's frequency in body and context.
_POSTING = struct.Struct("<HBB")
_POSTING_DTYPE = [("passage", "<u2"), ("body", "u1"), ("context", "u1")]


def build_segment(rows: list[MemtableRow]) -> tuple[SegmentRow, dict[str, bytes]]:
    """A segment of these passages, and its posting lists by term."""
    postings: dict[str, bytearray] = {}
    for number, row in enumerate(rows):
        for term, in_body, in_context in analysis.term_frequencies(row["words"]):
            if (posting_list := postings.get(term)) is None:
                posting_list = postings[term] = bytearray()
            posting_list += _POSTING.pack(number, in_body, in_context)
    segment: SegmentRow = {
        "first_id": rows[0]["id"],
        "last_id": rows[-1]["id"],
        "passage_count": len(rows),
        "alive_count": len(rows),
        "revision": 0,
        "ids": array("q", [row["id"] for row in rows]).tobytes(),
        "token_counts": array("H", [_length(row) for row in rows]).tobytes(),
    }
    return segment, {term: bytes(posting_list) for term, posting_list in postings.items()}


def live_passages(segment: SegmentRow, postings: list[PostingsRow]) -> list[MemtableRow]:
    """The passages of a segment that were not deleted, as they were in the memtable."""
    ids, lengths = array("q", segment["ids"]), array("H", segment["token_counts"])
    frequencies: dict[int, list[str]] = {i: [] for i, length in enumerate(lengths) if length}
    for row in postings:
        for number, in_body, in_context in _POSTING.iter_unpack(row["places"]):
            if number in frequencies:
                frequencies[number].append(f"{row['word']}:{in_body}:{in_context}")
    return [
        {"id": ids[number], "token_count": lengths[number], "words": f" {' '.join(encoded)} "}
        for number, encoded in frequencies.items()
    ]


def delete_passages(
    segment: SegmentRow, deleted: set[int], revision: int
) -> tuple[SegmentRow, dict[int, int]]:
    """A segment without these passages, and the lengths of those of them that it had."""
    ids, lengths = array("q", segment["ids"]), array("H", segment["token_counts"])
    lengths_deleted = {}
    for number, id in enumerate(ids):
        if id in deleted and lengths[number]:
            lengths_deleted[id] = lengths[number]
            lengths[number] = 0
    changed: SegmentRow = {
        **segment,
        "alive_count": segment["alive_count"] - len(lengths_deleted),
        "token_counts": lengths.tobytes(),
        "revision": revision,
    }
    return changed, lengths_deleted


class InvertedIndex:
    """A snapshot of a workspace's inverted index: all lengths and the memtable.

    Posting lists are read when they are searched. Segments that are unchanged since the snapshot
    ``previous`` are taken from it.
    """

    def __init__(
        self, tx: Tx, workspace_id: int, index: IndexRow, previous: InvertedIndex | None
    ) -> None:
        self.revision = index["revision"]
        self.ids = array("q")
        self._lengths = array("H")
        self._passage_count = index["passage_count"]
        self._mean_length = max(1.0, index["token_count"] / max(1, self._passage_count))
        cached = previous._segments if previous is not None else {}
        self._segments: Segments = _read_segments(tx, workspace_id, cached)
        self._segment_starts: dict[int, int] = {}  # by first id, the number of the first passage
        for first_id in sorted(self._segments):
            _, ids, lengths = self._segments[first_id]
            self._segment_starts[first_id] = len(self.ids)
            self.ids.frombytes(ids)
            self._lengths.frombytes(lengths)
        memtable = tx.search.memtable(workspace_id, MEMTABLE_PASSAGES_MAX)
        self._memtable = "".join(row["words"] for row in memtable)
        self._memtable_ends = list(accumulate(len(row["words"]) for row in memtable))
        self._memtable_start = len(self.ids)
        self.ids.extend(row["id"] for row in memtable)
        self._lengths.extend(_length(row) for row in memtable)
        self._arrays: tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float64]] | None = (
            None
        )

    def search(
        self,
        tx: Tx,
        workspace_id: int,
        terms: list[str],
        context_weight: float,
        allowed: Sequence[int] | None,
        limit: int,
    ) -> Matches:
        """Ids and scores of the passages that match best, best first.

        Of ``allowed`` passages only, unless that is None.
        """
        postings: dict[str, PostingLists] = {}
        if self._segment_starts:
            for row in tx.search.postings(workspace_id, list(self._segment_starts), terms):
                start = self._segment_starts[row["first_id"]]
                postings.setdefault(row["word"], []).append((start, row["places"]))
        for term in terms:
            if posting_list := self._memtable_postings(term):
                postings.setdefault(term, []).append((self._memtable_start, posting_list))
        score = self._score_with_numpy if is_numpy_loaded() else self._score
        return score([postings[term] for term in sorted(postings)], context_weight, allowed, limit)

    def _memtable_postings(self, term: str) -> bytes:
        """The posting list of a term in the memtable, which is searched as one string."""
        key, text = f" {term}:", self._memtable
        posting_list = bytearray()
        at = text.find(key)
        while at >= 0:
            number = bisect_right(self._memtable_ends, at)
            at += len(key)
            in_body, _, in_context = text[at : text.index(" ", at)].partition(":")
            posting_list += _POSTING.pack(number, int(in_body), int(in_context))
            at = text.find(key, at)
        return bytes(posting_list)

    def _idf(self, document_frequency: int) -> float:
        """The inverse document frequency of a term."""
        others = self._passage_count - document_frequency
        return math.log(1 + (others + 0.5) / (document_frequency + 0.5))

    def _score(
        self,
        postings: list[PostingLists],
        context_weight: float,
        allowed: Sequence[int] | None,
        limit: int,
    ) -> Matches:
        """The best matches by BM25: ``postings`` has the posting lists of each term."""
        scores: dict[int, float] = {}
        norm_per_term = BM25_K1 * BM25_B / self._mean_length
        for posting_lists in postings:
            hits = []
            for start, posting_list in posting_lists:
                for number, in_body, in_context in _POSTING.iter_unpack(posting_list):
                    length = self._lengths[start + number]
                    frequency = in_body + context_weight * in_context
                    if length and frequency:
                        hits.append((start + number, frequency, length))
            weight = self._idf(len(hits)) * (BM25_K1 + 1)
            for number, frequency, length in hits:
                norm = BM25_K1 * (1 - BM25_B) + norm_per_term * length
                scores[number] = scores.get(number, 0.0) + weight * frequency / (frequency + norm)
        if allowed is not None:
            passing = set(allowed)
            scores = {n: score for n, score in scores.items() if self.ids[n] in passing}
        best = nlargest(limit, scores.items(), key=lambda item: (item[1], -self.ids[item[0]]))
        return [self.ids[number] for number, _ in best], [score for _, score in best]

    def _score_with_numpy(
        self,
        postings: list[PostingLists],
        context_weight: float,
        allowed: Sequence[int] | None,
        limit: int,
    ) -> Matches:
        """The same as :meth:`_score`, faster for many passages."""
        import numpy as np

        ids, lengths, norms = self._as_arrays()
        scores = np.zeros(len(ids))
        for posting_lists in postings:
            joined = b"".join(posting_list for _, posting_list in posting_lists)
            data = np.frombuffer(joined, _POSTING_DTYPE)
            counts = [len(posting_list) // _POSTING.size for _, posting_list in posting_lists]
            numbers = data["passage"] + np.repeat([start for start, _ in posting_lists], counts)
            frequencies = data["body"] + context_weight * data["context"]
            is_live = (lengths[numbers] > 0) & (frequencies > 0)
            numbers, frequencies = numbers[is_live], frequencies[is_live]
            weight = self._idf(len(numbers)) * (BM25_K1 + 1)
            scores[numbers] += weight * frequencies / (frequencies + norms[numbers])
        numbers = np.flatnonzero(scores)
        if allowed is not None:
            numbers = numbers[np.isin(ids[numbers], np.array(allowed, np.int64))]
        if len(numbers) > limit:
            numbers = numbers[np.argpartition(-scores[numbers], limit)[:limit]]
        numbers = numbers[np.lexsort((ids[numbers], -scores[numbers]))]
        return ids[numbers].tolist(), scores[numbers].tolist()

    def _as_arrays(self) -> tuple[NDArray[np.int64], NDArray[np.uint16], NDArray[np.float64]]:
        """Ids, lengths, and the normalisation that BM25 derives from the lengths."""
        import numpy as np

        if self._arrays is None:
            ids = np.array(self.ids, np.int64)
            lengths = np.array(self._lengths, np.uint16)
            norm_per_term = BM25_K1 * BM25_B / self._mean_length
            norms = BM25_K1 * (1 - BM25_B) + norm_per_term * lengths.astype(np.float64)
            self._arrays = ids, lengths, norms
        return self._arrays


def is_numpy_loaded() -> bool:
    """Whether numpy is loaded: loading it takes longer than it saves a process that asks once."""
    return "numpy" in sys.modules


def _read_segments(tx: Tx, workspace_id: int, cached: Segments) -> Segments:
    """All segments; those that are cached at their current revision are not read."""
    current = revisions_of(tx.search.segment_revisions(workspace_id))
    segments = {f: segment for f, segment in cached.items() if current.get(f) == segment[0]}
    stale = list(current.keys() - segments.keys())
    for row in tx.search.segments(workspace_id, stale) if stale else []:
        segments[row["first_id"]] = (row["revision"], row["ids"], row["token_counts"])
    return segments


def revisions_of(rows: list[RevisionRow]) -> dict[int, int | str]:
    """Revisions by first id."""
    return {row["first_id"]: row["revision"] for row in rows}


def _length(row: MemtableRow) -> int:
    """The length of a passage, never 0: that marks a deleted one."""
    return min(max(row["token_count"], 1), PASSAGE_TERMS_MAX)
