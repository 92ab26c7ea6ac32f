"""A model's answer held to the passages it was given, sentence by sentence, while it comes.

A sentence keeps the citations that name a passage. One without any is given that of the passage
which says what it says, and is marked where none does. Nothing is shown before the first sentence
that has a source, and an answer in which none has is no answer.
"""

from __future__ import annotations

import re

from fastio_cli.search import ranking as rank

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NOT_FOUND = "Not found in the workspace."
UNSOURCED = "[no source]"
SAID_MIN = 0.6  # of a sentence's telling words, for a passage to be its source
WORDS_MIN = 3  # fewer are no sentence: "Dr.", "Yes."
REPEATED_MAX = 3  # sentences said before, until a model is taken to go in circles

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
# As models write them: [1], [1][2], [1, 2], [1-3], 【1】.
_CITED = r"[\[【]\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*\s*[\]】]"
_CITATION = re.compile(rf"(\s*)({_CITED})")
_CITED_AFTER = re.compile(rf"([.!?。！？])((?:\s*{_CITED})+)")
# A sentence has ended when the next one begins: a citation may follow the full stop.
_ENDED = re.compile(rf"(?:[.!?](?:\s*{_CITED})*\s+|[。！？](?:\s*{_CITED})*\s*|\n+)(?=[^\s\[【])")
_FIGURES = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class Holder:
    """Takes an answer in pieces; ``on_chunk`` is called with each grounded sentence."""

    def __init__(self, passages: list[str], on_chunk: Callable[[str], None] | None = None) -> None:
        self.cited: set[int] = set()
        self._passages = passages
        self._on_chunk = on_chunk
        self._coming = ""  # what has not ended yet
        self._held: list[str] = []
        self._shown = 0
        self._said: set[str] = set()
        self._repeated = 0

    def feed(self, piece: str) -> bool:
        """Take the next piece; False when nothing new is to be expected."""
        self._coming += piece
        start = 0
        for end in [match.end() for match in _ENDED.finditer(self._coming)]:
            if _is_sentence(self._coming[start:end]):
                self._hold(self._coming[start:end])
                start = end
        self._coming = self._coming[start:]
        return self._repeated < REPEATED_MAX

    def finish(self) -> tuple[str, list[int], bool]:
        """The whole answer, the passages it cites, and whether it is one."""
        self._hold(self._coming.rstrip())
        if not self.cited:
            return NOT_FOUND, [], False
        return "".join(self._held).strip(), sorted(self.cited), True

    def _hold(self, text: str) -> None:
        sentence = text.strip()
        if not sentence:
            return
        if sentence in self._said:
            self._repeated += 1
            return
        self._said.add(sentence)
        space = text[len(text.rstrip()) :]
        self._held.append(self._sourced(sentence) + space)
        if self.cited:
            for held in self._held[self._shown :]:
                if self._on_chunk is not None:
                    self._on_chunk(held)
            self._shown = len(self._held)

    def _sourced(self, sentence: str) -> str:
        """A sentence with its citations before its full stop, or marked."""
        numbers: list[int] = []

        def kept(match: re.Match[str]) -> str:
            named = [n for n in _named(match[2]) if 1 <= n <= len(self._passages)]
            numbers.extend(named)
            return match[1] + "".join(f"[{n}]" for n in named) if named else ""

        sentence = _CITED_AFTER.sub(lambda m: f" {m[2].strip()}{m[1]}", sentence)
        sentence = _CITATION.sub(kept, sentence)
        if not numbers:
            if sentence == NOT_FOUND:
                return sentence
            numbers = self._sources(sentence)
            if not numbers:
                return f"{sentence} {UNSOURCED}"
            body = sentence.rstrip(".!?。！？")
            sentence = f"{body} [{numbers[0]}]{sentence[len(body) :]}"
        self.cited.update(numbers)
        return sentence

    def _sources(self, sentence: str) -> list[int]:
        """The number of the passage that says what a sentence says, if one does."""
        words = rank.terms(sentence)
        figures = set(_NUMBER.findall(sentence))
        best, number = SAID_MIN, 0
        for i, passage in enumerate(self._passages, 1):
            share = coverage(words, passage)
            if words and share >= best and figures <= set(_NUMBER.findall(passage)):
                best, number = share + 1e-9, i
        return [number] if number else []


def _named(citation: str) -> list[int]:
    """The numbers that a citation names, those of a range among them."""
    named: list[int] = []
    for first, last in _FIGURES.findall(citation):
        named += range(int(first), int(last or first) + 1)
    return named


def coverage(words: list[str], text: str) -> float:
    """The share of words that a text holds, by their beginnings."""
    text = text.lower()
    held = sum(word.replace(" ", "")[: max(4, len(word) - 3)] in text for word in words)
    return held / len(words) if words else 0.0


def _is_sentence(text: str) -> bool:
    """Whether a text says something by itself, and does not only lead to what follows."""
    if _CITATION.search(text):
        return True
    words = text.split()
    return not text.rstrip().endswith(":") and (len(words) >= WORDS_MIN or not text.isascii())
