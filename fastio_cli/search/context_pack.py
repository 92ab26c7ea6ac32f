"""A context pack: what a prompt needs to go on, within a token budget that is never exceeded."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from fastio_cli.search.hits import SearchHit

CHARACTERS_PER_TOKEN_MAX = 16
ENCODING = "o200k_base"
MERGES = os.path.join(os.path.dirname(__file__), "o200k")


class TokenCounter:
    """Counts the tokens that a text has at most, as current models count.

    The encoding merges pairs of bytes, those that are frequent first, and each merge makes one
    token less. Its first 32,768 merges are a sixth of its table and load ten times as fast. What
    they leave is never fewer tokens than the whole table would, and about a tenth more in English.
    Without the tokenizer bytes are counted, which are never fewer either.
    """

    def __init__(self) -> None:
        self._encode: Callable[[str], Sized]
        try:
            import quicktok

            self.name = ENCODING
            self._encode = quicktok.Tokenizer(ENCODING, MERGES).encode_ordinary
        except ImportError:
            self.name = "bytes"
            self._encode = str.encode

    def __call__(self, text: str) -> int:
        return len(self._encode(text))


class ContextPack:
    """The text that fits into the budget, and the hits that are in it."""

    def __init__(self, text: str, tokens: int, hits: list[SearchHit]) -> None:
        self.text = text
        self.tokens = tokens
        self.hits = hits


def pack(
    summary: tuple[str, str] | None,
    hits: list[SearchHit],
    budget: int,
    count_tokens: Callable[[str], int],
) -> ContextPack:
    """Pack the summary (its title and text), then the hits, best first, while they fit.

    A summary that is too long is cut at a line. A hit that does not fit is left out, and a shorter
    one may take its place. The tokens of the whole text are counted, so that it is never over.
    """
    text = ""
    packed: list[SearchHit] = []
    if summary is not None:
        text = _truncate(f"# {summary[0]}\n{summary[1]}\n", budget, count_tokens)
    seen = {normalize(summary[1])} if summary is not None else set()
    for hit in hits:
        body = hit.text.strip()
        if normalize(body) in seen:
            continue
        longer = f"{text}\n[{len(packed) + 1}] {title_of(hit)}\n{body}\n"
        if count_tokens(longer) <= budget:
            text = longer
            packed.append(hit)
            seen.add(normalize(body))
    return ContextPack(text, count_tokens(text), packed)


def normalize(text: str) -> str:
    """A text without differences of case and white space, to find duplicates."""
    return " ".join(text.casefold().split())


def title_of(hit: SearchHit) -> str:
    """The source of a hit, for people and models to read."""
    first, last = hit.rows[0], hit.rows[-1]
    title = f"{hit.best['path']} (version {hit.best['version']}"
    if first["page"] is not None:
        title += f", page {first['page']}"
    elif first["line"] is not None:
        title += _lines(first["line"], last["end_line"] or last["line"])
    elif first["pointer"] and len(hit.rows) == 1:
        title += f", at {first['pointer']}"
    return f"{title})"


def _lines(first: int, last: int | None) -> str:
    return f", lines {first}-{last}" if last is not None and last > first else f", line {first}"


def _truncate(text: str, budget: int, count_tokens: Callable[[str], int]) -> str:
    """The longest beginning of a text that fits, up to the end of a line if one is near."""
    text = text[: budget * CHARACTERS_PER_TOKEN_MAX]
    if count_tokens(text) <= budget:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        if count_tokens(text[:middle]) <= budget:
            low = middle
        else:
            high = middle - 1
    line_end = text.rfind("\n", 0, low)
    return text[: line_end + 1 if line_end > low // 2 else low]
