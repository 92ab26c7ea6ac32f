"""The tokenizer of the BERT family: basic tokens, then WordPiece (Devlin et al., 2018, §3).

The vocabulary is that of ``bert-base-uncased`` (Google, Apache-2.0), which all-MiniLM-L6-v2 uses.
Written out here because the ``tokenizers`` package takes four times as long to import and to read
its rules as a whole query takes to embed; a test holds that both give the same tokens.
"""

from __future__ import annotations

import os
import unicodedata

UNKNOWN, START, END = 100, 101, 102
WORD_CHARACTERS_MAX = 100
CACHE_MAX = 50_000
_FILE = os.path.join(os.path.dirname(__file__), "vocabulary.txt")


class WordPiece:
    """Text to token numbers; words already seen are remembered."""

    def __init__(self) -> None:
        with open(_FILE, encoding="utf-8") as f:
            self._numbers = {token: i for i, token in enumerate(f.read().split("\n"))}
        self._words: dict[str, list[int]] = {}

    def encode(self, text: str, tokens_max: int) -> list[int]:
        """The tokens of a text between the start and end marks, cut to ``tokens_max`` in all."""
        tokens = [START]
        for word in words(text):
            tokens += self._pieces(word)
            if len(tokens) >= tokens_max:
                break
        return [*tokens[: tokens_max - 1], END]

    def _pieces(self, word: str) -> list[int]:
        known = self._words.get(word)
        if known is None:
            if len(self._words) >= CACHE_MAX:
                self._words.clear()
            known = self._words[word] = self._split(word)
        return known

    def _split(self, word: str) -> list[int]:
        """Greedy longest match; a word that does not come out even is unknown as a whole."""
        if len(word) > WORD_CHARACTERS_MAX:
            return [UNKNOWN]
        pieces = []
        start = 0
        while start < len(word):
            for end in range(len(word), start, -1):
                piece = word[start:end] if start == 0 else "##" + word[start:end]
                number = self._numbers.get(piece)
                if number is not None:
                    break
            else:
                return [UNKNOWN]
            pieces.append(number)
            start = end
        return pieces


def words(text: str) -> list[str]:
    """Lower-case words without accents; punctuation and ideographs stand alone."""
    text = text.lower()
    if not text.isascii():
        text = unicodedata.normalize("NFD", text)
    return "".join(map(_spaced, text)).split()


class _Spacing(dict[str, str]):
    def __missing__(self, character: str) -> str:
        self[character] = spacing = _classify(character)
        return spacing


def _classify(character: str) -> str:
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


_spaced = _Spacing().__getitem__
