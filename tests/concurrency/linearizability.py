"""Whether a history of overlapping operations could have happened one at a time.

The search of Wing and Gong ("Testing and Verifying Concurrent Objects", 1993) with the memory of
Lowe ("Testing for linearizability", 2017): an operation may come next if it began before every
other one that is left ended; states that were reached already with the same ones left are skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, NamedTuple


class Operation(NamedTuple):
    """What was done, what it answered, and when it was called and answered."""

    kind: str
    result: Any
    began: int
    ended: int


class Impossible(Exception):
    """The operation cannot have this result in this state."""


def linearizable(
    history: list[Operation], initial: Hashable, apply: Callable[[Any, Operation], Hashable]
) -> bool:
    """Whether there is an order that respects time, in which each result is right.

    ``apply`` gives the state after an operation, or raises :class:`Impossible`.
    """
    operations = sorted(history, key=lambda o: o.began)
    everything = (1 << len(operations)) - 1
    stack: list[tuple[int, Hashable]] = [(0, initial)]
    seen = set(stack)
    while stack:
        done, state = stack.pop()
        if done == everything:
            return True
        left = [n for n in range(len(operations)) if not done >> n & 1]
        first_end = min(operations[n].ended for n in left)
        following = []
        for n in left:
            if operations[n].began > first_end:
                break
            try:
                after = apply(state, operations[n])
            except Impossible:
                continue
            following.append((done | 1 << n, after))
            if after == state:
                # It changes nothing, so it may as well come now: no other choice is better.
                following = following[-1:]
                break
        stack += [reached for reached in following if reached not in seen]
        seen.update(following)
    return False


def counter(state: int, operation: Operation) -> int:
    """A counter whose increments answer the new value."""
    after = state + (operation.kind == "increment")
    if operation.result != after:
        raise Impossible
    return after


def register(state: Any, operation: Operation) -> Any:
    """A register that is written and read."""
    if operation.kind == "write":
        return operation.result
    if operation.result != state:
        raise Impossible
    return state
