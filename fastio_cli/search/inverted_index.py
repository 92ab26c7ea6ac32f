"""The passages of a workspace by the words they hold, and how well they match a query's (BM25).

Passages just written are *loose*: each keeps the list of its words. As soon as there are enough,
they become a *block*: for every word the passages that have it. Nothing of a block changes later
but that passages die; of which less than half is left, a block is taken apart, and what lives is
loose again. So a write costs one row a passage, a query a few rows a word, and what was removed
leaves nothing behind.

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

from fastio_cli.search import analysis as words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    Blob = bytes | bytearray | memoryview
    # A word's places, by the number that its block's first passage has in the lexicon.
    Parts = list[tuple[int, Blob]]
    # By the id of the first passage: when it changed, ids, lengths.
    Blocks = dict[int, tuple[int, Blob, Blob]]

BLOCK_PASSAGES = 512  # more would keep writers waiting longer while a block is entered
LOOSE_MAX = 2**16  # what is written faster than it is put into blocks is found a little later
TOKENS_MAX = 2**16 - 1
SATURATION = 1.2  # k1: how soon a word that comes again and again counts no more
LENGTH_WEIGHT = 0.75  # b: how far a longer passage has to have a word more often
_PLACE = struct.Struct("<HBB")  # in the block; times in the body, in the context


def block_of(rows: list[Row], revision: int) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Loose passages as a block and its postings."""
    postings: dict[str, bytearray] = {}
    for place, row in enumerate(rows):
        for word, body, context in words.times(row["words"]):
            if (places := postings.get(word)) is None:
                places = postings[word] = bytearray()
            places += _PLACE.pack(place, body, context)
    block = {
        "first_id": rows[0]["id"],
        "last_id": rows[-1]["id"],
        "passage_count": len(rows),
        "alive_count": len(rows),
        "revision": revision,
        "ids": array("q", [row["id"] for row in rows]).tobytes(),
        "token_counts": array("H", [_length(row) for row in rows]).tobytes(),
    }
    return block, {word: bytes(places) for word, places in postings.items()}


def loose_of(block: Row, postings: list[Row]) -> list[tuple[int, int, str]]:
    """What lives of a block as loose passages: ids, lengths and words."""
    ids, lengths = array("q", block["ids"]), array("H", block["token_counts"])
    found: dict[int, list[str]] = {i: [] for i, length in enumerate(lengths) if length}
    for row in postings:
        for place, body, context in _PLACE.iter_unpack(row["places"]):
            if place in found:
                found[place].append(f"{row['word']}:{body}:{context}")
    return [(ids[i], lengths[i], f" {' '.join(parts)} ") for i, parts in found.items()]


def without(block: Row, gone: set[int], revision: int) -> tuple[dict[str, Any], dict[int, int]]:
    """A block after some passages died, and the lengths of those that did."""
    ids, lengths = array("q", block["ids"]), array("H", block["token_counts"])
    dead = {}
    for i, id in enumerate(ids):
        if id in gone and lengths[i]:
            dead[id] = lengths[i]
            lengths[i] = 0
    changed = dict(block)
    changed["alive_count"] -= len(dead)
    changed["token_counts"] = lengths.tobytes()
    changed["revision"] = revision
    return changed, dead


class Lexicon:
    """The lengths of all passages of a workspace, and the words of the loose ones, at one state.

    What did not change since ``before`` is not read again.
    """

    def __init__(self, tx: Tx, workspace_id: int, index: Row, before: Lexicon | None) -> None:
        self.revision: int = index["revision"]
        self.ids = array("q")
        self.lengths = array("H")
        self._count: int = index["passage_count"]
        self._mean_length = max(1.0, index["token_count"] / max(1, self._count))
        known = before._blocks if before is not None else {}
        self._blocks: Blocks = _blocks(tx, workspace_id, known)
        self._starts: dict[int, int] = {}  # the number of a block's first passage
        for first_id in sorted(self._blocks):
            _, ids, lengths = self._blocks[first_id]
            self._starts[first_id] = len(self.ids)
            self.ids.frombytes(ids)
            self.lengths.frombytes(lengths)
        loose = tx.search.loose(workspace_id, LOOSE_MAX)
        self._loose = "".join(row["words"] for row in loose)
        self._loose_ends = list(accumulate(len(row["words"]) for row in loose))
        self._loose_start = len(self.ids)
        self.ids.extend(row["id"] for row in loose)
        self.lengths.extend(_length(row) for row in loose)
        self._arrays: tuple[Any, Any, Any] | None = None

    def matches(
        self,
        tx: Tx,
        workspace_id: int,
        stems: list[str],
        context_weight: float,
        allowed: Sequence[int] | None,
        limit: int,
    ) -> tuple[list[int], list[float]]:
        """Ids and scores of the passages that match best, best first."""
        found: dict[str, Parts] = {}
        if self._starts:
            for row in tx.search.postings(workspace_id, list(self._starts), stems):
                part = (self._starts[row["first_id"]], row["places"])
                found.setdefault(row["word"], []).append(part)
        for word in stems:
            if places := self._loose_places(word):
                found.setdefault(word, []).append((self._loose_start, places))
        score = self._scored_by_arrays if has_numpy() else self._scored
        return score([found[word] for word in sorted(found)], context_weight, allowed, limit)

    def _loose_places(self, word: str) -> bytes:
        """One search through the words of all loose passages: a passage has a word once."""
        key, text = f" {word}:", self._loose
        places = bytearray()
        at = text.find(key)
        while at >= 0:
            place = bisect_right(self._loose_ends, at)
            at += len(key)
            body, _, context = text[at : text.index(" ", at)].partition(":")
            places += _PLACE.pack(place, int(body), int(context))
            at = text.find(key, at)
        return bytes(places)

    def _weight(self, passages: int) -> float:
        """How much a word says that so many passages have."""
        return math.log(1 + (self._count - passages + 0.5) / (passages + 0.5))

    def _scored(
        self, found: list[Parts], context_weight: float, allowed: Sequence[int] | None, limit: int
    ) -> tuple[list[int], list[float]]:
        scores: dict[int, float] = {}
        per_token = SATURATION * LENGTH_WEIGHT / self._mean_length
        for parts in found:
            hits = []
            for start, places in parts:
                for place, body, context in _PLACE.iter_unpack(places):
                    length = self.lengths[start + place]
                    times = body + context_weight * context
                    if length and times:
                        hits.append((start + place, times, length))
            weight = self._weight(len(hits)) * (SATURATION + 1)
            for at, times, length in hits:
                norm = SATURATION * (1 - LENGTH_WEIGHT) + per_token * length
                scores[at] = scores.get(at, 0.0) + weight * times / (times + norm)
        if allowed is not None:
            passes = set(allowed)
            scores = {at: score for at, score in scores.items() if self.ids[at] in passes}
        best = nlargest(limit, scores.items(), key=lambda item: (item[1], -self.ids[item[0]]))
        return [self.ids[at] for at, _ in best], [score for _, score in best]

    def _scored_by_arrays(
        self, found: list[Parts], context_weight: float, allowed: Sequence[int] | None, limit: int
    ) -> tuple[list[int], list[float]]:
        """The same with numpy, for many passages."""
        import numpy as np

        ids, lengths, norms = self._as_arrays()
        scores = np.zeros(len(ids))
        for parts in found:
            data = np.frombuffer(b"".join(places for _, places in parts), _PLACE_TYPE)
            counts = [len(places) // _PLACE.size for _, places in parts]
            at = data["place"] + np.repeat([start for start, _ in parts], counts)
            times = data["body"] + context_weight * data["context"]
            alive = (lengths[at] > 0) & (times > 0)
            at, times = at[alive], times[alive]
            weight = self._weight(len(at)) * (SATURATION + 1)
            scores[at] += weight * times / (times + norms[at])
        at = np.flatnonzero(scores)
        if allowed is not None:
            at = at[np.isin(ids[at], np.array(allowed, np.int64))]
        if len(at) > limit:
            at = at[np.argpartition(-scores[at], limit)[:limit]]
        at = at[np.lexsort((ids[at], -scores[at]))]
        return ids[at].tolist(), scores[at].tolist()

    def _as_arrays(self) -> tuple[Any, Any, Any]:
        import numpy as np

        if self._arrays is None:
            ids = np.array(self.ids, np.int64)
            lengths = np.array(self.lengths, np.uint16)
            per_token = SATURATION * LENGTH_WEIGHT / self._mean_length
            norms = SATURATION * (1 - LENGTH_WEIGHT) + per_token * lengths
            self._arrays = ids, lengths, norms
        return self._arrays


def has_numpy() -> bool:
    """Whether numpy is loaded: that takes longer than it saves a process that asks once."""
    return "numpy" in sys.modules


def _blocks(tx: Tx, workspace_id: int, known: Blocks) -> Blocks:
    """All blocks, those read that changed: when they changed, their ids and lengths."""
    current = {r["first_id"]: r["revision"] for r in tx.search.block_revisions(workspace_id)}
    blocks = {f: b for f, b in known.items() if current.get(f) == b[0]}
    stale = list(current.keys() - blocks.keys())
    for row in tx.search.blocks(workspace_id, stale) if stale else []:
        blocks[row["first_id"]] = (row["revision"], row["ids"], row["token_counts"])
    return blocks


_PLACE_TYPE = [("place", "<u2"), ("body", "u1"), ("context", "u1")]


def _length(row: Row) -> int:
    length: int = row["token_count"]
    return min(max(length, 1), TOKENS_MAX)
