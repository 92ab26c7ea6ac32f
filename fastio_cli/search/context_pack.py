"""A context pack: what a prompt needs to go on, within a number of tokens and never over it."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sized

    from fastio_cli.search.service import Found

CHARACTERS_PER_TOKEN_MAX = 16
ENCODING = "o200k_base"
MERGES = os.path.join(os.path.dirname(__file__), "o200k")


class Counter:
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


class Pack:
    """The text that fits, and which passages are in it."""

    def __init__(self, text: str, tokens: int, used: list[Found]) -> None:
        self.text = text
        self.tokens = tokens
        self.used = used


def pack(
    summary: tuple[str, str] | None, found: list[Found], budget: int, count: Callable[[str], int]
) -> Pack:
    """The summary (its title and text) first, then passages, best first, while they fit.

    A summary that is too long is cut at a line; a passage that does not fit is left out whole, and
    a shorter one may take its place. The whole text is counted, so that nothing is ever over.
    """
    text = ""
    used: list[Found] = []
    if summary is not None:
        text = _cut(f"# {summary[0]}\n{summary[1]}\n", budget, count)
    seen = {alike(summary[1])} if summary is not None else set()
    for f in found:
        body = f.text.strip()
        if alike(body) in seen:
            continue
        longer = f"{text}\n[{len(used) + 1}] {title(f)}\n{body}\n"
        if count(longer) <= budget:
            text = longer
            used.append(f)
            seen.add(alike(body))
    return Pack(text, count(text), used)


def alike(text: str) -> str:
    """What two copies of a text have in common, however they are laid out."""
    return " ".join(text.casefold().split())


def title(f: Found) -> str:
    """Where a passage is from, for people and models to read."""
    first, last = f.rows[0], f.rows[-1]
    place = f"{f.best['path']} (version {f.best['version']}"
    if first["page"] is not None:
        place += f", page {first['page']}"
    elif first["line"] is not None:
        end = last["end_line"] or last["line"]
        place += f", line{'s' if end > first['line'] else ''} {first['line']}"
        place += f"-{end}" if end > first["line"] else ""
    elif first["pointer"] and len(f.rows) == 1:
        place += f", at {first['pointer']}"
    return f"{place})"


def _cut(text: str, budget: int, count: Callable[[str], int]) -> str:
    text = text[: budget * CHARACTERS_PER_TOKEN_MAX]
    if count(text) <= budget:
        return text
    low, high = 0, len(text)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if count(text[:middle]) <= budget else (low, middle - 1)
    at_line = text.rfind("\n", 0, low)
    return text[: at_line + 1 if at_line > low // 2 else low]
