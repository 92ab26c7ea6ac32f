"""The checker itself, on histories that are known to be good or bad."""

from __future__ import annotations

import pytest

from tests.concurrency.linearizability import Operation, counter, linearizable, register


def history(*operations):
    return [Operation(*operation) for operation in operations]


GOOD_COUNTERS = {
    "empty": history(),
    "in a row": history(("increment", 1, 0, 1), ("increment", 2, 2, 3), ("read", 2, 4, 5)),
    "overlapping, the later answers first": history(
        ("increment", 2, 0, 10), ("increment", 1, 1, 5), ("read", 1, 2, 4)
    ),
    "a read that overlaps may be early": history(("increment", 1, 0, 10), ("read", 0, 1, 2)),
    "a read that overlaps may be late": history(("increment", 1, 0, 10), ("read", 1, 1, 2)),
}
BAD_COUNTERS = {
    "a lost update": history(("increment", 1, 0, 2), ("increment", 1, 1, 3)),
    "a skipped value": history(("increment", 1, 0, 1), ("increment", 3, 2, 3)),
    "a stale read": history(("increment", 1, 0, 1), ("read", 0, 2, 3)),
    "a read from the future": history(("read", 1, 0, 1), ("increment", 1, 2, 3)),
    "an answer against time": history(("increment", 2, 0, 1), ("increment", 1, 2, 3)),
    "reads that go back": history(("increment", 1, 0, 10), ("read", 1, 1, 2), ("read", 0, 3, 4)),
}
GOOD_REGISTERS = {
    "in a row": history(("write", "a", 0, 1), ("read", "a", 2, 3)),
    "two orders": history(("write", "a", 0, 9), ("write", "b", 0, 9), ("read", "a", 10, 11)),
}
BAD_REGISTERS = {
    "a lost write": history(("write", "a", 0, 1), ("read", None, 2, 3)),
    "an old value again": history(
        ("write", "a", 0, 1), ("write", "b", 2, 3), ("read", "b", 4, 5), ("read", "a", 6, 7)
    ),
    "two readers, two orders": history(
        ("write", "a", 0, 9),
        ("write", "b", 0, 9),
        ("read", "a", 10, 11),
        ("read", "b", 12, 13),
    ),
    "a value nobody wrote": history(("write", "a", 0, 1), ("read", "x", 0, 3)),
}


@pytest.mark.parametrize("case", GOOD_COUNTERS.values(), ids=GOOD_COUNTERS)
def test_good_counters(case):
    assert linearizable(case, 0, counter)


@pytest.mark.parametrize("case", BAD_COUNTERS.values(), ids=BAD_COUNTERS)
def test_bad_counters(case):
    assert not linearizable(case, 0, counter)


@pytest.mark.parametrize("case", GOOD_REGISTERS.values(), ids=GOOD_REGISTERS)
def test_good_registers(case):
    assert linearizable(case, None, register)


@pytest.mark.parametrize("case", BAD_REGISTERS.values(), ids=BAD_REGISTERS)
def test_bad_registers(case):
    assert not linearizable(case, None, register)
