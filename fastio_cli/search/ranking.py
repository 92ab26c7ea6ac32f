"""Which passages answer a query best: words by BM25, meaning by cosine, and the two as one.

Scores of different kinds are made comparable by standardising each over the passages that compete,
and are then added. Unlike the fusion of ranks, that keeps by how much a passage beats the next.
"""

from __future__ import annotations

from fastio_cli.search import analysis as words

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # Ids and scores, best first.
    Matches = tuple[list[int], list[float]]

CONTEXT_WEIGHT = 0.25
NEIGHBOUR_WEIGHT = 0.2
# BM25 has the longer tail: for one standard deviation each, its few high scores would decide alone.
SEMANTIC_WEIGHT = 1.5
TERMS_MAX = 64
CANDIDATES = 1000  # of each search
RANKED_MAX = 200  # of both together: twice as many as can be asked for

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
    found = list(dict.fromkeys(words.sought(query)))
    telling = [word for word in found if word not in STOP_WORDS]
    return (telling or found)[:TERMS_MAX]


def by_words(matches: Matches) -> list[Candidate]:
    """Candidates of a search by words alone."""
    found = []
    for id, score in zip(*matches, strict=True):
        candidate = Candidate(id, score, None)
        candidate.lexical = score
        found.append(candidate)
    return found


def fused(matches: Matches, ids: Any, cosines: Any) -> list[Candidate]:
    """Candidates of both searches, best first. ``ids`` are ascending, ``cosines`` one for each."""
    import numpy as np

    worded = np.array(matches[0], np.int64)
    names = np.union1d(worded, ids[nearest(cosines, CANDIDATES)])
    if not len(names):
        return []
    bm25, matched = np.zeros(len(names)), np.zeros(len(names), bool)
    places = np.searchsorted(names, worded)
    bm25[places], matched[places] = matches[1], True
    cosine, known = np.zeros(len(names)), np.zeros(len(names), bool)
    if len(ids):
        places = np.searchsorted(ids, names).clip(max=len(ids) - 1)
        known = ids[places] == names
        cosine[known] = cosines[places[known]]
    parts = (
        standardised(bm25, np.ones(len(names), bool)),
        SEMANTIC_WEIGHT * standardised(cosine, known),
    )
    neighbours = better_neighbours(names, parts[0] + parts[1])
    lexical_part, semantic_part = (p + NEIGHBOUR_WEIGHT * p[neighbours] for p in parts)
    order = np.argsort(-(lexical_part + semantic_part), kind="stable")[:RANKED_MAX]
    columns = (names, bm25, matched, cosine, known, lexical_part, semantic_part)
    found = []
    for row in zip(*(column[order].tolist() for column in columns), strict=True):
        id, score, is_matched, near, is_known, lexical, semantic = row
        candidate = Candidate(id, score if is_matched else None, near if is_known else None)
        candidate.lexical, candidate.semantic = lexical, semantic
        found.append(candidate)
    return found


def nearest(cosines: Any, count: int) -> Any:
    """The places of the highest of these, in no order."""
    import numpy as np

    if len(cosines) <= count:
        return np.arange(len(cosines))
    return np.argpartition(-cosines, count)[:count]


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


def standardised(scores: Any, known: Any) -> Any:
    """Scores by how many standard deviations they are from the mean; unknown ones are the mean."""
    import numpy as np

    z = np.zeros(len(scores))
    if known.any():
        values = scores[known]
        deviation = values.std()
        z[known] = (values - values.mean()) / (deviation if deviation > 0 else 1)
    return z
