"""Text as the words that are looked for: lower case, without accents, English words as their stems.

Scripts without spaces have no words that could be told apart simply: there every character and
every pair of neighbours counts as one. A pictograph is a word, whatever its colour. All other
words, accents and stems are those of SQLite's full text (``porter unicode61 remove_diacritics 2``),
which the tests compare them with.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from itertools import pairwise

from fastio_cli.search.chunking import UNSPACED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

CHARACTERS_MAX = 64  # of a word: what is longer is an accident, and equal if it begins alike
TIMES_MAX = 255

_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")
# Pictographs without what varies them: their skin, their style, and what joins several.
_PICTURES = "\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_WORD_OR_PICTURE = re.compile(f"{_WORD.pattern}|[{_PICTURES}]")
_MAY_BE_PICTURE = re.compile("[\u2300-\U0001faff]")  # one range, which is found much faster
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")
_PART = re.compile(f"[{UNSPACED}][{UNSPACED}\u0300-\u036f]*|[^{UNSPACED}]+")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
# A day as ISO 8601 writes it: three numbers that are anywhere, and one word that is not.
_DAY = re.compile(r"(?<!\d)(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?!\d)")
_ACCENT = re.compile(r"[\u0300-\u036f]+")

# M. F. Porter, An algorithm for suffix stripping (1980): a stem's measure is how often a vowel is
# followed by a consonant in it; y is a vowel after a consonant.
_CONSONANT = "(?:[^aeiouy]|(?<![^aeiou])y|^y)"
_VOWEL = "(?:[aeiou]|(?<=[^aeiou])y)"
_MEASURED = re.compile(f"^{_CONSONANT}*{_VOWEL}+{_CONSONANT}")
_MEASURED_ONCE = re.compile(f"^{_CONSONANT}*{_VOWEL}+{_CONSONANT}+{_VOWEL}*$")
_MEASURED_TWICE = re.compile(f"^{_CONSONANT}*(?:{_VOWEL}+{_CONSONANT}+){{2}}")
_WITH_VOWEL = re.compile(f"^{_CONSONANT}*{_VOWEL}")
_DOUBLED = re.compile(r"([^aeioulsz])\1$")
_SHORT = re.compile(f"{_CONSONANT}{_VOWEL}[^aeiouwxy]$")
_SECOND = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize",
    "logi": "log", "bli": "ble", "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous",
    "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al", "iveness": "ive",
    "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_THIRD = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
_FOURTH = {
    "al": "", "ance": "", "ence": "", "er": "", "ic": "", "able": "", "ible": "", "ant": "",
    "ement": "", "ment": "", "ent": "", "ion": "", "ou": "", "ism": "", "ate": "", "iti": "",
    "ous": "", "ive": "", "ize": "",
}  # fmt: skip


def counted(body: str, context: str) -> tuple[str, int]:
    """The words of a passage as the index keeps them, and how many there are.

    Each stands as ``word:times in the body:times in the context``, between spaces.
    """
    times: dict[str, list[int]] = {}
    length = 0
    for place, text in enumerate((body, context)):
        for word in indexed(text):
            times.setdefault(word, [0, 0])[place] += 1
            length += 1
    parts = (f"{w}:{min(b, TIMES_MAX)}:{min(c, TIMES_MAX)}" for w, (b, c) in times.items())
    return f" {' '.join(parts)} ", length


def times(words: str) -> Iterator[tuple[str, int, int]]:
    """What :func:`counted` wrote."""
    for part in words.split():
        word, body, context = part.split(":")
        yield word, int(body), int(context)


def indexed(text: str) -> Iterator[str]:
    """Every word of a text by which it is found."""
    for word in _words(text):
        if word.isascii() or not (runs := _UNSPACED_RUN.findall(word)):
            yield stem(word)
            continue
        yield from map(stem, filter(None, _UNSPACED_RUN.split(word)))
        for run in runs:
            yield from run
            yield from _pairs(run)
    yield from days(text)


def days(text: str) -> Iterator[str]:
    """The days of a text that it names as ISO 8601 does, a word each: ``20261126``."""
    return map("".join, _DAY.findall(text))


def sought(text: str) -> Iterator[str]:
    """The words of a query, not yet stems; a run of characters without spaces as its pairs."""
    for word in _words(text):
        end = 0
        for run in _UNSPACED_RUN.finditer(word):
            if run.start() > end:
                yield word[end : run.start()]
            yield from _pairs(run[0]) if len(run[0]) > 1 else run[0]
            end = run.end()
        if end < len(word):
            yield word[end:]
    yield from days(text)


def places(text: str, stems: set[str]) -> list[list[int]]:
    """The ranges of a text that hold any of these stems, in order, none touching the next."""
    found: list[list[int]] = []
    for match in _pattern(text).finditer(text):
        if match[0].isascii():
            if stem(match[0].lower()) in stems:
                _extend(found, *match.span())
            continue
        for part in _PART.finditer(match[0]):
            start, piece = match.start() + part.start(), part[0]
            if not _UNSPACED_RUN.match(piece):
                if stem(plain(piece.lower())) in stems:
                    _extend(found, start, start + len(piece))
                continue
            letters = [i for i, c in enumerate(piece) if not _ACCENT.match(c)]
            for i, after in zip(letters, [*letters[1:], len(piece)], strict=True):
                if piece[i] + piece[after : after + 1] in stems:
                    _extend(found, start + i, start + min(after + 1, len(piece)))
                elif piece[i] in stems:
                    _extend(found, start + i, start + i + 1)
    return found


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of an English word; other words hardly change."""
    word = word[:CHARACTERS_MAX]
    if len(word) < 3:
        return word
    word = _first(word)
    if word.endswith("y") and _WITH_VOWEL.match(word[:-1]):
        word = word[:-1] + "i"
    word = _replaced(word, _SECOND, _MEASURED)
    word = _replaced(word, _THIRD, _MEASURED)
    word = _replaced(word, _FOURTH, _MEASURED_TWICE)
    if word.endswith("e"):
        rest = word[:-1]
        if _MEASURED_TWICE.match(rest) or (_MEASURED.match(rest) and not _SHORT.search(rest)):
            word = rest
    if word.endswith("ll") and _MEASURED_TWICE.match(word):
        word = word[:-1]
    return word


def plain(text: str) -> str:
    """A word without accents; in Cyrillic they make letters of their own."""
    if text.isascii() or _CYRILLIC.search(text):
        return text
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", text)))


def _words(text: str) -> Iterator[str]:
    text = text.lower()
    if text.isascii():
        yield from _WORD.findall(text)
        return
    for word in _pattern(text).findall(text):
        yield plain(word)


def _pattern(text: str) -> re.Pattern[str]:
    """What finds the words of a text: the slower one only where there may be pictographs."""
    return _WORD_OR_PICTURE if _MAY_BE_PICTURE.search(text) else _WORD


def _pairs(run: str) -> Iterator[str]:
    for first, second in pairwise(run):
        yield first + second


def _extend(found: list[list[int]], start: int, end: int) -> None:
    if found and start <= found[-1][1]:
        found[-1][1] = max(end, found[-1][1])
    else:
        found.append([start, end])


def _first(word: str) -> str:
    """Plurals, past and present participles."""
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _MEASURED.match(word[:-3]) else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and _WITH_VOWEL.match(rest):
            if rest.endswith(("at", "bl", "iz")):
                return rest + "e"
            if _DOUBLED.search(rest):
                return rest[:-1]
            return rest + "e" if _MEASURED_ONCE.match(rest) and _SHORT.search(rest) else rest
    return word


def _replaced(word: str, endings: dict[str, str], measured: re.Pattern[str]) -> str:
    """The word with the longest of these endings replaced if what is before it measures enough."""
    for size in range(7, 1, -1):
        ending = word[-size:]
        if ending in endings and len(word) >= size:
            rest = word[:-size]
            is_ion = ending != "ion" or rest.endswith(("s", "t"))
            return rest + endings[ending] if measured.match(rest) and is_ion else word
    return word
