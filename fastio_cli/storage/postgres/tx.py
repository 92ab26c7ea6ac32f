"""A transaction on PostgreSQL as operations see it: what will be read next comes along."""

from __future__ import annotations

from fastio_cli.storage.postgres.ahead import Noted
from fastio_cli.storage.postgres.written import WrittenObjects, WrittenWorkspaces
from fastio_cli.storage.tx import Tx

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.contract import Row
    from fastio_cli.storage.postgres.store import Transaction

    # What ``Tx.enter`` is given after the workspace: a path, an idempotency key, a token's digest.
    Reads = tuple[str | None, str | None, str | None]


class PostgresTx(Tx):
    """The nouns of a PostgreSQL transaction: its time is asked for when it is needed."""

    def __init__(self, db: Transaction, ids: dict[str, int]) -> None:
        self._transaction = db
        self._ids = ids
        self._now_ms = 0
        self._shared: list[tuple[str, str | None, str | None, str | None]] = []
        super().__init__(db)

    @property
    def now_ms(self) -> int:
        """The store's time, which stands still while the transaction is open."""
        if not self._now_ms:
            self._now_ms = self._transaction.now_ms()
        return self._now_ms

    @now_ms.setter
    def now_ms(self, value: int) -> None:
        self._now_ms = value

    def share(self, reads: list[tuple[str, str | None, str | None, str | None]]) -> None:
        """Several works use this transaction, which will read this."""
        self._shared = reads
        self.objects = WrittenObjects(self._transaction)
        self.workspaces = WrittenWorkspaces(self._transaction)

    def forget(self) -> None:
        """Some of what was written was undone."""
        for noun in (self.objects, self.workspaces):
            if isinstance(noun, WrittenObjects | WrittenWorkspaces):
                noun.forget()

    def enter(
        self, workspace: str, path: str | None, key: str | None, digest: str | None
    ) -> Row | None:
        """The workspace, locked if writing, fetched with the time and what is read next."""
        known = self.workspaces
        if isinstance(known, WrittenWorkspaces) and (row := known.entered(workspace)) is not None:
            return row
        noted = Noted(self._transaction.lock_clause, self._transaction.now_column)
        Tx(noted).workspaces.by_name(workspace)
        sql, params = noted.reads[0]
        others = [reads[1:] for reads in self._shared if reads[0] == workspace]
        ahead = self._reads_of(workspace, [(path, key, digest), *others])
        row = self._transaction.enter(sql, params, ahead)
        if row is not None:
            self._ids[workspace] = row["id"]
            self._now_ms = self._now_ms or self._transaction.time_of(row)
            if isinstance(known, WrittenWorkspaces):
                known.remember(workspace, row)
        return row

    def _reads_of(self, workspace: str, calls: list[Reads]) -> list[tuple[str, dict[str, object]]]:
        """What calls in a workspace will read, as far as it is known where to find it."""
        workspace_id = self._ids.get(workspace)
        if workspace_id is None:
            return []
        noted = Noted()
        tx = Tx(noted)
        for path, key, digest in calls:
            if digest is not None:
                tx.tokens.grant(digest, workspace_id)
            if key is not None:
                tx.requests.stored(workspace_id, key)
            if path is not None:
                if self.writable:
                    tx.objects.slot(workspace_id, path)
                    tx.locks.get(workspace_id, path)
                else:
                    tx.objects.head(workspace_id, path)
        return noted.reads
