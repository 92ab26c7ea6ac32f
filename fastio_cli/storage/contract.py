"""What every store promises, in types and in words. Imported by type checkers only.

**Order.** Writes of one workspace happen one after another. An event's ``seq`` rises in commit
order without gaps, so a reader that asks for "after N" never misses or repeats an event.

**Isolation.** ``read`` sees one snapshot. ``write`` sees the newest state and nobody else's half.

**Durability.** When ``write`` returns, the change survives the death of the process and, with the
default durability, the loss of power. Whatever the change could have seen is durable then too. A
reader may see a change a moment before that; if power is lost in between, the change and everything
built on it are gone together.

**Failure.** When ``write`` raises, nothing of that work happened, except for ``unavailable`` raised
by a failing disk after the commit, which says that the outcome is unknown.

**Time** is the store's clock, in whole milliseconds since 1970.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from fastio_cli.storage.tx import Tx, Work

T = TypeVar("T")


class Store(Protocol):
    """Where rows live. Safe to use from many threads; every call is its own transaction.

    ``retries_whole_transaction`` is True for a store that runs a work again when it lost the
    database in mid-commit and cannot know the outcome: every work of a write then finds its own
    trace if it was done. ``local`` is True for a store on this machine: a read takes microseconds,
    and one transaction writes at a time, whatever its workspace. ``is_copy`` is True for a
    copy of a store that cannot be written (``scratch.py``): what is kept in it is soon forgotten.
    """

    retries_whole_transaction: bool
    local: bool
    is_copy: bool

    def read(self, run: Callable[[Tx], T]) -> T: ...

    def write(self, run: Callable[[Tx], T]) -> T: ...

    def write_batch(
        self, works: Sequence[Work], on_commit: Callable[[], None] | None = None
    ) -> list[object]:
        """Several works in one commit, each undone alone if it fails: results or exceptions.

        ``on_commit`` is called, if the store can tell, when others may write although this commit
        is not durable yet.
        """

    def now_ms(self) -> int:
        """The store's time."""

    def change_token(self, workspace: str) -> object:
        """A value that differs after any event in a workspace, for ``wait_for_change``."""

    def wait_for_change(self, token: object, timeout_s: float) -> None:
        """Return after an event since ``token`` was taken, or after ``timeout_s``; or sooner."""

    def build_ann_index(self, workspace_id: int) -> None:
        """Build the approximate nearest neighbour index of a workspace if it is large and has none,
        where the database supports it. Outside any transaction; it may take minutes."""

    def check_schema(self) -> None:
        """Raise ``unavailable`` if something that fastio did not make acts on its tables."""

    def close(self) -> None:
        """Close every connection, of whichever thread. No other thread may be using the store."""


class EmbeddedStore(Store, Protocol):
    """A store on this machine, whose writes are quick but for the disk."""

    def try_write_batch(self, works: Sequence[Work]) -> list[object] | None:
        """``write_batch`` without any waiting: None, with nothing done, if somebody else is
        writing; and not durable before ``sync``."""

    def sync(self) -> None:
        """Make durable whatever was committed before. Raises ``unavailable``."""
