"""Which passages answer a query best: words by BM25, meaning by cosine, and the two as one.

Scores of different kinds are made comparable by standardising each over the passages that compete,
and are then added. Unlike the fusion of ranks, that keeps by how much a passage beats the next.
"""

from __future__ import annotations

import re
from itertools import pairwise

from fastio_cli.intelligence.text import UNSPACED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONTEXT_WEIGHT = 0.25
NEIGHBOUR_WEIGHT = 0.2
# BM25 has the longer tail: for one standard deviation each, its few high scores would decide alone.
SEMANTIC_WEIGHT = 1.5
TERMS_MAX = 64
CANDIDATES = 1000

# Words that say nothing about what is looked for (the closed classes of English).
STOP_WORDS = frozenset(
    [
        "a",
        "about",
        "above",
        "after",
        "again",
        "all",
        "also",
        "am",
        "an",
        "and",
        "any",
        "are",
        "as",
        "at",
        "be",
        "been",
        "before",
        "being",
        "below",
        "between",
        "both",
        "but",
        "by",
        "can",
        "could",
        "d",
        "did",
        "do",
        "does",
        "doing",
        "don",
        "down",
        "during",
        "each",
        "few",
        "for",
        "from",
        "further",
        "had",
        "has",
        "have",
        "having",
        "he",
        "her",
        "here",
        "hers",
        "him",
        "his",
        "how",
        "i",
        "if",
        "in",
        "into",
        "is",
        "it",
        "its",
        "itself",
        "just",
        "ll",
        "me",
        "might",
        "more",
        "most",
        "must",
        "my",
        "no",
        "nor",
        "not",
        "now",
        "of",
        "off",
        "on",
        "once",
        "only",
        "or",
        "other",
        "our",
        "out",
        "over",
        "own",
        "re",
        "s",
        "same",
        "shall",
        "she",
        "should",
        "so",
        "some",
        "such",
        "t",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "these",
        "they",
        "this",
        "those",
        "through",
        "to",
        "too",
        "under",
        "until",
        "up",
        "us",
        "ve",
        "very",
        "was",
        "we",
        "were",
        "what",
        "when",
        "where",
        "which",
        "while",
        "who",
        "whom",
        "whose",
        "why",
        "will",
        "with",
        "would",
        "you",
        "your",
        "yours",
    ]
)
_WORD = re.compile(r"[^\W_]+")
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")


class Candidate:
    """A passage with its scores; None where a score is not known."""

    __slots__ = ("bm25", "cosine", "id", "lexical", "semantic")

    def __init__(self, id: int, bm25: float | None, cosine: float | None) -> None:
        self.id = id
        self.bm25 = bm25
        self.cosine = cosine
        self.lexical = 0.0
        self.semantic = 0.0

    @property
    def score(self) -> float:
        return self.lexical + self.semantic


def terms(query: str) -> list[str]:
    """The words of a query that are looked for; all of them if all are stop words."""
    words = list(dict.fromkeys(_words(query)))
    telling = [word for word in words if word not in STOP_WORDS]
    return (telling or words)[:TERMS_MAX]


def expression(words: list[str]) -> str:
    """An FTS5 expression for any of the words; pairs of ideographs are phrases."""
    return " OR ".join(f'"{word}"' for word in words)


def by_words(rows: list[Any]) -> list[Candidate]:
    """Candidates of a search by words alone."""
    found = []
    for row in rows:
        candidate = Candidate(row["id"], row["score"], None)
        candidate.lexical = row["score"]
        found.append(candidate)
    return found


def fused(rows: list[Any], ids: Any, cosines: Any, *, lexical: bool = True) -> list[Candidate]:
    """Candidates of both searches, best first. ``ids`` are ascending, ``cosines`` one for each."""
    import numpy as np

    words = {row["id"]: row["score"] for row in rows} if lexical else {}
    nearest = ids[np.argsort(-cosines, kind="stable")[:CANDIDATES]].tolist()
    names = np.array(sorted({*words, *nearest}), np.int64)
    if not len(names):
        return []
    bm25 = np.array([words.get(id, 0.0) for id in names.tolist()])
    places = np.searchsorted(ids, names)
    places = np.minimum(places, max(len(ids) - 1, 0))
    known = ids[places] == names if len(ids) else np.zeros(len(names), bool)
    cosine = np.where(known, cosines[places] if len(ids) else 0.0, np.nan)
    parts = (
        standardised(bm25) if words else np.zeros(len(names)),
        SEMANTIC_WEIGHT * standardised(cosine),
    )
    neighbours = better_neighbours(names, parts[0] + parts[1])
    lexical_part, semantic_part = (p + NEIGHBOUR_WEIGHT * p[neighbours] for p in parts)
    order = np.argsort(-(lexical_part + semantic_part), kind="stable")
    found = []
    for i in order.tolist():
        id = int(names[i])
        candidate = Candidate(id, words.get(id), float(cosine[i]) if known[i] else None)
        candidate.lexical = float(lexical_part[i])
        candidate.semantic = float(semantic_part[i])
        found.append(candidate)
    return found


def better_neighbours(ids: Any, scores: Any) -> Any:
    """For each passage the place of the better one of those beside it, its own if it has none.

    A passage gains when what stands beside it in its object answers as well. Its surroundings are
    in the words already, as context; this is the same for the meaning.
    """
    import numpy as np

    places = np.arange(len(ids))
    adjacent = np.flatnonzero(np.diff(ids) == 1)
    best = places.copy()
    best[adjacent] = adjacent + 1
    after = adjacent + 1
    is_better = (best[after] == after) | (scores[after - 1] > scores[best[after]])
    best[after[is_better]] = after[is_better] - 1
    return best


def standardised(scores: Any) -> Any:
    """Scores by how many standard deviations they are from the mean; unknown ones are the mean."""
    import numpy as np

    if np.isnan(scores).all():
        return np.zeros(len(scores))
    deviation = np.nanstd(scores)
    z = (scores - np.nanmean(scores)) / (deviation if deviation > 0 else 1)
    return np.nan_to_num(z)


def _words(query: str) -> Iterator[str]:
    for word in _WORD.findall(query.lower()):
        end = 0
        for run in _UNSPACED_RUN.finditer(word):
            if run.start() > end:
                yield word[end : run.start()]
            yield from _pairs(run[0])
            end = run.end()
        if end < len(word):
            yield word[end:]


def _pairs(run: str) -> Iterator[str]:
    """Characters of a script without spaces, two and two, as phrases."""
    if len(run) == 1:
        yield run
    for first, second in pairwise(run):
        yield f"{first} {second}"
