"""What a search found."""

from __future__ import annotations

from fastio_cli.search import analysis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.search.ranking import Candidate
    from fastio_cli.storage.search_rows import HitRow

MERGE_SCORE_RATIO_MIN = 0.5  # of the better hit's score, for an adjacent passage to join it
MERGED_CHARACTERS_MAX = 2400


class SearchHit:
    """A passage, or several adjacent ones merged, with the candidate that scored best."""

    def __init__(self, row: HitRow, candidate: Candidate) -> None:
        self.rows = [row]
        self.best = row
        self.candidate = candidate

    def can_merge(self, other: SearchHit) -> bool:
        """Whether an adjacent hit scores well enough, and is short enough, to be one with this."""
        is_good = other.candidate.score >= MERGE_SCORE_RATIO_MIN * self.candidate.score
        is_short = len(self.text) + len(other.text) <= MERGED_CHARACTERS_MAX
        return is_good and is_short and other.best["page"] == self.best["page"]

    def merge(self, other: SearchHit) -> SearchHit:
        """The one of both that scored better, with the passages of both."""
        is_better = self.candidate.score >= other.candidate.score
        better, worse = (self, other) if is_better else (other, self)
        better.rows = sorted([*better.rows, *worse.rows], key=lambda row: row["id"])
        return better

    @property
    def text(self) -> str:
        return "\n".join(row["body"] for row in self.rows)

    def highlights(self, terms: set[str]) -> list[list[int]]:
        """The ranges of the text that match terms of a query."""
        return analysis.highlight_ranges(self.text, terms)

    def matched_terms(self, terms: set[str]) -> set[str]:
        """The different terms of what the text has of a query."""
        text = self.text
        matched = " ".join(text[start:end] for start, end in self.highlights(terms))
        return set(map(analysis.stem, analysis.query_tokens(matched)))
