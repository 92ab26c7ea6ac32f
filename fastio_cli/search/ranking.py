"""Hybrid ranking: lexical matches by BM25, semantic ones by cosine, fused to one order.

Scores of both kinds are standardised over the passages that compete (z-scores), and added. Unlike
reciprocal rank fusion, that keeps by how much a passage beats the next.
"""

from __future__ import annotations

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
    ``semantic`` are their parts in the score.
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

    ``vector_ids`` are the ids, ascending, of the passages whose ``cosines`` are known.
    """
    import numpy as np

    matched_ids = np.array(matches[0], np.int64)
    ids = np.union1d(matched_ids, vector_ids[top_indices(cosines, CANDIDATES_MAX)])
    if not len(ids):
        return []
    bm25, is_match = _align(ids, matched_ids, np.array(matches[1]))
    cosine, has_vector = _cosines_of(ids, vector_ids, cosines)
    lexical = z_scores(bm25, np.ones(len(ids), bool))
    semantic = SEMANTIC_WEIGHT * z_scores(cosine, has_vector)
    adjacent = best_adjacent(ids, lexical + semantic)
    lexical = lexical + ADJACENT_WEIGHT * lexical[adjacent]
    semantic = semantic + ADJACENT_WEIGHT * semantic[adjacent]
    order = np.argsort(-(lexical + semantic), kind="stable")[:RANKED_MAX]
    return [
        Candidate(
            int(ids[i]),
            float(bm25[i]) if is_match[i] else None,
            float(cosine[i]) if has_vector[i] else None,
            float(lexical[i]),
            float(semantic[i]),
        )
        for i in order.tolist()
    ]


def rescore_across(candidates: list[Candidate], term_counts: list[int]) -> None:
    """Score candidates of several indexes anew, so that their scores compare.

    A score says how far a passage leads in its own index. Cosines compare across indexes; BM25 does
    not, as it depends on how rare a term is in one. So the number of different terms that a passage
    matches comes first, and its BM25 only orders passages that match as many.
    """
    lexical = _standardize([n + _fraction(c) for c, n in zip(candidates, term_counts, strict=True)])
    semantic = _standardize([candidate.cosine for candidate in candidates])
    for i, candidate in enumerate(candidates):
        candidate.lexical = lexical[i]
        candidate.semantic = SEMANTIC_WEIGHT * semantic[i]


def _fraction(candidate: Candidate) -> float:
    """BM25 as a number below 1."""
    bm25 = candidate.bm25 or 0.0
    return bm25 / (1 + bm25)


def _standardize(scores: Sequence[float | None]) -> list[float]:
    """What :func:`z_scores` does for many, without numpy, which takes longer to load than this."""
    known = [score for score in scores if score is not None]
    if not known:
        return [0.0] * len(scores)
    mean = sum(known) / len(known)
    deviation = (sum((score - mean) ** 2 for score in known) / len(known)) ** 0.5 or 1.0
    return [0.0 if score is None else (score - mean) / deviation for score in scores]


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


def z_scores(scores: Scores, known: Mask) -> Scores:
    """Scores in standard deviations from the mean; unknown ones are the mean."""
    import numpy as np

    z = np.zeros(len(scores))
    if known.any():
        values = scores[known]
        deviation = values.std()
        z[known] = (values - values.mean()) / (deviation if deviation > 0 else 1)
    return z


def _align(ids: Ids, known_ids: Ids, values: Scores) -> tuple[Scores, Mask]:
    """Values of some of the ids, one for each id, and which of them are known."""
    import numpy as np

    aligned, known = np.zeros(len(ids)), np.zeros(len(ids), bool)
    indices = np.searchsorted(ids, known_ids)
    aligned[indices], known[indices] = values, True
    return aligned, known


def _cosines_of(ids: Ids, vector_ids: Ids, cosines: Cosines) -> tuple[Scores, Mask]:
    """The cosine of each id, and which of them are known."""
    import numpy as np

    aligned, known = np.zeros(len(ids)), np.zeros(len(ids), bool)
    if len(vector_ids):
        indices = np.searchsorted(vector_ids, ids).clip(max=len(vector_ids) - 1)
        known = vector_ids[indices] == ids
        aligned[known] = cosines[indices[known]]
    return aligned, known
