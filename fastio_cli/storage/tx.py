"""A transaction as operations see it: one small object per noun, and the store's time."""

from __future__ import annotations

from fastio_cli.storage.repositories.events import Events
from fastio_cli.storage.repositories.imports import Imports
from fastio_cli.storage.repositories.locks import Locks
from fastio_cli.storage.repositories.objects import Objects
from fastio_cli.storage.repositories.requests import Requests
from fastio_cli.storage.repositories.workspaces import Workspaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.contract import Db, Row
    from fastio_cli.storage.repositories.jobs import Jobs
    from fastio_cli.storage.repositories.logins import Logins
    from fastio_cli.storage.repositories.members import Members
    from fastio_cli.storage.repositories.org_transfers import OrgTransfers
    from fastio_cli.storage.repositories.orgs import Orgs
    from fastio_cli.storage.repositories.rows import Rows
    from fastio_cli.storage.repositories.search import Search
    from fastio_cli.storage.repositories.tokens import Tokens


class Tx:
    """The nouns of one open transaction. ``now_ms`` stands still while it is open."""

    def __init__(self, db: Db) -> None:
        self.now_ms = 0
        self.writable = False
        self.workspaces = Workspaces(db)
        self.objects = Objects(db)
        self.locks = Locks(db)
        self.events = Events(db)
        self.requests = Requests(db)
        self.imports = Imports(db)
        self._db = db
        # What the other workspaces of an org held when this transaction first asked.
        self.beside_bytes: dict[tuple[str, int], int] = {}

    @property
    def search(self) -> Search:
        """The search index; its module is not for those who only read and write."""
        return self._db.open_search()

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
    def logins(self) -> Logins:
        """Members' logins at file services."""
        from fastio_cli.storage.repositories.logins import Logins

        return Logins(self._db)

    @property
    def rows(self) -> Rows:
        """Whole rows, for a copy of the store."""
        from fastio_cli.storage.repositories.rows import Rows

        return Rows(self._db)

    def size_beside(self, org: str, workspace_id: int, size_bytes: int) -> int:
        """The bytes of an org's workspaces but this one, which has ``size_bytes``.

        Asked once in a transaction, as it adds up all of them.
        """
        key = (org, workspace_id)
        if key not in self.beside_bytes:
            self.beside_bytes[key] = self.workspaces.usage(org)["size_bytes"] - size_bytes
        return self.beside_bytes[key]

    def enter(
        self, workspace: str, path: str | None, key: str | None, digest: str | None
    ) -> Row | None:
        """The workspace to work in; in a writing transaction it is ours alone from here.

        ``path``, ``key`` and a token's ``digest`` say what will probably be read next: a store that
        is far away fetches it along.
        """
        return self.workspaces.by_name(workspace)
