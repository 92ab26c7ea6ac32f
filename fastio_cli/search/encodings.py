"""Text in the encodings of before UTF-8: recognised where that is certain, and otherwise not.

A wrong guess makes mojibake, which nobody can find: what is not certain is said to be unreadable.
"""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

SAMPLE_BYTES = 32 * 1024
WIDE = ("gb18030", "cp932", "euc_jp", "cp949", "big5")  # of one or more bytes a character
# With the blocks of Unicode that their letters are in.
ALPHABETS = {
    "cp1251": (0x400, 0x52F),
    "koi8_r": (0x400, 0x45F),
    "cp1253": (0x370, 0x3FF),
    "cp1255": (0x590, 0x5FF),
    "cp1256": (0x600, 0x6FF),
    "cp874": (0xE00, 0xE7F),
}
WESTERN = "cp1252"
COHERENCE_MIN = 0.4  # how much the letters are as frequent as in a language that uses them
CHARACTERS_MIN = 4  # fewer of another script say nothing
SHARE_MIN = 0.9
_ROWS = re.compile(r"[\u00aa-\u00ff]{3,}")  # of letters that ASCII lacks


def utf_16_without_mark(data: bytes) -> str | None:
    """The byte order of UTF-16 that has no mark, by the zeros of Latin text; None if it is none."""
    sample = data[: SAMPLE_BYTES // 2 * 2]
    half = len(sample) // 2
    zeros = sample[0::2].count(0), sample[1::2].count(0)
    for i, name in ((1, "utf-16-le"), (0, "utf-16-be")):
        if half >= 8 and zeros[i] > half * 0.6 and zeros[1 - i] <= half // 50:
            text = sample[: half * 2].decode(name, "replace")
            shown = sum(c.isprintable() or c in "\r\n\t" for c in text)
            return name if shown >= len(text) * 0.98 else None
    return None


def legacy_text(data: bytes) -> str | None:
    """Text that is not UTF-8 in the encoding that it is certainly in; None where there is none.

    Without the package charset-normalizer, which the extra ``search`` brings, none is certain.
    """
    try:
        from charset_normalizer import from_bytes
    except ImportError:
        return None
    sample = data[:SAMPLE_BYTES]
    if len(data) > SAMPLE_BYTES:
        sample = sample[: sample.rfind(b"\n") + 1] or sample
    candidates = [*WIDE, *ALPHABETS, WESTERN]
    best = from_bytes(sample, cp_isolation=candidates, enable_fallback=False).best()
    if best is None or best.encoding == WESTERN:
        return None
    text = data.decode(best.encoding, "replace")
    if text.count("\ufffd") > len(text) // 1000:
        return None
    foreign = [c for c in text[:SAMPLE_BYTES] if ord(c) >= 0x80]
    if len(foreign) < CHARACTERS_MIN:
        return None
    if best.encoding in WIDE:
        return text if _share(foreign, _is_east_asian) >= SHARE_MIN else None
    first, last = ALPHABETS[best.encoding]
    is_certain = (
        best.coherence >= COHERENCE_MIN
        and _share(foreign, lambda c: first <= ord(c) <= last or not c.isalpha()) >= SHARE_MIN
    )
    return text if is_certain else None


def western_text(data: bytes) -> str | None:
    """Text in Windows-1252, if it looks like that: letters with accents stand alone or in pairs."""
    text = data.decode(WESTERN, "replace")
    foreign = sum(c >= "\x80" for c in text)
    in_a_row = sum(len(run) for run in _ROWS.findall(text))
    looks_so = foreign <= len(text) // 4 and in_a_row <= foreign // 10
    return text if looks_so else None


def _share(characters: list[str], holds: Callable[[str], bool]) -> float:
    return sum(map(holds, characters)) / len(characters)


def _is_east_asian(c: str) -> bool:
    """Whether a character is common in Chinese, Japanese or Korean text."""
    code = ord(c)
    return (
        0x3000 <= code < 0x3100  # punctuation and kana
        or 0x4E00 <= code < 0xA000  # ideographs
        or 0xAC00 <= code < 0xD7A4  # hangul
        or 0xFF01 <= code < 0xFF66  # wide forms
        or not c.isalnum()
    )
