"""Imports: fetching what was asked for, and writing it into the workspace.

The record of an import (``fastio import show``) is its own; when it is run, and what of it is
recorded once, is a matter of its job.
"""

from __future__ import annotations

import json
import re

from fastio_cli.blobs.local import GRACE_S
from fastio_cli.egress.client import Egress
from fastio_cli.egress.rules import rules_from
from fastio_cli.errors import FastioError
from fastio_cli.imports import buckets, naming
from fastio_cli.imports.fetch import fetch
from fastio_cli.imports.logins import DatabaseCredentialStore, OAuthGrants
from fastio_cli.imports.oauth import OAuthFlows
from fastio_cli.imports.providers import Endpoints, Services
from fastio_cli.imports.transfer import (
    Cancelled,
    Transfer,
    TransferLimits,
    Validators,
    is_transient,
)
from fastio_cli.jobs.import_results import Outcome, check, complete, fail, kept, last_fetch
from fastio_cli.jobs.kind import Done, Job, JobKind, NewJob, Stopped
from fastio_cli.operations.files import guess_media_type
from fastio_cli.operations.imports import JOB_KIND, ROLE, headers_of, job_id, refuse_forgotten
from fastio_cli.retry import RetryPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.blobs.staging import StagedBlob
    from fastio_cli.config.sources import Config
    from fastio_cli.engine.engine import Engine
    from fastio_cli.imports.providers import TokenOf
    from fastio_cli.imports.transfer import Fetched
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

PAUSE_S_MAX = 60.0
RETRY_AFTER_S_MAX = 600.0
KEPT_MS = GRACE_S * 1000 // 2  # how long fetched bytes that could not be written are used
ADOPTED_MAX = 100  # imports of a version before jobs, queued at a time


class ImportJob(Job):
    """An attempt at an import: its row as it was begun, and its transfer."""

    def __init__(self, job: Row, row: Row, known: Row | None) -> None:
        super().__init__(job)
        self.row = row
        self.import_id: int = row["id"]
        self.known = known
        before = Validators(row["source_etag"], row["source_modified"])
        self.transfer = Transfer(row["received_bytes"], before, row["total_bytes"])
        self.outcome: Outcome | None = None  # what was fetched, once it is to be committed
        self.is_kept = False  # for another attempt to commit it

    def stop(self) -> None:
        super().stop()
        self.transfer.stop = True

    def progress(self) -> dict[str, Any]:
        """How far it is, as the store keeps it; validators only where one can go on from there."""
        transfer = self.transfer
        going_on = transfer.durable_bytes > 0
        return {
            "received_bytes": transfer.durable_bytes if going_on else transfer.received,
            "total_bytes": transfer.total,
            "source_etag": transfer.validators.etag if going_on else None,
            "source_modified": transfer.validators.last_modified if going_on else None,
        }


class Imports(JobKind[ImportJob]):
    """Runs imports, ``import_parallel`` at a time.

    ``tokens_of`` finds the logins that an import may use, by default those that the member who
    asked for it keeps in the store. ``is_owner`` says that imports are run by the user who asked
    for them, with all the credentials in the environment. Raises ``invalid`` for wrong settings.
    """

    name = JOB_KIND
    role = ROLE
    renew_s = 1.0
    enters_workspace = True

    def __init__(
        self,
        engine: Engine,
        config: Config,
        tokens_of: Callable[[Row], TokenOf] | None = None,
        is_owner: bool = False,
    ) -> None:
        self.parallel = config.number("import_parallel")
        self.retry = RetryPolicy(
            config.number("import_retry_ms") / 1000,
            PAUSE_S_MAX,
            attempts_max=config.number("import_attempts_max"),
            retry_after_s_max=RETRY_AFTER_S_MAX,
        )
        self._engine = engine
        self._timeout_s = config.number("import_timeout_s")
        self._stall_s = config.number("import_stall_s")
        self._egress = Egress(rules_from(config))
        self._endpoints = Endpoints(config.get("import_endpoints") or "")
        self._tokens_of = tokens_of or stored_logins(engine, config)
        self._buckets = config.get("import_buckets") or ""
        self._is_owner = is_owner

    def open(self) -> None:
        """Remove what transfers left behind that nobody will go on with."""
        for name in self._engine.blobs.staged_names():
            named = re.fullmatch(r"(\d{1,18})-(\d{1,18})(-[0-9a-f]+)?", name)
            if named is None:
                continue
            if self._state(int(named[1]), int(named[2])) in (None, "done", "cancelled"):
                self._engine.blobs.discard_staged(name)

    def close(self) -> None:
        self._egress.close()

    def discover(self, tx: Tx, actor: str | None) -> list[NewJob]:
        """Imports that a version before jobs queued, or that were copied from another store."""
        return [
            NewJob(
                row["workspace_id"],
                job_id(row["id"]),
                actor=row["actor"],
                member=row["member"],
                payload={"import": row["id"]},
            )
            for row in tx.imports.without_job(tx.now_ms, actor, ADOPTED_MAX)
        ]

    def start(self, tx: Tx, row: Row) -> ImportJob | None:
        """Begin the import itself, which somebody may have removed or ended."""
        id = json.loads(row["payload"])["import"]
        begun = tx.imports.begin(row["workspace_id"], id, tx.now_ms)
        return None if begun is None else ImportJob(row, begun, last_fetch(tx, begun))

    def run(self, job: ImportJob) -> Done:
        """Fetch, and have it written with the job's end."""
        try:
            self._check(job)
            job.outcome = self._fetch(job)
        except FastioError as e:
            e.hint = e.hint.replace("retry ID", f"retry {job.import_id}")
            raise
        return Done(self._effect(job, job.outcome))

    def note_progress(self, tx: Tx, job: ImportJob) -> None:
        """Note how far its transfer is."""
        tx.imports.advance(job.workspace_id, job.import_id, now_ms=tx.now_ms, **job.progress())

    def has_progressed(self, job: ImportJob) -> bool:
        """Whether the transfer got further than it was."""
        transfer = job.transfer
        return transfer.resumed and transfer.durable_bytes > job.row["received_bytes"]

    def note_failure(
        self, tx: Tx, ctx: Context | None, job: ImportJob, error: FastioError, is_final: bool
    ) -> None:
        """Note it in the import; bytes that could not be written are kept for the next attempt."""
        assert ctx is not None
        outcome = job.outcome
        progress = job.progress() if is_transient(error) else _NO_PROGRESS
        if outcome is not None and outcome.content is not None:
            size_bytes = outcome.content.size_bytes
            progress = {**_NO_PROGRESS, "received_bytes": size_bytes, "total_bytes": size_bytes}
        job.is_kept = fail(
            ctx, job.row, error, is_final=is_final, progress=progress, outcome=outcome
        )

    def settle(self, job: ImportJob) -> None:
        """Remove what was fetched for nothing."""
        content = job.outcome.content if job.outcome is not None else None
        if content is not None and not job.is_kept:
            self._engine.discard(content)

    def note_put_back(self, tx: Tx, job: ImportJob) -> None:
        """Note how far it came; it goes on from there."""
        self.note_progress(tx, job)
        tx.imports.put_back(job.workspace_id, job.import_id, tx.now_ms)

    def _effect(self, job: ImportJob, outcome: Outcome) -> Callable[[Tx, Context | None], None]:
        def effect(tx: Tx, ctx: Context | None) -> None:
            assert ctx is not None
            complete(ctx, job.import_id, outcome)

        return effect

    def _check(self, job: ImportJob) -> None:
        def look(tx: Tx) -> None:
            ctx = self._engine.background_context(tx, job.workspace_id, job.actor, job.member)
            if ctx is not None:
                check(ctx, job.row)

        self._engine.store.read(look)

    def _state(self, workspace_id: int, id: int) -> str | None:
        row = self._engine.store.read(lambda tx: tx.imports.get(workspace_id, id))
        return row["state"] if row is not None else None

    def _fetch(self, job: ImportJob) -> Outcome:
        """One attempt; what it received stays for the next one if that can go on from there."""
        staged = None
        try:
            name = f"{job.workspace_id}-{job.import_id}"
            transfer = job.transfer
            staged = self._engine.blobs.staged(
                name, transfer.durable_bytes, transfer.validators.digest
            )
            transfer.durable_bytes = staged.size_bytes
            return self._attempt(job, staged)
        except Cancelled:
            if staged is not None and job.is_cancelled:
                staged.discard()
            raise Stopped from None
        except Exception as e:
            may_go_on = isinstance(e, FastioError) and is_transient(e)
            if staged is not None and not (may_go_on and job.transfer.durable_bytes):
                staged.discard()
            raise
        finally:
            if staged is not None:
                staged.close()

    def _attempt(self, job: ImportJob, staged: StagedBlob) -> Outcome:
        row, known = job.row, job.known
        fetched_before = kept(row)
        if fetched_before is not None and self._is_there(fetched_before):
            return fetched_before
        refuse_forgotten(row)
        fetched = self._fetched(job, staged)
        name = row["name"] or fetched.name
        if fetched.content is None and known is not None:
            name = known["path"].removeprefix(known["target"])
        return Outcome(
            fetched.content,
            name=name,
            media_type=naming.media_type(fetched.media_type, fetched.head, guess_media_type(name)),
            final_url=fetched.final_url,
            etag=fetched.validators.etag,
            last_modified=fetched.validators.last_modified,
        )

    def _fetched(self, job: ImportJob, staged: StagedBlob) -> Fetched:
        row, transfer = job.row, job.transfer
        limit = self._engine.limits.file_bytes_max
        limits = TransferLimits(
            min(limit, row["size_bytes_max"] or limit), self._timeout_s, self._stall_s
        )
        known = _validators(job.known) if job.known is not None else None
        conditions = {"known": known, "sha256": row["sha256"]}
        if buckets.is_bucket(row["url"]):
            if not self._is_owner:
                buckets.check_bucket_allowed(row["url"], self._buckets)
            return buckets.fetch_object(row["url"], staged, transfer, limits, **conditions)
        services = Services(self._egress, self._endpoints, self._tokens_of(row))
        source = services.source(row["url"])
        source.secrets |= self._headers(row)
        return fetch(self._egress, source, staged, transfer, limits, **conditions)

    def _headers(self, row: Row) -> dict[str, str]:
        workspace = self._engine.store.read(lambda tx: tx.workspaces.by_id(row["workspace_id"]))
        org = workspace["org"] if workspace is not None else ""
        return headers_of(row, org, self._engine.open_secret_box)

    def _is_there(self, before: Outcome) -> bool:
        """Whether bytes that were fetched before are in the store, and safe from being swept."""
        content, at = before.content, before.fetched_at
        if content is None or at is None or self._engine.store.now_ms() - at > KEPT_MS:
            return False
        if content.blob is None:
            return True
        content.claim = self._engine.blobs.claim(content.blob)
        return self._engine.blobs.has(content.blob, content.size_bytes)


def stored_logins(engine: Engine, config: Config) -> Callable[[Row], TokenOf]:
    """Finds the logins that the member who asked for an import keeps in the store itself."""
    flows = OAuthFlows.of(config)

    def tokens_of(row: Row) -> TokenOf:
        def token(service: str) -> str | None:
            workspace = engine.store.read(lambda tx: tx.workspaces.by_id(row["workspace_id"]))
            if workspace is None:
                return None
            org = workspace["org"]
            logins = DatabaseCredentialStore(
                engine.store, engine.open_secret_box, org, row["actor"]
            )
            return OAuthGrants(logins, flows).token(service)

        return token

    return tokens_of


_NO_PROGRESS: dict[str, Any] = {
    "received_bytes": 0,
    "total_bytes": None,
    "source_etag": None,
    "source_modified": None,
}


def _validators(row: Row) -> Validators | None:
    if row["source_etag"] is None and row["source_modified"] is None:
        return None
    return Validators(row["source_etag"], row["source_modified"])
