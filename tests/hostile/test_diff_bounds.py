"""Two texts are compared in a bounded number of steps, however they differ."""

from __future__ import annotations

import difflib
import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.operations import diff
from fastio_cli.operations.diff import REPLACED, STEPS_MAX, LineMatcher, compare_bytes

LINES = st.lists(st.sampled_from("abcdefgh"), max_size=30)


def differences(old: str, new: str) -> str:
    return compare_bytes(old.encode(), "x@1", False, new.encode(), "x@2", False, False)[1]


def applied(old: list[str], opcodes) -> list[str]:
    """What comes of the old lines by the opcodes, which say what stands in the new ones."""
    matcher, result = opcodes
    for tag, i, old_end, j, new_end in matcher.get_opcodes():
        assert tag != "equal" or matcher.a[i:old_end] == matcher.b[j:new_end]
        result += matcher.a[i:old_end] if tag == "equal" else matcher.b[j:new_end]
    return result


@given(LINES, LINES, st.integers(0, 50))
def test_a_diff_says_what_changed_whatever_it_may_cost(old, new, steps):
    for matcher in (LineMatcher(old, new), LineMatcher(old, new, steps)):
        assert applied(old, (matcher, [])) == new
        assert matcher.get_matching_blocks()[-1] == (len(old), len(new), 0)


@given(LINES, LINES)
def test_a_small_diff_is_a_unified_diff(old, new):
    text = differences("\n".join(old), "\n".join(new))
    if old == new:
        assert text == ""
        return
    assert REPLACED not in text
    expected = difflib.unified_diff(old, new, "x@1", "x@2", lineterm="")
    if LineMatcher(old, new).get_opcodes() == difflib.SequenceMatcher(None, old, new).get_opcodes():
        assert text.split("\n") == list(expected)


def few_kinds(seed: int) -> list[str]:
    return [str(n) for n in random.Random(seed).choices(range(300), k=200_000)]


ATTACKS = {
    "few kinds of lines": (few_kinds(1), few_kinds(2)),
    "every second line": (
        [f"{n // 2}" for n in range(50_000)],
        [f"{n // 2}" if n % 2 else f"x{n}" for n in range(50_000)],
    ),
}


@pytest.mark.parametrize(("old", "new"), ATTACKS.values(), ids=ATTACKS)
def test_a_diff_takes_no_more_steps_than_it_has(old, new, monkeypatch):
    taken = []
    longest = difflib.SequenceMatcher.find_longest_match

    def count(self, alo=0, ahi=None, blo=0, bhi=None):
        taken.append(self._steps_before[ahi] - self._steps_before[alo])
        return longest(self, alo, ahi, blo, bhi)

    monkeypatch.setattr(difflib.SequenceMatcher, "find_longest_match", count)
    matcher = LineMatcher(old, new)
    assert matcher.is_cut_short
    assert sum(taken) <= STEPS_MAX
    assert applied(old, (matcher, [])) == new


def test_scattered_changes_of_a_large_text_are_told_one_by_one():
    old = [f"line {n}" for n in range(50_000)]
    new = [f"changed {n}" if n % 100 == 7 else line for n, line in enumerate(old)]
    text = differences("\n".join(old), "\n".join(new))
    assert not text.startswith(REPLACED)
    assert text.count("\n+changed") == text.count("\n-line") == 500


def test_versions_that_differ_too_much(caller):
    old, new = ATTACKS["few kinds of lines"]
    caller.put("v.txt", "\n".join(old).encode())
    caller.put("v.txt", "\n".join(new).encode())
    text = caller("object.diff", path="v.txt")["text"]
    assert text.split("\n")[:3] == [REPLACED, "--- v.txt@1", "+++ v.txt@2"]


def test_a_patch_of_very_many_values_is_the_new_value(caller):
    old, new = list(range(60_000)), list(range(60_000, 0, -1))
    caller("state.set", path="v.json", value=old)
    caller("state.set", path="v.json", value=new)
    found = caller("object.diff", path="v.json")
    assert found["json_patch"] == [{"op": "replace", "path": "", "value": new}]
    caller("state.set", path="v.json", value=new)
    assert caller("object.diff", path="v.json")["json_patch"] == []


def test_a_deep_value_is_not_written_a_hundred_times_as_large():
    value: object = [1] * 200_000
    for _ in range(190):
        value = [value]
    old, new = json.dumps(value), json.dumps([value])
    [_, text] = compare_bytes(old.encode(), "a", True, new.encode(), "b", True, False)
    assert len(text) < 8 * len(old)
    assert diff.REPLACED not in text
