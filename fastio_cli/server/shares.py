"""A share for everyone: how the orgs of a server take turns at what there is only so much of.

**The rule.** Who waits is served by turns, one of each org. An org holds at most a quarter of the
places while another waits, and never more than half: so whatever one org does, and for however long
its work takes, there is room for the others at once. What nobody waits for any longer is not begun.
"""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from contextlib import asynccontextmanager
from itertools import zip_longest
from typing import Generic, TypeVar

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from fastio_cli.identity import Identity

T = TypeVar("T")
ANYONE = "/anyone"  # the share of all who have no token; no org's name begins so
SERVER = "/server"  # the server's own


def share_of(identity: Identity | None) -> str:
    """Whose share the work for an identity is taken from."""
    if identity is None:
        return SERVER
    return ANYONE if identity.digest is None else identity.org


class Turns(Generic[T]):
    """Things by whose they are, each owner's first in, first out; owners take turns."""

    def __init__(self) -> None:
        self._lines: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()

    def __bool__(self) -> bool:
        return bool(self._lines)

    def put(self, owner: str, thing: T) -> None:
        """Add a thing at the end of its owner's line."""
        self._lines.setdefault(owner, OrderedDict())[thing] = None

    def remove(self, owner: str, thing: T) -> bool:
        """Take a thing out of its line; False if it is not there any more."""
        line = self._lines.get(owner)
        if line is None or thing not in line:
            return False
        del line[thing]
        if not line:
            del self._lines[owner]
        return True

    def take(self, may: Callable[[str, T, bool], bool] = lambda *_: True) -> T | None:
        """The next thing of the first owner who may have it; None if nobody may.

        ``may`` is asked with an owner, its next thing, and whether nobody else waits.
        """
        alone = len(self._lines) == 1
        for owner, line in self._lines.items():
            if may(owner, next(iter(line)), alone):
                break
        else:
            return None
        thing, _ = line.popitem(last=False)
        if line:
            self._lines.move_to_end(owner)
        else:
            del self._lines[owner]
        return thing

    def take_many(self, count: int) -> list[T]:
        """The next things, so many at most."""
        things: list[T] = []
        while len(things) < count and (thing := self.take()) is not None:
            things.append(thing)
        return things


def by_turns(owned: list[tuple[str, T]]) -> list[tuple[str, T]]:
    """Things and their owners in the order in which they have their turns."""
    if len({owner for owner, _ in owned}) < 2:
        return owned
    lines: dict[str, list[tuple[str, T]]] = {}
    for pair in owned:
        lines.setdefault(pair[0], []).append(pair)
    rounds = zip_longest(*lines.values())
    return [pair for turn in rounds for pair in turn if pair is not None]


class Places:
    """So many places, and who holds how many of them."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._held: Counter[str] = Counter()
        self._share_max = max(1, count // 4)
        self._alone_max = max(1, count // 2)

    def may_take(self, owner: str, alone: bool, count: int = 1) -> bool:
        """Whether an owner may have more; ``alone``: nobody else waits. Who holds nothing may have
        any number that is free."""
        limit = self._alone_max if alone else self._share_max
        held = self._held[owner]
        return self._free >= count and (held + count <= limit or not held)

    def take(self, owner: str, count: int = 1) -> None:
        self._free -= count
        self._held[owner] += count

    def give_back(self, owner: str, count: int = 1) -> None:
        self._free += count
        self._held[owner] -= count
        if not self._held[owner]:
            del self._held[owner]


class Budget:
    """An amount of something, for coroutines that hold a part of it for a while."""

    def __init__(self, amount: int) -> None:
        self._places = Places(amount)
        self._waiting: Turns[tuple[asyncio.Future[None], int]] = Turns()

    @asynccontextmanager
    async def held(self, owner: str, amount: int) -> AsyncIterator[None]:
        """Wait for so much in an owner's turn, and hold it."""
        wanted = asyncio.get_running_loop().create_future(), amount
        self._waiting.put(owner, wanted)
        self._hand_out()
        try:
            await wanted[0]
            yield
        finally:
            if not self._waiting.remove(owner, wanted):
                self._places.give_back(owner, amount)
                self._hand_out()

    def _hand_out(self) -> None:
        owner = ""

        def may(who: str, wanted: tuple[asyncio.Future[None], int], alone: bool) -> bool:
            nonlocal owner
            owner = who
            return self._places.may_take(who, alone, wanted[1])

        while (wanted := self._waiting.take(may)) is not None:
            self._places.take(owner, wanted[1])
            if not wanted[0].done():
                wanted[0].set_result(None)
