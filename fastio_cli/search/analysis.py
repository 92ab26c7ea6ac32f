"""Text analysis: documents and queries as the terms of the inverted index.

A term is a word in lower case, without accents, stemmed if it is English. Scripts written without
spaces are indexed by single characters and by bigrams. A pictograph is a term without its skin
colour and style. All other tokens, accents and stems are those of SQLite FTS5 (``porter unicode61
remove_diacritics 2``), which the tests compare them with.
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

TERM_CHARACTERS_MAX = 64  # longer words are cut: nobody searches for them
TERM_FREQUENCY_MAX = 255  # a posting stores a frequency in one byte
QUERY_TERMS_MAX = 64

_WORD = re.compile(r"[^\W_]+(?:[\u0300-\u036f]+[^\W_]*)*")
# Pictographs without their modifiers: skin tones, variation selectors, joiners.
_PICTOGRAPHS = "\u2300-\u23ff\u2600-\u27bf\u2b00-\u2bff\U0001f000-\U0001f3fa\U0001f400-\U0001faff"
_WORD_OR_PICTOGRAPH = re.compile(f"{_WORD.pattern}|[{_PICTOGRAPHS}]")
_MAYBE_PICTOGRAPH = re.compile("[\u2300-\U0001faff]")  # a single range is searched much faster
_UNSPACED_RUN = re.compile(f"[{UNSPACED}]+")
_CHARACTER_OR_WORD = re.compile(f"[{UNSPACED}][{UNSPACED}\u0300-\u036f]*|[^{UNSPACED}]+")
_CYRILLIC = re.compile("[\u0400-\u04ff]")
# An ISO 8601 date becomes one term: its three numbers alone are too common to tell it apart.
_ISO_DATE = re.compile(r"(?<!\d)(\d{4})-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])(?!\d)")
_ACCENT = re.compile(r"[\u0300-\u036f]+")

# M. F. Porter, An algorithm for suffix stripping (1980). The measure m of a stem is how many times
# a vowel is followed by a consonant in it; y is a vowel after a consonant.
_CONSONANT = "(?:[^aeiouy]|(?<![^aeiou])y|^y)"
_VOWEL = "(?:[aeiou]|(?<=[^aeiou])y)"
_M_OVER_0 = re.compile(f"^{_CONSONANT}*{_VOWEL}+{_CONSONANT}")
_M_IS_1 = re.compile(f"^{_CONSONANT}*{_VOWEL}+{_CONSONANT}+{_VOWEL}*$")
_M_OVER_1 = re.compile(f"^{_CONSONANT}*(?:{_VOWEL}+{_CONSONANT}+){{2}}")
_HAS_VOWEL = re.compile(f"^{_CONSONANT}*{_VOWEL}")
_DOUBLE_CONSONANT = re.compile(r"([^aeioulsz])\1$")
_CVC = re.compile(f"{_CONSONANT}{_VOWEL}[^aeiouwxy]$")
_STEP_2 = {
    "ational": "ate", "tional": "tion", "enci": "ence", "anci": "ance", "izer": "ize",
    "logi": "log", "bli": "ble", "alli": "al", "entli": "ent", "eli": "e", "ousli": "ous",
    "ization": "ize", "ation": "ate", "ator": "ate", "alism": "al", "iveness": "ive",
    "fulness": "ful", "ousness": "ous", "aliti": "al", "iviti": "ive", "biliti": "ble",
}  # fmt: skip
_STEP_3 = {
    "icate": "ic", "ative": "", "alize": "al", "iciti": "ic", "ical": "ic", "ful": "", "ness": "",
}  # fmt: skip
_STEP_4 = {
    "al": "", "ance": "", "ence": "", "er": "", "ic": "", "able": "", "ible": "", "ant": "",
    "ement": "", "ment": "", "ent": "", "ion": "", "ou": "", "ism": "", "ate": "", "iti": "",
    "ous": "", "ive": "", "ize": "",
}  # fmt: skip


# Words that say nothing about what is searched for (the closed classes of English).
STOP_WORDS = frozenset(
    [
        "a", "about", "above", "after", "again", "all", "also", "am", "an", "and", "any", "are",
        "as", "at", "be", "been", "before", "being", "below", "between", "both", "but", "by", "can",
        "could", "d", "did", "do", "does", "doing", "don", "down", "during", "each", "few", "for",
        "from", "further", "had", "has", "have", "having", "he", "her", "here", "hers", "him",
        "his", "how", "i", "if", "in", "into", "is", "it", "its", "itself", "just", "ll", "me",
        "might", "more", "most", "must", "my", "no", "nor", "not", "now", "of", "off", "on", "once",
        "only", "or", "other", "our", "out", "over", "own", "re", "s", "same", "shall", "she",
        "should", "so", "some", "such", "t", "than", "that", "the", "their", "them", "then",
        "there", "these", "they", "this", "those", "through", "to", "too", "under", "until", "up",
        "us", "ve", "very", "was", "we", "were", "what", "when", "where", "which", "while", "who",
        "whom", "whose", "why", "will", "with", "would", "you", "your", "yours",
    ]
)  # fmt: skip


def analyze_document(body: str, context: str) -> tuple[str, int]:
    """The term frequencies of a passage, encoded as the index stores them, and its length in terms.

    Every distinct term is written as ``term:frequency in body:frequency in context``, with a space
    before and after it. :func:`term_frequencies` decodes them.
    """
    frequencies: dict[str, list[int]] = {}
    length = 0
    for field, text in enumerate((body, context)):
        for term in index_terms(text):
            frequencies.setdefault(term, [0, 0])[field] += 1
            length += 1
    encoded = (
        f"{term}:{min(in_body, TERM_FREQUENCY_MAX)}:{min(in_context, TERM_FREQUENCY_MAX)}"
        for term, (in_body, in_context) in frequencies.items()
    )
    return f" {' '.join(encoded)} ", length


def term_frequencies(encoded: str) -> Iterator[tuple[str, int, int]]:
    """Decode terms with their frequencies in body and context."""
    for part in encoded.split():
        term, in_body, in_context = part.split(":")
        yield term, int(in_body), int(in_context)


def analyze_query(query: str) -> list[str]:
    """The terms to look up in the index, each once."""
    return list(dict.fromkeys(map(stem, keywords(query))))


def keywords(query: str) -> list[str]:
    """The words of a query, unstemmed, without stop words unless there is nothing else."""
    tokens = list(dict.fromkeys(query_tokens(query)))
    without_stop_words = [token for token in tokens if token not in STOP_WORDS]
    return (without_stop_words or tokens)[:QUERY_TERMS_MAX]


def index_terms(text: str) -> Iterator[str]:
    """Every term of a document's text, as often as it occurs."""
    for word in _tokenize(text):
        if word.isascii() or not (runs := _UNSPACED_RUN.findall(word)):
            yield stem(word)
            continue
        yield from map(stem, filter(None, _UNSPACED_RUN.split(word)))
        for run in runs:
            yield from run
            yield from _bigrams(run)
    yield from iso_dates(text)


def query_tokens(text: str) -> Iterator[str]:
    """The tokens of a query, unstemmed; a run of characters without spaces as its bigrams."""
    for word in _tokenize(text):
        end = 0
        for run in _UNSPACED_RUN.finditer(word):
            if run.start() > end:
                yield word[end : run.start()]
            yield from _bigrams(run[0]) if len(run[0]) > 1 else run[0]
            end = run.end()
        if end < len(word):
            yield word[end:]
    yield from iso_dates(text)


def iso_dates(text: str) -> Iterator[str]:
    """The ISO 8601 dates of a text, each as one token: ``20261126``."""
    return map("".join, _ISO_DATE.findall(text))


def highlight_ranges(text: str, terms: set[str]) -> list[list[int]]:
    """The ranges of a text that match any of these terms, in order; no two of them touch."""
    ranges: list[list[int]] = []
    for word in _pattern(text).finditer(text):
        if word[0].isascii():
            if stem(word[0].lower()) in terms:
                _add_range(ranges, *word.span())
            continue
        for part in _CHARACTER_OR_WORD.finditer(word[0]):
            start, piece = word.start() + part.start(), part[0]
            if _UNSPACED_RUN.match(piece):
                _highlight_unspaced(ranges, piece, start, terms)
            elif stem(strip_accents(piece.lower())) in terms:
                _add_range(ranges, start, start + len(piece))
    return ranges


def _highlight_unspaced(ranges: list[list[int]], run: str, start: int, terms: set[str]) -> None:
    """Add the ranges of the bigrams and characters of a run that match."""
    letters = [i for i, character in enumerate(run) if not _ACCENT.match(character)]
    for i, after in zip(letters, [*letters[1:], len(run)], strict=True):
        if run[i] + run[after : after + 1] in terms:
            _add_range(ranges, start + i, start + min(after + 1, len(run)))
        elif run[i] in terms:
            _add_range(ranges, start + i, start + i + 1)


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """The stem of an English word; other words hardly change."""
    word = word[:TERM_CHARACTERS_MAX]
    if len(word) < 3:
        return word
    word = _step_1(word)
    if word.endswith("y") and _HAS_VOWEL.match(word[:-1]):
        word = word[:-1] + "i"
    word = _replace_suffix(word, _STEP_2, _M_OVER_0)
    word = _replace_suffix(word, _STEP_3, _M_OVER_0)
    word = _replace_suffix(word, _STEP_4, _M_OVER_1)
    if word.endswith("e"):
        rest = word[:-1]
        if _M_OVER_1.match(rest) or (_M_OVER_0.match(rest) and not _CVC.search(rest)):
            word = rest
    if word.endswith("ll") and _M_OVER_1.match(word):
        word = word[:-1]
    return word


def strip_accents(text: str) -> str:
    """A word without accents. Cyrillic keeps them: there they make letters of their own."""
    if text.isascii() or _CYRILLIC.search(text):
        return text
    return unicodedata.normalize("NFC", _ACCENT.sub("", unicodedata.normalize("NFD", text)))


def _tokenize(text: str) -> Iterator[str]:
    """The words and pictographs of a text, in lower case and without accents."""
    text = text.lower()
    if text.isascii():
        yield from _WORD.findall(text)
        return
    for word in _pattern(text).findall(text):
        yield strip_accents(word)


def _pattern(text: str) -> re.Pattern[str]:
    """The pattern of a text's tokens: the slower one only where there may be pictographs."""
    return _WORD_OR_PICTOGRAPH if _MAYBE_PICTOGRAPH.search(text) else _WORD


def _bigrams(run: str) -> Iterator[str]:
    for first, second in pairwise(run):
        yield first + second


def _add_range(ranges: list[list[int]], start: int, end: int) -> None:
    """Add a range, or extend the last one if they touch."""
    if ranges and start <= ranges[-1][1]:
        ranges[-1][1] = max(end, ranges[-1][1])
    else:
        ranges.append([start, end])


def _step_1(word: str) -> str:
    """Plurals, past and present participles."""
    if word.endswith(("sses", "ies")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith("ss"):
        word = word[:-1]
    if word.endswith("eed"):
        return word[:-1] if _M_OVER_0.match(word[:-3]) else word
    for ending in ("ed", "ing"):
        rest = word.removesuffix(ending)
        if rest != word and _HAS_VOWEL.match(rest):
            if rest.endswith(("at", "bl", "iz")):
                return rest + "e"
            if _DOUBLE_CONSONANT.search(rest):
                return rest[:-1]
            return rest + "e" if _M_IS_1.match(rest) and _CVC.search(rest) else rest
    return word


def _replace_suffix(word: str, replacements: dict[str, str], measure: re.Pattern[str]) -> str:
    """Replace the longest of these suffixes if the stem before it has the measure."""
    for size in range(7, 1, -1):
        suffix = word[-size:]
        if suffix in replacements and len(word) >= size:
            rest = word[:-size]
            is_removable = suffix != "ion" or rest.endswith(("s", "t"))
            return rest + replacements[suffix] if measure.match(rest) and is_removable else word
    return word
