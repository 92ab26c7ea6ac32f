"""A transaction as operations see it: its unit of work, and one repository per noun."""

from __future__ import annotations

from fastio_cli.storage.repositories.events import Events
from fastio_cli.storage.repositories.imports import Imports
from fastio_cli.storage.repositories.locks import Locks
from fastio_cli.storage.repositories.objects import Objects
from fastio_cli.storage.repositories.usage import Usage
from fastio_cli.storage.repositories.workspaces import Workspaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.storage.db import Db
    from fastio_cli.storage.repositories.actors import Actors
    from fastio_cli.storage.repositories.jobs import Jobs
    from fastio_cli.storage.repositories.logins import Logins
    from fastio_cli.storage.repositories.members import Members
    from fastio_cli.storage.repositories.numbers import Numbers
    from fastio_cli.storage.repositories.org_transfers import OrgTransfers
    from fastio_cli.storage.repositories.orgs import Orgs
    from fastio_cli.storage.repositories.requests import Requests
    from fastio_cli.storage.repositories.rows import Rows
    from fastio_cli.storage.repositories.search import Search
    from fastio_cli.storage.repositories.tokens import Tokens
    from fastio_cli.storage.unit_of_work import Prefetch, UnitOfWork


class Tx:
    """One open transaction.

    What every call reads and writes goes through ``unit``; all else through the repositories,
    whose statements see what is pending in the unit.
    """

    def __init__(self, db: Db, unit: UnitOfWork, open_search: Callable[[Db], Search]) -> None:
        self.unit = unit
        self.workspaces = Workspaces(db)
        self.objects = Objects(db)
        self.locks = Locks(db)
        self.events = Events(db)
        self.imports = Imports(db)
        self.usage = Usage(db)
        self._db = db
        self._open_search = open_search

    @property
    def now_ms(self) -> int:
        """The store's time, which stands still while the transaction is open."""
        return self.unit.now_ms

    @property
    def writable(self) -> bool:
        """Whether the transaction may change something."""
        return self.unit.writable

    @property
    def search(self) -> Search:
        """The search index; its module is not for those who only read and write."""
        return self._open_search(self._db)

    @property
    def actors(self) -> Actors:
        """What the log says of each actor."""
        from fastio_cli.storage.repositories.actors import Actors

        return Actors(self._db)

    @property
    def orgs(self) -> Orgs:
        """Orgs and the credits they used."""
        from fastio_cli.storage.repositories.orgs import Orgs

        return Orgs(self._db)

    @property
    def members(self) -> Members:
        """Members and their roles."""
        from fastio_cli.storage.repositories.members import Members

        return Members(self._db)

    @property
    def tokens(self) -> Tokens:
        """Access tokens."""
        from fastio_cli.storage.repositories.tokens import Tokens

        return Tokens(self._db)

    @property
    def org_transfers(self) -> OrgTransfers:
        """Offers to hand an org over."""
        from fastio_cli.storage.repositories.org_transfers import OrgTransfers

        return OrgTransfers(self._db)

    @property
    def jobs(self) -> Jobs:
        """Work in the background, which plain reads and writes do not touch."""
        from fastio_cli.storage.repositories.jobs import Jobs

        return Jobs(self._db)

    @property
    def numbers(self) -> Numbers:
        """What keeps numbers from going back."""
        from fastio_cli.storage.repositories.numbers import Numbers

        return Numbers(self._db)

    @property
    def requests(self) -> Requests:
        """Idempotency records as rows, for those who sweep them."""
        from fastio_cli.storage.repositories.requests import Requests

        return Requests(self._db)

    @property
    def logins(self) -> Logins:
        """Members' logins at file services."""
        from fastio_cli.storage.repositories.logins import Logins

        return Logins(self._db)

    @property
    def rows(self) -> Rows:
        """Whole rows, for a copy of the store."""
        from fastio_cli.storage.repositories.rows import Rows

        return Rows(self._db)


class Work:
    """What a store runs in a transaction together with others, and what it will read first."""

    __slots__ = ("prefetch", "run")

    def __init__(self, run: Callable[[Tx], object], prefetch: Prefetch | None = None) -> None:
        self.run = run
        self.prefetch = prefetch
