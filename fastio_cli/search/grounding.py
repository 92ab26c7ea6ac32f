"""Citation grounding: each sentence of a model's answer is checked against the passages it got.

A sentence keeps those of its citations that name a passage. One without any gets the citation of
the passage that says the same, and is marked as ungrounded if none does. Nothing is released before
the first grounded sentence, and an answer without one is no answer.
"""

from __future__ import annotations

import re

from fastio_cli.search import analysis

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

NOT_FOUND = "Not found in the workspace."
NO_SOURCE = "[no source]"
COVERAGE_MIN = 0.6  # of a sentence's keywords, for a passage to be its source
SENTENCE_WORDS_MIN = 3  # fewer are no sentence: "Dr.", "Yes."
REPETITIONS_MAX = 3  # of sentences, until the model is taken to be in a loop

SENTENCE_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n+")
# As models write them: [1], [1][2], [1, 2], [1-3], 【1】.
_CITED = r"[\[【]\s*\d{1,3}(?:\s*[,;–-]\s*\d{1,3})*\s*[\]】]"
_CITATION = re.compile(rf"(\s*)({_CITED})")
_CITATION_AFTER_STOP = re.compile(rf"([.!?。！？])((?:\s*{_CITED})+)")
# A sentence has ended when the next one begins: a citation may follow the full stop.
_SENTENCE_ENDED = re.compile(
    rf"(?:[.!?](?:\s*{_CITED})*\s+|[。！？](?:\s*{_CITED})*\s*|\n+)(?=[^\s\[【])"
)
_RANGE = re.compile(r"(\d+)(?:\s*[–-]\s*(\d+))?")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


class CitationGrounder:
    """Grounds an answer while it is streamed; ``on_chunk`` gets each sentence once released."""

    def __init__(self, passages: list[str], on_chunk: Callable[[str], None] | None = None) -> None:
        self.cited: set[int] = set()
        self._passages = passages
        self._on_chunk = on_chunk
        self._buffer = ""  # the sentence that has not ended yet
        self._grounded: list[str] = []
        self._released = 0
        self._seen: set[str] = set()
        self._repetitions = 0

    def feed(self, chunk: str) -> bool:
        """Take the next chunk. False if the model only repeats itself."""
        self._buffer += chunk
        start = 0
        for end in [match.end() for match in _SENTENCE_ENDED.finditer(self._buffer)]:
            if _is_sentence(self._buffer[start:end]):
                self._add(self._buffer[start:end])
                start = end
        self._buffer = self._buffer[start:]
        return self._repetitions < REPETITIONS_MAX

    def finish(self) -> tuple[str, list[int], bool]:
        """The whole answer, the numbers of the passages it cites, and whether it is one."""
        self._add(self._buffer.rstrip())
        if not self.cited:
            return NOT_FOUND, [], False
        return "".join(self._grounded).strip(), sorted(self.cited), True

    def _add(self, text: str) -> None:
        """Ground a sentence, and release all that may be once there is a citation."""
        sentence = text.strip()
        if not sentence:
            return
        if sentence in self._seen:
            self._repetitions += 1
            return
        self._seen.add(sentence)
        space = text[len(text.rstrip()) :]
        self._grounded.append(self._ground(sentence) + space)
        if self.cited:
            for grounded in self._grounded[self._released :]:
                if self._on_chunk is not None:
                    self._on_chunk(grounded)
            self._released = len(self._grounded)

    def _ground(self, sentence: str) -> str:
        """A sentence with valid citations before its full stop, or marked as without source."""
        numbers: list[int] = []

        def keep_valid(match: re.Match[str]) -> str:
            valid = [n for n in _cited_numbers(match[2]) if 1 <= n <= len(self._passages)]
            numbers.extend(valid)
            return match[1] + "".join(f"[{n}]" for n in valid) if valid else ""

        sentence = _CITATION_AFTER_STOP.sub(lambda m: f" {m[2].strip()}{m[1]}", sentence)
        sentence = _CITATION.sub(keep_valid, sentence)
        if not numbers:
            if sentence == NOT_FOUND:
                return sentence
            source = self._find_source(sentence)
            if source is None:
                return f"{sentence} {NO_SOURCE}"
            body = sentence.rstrip(".!?。！？")
            sentence = f"{body} [{source}]{sentence[len(body) :]}"
            numbers = [source]
        self.cited.update(numbers)
        return sentence

    def _find_source(self, sentence: str) -> int | None:
        """The number of the passage that covers a sentence best and has all its figures."""
        keywords = analysis.keywords(sentence)
        figures = set(_NUMBER.findall(sentence))
        best, source = COVERAGE_MIN, None
        for number, passage in enumerate(self._passages, 1):
            covered = coverage(keywords, passage)
            if keywords and covered >= best and figures <= set(_NUMBER.findall(passage)):
                best, source = covered + 1e-9, number  # the first of equal ones
        return source


def _cited_numbers(citation: str) -> list[int]:
    """The numbers of a citation, with those of a range."""
    numbers: list[int] = []
    for first, last in _RANGE.findall(citation):
        numbers += range(int(first), int(last or first) + 1)
    return numbers


def coverage(keywords: list[str], text: str) -> float:
    """The share of keywords that a text has; their endings may differ."""
    text = text.lower()
    found = sum(word.replace(" ", "")[: max(4, len(word) - 3)] in text for word in keywords)
    return found / len(keywords) if keywords else 0.0


def _is_sentence(text: str) -> bool:
    """Whether a text says something by itself, and does not only introduce what follows."""
    if _CITATION.search(text):
        return True
    words = text.split()
    is_long_enough = len(words) >= SENTENCE_WORDS_MIN or not text.isascii()
    return not text.rstrip().endswith(":") and is_long_enough
