"""Hybrid ranking: lexical matches by BM25, semantic ones by cosine, fused to one order.

Scores of both kinds are standardised over the passages that compete (z-scores), and added. Unlike
reciprocal rank fusion, that keeps by how much a passage beats the next.
"""

from __future__ import annotations

import bisect

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fastio_cli.search.inverted_index import Matches

    Ids = NDArray[np.int64]
    Mask = NDArray[np.bool_]
    Cosines = NDArray[np.float32]
    Scores = NDArray[np.float64]

CONTEXT_WEIGHT = 0.25  # of a term in the context of a passage, against one in its body
ADJACENT_WEIGHT = 0.2
# BM25 has the longer tail: for one standard deviation each, its few high scores would decide alone.
SEMANTIC_WEIGHT = 1.5
CANDIDATES_MAX = 1000  # of each search
RANKED_MAX = 200  # of both together: twice as many as can be asked for


class Candidate:
    """A passage with its scores.

    ``bm25`` is None if it matches no term, ``cosine`` if it is not known. ``lexical`` and
    ``semantic`` are their parts in the score; without a cosine the latter is what is expected.
    """

    __slots__ = ("bm25", "cosine", "id", "lexical", "semantic")

    def __init__(
        self,
        id: int,
        bm25: float | None,
        cosine: float | None,
        lexical: float = 0.0,
        semantic: float = 0.0,
    ) -> None:
        self.id = id
        self.bm25 = bm25
        self.cosine = cosine
        self.lexical = lexical
        self.semantic = semantic

    @property
    def score(self) -> float:
        return self.lexical + self.semantic


def rank_lexical(matches: Matches) -> list[Candidate]:
    """The matches of a lexical search alone, best first."""
    return [Candidate(id, score, None, lexical=score) for id, score in zip(*matches, strict=True)]


def fuse(matches: Matches, vector_ids: Ids, cosines: Cosines) -> list[Candidate]:
    """The matches of both searches, best first.

    ``vector_ids`` are the ids, ascending, of the passages whose ``cosines`` are known. Passages
    that have a vector are fused as if there were no others; a match that still waits for its own
    gets the place among them that its words alone would give it (see ``place``). The meaning counts
    by the share of the matches whose vectors are known: the fewer, the less do they stand for all.
    """
    import numpy as np

    if not len(vector_ids):
        return rank_lexical(matches)
    matched_ids, scores = np.array(matches[0], np.int64), np.array(matches[1], np.float64)
    has_vector = np.isin(matched_ids, vector_ids)
    known = matched_ids[has_vector], scores[has_vector]
    weight = SEMANTIC_WEIGHT * (float(has_vector.mean()) if len(has_vector) else 1.0)
    candidates, lexical = _fuse_known(*known, vector_ids, cosines, weight)
    if not has_vector.all():
        waiting = matched_ids[~has_vector].tolist(), scores[~has_vector].tolist()
        candidates += _waiting(*waiting, candidates, lexical)
        candidates.sort(key=lambda candidate: -candidate.score)
    return candidates[:RANKED_MAX]


def _fuse_known(
    matched_ids: Ids, scores: Scores, vector_ids: Ids, cosines: Cosines, weight: float
) -> tuple[list[Candidate], list[float]]:
    """The candidates that have a vector, best first, and the BM25 of each, 0 without a match."""
    import numpy as np

    ids = np.union1d(matched_ids, vector_ids[top_indices(cosines, CANDIDATES_MAX)])
    bm25, is_match = _align(ids, matched_ids, scores)
    cosine = cosines[np.searchsorted(vector_ids, ids)]
    lexical = z_scores(bm25)
    semantic = weight * z_scores(cosine.astype(np.float64))
    adjacent = best_adjacent(ids, lexical + semantic)
    lexical = lexical + ADJACENT_WEIGHT * lexical[adjacent]
    semantic = semantic + ADJACENT_WEIGHT * semantic[adjacent]
    order = np.argsort(-(lexical + semantic), kind="stable")
    candidates = [
        Candidate(
            int(ids[i]),
            float(bm25[i]) if is_match[i] else None,
            float(cosine[i]),
            float(lexical[i]),
            float(semantic[i]),
        )
        for i in order.tolist()
    ]
    return candidates, bm25[order].tolist()


def _waiting(
    ids: list[int], scores: list[float], known: list[Candidate], bm25: list[float]
) -> list[Candidate]:
    """The candidates without a vector, placed among those that have one and their BM25."""
    mean, deviation = mean_and_deviation(bm25)
    fused = [candidate.score for candidate in known]
    placed = place([(s - mean) / deviation for s in scores],
                   [(s - mean) / deviation for s in bm25], fused)  # fmt: skip
    return [
        Candidate(id, score, None, (score - mean) / deviation, at - (score - mean) / deviation)
        for id, score, at in zip(ids, scores, placed, strict=True)
    ]


def place(
    waiting: Sequence[float], lexical: Sequence[float], fused: Sequence[float]
) -> list[float]:
    """What passages of which only the lexical score is known would score on the scale of ``fused``.

    The scale is matched by its quantiles, as scores of different searches are calibrated: what is
    between the second and the third of the known ones by words comes between the second and the
    third of them when fused. So the known ones share the places that words alone give them, in a
    better order, and take no more of them: vectors of some passages never make the ranking of all
    worse than none, as they would if what has no vector counted as average.
    """
    by_words, by_both = sorted(lexical), sorted(fused)
    placed = []
    for score in waiting:
        above = bisect.bisect_right(by_words, score)
        if above == 0:
            placed.append(by_both[0] - (by_words[0] - score))
        elif above == len(by_words):
            placed.append(by_both[-1] + (score - by_words[-1]))
        else:
            low, high = by_words[above - 1], by_words[above]
            share = (score - low) / (high - low)
            placed.append(by_both[above - 1] + share * (by_both[above] - by_both[above - 1]))
    return placed


def rescore_across(candidates: list[Candidate], term_counts: list[int]) -> None:
    """Score candidates of several indexes anew, so that their scores compare.

    A score says how far a passage leads in its own index. Cosines compare across indexes; BM25 does
    not, as it depends on how rare a term is in one. So the number of different terms that a passage
    matches comes first, and its BM25 only orders passages that match as many.
    """
    lexical = _standardize([n + _fraction(c) for c, n in zip(candidates, term_counts, strict=True)])
    for candidate, words in zip(candidates, lexical, strict=True):
        candidate.lexical, candidate.semantic = words, 0.0
    known = [candidate for candidate in candidates if candidate.cosine is not None]
    waiting = [candidate for candidate in candidates if candidate.cosine is None]
    weight = SEMANTIC_WEIGHT * len(known) / (len(candidates) or 1)
    semantic = _standardize([c.cosine for c in known if c.cosine is not None])
    for candidate, meaning in zip(known, semantic, strict=True):
        candidate.semantic = weight * meaning
    if known and waiting:
        placed = place(
            [c.lexical for c in waiting], [c.lexical for c in known], [c.score for c in known]
        )
        for candidate, score in zip(waiting, placed, strict=True):
            candidate.semantic = score - candidate.lexical


def _fraction(candidate: Candidate) -> float:
    """BM25 as a number below 1."""
    bm25 = candidate.bm25 or 0.0
    return bm25 / (1 + bm25)


def _standardize(scores: Sequence[float]) -> list[float]:
    """What :func:`z_scores` does for many, without numpy, which takes longer to load than this."""
    mean, deviation = mean_and_deviation(scores)
    return [(score - mean) / deviation for score in scores]


def mean_and_deviation(scores: Sequence[float]) -> tuple[float, float]:
    """The mean of scores and their standard deviation, 1 where they do not differ."""
    if not scores:
        return 0.0, 1.0
    mean = sum(scores) / len(scores)
    return mean, (sum((score - mean) ** 2 for score in scores) / len(scores)) ** 0.5 or 1.0


def top_indices(scores: Cosines, count: int) -> Ids:
    """The indices of the highest scores, in no order."""
    import numpy as np

    if len(scores) <= count:
        return np.arange(len(scores))
    return np.argpartition(-scores, count)[:count]


def best_adjacent(ids: Ids, scores: Scores) -> Ids:
    """For each passage the index of the better one of those adjacent to it, else its own.

    A passage gains if the one before or after it in its object is a good answer as well. For terms
    the index has that already, as context; this is the same for the meaning.
    """
    import numpy as np

    best = np.arange(len(ids))
    before = np.flatnonzero(np.diff(ids) == 1)
    after = before + 1
    best[before] = after
    is_better = (best[after] == after) | (scores[before] > scores[best[after]])
    best[after[is_better]] = before[is_better]
    return best


def z_scores(scores: Scores) -> Scores:
    """Scores in standard deviations from the mean."""
    deviation = scores.std()
    z: Scores = (scores - scores.mean()) / (deviation if deviation > 0 else 1)
    return z


def _align(ids: Ids, known_ids: Ids, values: Scores) -> tuple[Scores, Mask]:
    """Values of some of the ids, one for each id, and which of them are known."""
    import numpy as np

    aligned, known = np.zeros(len(ids)), np.zeros(len(ids), bool)
    indices = np.searchsorted(ids, known_ids)
    aligned[indices], known[indices] = values, True
    return aligned, known
