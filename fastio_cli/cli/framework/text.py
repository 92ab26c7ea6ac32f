"""Values as text: JSON, fields of records, and escaping for terminals."""

from __future__ import annotations

import json

TYPE_CHECKING = False


def dumps(value: object, indent: int | None = None) -> str:
    """JSON for output: compact, or indented for people."""
    separators = (",", ":") if indent is None else None
    return json.dumps(value, ensure_ascii=False, indent=indent, separators=separators)


def dig(record: object, path: list[str]) -> object:
    """The value at a path of keys, None where there is none."""
    for key in path:
        record = record.get(key) if isinstance(record, dict) else None
    return record


def visible(text: str) -> str:
    """Text with every character that controls a terminal, or that nobody sees, as an escape.

    By the categories of Unicode: controls except newline and tab, formats (marks of direction, of
    no width, tags), lone surrogates, and separators of lines and paragraphs. See "Trojan Source",
    Boucher and Anderson, 2021.
    """
    if text.isprintable():
        return text
    import unicodedata

    return "".join(
        c if c in "\n\t" or unicodedata.category(c) not in _UNSEEN else _escaped(c) for c in text
    )


_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def _escaped(c: str) -> str:
    return f"\\u{ord(c):04x}" if ord(c) < 0x10000 else f"\\U{ord(c):08x}"
