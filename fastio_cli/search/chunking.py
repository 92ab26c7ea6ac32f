"""Text into passages: pieces of 128 to 256 tokens that follow the structure of what they are from.

Headings, paragraphs, turns of a conversation, rows and JSON subtrees are kept whole where they fit.
Passages do not overlap: what stands around one is a lighter field of the index instead. Every
passage knows its place: lines, page, or JSON Pointer.
"""

from __future__ import annotations

import re
from itertools import pairwise

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Record = tuple[int, int, Any]  # first and last line, and the value they hold

CHARACTERS_AIM = 600  # about 128 tokens of English: as far as short pieces are put together
CHARACTERS_WHOLE = 1000  # a paragraph up to here is not divided: it fits the model's window
TURNS_ALONE_MAX = 2000  # of a text; what has more is a log, whose lines are put together
STANDS_ALONE = 40  # a record of this many characters is a passage of its own
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")
CHARACTERS_MAX = 16 * 1024 * 1024  # of one object; the rest is not searched, and reported
IDEOGRAPH_COST = 4  # an ideograph is a token, as are about four letters
PASSAGES_MAX = 50_000  # of one object
NAME_CHARACTERS_MAX = 400  # of the keys that lead to a value, the nearest ones
POINTER_CHARACTERS_MAX = 1024  # deeper values are known by the subtree they stand in

# Scripts written without spaces between words.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f"
)
_NOT_IN_TEXT = bytes(b for b in range(32) if b not in b"\t\n\r\f\x1b")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
_TURN = re.compile(r"(?:\[[^\]]{1,40}\]\s*)?[^\W\d_][\w .'’()-]{0,40}:\s+\S")
_DEFINITION = re.compile(
    r"(?:(?:export|default|pub|public|private|protected|static|async|abstract)\s+)*"
    r"(?:class|def|function|fn|func|impl|struct|enum|interface|trait|module|type)\s+([\w.:<>]+)"
)


class Passage:
    """A piece of an object's text, where it stands, and the headings above it."""

    __slots__ = ("end_line", "heading", "line", "page", "pointer", "text")

    def __init__(
        self,
        text: str,
        *,
        line: int | None = None,
        end_line: int | None = None,
        page: int | None = None,
        pointer: str | None = None,
        heading: str = "",
    ) -> None:
        self.text = text
        self.line = line
        self.end_line = end_line
        self.page = page
        self.pointer = pointer
        self.heading = heading


def prose(text: str, *, markdown: bool = False, page: int | None = None) -> Iterator[Passage]:
    """The passages of plain text, Markdown or source code."""
    heading = ""
    group: list[tuple[int, str]] = []
    turns = 0
    for line, last_line, paragraph, above in _paragraphs(text, markdown):
        is_turn = _is_turn(paragraph)
        turns += is_turn
        alone = is_turn and turns <= TURNS_ALONE_MAX
        full = group and _cost_of(group) + cost(paragraph) > CHARACTERS_AIM
        if group and (above != heading or alone or full):
            yield from _divided(group, page, heading)
            group = []
        heading = above
        group += [(line + i, text) for i, text in enumerate(paragraph.split("\n"))]
        if alone or last_line - line > 200:
            yield from _divided(group, page, heading)
            group = []
    if group:
        yield from _divided(group, page, heading)


def document(value: Any) -> Iterator[Passage]:
    """The passages of a JSON value: subtrees with their JSON Pointer (RFC 6901).

    Small members of a list stand in one passage, which has the pointer of the first of them: the
    others follow it. Those of an object are named in the passage, which has the object's pointer.
    Raises ``RecursionError`` for a value that is too deep.
    """
    large: set[int] = set()
    _measure(value, "", large)
    return _subtree(value, _Place("", ""), large)


def records(values: Iterable[Record]) -> Iterator[Passage]:
    """The passages of values that each stand on lines of their own, as in JSONL and CSV."""
    group: list[tuple[int, int, str]] = []
    size = 0
    for line, end_line, value in values:
        text = _text_of(value)
        alone = len(text) >= STANDS_ALONE
        if group and (alone or size > CHARACTERS_AIM):
            yield from _record(group)
            group, size = [], 0
        group.append((line, end_line, text))
        size += cost(text) + 1
        if alone:
            yield from _record(group)
            group, size = [], 0
    if group:
        yield from _record(group)


def cost(text: str) -> int:
    """The length of a text in letters, ideographs counting as the several they stand for."""
    if text.isascii():
        return len(text)
    return len(text) + (IDEOGRAPH_COST - 1) * len(_UNSPACED.findall(text))


def is_binary(data: bytes) -> bool:
    """Whether bytes are no text, by how they begin."""
    return data[:2] not in _UTF_16_MARKS and b"\0" in data[:8192]


def readable(data: bytes) -> str | None:
    """Bytes as text, or None when they are not text: UTF-8, UTF-16 with its mark, or one of the
    encodings of a byte a letter, of which Windows-1252 is what most of such text is in."""
    if data[:2] in _UTF_16_MARKS:
        return data.decode("utf-16", "replace").replace("\0", "")
    if is_binary(data):
        return None
    text = data.decode("utf-8-sig", "replace")
    strange = text.count("\ufffd")
    if strange > len(text) // 1000 and data.translate(None, _NOT_IN_TEXT) == data:
        western = data.decode("cp1252", "replace")
        # More would be another alphabet, or no text at all.
        if strange <= len(western) // 5:
            return western
    if strange > len(text) // 20:
        return None
    return text.replace("\0", "")


def _paragraphs(text: str, markdown: bool) -> Iterator[tuple[int, int, str, str]]:
    """First and last line, text, and the headings above, of each paragraph or turn."""
    headings: list[tuple[int, str]] = []
    above, fenced = "", False
    start = 0
    lines: list[str] = []
    # splitlines would also break at form feeds and the like, which editors do not count.
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), 1):
        if markdown and line.lstrip().startswith(("```", "~~~")):
            fenced = not fenced
        heading = _HEADING.match(line) if markdown and not fenced else None
        definition = None if markdown else _DEFINITION.match(line)
        if lines and (not line.strip() or heading or definition or _is_turn(line)):
            yield start, number - 1, "\n".join(lines), above
            lines = []
        if heading:
            level = len(heading[1])
            headings = [h for h in headings if h[0] < level] + [
                (level, heading[2].rstrip().rstrip("#").rstrip())
            ]
            above = " > ".join(title for _, title in headings)
        elif definition:
            above = definition[1].rstrip(":")
        if line.strip():
            if not lines:
                start = number
            lines.append(line.rstrip())
    if lines:
        yield start, start + len(lines) - 1, "\n".join(lines), above


def _is_turn(line: str) -> bool:
    """Whether a line begins what one speaker says: ``Ada: I am late.``"""
    return _TURN.match(line) is not None


def _divided(group: list[tuple[int, str]], page: int | None, heading: str) -> Iterator[Passage]:
    """Numbered lines as one passage, or several of about equal length when they are long."""
    total = _cost_of(group)
    parts = -(-total // CHARACTERS_WHOLE)
    taken: list[tuple[int, str]] = []
    number, done = 1, 0
    for line, sentence in _sentences(group) if parts > 1 else group:
        if taken and done + cost(sentence) / 2 > number * total / parts:
            yield _joined(taken, page, heading)
            taken = []
            number += 1
        taken.append((line, sentence))
        done += cost(sentence)
    if taken:
        yield _joined(taken, page, heading)


def _sentences(group: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """The sentences of numbered lines, each with the space that follows it."""
    for line, text in group:
        if cost(text) <= CHARACTERS_AIM // 4:
            yield line, text
            continue
        start = 0
        for end in (*(m.end() for m in _SENTENCE_END.finditer(text)), len(text)):
            for piece in _bounded(text[start:end]):
                yield line, piece
            start = end


def _bounded(sentence: str) -> Iterator[str]:
    """A sentence cut where it is far too long, after a space if there is one."""
    width = CHARACTERS_AIM if sentence.isascii() else CHARACTERS_AIM // IDEOGRAPH_COST
    start = 0
    while len(sentence) - start > width:
        space = sentence.rfind(" ", start + width // 2, start + width)
        end = space + 1 if space > 0 else start + width
        yield sentence[start:end]
        start = end
    if start < len(sentence):
        yield sentence[start:]


def _joined(taken: list[tuple[int, str]], page: int | None, heading: str) -> Passage:
    text = taken[0][1]
    for (before, _), (line, piece) in pairwise(taken):
        text += piece if line == before else "\n" + piece
    return Passage(
        text.rstrip(), line=taken[0][0], end_line=taken[-1][0], page=page, heading=heading
    )


def _cost_of(group: list[tuple[int, str]]) -> int:
    return sum(cost(text) + 1 for _, text in group)


def _record(group: list[tuple[int, int, str]]) -> Iterator[Passage]:
    """Short records together; a long one in pieces that all say its lines."""
    first, last = group[0][0], group[-1][1]
    text = "\n".join(text for _, _, text in group)
    for piece in _divided(list(enumerate(text.split("\n"))), None, ""):
        yield Passage(piece.text, line=first, end_line=last)


class _Place:
    """Where a value stands: its JSON Pointer, and the keys that lead to it as a name."""

    __slots__ = ("_is_exact", "name", "pointer")

    def __init__(self, pointer: str, name: str, is_exact: bool = True) -> None:
        self.pointer = pointer
        self.name = name
        self._is_exact = is_exact

    def member(self, key: str | int) -> _Place:
        """The place of a member."""
        name = _named(self.name, key)
        step = key.replace("~", "~0").replace("/", "~1") if isinstance(key, str) else str(key)
        if not self._is_exact or len(self.pointer) + len(step) >= POINTER_CHARACTERS_MAX:
            return _Place(self.pointer, name, False)
        return _Place(f"{self.pointer}/{step}", name)


def _text_of(record: Any) -> str:
    """A record as text, as far as an object may be read: keys are said for every value."""
    lines = []
    size = 0
    for line in _lines(record, ""):
        lines.append(line)
        size += len(line)
        if size > CHARACTERS_MAX:
            break
    return "\n".join(lines)


def _measure(value: Any, name: str, large: set[int]) -> int:
    """What a value costs as lines; ``large`` gets the ids of those that fit into no passage.

    Measured once from the leaves up: else every level of a deep value would read all below it.
    """
    if not isinstance(value, dict | list):
        return sum(cost(line) + 1 for line in _lines(value, name))
    total = sum(_measure(member, _named(name, key), large) for key, member in _members(value))
    if total > CHARACTERS_AIM + 1:
        large.add(id(value))
    return total


def _subtree(value: Any, place: _Place, large: set[int]) -> Iterator[Passage]:
    """A value as one passage if it fits, else its parts, small siblings together."""
    if id(value) not in large:
        lines = list(_lines(value, place.name))
        for piece in _divided(list(enumerate(lines)), None, place.name):
            yield Passage(piece.text, pointer=place.pointer, heading=place.name)
        return
    group: list[tuple[str, str]] = []
    size = 0
    for key, member in _members(value):
        at = place.member(key)
        is_large = id(member) in large
        text = "" if is_large else "\n".join(_lines(member, at.name))
        if not text and not is_large:
            continue
        is_record = isinstance(value, list) and isinstance(member, dict)
        alone = is_large or cost(text) > CHARACTERS_AIM
        alone = alone or (is_record and len(text) >= STANDS_ALONE)
        if group and (alone or size + cost(text) > CHARACTERS_AIM):
            yield _siblings(group, place, value)
            group, size = [], 0
        if alone:
            yield from _subtree(member, at, large)
        else:
            group.append((at.pointer, text))
            size += cost(text)
    if group:
        yield _siblings(group, place, value)


def _siblings(group: list[tuple[str, str]], place: _Place, parent: Any) -> Passage:
    at = group[0][0] if len(group) == 1 or isinstance(parent, list) else place.pointer
    return Passage("\n".join(text for _, text in group), pointer=at, heading=place.name)


def _members(value: Any) -> Iterator[tuple[Any, Any]]:
    """The members of an object or a list by key or number, but for those that are empty."""
    for key, member in value.items() if isinstance(value, dict) else enumerate(value):
        if member is not None and member != "" and member != [] and member != {}:
            yield key, member


def _named(name: str, key: str | int) -> str:
    """The name of a member; the numbers of elements are no names."""
    if isinstance(key, int):
        return name
    return f"{name}.{key[:NAME_CHARACTERS_MAX]}"[-NAME_CHARACTERS_MAX:].lstrip(".")


def _lines(value: Any, name: str) -> Iterator[str]:
    """A value as lines ``key.key: scalar``."""
    if isinstance(value, dict | list):
        for key, member in _members(value):
            yield from _lines(member, _named(name, key))
    elif value is not None and value != "":
        scalar = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        yield f"{name}: {scalar}" if name else scalar
