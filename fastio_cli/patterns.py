"""Patterns: what ``*`` and ``?`` mean, once for every command, surface and store.

``*`` stands for any characters, none and ``/`` among them; ``?`` for one character, whichever it
is. A backslash before ``*``, ``?`` or a backslash makes them stand for themselves. Everything else
stands for itself, also ``[``: paths such as ``app/[id]/page`` are common. A pattern matches a whole
text, and letters of either case are different.
"""

from __future__ import annotations

from functools import lru_cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

WILDCARDS = ("*", "?")
ESCAPE = "\\"


def matches(pattern: str | None, text: str) -> bool:
    """Whether a pattern matches a text; no pattern matches every one."""
    if pattern is None:
        return True
    from fnmatch import fnmatchcase

    return fnmatchcase(text, as_glob(pattern))


def is_pattern(text: str) -> bool:
    """Whether a text is to be read as a pattern, as it holds ``*`` or ``?``."""
    return any(wildcard in text for wildcard in WILDCARDS)


def literal_prefix(pattern: str) -> str:
    """What every text begins with that a pattern matches."""
    prefix = ""
    for character, is_wildcard in _characters(pattern):
        if is_wildcard:
            break
        prefix += character
    return prefix


@lru_cache(maxsize=256)
def as_glob(pattern: str) -> str:
    """The pattern for SQLite's GLOB and Python's fnmatch, which know sets and no escape."""
    return "".join(
        f"[{character}]" if character in "*?[" and not is_wildcard else character
        for character, is_wildcard in _characters(pattern)
    )


@lru_cache(maxsize=256)
def as_regex(pattern: str) -> str:
    """The pattern as a POSIX regular expression, for PostgreSQL."""
    wildcards = {"*": ".*", "?": "."}
    parts = (
        wildcards[character] if is_wildcard else _escaped(character)
        for character, is_wildcard in _characters(pattern)
    )
    return f"^{''.join(parts)}$"


def _escaped(character: str) -> str:
    is_special = character.isascii() and not character.isalnum()
    return f"\\{character}" if is_special else character


def _characters(pattern: str) -> Iterator[tuple[str, bool]]:
    """The characters of a pattern, each with whether it is a wildcard.

    Of wildcards that follow each other there is one ``*`` at most, and it comes last: for a
    thousand of them PostgreSQL takes a minute.
    """
    at = 0
    is_star_due = False
    while at < len(pattern):
        character, following = pattern[at], pattern[at + 1 : at + 2]
        is_escaped = character == ESCAPE and following in (*WILDCARDS, ESCAPE)
        at += 2 if is_escaped else 1
        if character == "*":
            is_star_due = True
        elif character == "?":
            yield character, True
        else:
            if is_star_due:
                yield "*", True
                is_star_due = False
            yield following if is_escaped else character, False
    if is_star_due:
        yield "*", True
