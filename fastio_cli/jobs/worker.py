"""Work in the background, in bounded steps: search indexes, imports, the ending of logins.

An index is kept by one worker, whose hold on it runs out if it dies. Of imports, one thread (the
caller's) speaks to the store: it takes what is due, notes every second how far each transfer is,
and commits what came. The others fetch, and look up logins. A worker that dies leaves its imports
with a lease that runs out; whoever works next goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from functools import partial

from fastio_cli.blobs.local import GRACE_S
from fastio_cli.egress.client import Egress, rules_of
from fastio_cli.errors import FastioError
from fastio_cli.imports import buckets, naming
from fastio_cli.imports.fetch import (
    Cancelled,
    Transfer,
    TransferLimits,
    Validators,
    fetch,
    is_transient,
)
from fastio_cli.imports.logins import HOLD_MS, DatabaseCredentialStore, OAuthGrants
from fastio_cli.imports.oauth import OAuthFlows
from fastio_cli.imports.providers import Endpoints, Services
from fastio_cli.operations import import_jobs
from fastio_cli.operations.files import guess_media_type
from fastio_cli.operations.import_jobs import Outcome
from fastio_cli.retry import RetryPolicy, asked_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.config.sources import Config
    from fastio_cli.engine.engine import Engine
    from fastio_cli.imports.providers import TokenOf
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

LEASE_MS = 20_000
CHECKPOINT_S = 1.0
TICK_S = 0.2
INDEX_STEP_S = 0.5
INDEX_LEASE_MS = 10_000
INDEX_LATE_S = 10.0  # how long writers may keep a workspace from being indexed
INDEX_WORKSPACES = 16  # looked at in one step
ATTEMPTS_MAX = 100  # also with progress each time
KEPT_MS = GRACE_S * 1000 // 2  # how long fetched bytes that could not be written are used
REVOKE_MS = 24 * 3600 * 1000  # a service that cannot be reached for longer is not told
PAUSE_S_MAX = 60.0
RETRY_AFTER_S_MAX = 600.0


class IndexWorker:
    """Keeps the indexes of all workspaces current, their words and vectors. Use it from one thread.

    A workspace has half a second, then the next one's turn comes, so that one with much to be read
    does not keep the others waiting. One that is being written to is left alone until it was quiet
    for ``quiet_s``, or has waited for ten seconds: whoever searches brings the index up to date
    anyway, and who writes should not share the processor with what the next write makes void.
    """

    def __init__(self, engine: Engine, quiet_s: float = 0.0) -> None:
        self.name = os.urandom(8).hex()
        self._quiet_s = quiet_s
        # Workspaces that are behind: the event seen last, since when, and since when behind.
        self._behind: dict[int, tuple[int, float, float]] = {}
        self._engine = engine
        self._after = 0
        self._embeds = engine.search.warm()

    def step(self) -> bool:
        """Index for a while wherever it is due; False if nothing was."""
        store = self._engine.store
        rows = store.read(self._due)
        self._after = rows[-1]["id"] if len(rows) == INDEX_WORKSPACES else 0
        ids = [row["id"] for row in rows if self._is_settled(row["id"], row["seq"])]
        done = False
        failure: FastioError | None = None
        for id in ids:
            self._behind.pop(id, None)
            try:
                if store.write(partial(self._take, workspace_id=id)):
                    done = self._engine.search.update(store, id, INDEX_STEP_S)
                    self._engine.search.build_ann_index(store, id)
            except FastioError as e:
                failure = e  # of this workspace perhaps, so the others are not left
        if failure is not None:
            raise failure
        return done

    def _is_settled(self, id: int, seq: int) -> bool:
        now = time.monotonic()
        known, changed, since = self._behind.get(id, (seq, now, now))
        if known != seq:
            changed = now
        self._behind[id] = (seq, changed, since)
        return now - changed >= self._quiet_s or now - since >= INDEX_LATE_S

    def _due(self, tx: Tx) -> list[Row]:
        return tx.search.behind(
            self.name,
            tx.now_ms,
            after=self._after,
            embeds=self._embeds,
            limit=INDEX_WORKSPACES,
        )

    def _take(self, tx: Tx, workspace_id: int) -> bool:
        if tx.search.index(workspace_id) is None:
            return True  # there is nothing yet to hold on to
        now_ms = tx.now_ms
        return tx.search.take(workspace_id, self.name, now_ms, now_ms + INDEX_LEASE_MS)


class Job:
    """An import that this worker runs: its row as taken, and its transfer."""

    def __init__(self, row: Row, known: Row | None) -> None:
        self.row = row
        self.workspace_id: int = row["workspace_id"]
        self.id: int = row["id"]
        self.known = known
        before = Validators(row["source_etag"], row["source_modified"])
        self.transfer = Transfer(row["received_bytes"], before, row["total_bytes"])
        self.outcome: Outcome | None = None  # what was fetched, once it is to be committed
        self.cancelled = False

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


class ImportWorker:
    """Runs due imports, at most ``import_parallel`` at a time. Use it from one thread.

    ``tokens_of`` finds the logins that an import may use. With an ``actor`` it takes that actor's
    imports alone: whoever works with a person's logins and credentials must not lend them to what
    others asked for.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        tokens_of: Callable[[Row], TokenOf],
        actor: str | None = None,
    ) -> None:
        self.name = os.urandom(8).hex()
        self._actor = actor
        self.running: dict[tuple[int, int], Job] = {}
        self._engine = engine
        self._parallel = config.number("import_parallel")
        self._retry = RetryPolicy(
            config.number("import_retry_ms") / 1000,
            PAUSE_S_MAX,
            attempts_max=config.number("import_attempts_max"),
            retry_after_s_max=RETRY_AFTER_S_MAX,
        )
        self._timeout_s = config.number("import_timeout_s")
        self._stall_s = config.number("import_stall_s")
        self._egress = Egress(rules_of(config))
        self._endpoints = Endpoints(config.get("import_endpoints") or "")
        self._tokens_of = tokens_of
        self._buckets = config.get("import_buckets") or ""
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._came: queue.SimpleQueue[tuple[Job, Outcome | FastioError | None]] = (
            queue.SimpleQueue()
        )
        self._threads: list[threading.Thread] = []
        self._checkpoint_at = time.monotonic() + CHECKPOINT_S
        self._sweep()

    def step(self) -> list[Row]:
        """Take what is due, wait a moment, commit what came; the imports that changed state."""
        self._take()
        changed = self._settle(self._arrived())
        if time.monotonic() >= self._checkpoint_at:
            self._checkpoint()
            self._checkpoint_at = time.monotonic() + CHECKPOINT_S
        return changed

    def close(self) -> None:
        """Stop; what was running is due again at once, and goes on where it stopped."""
        self._checkpoint()
        for job in self.running.values():
            job.transfer.stop = True
        for _ in self._threads:
            self._todo.put(None)
        jobs = list(self.running.values())
        self._engine.act(
            [
                (job.workspace_id, job.row["actor"], import_jobs.letting_go(job.id, self.name))
                for job in jobs
            ]
        )
        self.running.clear()
        self._egress.close()

    def _take(self) -> None:
        room = 2 * self._parallel - len(self.running)
        store = self._engine.store
        if room <= 0 or not store.read(lambda tx: tx.imports.due(tx.now_ms, self._actor, 1)):
            return
        taken = store.write(lambda tx: import_jobs.take(tx, self.name, self._actor, LEASE_MS, room))
        jobs = [Job(row, known) for row, known in taken]
        checked = self._engine.act(
            [
                (job.workspace_id, job.row["actor"], import_jobs.checking(job.id, self.name))
                for job in jobs
                if import_jobs.is_exact(job.row)
            ]
        )
        outcomes = iter(checked)
        for job in jobs:
            self.running[job.workspace_id, job.id] = job
            refusal = next(outcomes) if import_jobs.is_exact(job.row) else None
            if isinstance(refusal, FastioError):
                self._came.put((job, refusal))
            else:
                self._start(job)

    def _start(self, job: Job) -> None:
        if len(self._threads) < min(self._parallel, len(self.running)):
            thread = threading.Thread(target=self._fetch_all, daemon=True)
            thread.start()
            self._threads.append(thread)
        self._todo.put(job)

    def _arrived(self) -> list[tuple[Job, Outcome | FastioError | None]]:
        """What the fetching threads brought; waits a moment for the first."""
        came = []
        try:
            came.append(self._came.get(timeout=self._pause_s()))
            while True:
                came.append(self._came.get_nowait())
        except queue.Empty:
            return came

    def _pause_s(self) -> float:
        if self.running:
            return TICK_S
        store = self._engine.store
        due_at = store.read(lambda tx: tx.imports.next_due(self._actor))
        if due_at is None:
            return TICK_S
        return min(TICK_S, max(0.001, (due_at - store.now_ms()) / 1000))

    def _settle(self, came: list[tuple[Job, Outcome | FastioError | None]]) -> list[Row]:
        """Commit outcomes, all in one; those that may not be written end as failures."""
        works, failed = [], []
        for job, outcome in came:
            self.running.pop((job.workspace_id, job.id), None)
            if isinstance(outcome, Outcome):
                job.outcome = outcome
                works.append((job, outcome))
            elif outcome is not None:
                failed.append((job, outcome))
        done = self._engine.act([self._completion(job, outcome) for job, outcome in works])
        changed = []
        for (job, _), result in zip(works, done, strict=True):
            if isinstance(result, Exception):
                failed.append((job, _as_error(result)))
            elif result is not None:
                changed.append(result)
        if failed:
            ended = self._engine.act([self._failure(job, error) for job, error in failed])
            changed += [row for row in ended if row is not None and not isinstance(row, Exception)]
        return changed

    def _completion(self, job: Job, outcome: Outcome) -> tuple[int, str, Callable[..., Any]]:
        def work(ctx: Any) -> Any:
            return import_jobs.complete(ctx, job.id, self.name, outcome, naming.numbered)

        return job.workspace_id, job.row["actor"], work

    def _failure(self, job: Job, error: FastioError) -> tuple[int, str, Callable[..., Any]]:
        transfer = job.transfer
        again = is_transient(error) and job.row["attempts"] < ATTEMPTS_MAX
        progressed = transfer.resumed and transfer.durable_bytes > job.row["received_bytes"]
        failures = 0 if progressed else job.row["failures"] + 1
        again = again and not self._retry.is_exhausted(failures)
        pause_s = self._retry.pause_s(failures, asked_s(error))
        pause_ms = int(pause_s * 1000) if again else None
        progress = job.progress() if is_transient(error) else _NO_PROGRESS
        outcome = job.outcome
        if outcome is not None and outcome.content is not None:
            size = outcome.content.size_bytes
            progress = {**_NO_PROGRESS, "received_bytes": size, "total_bytes": size}

        def work(ctx: Any) -> Any:
            return import_jobs.fail(
                ctx,
                job.id,
                self.name,
                error,
                again_in_ms=pause_ms,
                failures=failures,
                progress=progress,
                outcome=outcome,
            )

        return job.workspace_id, job.row["actor"], work

    def _checkpoint(self) -> None:
        """Note how far every transfer is and keep them ours; stop those that no longer are."""
        jobs = list(self.running.values())
        if not jobs:
            return

        def work(tx: Any) -> list[Row | None]:
            return [
                tx.imports.advance(
                    job.workspace_id,
                    job.id,
                    self.name,
                    now_ms=tx.now_ms,
                    lease_ms=LEASE_MS,
                    **job.progress(),
                )
                for job in jobs
            ]

        for job, kept in zip(jobs, self._engine.store.write(work), strict=True):
            if kept is None:
                job.cancelled = self._state(job.workspace_id, job.id) == "cancelled"
                job.transfer.stop = True

    def _state(self, workspace_id: int, id: int) -> str | None:
        row = self._engine.store.read(lambda tx: tx.imports.get(workspace_id, id))
        return row["state"] if row is not None else None

    def _sweep(self) -> None:
        """Remove what transfers left behind that nobody will go on with."""
        for name in self._engine.blobs.staged_names():
            workspace_id, _, id = name.partition("-")
            if not (workspace_id + id).isdecimal() or not id:
                continue
            if self._state(int(workspace_id), int(id)) in (None, "done", "cancelled"):
                self._engine.blobs.discard_staged(name)

    def _fetch_all(self) -> None:
        while (job := self._todo.get()) is not None:
            self._came.put((job, self._fetch(job)))

    def _fetch(self, job: Job) -> Outcome | FastioError | None:
        """One attempt. None if it was stopped."""
        partial = None
        try:
            partial = self._engine.blobs.staged(
                f"{job.workspace_id}-{job.id}", job.transfer.durable_bytes
            )
            job.transfer.durable_bytes = partial.size_bytes
            return self._attempt(job, partial)
        except Cancelled:
            if partial is not None and job.cancelled:
                partial.discard()
            return None
        except Exception as e:
            error = _as_error(e)
            if partial is not None and not (is_transient(error) and job.transfer.durable_bytes):
                partial.discard()
            return error
        finally:
            if partial is not None:
                partial.close()

    def _attempt(self, job: Job, partial: Any) -> Outcome:
        row, limit = job.row, self._engine.limits.file_bytes_max
        kept = import_jobs.kept(row)
        if kept is not None and self._is_there(kept):
            return kept
        import_jobs.refuse_forgotten(row)
        known = job.known
        limits = TransferLimits(
            min(limit, row["size_bytes_max"] or limit), self._timeout_s, self._stall_s
        )
        conditions = {
            "known": _validators(known) if known is not None else None,
            "sha256": row["sha256"],
        }
        if buckets.is_bucket(row["url"]):
            if self._actor is None:
                buckets.check_lent(row["url"], self._buckets)
            fetched = buckets.fetch_object(row["url"], partial, job.transfer, limits, **conditions)
        else:
            services = Services(self._egress, self._endpoints, self._tokens_of(row))
            source = services.source(row["url"])
            source.secrets |= json.loads(row["headers"] or "{}")
            fetched = fetch(self._egress, source, partial, job.transfer, limits, **conditions)
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

    def _is_there(self, kept: Outcome) -> bool:
        """Whether bytes that were fetched before are in the store, and safe from being swept."""
        content, at = kept.content, kept.fetched_at
        if content is None or at is None or self._engine.store.now_ms() - at > KEPT_MS:
            return False
        return content.blob is None or self._engine.blobs.has(content.blob, content.size_bytes)


def stored_logins(engine: Engine, config: Config) -> Callable[[Row], TokenOf]:
    """Finds the logins that the member who asked for an import keeps in the store itself."""
    flows = _refreshing(config)

    def tokens_of(row: Row) -> TokenOf:
        def token(service: str) -> str | None:
            workspace = engine.store.read(lambda tx: tx.workspaces.by_id(row["workspace_id"]))
            if workspace is None:
                return None
            org = workspace["name"].rpartition("/")[0]
            vault = DatabaseCredentialStore(engine.store, engine.open_secret_box, org, row["actor"])
            return OAuthGrants(vault, flows).token(service)

        return token

    return tokens_of


def revoke_one(engine: Engine, config: Config) -> bool:
    """Revoke a login that was ended and forget it; False if there is none to be revoked now.

    A service that does not answer is asked again later, for a day.
    """
    store = engine.store
    row = store.read(lambda tx: tx.logins.ended(tx.now_ms))
    if row is None:
        return False
    who = row["org"], row["member"], row["service"]
    held = store.write(lambda tx: tx.logins.hold(*who, tx.now_ms, tx.now_ms + HOLD_MS))
    if held is None or held["ended_at"] is None:
        return True  # another worker was faster, or somebody logged in again
    vault = DatabaseCredentialStore(store, engine.open_secret_box, row["org"], row["member"])
    try:
        _refreshing(config).revoke(row["service"], vault.opened(held))
    except FastioError as e:
        if is_transient(e) and store.now_ms() < held["ended_at"] + REVOKE_MS:
            return True
    vault.remove(row["service"])
    return True


def _refreshing(config: Config) -> OAuthFlows:
    """What refreshes and revokes grants; they name the client that they were made for."""
    endpoints = Endpoints(config.get("import_endpoints") or "")
    return OAuthFlows(lambda: Egress(rules_of(config)), endpoints, lambda name: None)


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


def _as_error(e: Exception) -> FastioError:
    if isinstance(e, FastioError):
        return e
    return FastioError("internal", f"The import failed in fastio itself: {type(e).__name__}: {e}.")
