"""Chunking: text as passages of 128 to 256 tokens that follow its structure.

Headings, paragraphs, turns of a conversation, rows and JSON subtrees are kept whole where they fit.
Passages do not overlap: the text around one is indexed as its context instead, with less weight.
Every passage has its location: lines, page, or JSON Pointer.
"""

from __future__ import annotations

import re
from itertools import pairwise

from fastio_cli.search.encodings import legacy_text, utf_16_without_mark, western_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    Record = tuple[int, int, object]  # first line, last line, value
    Line = tuple[int, str]  # number and text

TARGET_LENGTH = 600  # about 128 tokens of English: short pieces are combined up to here
PASSAGE_LENGTH_MAX = 1000  # a paragraph up to here is not split: it fits the model's window
TURN_PASSAGES_MAX = 2000  # of a text; what has more is a log, whose lines are combined
RECORD_LENGTH_MIN = 40  # a record from here on is a passage of its own
CHARACTERS_MAX = 16 * 1024 * 1024  # of one object; the rest is not searched, and reported
IDEOGRAPH_LENGTH = 4  # an ideograph is a token, as are about four letters
PASSAGES_MAX = 50_000  # of one object
# Of the keys that lead to a value, or the headings above a text, the innermost: every passage
# repeats them.
NAME_CHARACTERS_MAX = 400
POINTER_CHARACTERS_MAX = 1024  # a deeper value has the pointer of a subtree that it is in

# Scripts that are written without spaces between words.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\U00020000-\U0002fa1f"
)
_UTF_16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL_BYTES = bytes(b for b in range(32) if b not in b"\t\n\r\f\x1b")
_UNSPACED = re.compile(f"[{UNSPACED}]")
_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+|(?<=[。！？])|\n+")
_HEADING = re.compile(r"(#{1,6})\s+(\S.*)")
_TURN = re.compile(r"(?:\[[^\]]{1,40}\]\s*)?[^\W\d_][\w .'’()-]{0,40}:\s+\S")
_DEFINITION = re.compile(
    r"(?:(?:export|default|pub|public|private|protected|static|async|abstract)\s+)*"
    r"(?:class|def|function|fn|func|impl|struct|enum|interface|trait|module|type)\s+([\w.:<>]+)"
)


class Passage:
    """A piece of an object's text, its location, and the headings above it, which are cut."""

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
        self.heading = heading[-NAME_CHARACTERS_MAX:]


def chunk_text(text: str, *, markdown: bool = False, page: int | None = None) -> Iterator[Passage]:
    """The passages of plain text, Markdown or source code."""
    heading = ""
    group: list[Line] = []
    turns = size = 0
    for line, last_line, paragraph, above in _paragraphs(text, markdown):
        is_turn = _is_turn(paragraph)
        turns += is_turn
        is_alone = is_turn and turns <= TURN_PASSAGES_MAX
        is_full = size + length(paragraph) > TARGET_LENGTH
        if group and (above != heading or is_alone or is_full):
            yield from _split(group, page, heading)
            group, size = [], 0
        heading = above
        group += [(line + i, text) for i, text in enumerate(paragraph.split("\n"))]
        size += length(paragraph) + 1
        if is_alone or last_line - line > 200:
            yield from _split(group, page, heading)
            group, size = [], 0
    if group:
        yield from _split(group, page, heading)


def chunk_json(value: object) -> Iterator[Passage]:
    """The passages of a JSON value: subtrees with their JSON Pointers (RFC 6901).

    Small elements of a list are combined in one passage, which has the pointer of the first of
    them. Small members of an object are combined in one with the object's pointer; it names them.
    Raises ``RecursionError`` for a value that is too deep.
    """
    large: set[int] = set()
    _measure(value, "", large)
    return _chunk_subtree(value, _Node("", ""), large)


def chunk_records(records: Iterable[Record]) -> Iterator[Passage]:
    """The passages of values that are on lines of their own, as in JSONL and CSV."""
    group: list[tuple[int, int, str]] = []
    size = 0
    for line, end_line, value in records:
        text = _flatten_record(value)
        is_alone = len(text) >= RECORD_LENGTH_MIN
        if group and (is_alone or size > TARGET_LENGTH):
            yield from _chunk_group(group)
            group, size = [], 0
        group.append((line, end_line, text))
        size += length(text) + 1
        if is_alone:
            yield from _chunk_group(group)
            group, size = [], 0
    if group:
        yield from _chunk_group(group)


def length(text: str) -> int:
    """The length of a text in letters; an ideograph counts as several."""
    if text.isascii():
        return len(text)
    return len(text) + (IDEOGRAPH_LENGTH - 1) * len(_UNSPACED.findall(text))


def is_binary(data: bytes) -> bool:
    """Whether bytes are no text, judged by their beginning."""
    if data[:2] in _UTF_16_BOMS or b"\0" not in data[:8192]:
        return False
    return utf_16_without_mark(data) is None


def decode(data: bytes) -> str | None:
    """Bytes as text; None if they are no text, or are in an encoding that is not certain.

    They are UTF-8, UTF-16, the encoding of an alphabet or of East Asia that is recognised, or else
    Windows-1252 if they look like that. What cannot be read in a text of two encodings becomes
    U+FFFD.
    """
    if data[:2] in _UTF_16_BOMS:
        return data.decode("utf-16", "replace").replace("\0", "")
    if is_binary(data):
        return None
    if (wide := utf_16_without_mark(data)) is not None:
        return data.decode(wide, "replace").replace("\0", "")
    text = data.decode("utf-8-sig", "replace")
    undecoded = text.count("\ufffd")
    if undecoded > len(text) // 1000 and data.translate(None, _CONTROL_BYTES) == data:
        decoded = sum(c >= "\x80" for c in text) - undecoded
        # Other encodings look like UTF-8 now and then; with more it is a text of two encodings.
        is_mixed = decoded > undecoded // 2
        other = None if is_mixed else legacy_text(data) or western_text(data)
        if other is not None:
            return other
    if undecoded > len(text) // 20:
        return None
    return text.replace("\0", "")


def unread(text: str, data: bytes) -> str | None:
    """What to say of a text that could not be decoded completely."""
    lost = text.count("\ufffd") - data.count("\ufffd".encode())
    if lost <= 1:  # one may have been cut off at the end
        return None
    return f"It is in more than one encoding: {lost:,} characters of it cannot be read."


def _paragraphs(text: str, markdown: bool) -> Iterator[tuple[int, int, str, str]]:
    """The first and last line, text, and headings above, of each paragraph or turn."""
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
            title = heading[2].rstrip().rstrip("#").rstrip()[:NAME_CHARACTERS_MAX]
            headings = [*(h for h in headings if h[0] < level), (level, title)]
            above = " > ".join(title for _, title in headings)
        elif definition:
            above = definition[1].rstrip(":")[:NAME_CHARACTERS_MAX]
        if line.strip():
            if not lines:
                start = number
            lines.append(line.rstrip())
    if lines:
        yield start, start + len(lines) - 1, "\n".join(lines), above


def _is_turn(line: str) -> bool:
    """Whether a line begins a speaker's turn: ``Ada: I am late.``"""
    return _TURN.match(line) is not None


def _split(lines: list[Line], page: int | None, heading: str) -> Iterator[Passage]:
    """Lines as one passage, or as several of about equal length if they are too long for one."""
    total = _length_of(lines)
    parts = -(-total // PASSAGE_LENGTH_MAX)
    pieces: list[Line] = []
    number, done = 1, 0
    for line, sentence in _sentences(lines) if parts > 1 else lines:
        if pieces and done + length(sentence) / 2 > number * total / parts:
            yield _join(pieces, page, heading)
            pieces = []
            number += 1
        pieces.append((line, sentence))
        done += length(sentence)
    if pieces:
        yield _join(pieces, page, heading)


def _sentences(lines: list[Line]) -> Iterator[Line]:
    """The sentences of lines, each with its line and the space that follows it."""
    for line, text in lines:
        if length(text) <= TARGET_LENGTH // 4:
            yield line, text
            continue
        start = 0
        for end in (*(m.end() for m in _SENTENCE_END.finditer(text)), len(text)):
            for piece in _cut(text[start:end]):
                yield line, piece
            start = end


def _cut(sentence: str) -> Iterator[str]:
    """A sentence in pieces of bounded length, cut after a space if there is one."""
    width = TARGET_LENGTH if sentence.isascii() else TARGET_LENGTH // IDEOGRAPH_LENGTH
    start = 0
    while len(sentence) - start > width:
        space = sentence.rfind(" ", start + width // 2, start + width)
        end = space + 1 if space > 0 else start + width
        yield sentence[start:end]
        start = end
    if start < len(sentence):
        yield sentence[start:]


def _join(pieces: list[Line], page: int | None, heading: str) -> Passage:
    text = pieces[0][1]
    for (previous_line, _), (line, piece) in pairwise(pieces):
        text += piece if line == previous_line else "\n" + piece
    return Passage(
        text.rstrip(), line=pieces[0][0], end_line=pieces[-1][0], page=page, heading=heading
    )


def _length_of(lines: list[Line]) -> int:
    return sum(length(text) + 1 for _, text in lines)


def _chunk_group(group: list[tuple[int, int, str]]) -> Iterator[Passage]:
    """Short records combined, or the pieces of a long one, all with the lines of the group."""
    first, last = group[0][0], group[-1][1]
    text = "\n".join(text for _, _, text in group)
    for piece in _split(list(enumerate(text.split("\n"))), None, ""):
        yield Passage(piece.text, line=first, end_line=last)


class _Node:
    """The location of a JSON value: its JSON Pointer, and the keys that lead to it as a name."""

    __slots__ = ("_is_exact", "name", "pointer")

    def __init__(self, pointer: str, name: str, is_exact: bool = True) -> None:
        self.pointer = pointer
        self.name = name
        self._is_exact = is_exact

    def child(self, key: str | int) -> _Node:
        """The location of a member."""
        name = _member_name(self.name, key)
        token = key.replace("~", "~0").replace("/", "~1") if isinstance(key, str) else str(key)
        if not self._is_exact or len(self.pointer) + len(token) >= POINTER_CHARACTERS_MAX:
            return _Node(self.pointer, name, False)
        return _Node(f"{self.pointer}/{token}", name)


def _flatten_record(record: object) -> str:
    """A record as text, cut at the limit of an object: every value repeats its keys."""
    lines = []
    size = 0
    for line in _flatten(record, ""):
        lines.append(line)
        size += len(line)
        if size > CHARACTERS_MAX:
            break
    return "\n".join(lines)


def _measure(value: object, name: str, large: set[int]) -> int:
    """The length of a value as lines; ``large`` gets the ids of those that exceed a passage.

    Measured once, from the leaves up: otherwise every level of a deep value would be measured anew.
    """
    if not isinstance(value, dict | list):
        return sum(length(line) + 1 for line in _flatten(value, name))
    members = _members(value)
    total = sum(_measure(member, _member_name(name, key), large) for key, member in members)
    if total > TARGET_LENGTH + 1:
        large.add(id(value))
    return total


def _chunk_subtree(value: object, node: _Node, large: set[int]) -> Iterator[Passage]:
    """A value as one passage if it fits, else its members, small ones combined."""
    if id(value) not in large or not isinstance(value, dict | list):
        lines = list(enumerate(_flatten(value, node.name)))
        for piece in _split(lines, None, node.name):
            yield Passage(piece.text, pointer=node.pointer, heading=node.name)
        return
    group: list[tuple[str, str]] = []
    size = 0
    for key, member in _members(value):
        child = node.child(key)
        is_large = id(member) in large
        text = "" if is_large else "\n".join(_flatten(member, child.name))
        if not text and not is_large:
            continue
        is_record = isinstance(value, list) and isinstance(member, dict)
        is_alone = is_large or length(text) > TARGET_LENGTH
        is_alone = is_alone or (is_record and len(text) >= RECORD_LENGTH_MIN)
        if group and (is_alone or size + length(text) > TARGET_LENGTH):
            yield _combine(group, node, value)
            group, size = [], 0
        if is_alone:
            yield from _chunk_subtree(member, child, large)
        else:
            group.append((child.pointer, text))
            size += length(text)
    if group:
        yield _combine(group, node, value)


def _combine(group: list[tuple[str, str]], node: _Node, parent: object) -> Passage:
    """A passage of several members, each with its pointer and text."""
    is_first = len(group) == 1 or isinstance(parent, list)
    pointer = group[0][0] if is_first else node.pointer
    return Passage("\n".join(text for _, text in group), pointer=pointer, heading=node.name)


def _members(value: dict[str, object] | list[object]) -> Iterator[tuple[str | int, object]]:
    """The members of an object or list by key or index, without empty ones."""
    for key, member in value.items() if isinstance(value, dict) else enumerate(value):
        if member is not None and member != "" and member != [] and member != {}:
            yield key, member


def _member_name(name: str, key: str | int) -> str:
    """The name of a member; indexes are left out."""
    if isinstance(key, int):
        return name
    return f"{name}.{key[:NAME_CHARACTERS_MAX]}"[-NAME_CHARACTERS_MAX:].lstrip(".")


def _flatten(value: object, name: str) -> Iterator[str]:
    """A value as lines ``key.key: scalar``."""
    if isinstance(value, dict | list):
        for key, member in _members(value):
            yield from _flatten(member, _member_name(name, key))
    elif value is not None and value != "":
        scalar = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        yield f"{name}: {scalar}" if name else scalar
