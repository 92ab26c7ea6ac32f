"""The tokenizer of the BERT family: words, then WordPiece (Devlin et al., 2018, §3).

The vocabulary is that of ``bert-base-uncased`` (Google, Apache-2.0), which all-MiniLM-L6-v2 uses.
The package ``tokenizers`` takes four times as long to import and to load its rules as a query takes
to embed.
"""

from __future__ import annotations

import os
import unicodedata

UNKNOWN, START, END = 100, 101, 102
WORD_CHARACTERS_MAX = 100
CACHE_MAX = 50_000
_FILE = os.path.join(os.path.dirname(__file__), "vocabulary.txt")


class WordPiece:
    """Text to token ids; the tokens of words are cached."""

    def __init__(self) -> None:
        with open(_FILE, encoding="utf-8") as f:
            self._ids = {token: i for i, token in enumerate(f.read().split("\n"))}
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str, tokens_max: int) -> list[int]:
        """The tokens of a text, between those for its start and end; at most ``tokens_max``."""
        tokens = [START]
        for word in words(text):
            tokens += self._pieces(word)
            if len(tokens) >= tokens_max:
                break
        return [*tokens[: tokens_max - 1], END]

    def _pieces(self, word: str) -> list[int]:
        pieces = self._cache.get(word)
        if pieces is None:
            if len(self._cache) >= CACHE_MAX:
                self._cache.clear()
            pieces = self._cache[word] = self._split(word)
        return pieces

    def _split(self, word: str) -> list[int]:
        """Greedy longest match; a word with a part that matches nothing is unknown as a whole."""
        if len(word) > WORD_CHARACTERS_MAX:
            return [UNKNOWN]
        pieces = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                id = self._ids.get(piece)
                if id is not None:
                    break
            else:
                return [UNKNOWN]
            pieces.append(id)
            start = end
        return pieces


def words(text: str) -> list[str]:
    """Lower-case words without accents; punctuation marks and ideographs are words."""
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFD", text)
    return "".join(map(_spaced, text)).split()


class _SpacedCharacters(dict[str, str]):
    """Characters with spaces around those that are words of their own, computed once each."""

    def __missing__(self, character: str) -> str:
        self[character] = spaced = _space(character)
        return spaced


def _space(character: str) -> str:
    category = unicodedata.category(character)
    if character in "\t\n\r" or category == "Zs":
        return " "
    if category in ("Mn", "Cc", "Cf", "Cs", "Co", "Cn") or character == "\ufffd":
        return ""
    code = ord(character)
    punctuation = category[0] == "P" or (code < 128 and not character.isalnum())
    return f" {character} " if punctuation or _is_ideograph(code) else character


def _is_ideograph(code: int) -> bool:
    return (
        0x4E00 <= code <= 0x9FFF
        or 0x3400 <= code <= 0x4DBF
        or 0xF900 <= code <= 0xFAFF
        or 0x20000 <= code <= 0x2CEAF
        or 0x2F800 <= code <= 0x2FA1F
    )


_spaced = _SpacedCharacters().__getitem__
