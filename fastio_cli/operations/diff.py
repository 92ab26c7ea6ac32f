"""What changed between two versions of an object."""

from __future__ import annotations

import json
from bisect import bisect_left
from collections import Counter
from difflib import Match, SequenceMatcher
from itertools import accumulate

from fastio_cli.errors import FastioError
from fastio_cli.json_text import values_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

    Side = tuple[bytes, str, bool]  # the bytes of a version, its label, whether they are JSON

SIZE_BYTES_MAX = 1024 * 1024
CONTEXT_LINES = 3
STEPS_MAX = 5_000_000  # looks at a pair of equal lines
PATCHED_VALUES_MAX = 100_000
INDENTED_VALUES_MAX = 50_000
REPLACED = "# The versions differ too much to compare every line: some are shown as replaced."


def compare(
    ctx: Context, old: Row | None, new: Row | None
) -> tuple[list[dict[str, object]] | None, str | None]:
    """An RFC 6902 patch if both are JSON, and a unified diff of their text.

    A side that is absent or deleted counts as empty. Versions that would take too long to compare
    are replaced as a whole by the patch, and where they differ too much by the text, whose first
    line is :data:`REPLACED` then.
    """
    has_patch = old is not None and new is not None and _is_state(old) and _is_state(new)
    compared: tuple[list[dict[str, object]] | None, str | None] = ctx.compute(
        compare_bytes, *_side(ctx, old), *_side(ctx, new), has_patch
    )
    return compared


def compare_bytes(
    old: bytes,
    old_label: str,
    is_old_json: bool,
    new: bytes,
    new_label: str,
    is_new_json: bool,
    has_patch: bool,
) -> tuple[list[dict[str, object]] | None, str]:
    """What ``compare`` answers, of the bytes of two versions."""
    lines = _lines((old, old_label, is_old_json)), _lines((new, new_label, is_new_json))
    matcher = LineMatcher(*lines)
    text = list(_unified(matcher, old_label, new_label))
    if matcher.is_cut_short:
        text.insert(0, REPLACED)
    return _json_patch(old.decode(), new.decode()) if has_patch else None, "\n".join(text)


class LineMatcher(SequenceMatcher[str]):
    """Which lines of two texts are the same, found in a bounded number of steps.

    Lines that both have once are matched first (the patience diff of B. Cohen), which takes time in
    proportion to the texts; between them ``difflib`` looks for what else is equal, as long as
    there are steps left. ``is_cut_short`` says that they did not suffice.
    """

    def __init__(self, old: list[str], new: list[str], steps: int = STEPS_MAX) -> None:
        super().__init__(None, [], [])
        self.a, self.b = old, new
        self.steps = steps
        self.is_cut_short = False
        self._blocks: list[list[int]] = []
        at = from_ = 0
        for i, j in [*_unique_lines(old, new), (len(old), len(new))]:
            self._match_between(at, i, from_, j)
            self._add(i, j, int(i < len(old)))
            at, from_ = i + 1, j + 1

    def get_matching_blocks(self) -> list[Match]:
        """The blocks of equal lines, in order; the last is empty."""
        return [Match(*block) for block in self._blocks]

    def _match_between(self, at: int, i: int, from_: int, j: int) -> None:
        while at < i and from_ < j and self.a[at] == self.b[from_]:
            self._add(at, from_, 1)
            at, from_ = at + 1, from_ + 1
        end = 0
        while at < i - end and from_ < j - end and self.a[i - end - 1] == self.b[j - end - 1]:
            end += 1
        old, new = self.a[at : i - end], self.b[from_ : j - end]
        if old and new:
            for block in self._search(list(old), list(new)):
                self._add(at + block.a, from_ + block.b, block.size)
        self._add(i - end, j - end, end)

    def _search(self, old: list[str], new: list[str]) -> list[Match]:
        matcher = _BoundedMatcher(old, new, self.steps)
        try:
            return matcher.get_matching_blocks()
        except TimeoutError:
            self.is_cut_short = True
            return []
        finally:
            self.steps = max(0, matcher.steps)

    def _add(self, i: int, j: int, size: int) -> None:
        """Add a block, or make the last one longer."""
        last = self._blocks[-1] if self._blocks else None
        if last is not None and size and (last[0] + last[2], last[1] + last[2]) == (i, j):
            last[2] += size
        elif size or i == len(self.a):
            self._blocks.append([i, j, size])


class _BoundedMatcher(SequenceMatcher[str]):
    """Counts the steps of ``difflib``; raises ``TimeoutError`` when there are none left."""

    b2j: dict[str, list[int]]  # where lines are that are not too many to look at

    def __init__(self, old: list[str], new: list[str], steps: int) -> None:
        super().__init__(None, old, new)
        self.steps = steps
        looks = (1 + len(self.b2j.get(line, ())) for line in old)
        self._steps_before = list(accumulate(looks, initial=0))

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """As in ``difflib``, if there are steps for it."""
        end = len(self._steps_before) - 1 if ahi is None else ahi
        self.steps -= self._steps_before[end] - self._steps_before[alo]
        if self.steps < 0:
            raise TimeoutError
        return super().find_longest_match(alo, ahi, blo, bhi)


def _unique_lines(old: list[str], new: list[str]) -> list[tuple[int, int]]:
    """The largest set of lines, each once in both texts, that are in the same order in both."""
    once = {line for line, count in Counter(old).items() if count == 1}
    once &= {line for line, count in Counter(new).items() if count == 1}
    places = {line: j for j, line in enumerate(new) if line in once}
    pairs = [(i, places[line]) for i, line in enumerate(old) if line in once]
    # The longest increasing subsequence of the second numbers, by patience sorting.
    tops: list[int] = []
    ends: list[int] = []
    before: list[int] = []
    for n, (_, j) in enumerate(pairs):
        pile = bisect_left(tops, j)
        before.append(ends[pile - 1] if pile else -1)
        tops[pile : pile + 1] = [j]
        ends[pile : pile + 1] = [n]
    chosen, n = [], ends[-1] if ends else -1
    while n >= 0:
        chosen.append(pairs[n])
        n = before[n]
    return chosen[::-1]


def _unified(matcher: LineMatcher, old_label: str, new_label: str) -> Iterator[str]:
    """A unified diff, as ``difflib.unified_diff`` writes it."""
    for number, group in enumerate(matcher.get_grouped_opcodes(CONTEXT_LINES)):
        if not number:
            yield f"--- {old_label}"
            yield f"+++ {new_label}"
        first, last = group[0], group[-1]
        yield f"@@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"
        for tag, i, old_end, j, new_end in group:
            if tag == "equal":
                yield from (f" {line}" for line in matcher.a[i:old_end])
                continue
            yield from (f"-{line}" for line in matcher.a[i:old_end])
            yield from (f"+{line}" for line in matcher.b[j:new_end])


def _range(start: int, end: int) -> str:
    count = end - start
    if count == 1:
        return f"{start + 1}"
    return f"{start + 1 if count else start},{count}"


def _json_patch(old: str, new: str) -> list[dict[str, object]]:
    if values_in(old) + values_in(new) > PATCHED_VALUES_MAX and old != new:
        return [{"op": "replace", "path": "", "value": json.loads(new)}]
    import jsonpatch

    patch: list[dict[str, object]] = jsonpatch.make_patch(json.loads(old), json.loads(new)).patch
    return patch


def _is_state(row: Row) -> bool:
    return bool(row["kind"] == "state" and not row["deleted"])


def _label(row: Row | None) -> str:
    return f"{row['path']}@{row['version']}" if row is not None else "nothing"


def _side(ctx: Context, row: Row | None) -> Side:
    if row is None or row["deleted"]:
        return b"", _label(row), False
    if row["size_bytes"] > SIZE_BYTES_MAX:
        raise FastioError(
            "too_large", f"{_label(row)} is over {SIZE_BYTES_MAX} bytes: too large to compare."
        )
    if row["kind"] == "state":
        return row["body"], _label(row), True
    from fastio_cli.operations.files import read_all

    return read_all(ctx, row), _label(row), False


def _lines(side: Side) -> list[str]:
    data, label, is_json = side
    if is_json:
        text = data.decode()
        # The depth of a value times its number of lines may be a hundred times its size.
        indent = 2 if values_in(text) <= INDENTED_VALUES_MAX else 0
        return json.dumps(json.loads(text), ensure_ascii=False, indent=indent).splitlines()
    try:
        return data.decode("utf-8").splitlines()
    except UnicodeDecodeError:
        raise FastioError("invalid", f"{label} is not text.") from None
