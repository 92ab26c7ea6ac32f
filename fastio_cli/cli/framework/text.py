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
    """Text with every character that could control a terminal replaced by an escape.

    These are the C0 and C1 controls except newline and tab, and the bidirectional overrides (see
    "Trojan Source", Boucher and Anderson, 2021).
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(c if not _is_control(c) else f"\\u{ord(c):04x}" for c in text)


def _is_control(c: str) -> bool:
    code = ord(c)
    if code < 0x20:
        return c not in "\n\t"
    return 0x7F <= code < 0xA0 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069
