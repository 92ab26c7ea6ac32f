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

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from fastio_cli.storage.repositories.search import Search
from fastio_cli.storage.tx import Tx

T = TypeVar("T")
Row = Any  # reads as a mapping: row["name"]


class Db(Protocol):
    """One open transaction, as the SQL modules use it; parameters are written ``:name``."""

    lock_clause: str
    """What a SELECT ends with to keep other writers from its rows, where that needs words."""

    now_column: str
    """A further column ``, ... as now_ms`` with the time, where the clock is the database's."""

    def one(self, sql: str, **params: object) -> Row | None: ...

    def all(self, sql: str, **params: object) -> list[Row]: ...

    def run(self, sql: str, **params: object) -> None:
        """Execute a statement for its effect. Its failure may show at a later one, or at commit."""

    def open_search(self) -> Search:
        """The search index in the words of this database."""

    def put(self, sql: str, row: dict[str, object]) -> None:
        """``run`` with parameters that stand in a dict already, among others perhaps."""


class Store(Protocol):
    """Where rows live. Safe to use from many threads; every call is its own transaction.

    ``reruns`` is True for a store that runs a work again when it lost the database in mid-commit
    and cannot know the outcome: every work of a write then finds its own trace if it was done.
    ``local`` is True for a store on this machine: a read takes microseconds, and one transaction
    writes at a time, whatever its workspace.
    """

    reruns: bool
    local: bool

    def read(self, work: Callable[[Tx], T]) -> T: ...

    def write(self, work: Callable[[Tx], T]) -> T: ...

    def write_many(
        self, works: list[Callable[[Tx], Any]], unlocked: Callable[[], None] | None = None
    ) -> list[Any]:
        """Several works in one commit, each undone alone if it fails: results or exceptions.

        A work may say by its attribute ``reads`` what it is going to read: the arguments of
        ``Tx.enter``. ``unlocked`` is called, if the store can
        tell, when others may write although this commit is not durable yet.
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

    def close(self) -> None: ...


class NearStore(Store, Protocol):
    """A store on this machine, whose writes are quick but for the disk."""

    def write_at_once(self, works: list[Callable[[Tx], Any]]) -> list[Any] | None:
        """``write_many`` without any waiting: None, with nothing done, if somebody else is writing;
        and not durable before ``sync``."""

    def sync(self) -> None:
        """Make durable whatever was committed before. Raises ``unavailable``."""
