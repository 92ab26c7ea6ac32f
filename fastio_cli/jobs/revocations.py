"""Revocations: a login at a file service that was ended is revoked there, then forgotten.

A service that does not answer is asked again for a day.
"""

from __future__ import annotations

from fastio_cli.imports.logins import LOGIN_LEASE_MS, DatabaseCredentialStore
from fastio_cli.imports.oauth import OAuthFlows
from fastio_cli.jobs.kind import STORE_WIDE, Done, Job, JobKind, NewJob
from fastio_cli.retry import RetryPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.config.sources import Config
    from fastio_cli.engine.engine import Engine
    from fastio_cli.errors import FastioError
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

DAY_S = 24 * 3600
HELD_S = 5.0  # before a login that is held elsewhere is looked at again


class RevocationJob(Job):
    """An attempt to revoke a login."""

    def __init__(self, row: Row) -> None:
        super().__init__(row)
        self.who = self.payload["org"], self.payload["member"], self.payload["service"]


class Revocations(JobKind[RevocationJob]):
    """Revokes logins that were ended. They belong to orgs, and their jobs to no workspace."""

    name = "revocation"
    retry = RetryPolicy(LOGIN_LEASE_MS / 1000, 3600.0, deadline_s=DAY_S)

    def __init__(self, engine: Engine, config: Config) -> None:
        self._engine = engine
        self._flows = OAuthFlows.of(config)

    def discover(self, tx: Tx, actor: str | None) -> list[NewJob]:
        """Logins that were ended."""
        return [
            NewJob(
                STORE_WIDE,
                f"{self.name}-{row['org']}/{row['member']}/{row['service']}",
                actor=row["member"],
                payload={name: row[name] for name in ("org", "member", "service")},
            )
            for row in tx.logins.ended()
        ]

    def start(self, tx: Tx, row: Row) -> RevocationJob | None:
        """None if somebody logged in again."""
        job = RevocationJob(row)
        return None if tx.logins.get(*job.who) is not None else job

    def run(self, job: RevocationJob) -> Done:
        """Revoke it alone: a service may end all that was granted by one revocation."""
        org, member, service = job.who
        store = self._engine.store
        held = store.write(
            lambda tx: tx.logins.hold(*job.who, tx.now_ms, tx.now_ms + LOGIN_LEASE_MS)
        )
        if held is None:
            return Done(again_in_s=HELD_S)
        try:
            if held["ended_at"] is None:
                return Done()  # somebody logged in again
            logins = DatabaseCredentialStore(store, self._engine.open_secret_box, org, member)
            self._flows.revoke(service, logins.opened(held))
        finally:
            store.write(lambda tx: tx.logins.release(*job.who))
        return Done(lambda tx, ctx: tx.logins.forget(*job.who))

    def note_failure(
        self, tx: Tx, ctx: Context | None, job: RevocationJob, error: FastioError, is_final: bool
    ) -> None:
        """Forget a login that cannot be revoked."""
        if is_final:
            tx.logins.forget(*job.who)
