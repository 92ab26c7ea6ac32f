"""What a kind of job is: how its jobs are found, run and recorded. One module a kind, beside this.

A runner (``runner.py``) claims jobs, keeps their leases and records how they ended; a kind says
only what is special about its own.
"""

from __future__ import annotations

import json
from typing import Generic, TypeVar

from fastio_cli.retry import RetryPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.errors import FastioError
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    # Written in the transaction that ends the job; the context is None for a kind that does not
    # change its workspace.
    Effect = Callable[[Tx, Context | None], None]

LEASE_MS = 20_000
DISCOVER_S = 1.0
RETRY = RetryPolicy(1.0, 60.0)
STORE_WIDE = 0  # the workspace of jobs that belong to none


class NewJob:
    """A job to be queued. ``id`` names what it is about: there is one of it at a time.

    ``member`` is the member of an org that it acts for, if it does.
    """

    def __init__(
        self,
        workspace_id: int,
        id: str,
        *,
        actor: str = "",
        member: str | None = None,
        payload: dict[str, object] | None = None,
        due_in_s: float = 0.0,
    ) -> None:
        self.workspace_id = workspace_id
        self.id = id
        self.actor = actor
        self.member = member
        self.payload = payload or {}
        self.due_in_s = due_in_s


class Job:
    """One attempt at a job, under a lease that the fencing token ``fence`` stands for."""

    def __init__(self, row: Row) -> None:
        self.workspace_id: int = row["workspace_id"]
        self.id: str = row["id"]
        self.actor: str = row["actor"]
        self.member: str | None = row["member"]
        self.fence: int = row["fence"]
        self.attempts: int = row["attempts"]
        self.failures: int = row["failures"]
        self.queued_at: int = row["queued_at"]
        self.payload: dict[str, str] = json.loads(row["payload"])
        self.is_cancelled = False
        self.is_stopped = False  # to end soon: cancelled, taken over, or the runner is closing

    @property
    def key(self) -> tuple[int, str]:
        """What tells it from the jobs of all workspaces."""
        return self.workspace_id, self.id

    def stop(self) -> None:
        """Have it end soon; called from the runner's thread."""
        self.is_stopped = True


J = TypeVar("J", bound=Job)


class Done:
    """What an attempt came to.

    ``effect`` is written in the transaction that ends the job, so that both happen or neither. With
    ``again_in_s`` the job is not over: it is due again then.
    """

    def __init__(self, effect: Effect | None = None, again_in_s: float | None = None) -> None:
        self.effect = effect
        self.again_in_s = again_in_s


class Stopped(Exception):
    """An attempt ended because its job is stopped; what it had of it does not count."""


class JobKind(Generic[J]):
    """A kind of job. ``run`` is called on ``parallel`` threads, all else on the runner's.

    ``retry`` says when a failed job is tried again; its deadline counts from when the job was
    queued. Jobs of a kind that ``enters_workspace`` end in a transaction that may change their
    workspace, with events. Where one acts for a member it needs their ``role`` in its workspace,
    which is asked when it begins and in the transaction that ends it. ``renew_s`` is how often a
    running job's lease is renewed, and its progress noted.
    """

    name = ""
    role: str | None = None
    parallel = 1
    retry = RETRY
    renew_s = LEASE_MS / 1000 / 3
    discover_s = DISCOVER_S
    enters_workspace = False

    def open(self) -> None:
        """Do what is slow, once, before the first job."""

    def close(self) -> None:
        """Give back what ``open`` and the jobs took."""

    def discover(self, tx: Tx, actor: str | None) -> list[NewJob]:
        """What is to be done and may have no job yet; looked for every ``discover_s``."""
        return []

    def start(self, tx: Tx, row: Row) -> J | None:
        """The attempt at a job that was just claimed; None if there is nothing to do any more."""
        raise NotImplementedError

    def run(self, job: J) -> Done:
        """Do the work, outside any transaction. Raises :class:`FastioError` when it fails, and
        :class:`Stopped` once the job is stopped."""
        raise NotImplementedError

    def note_progress(self, tx: Tx, job: J) -> None:
        """Write down how far a running job is; its lease was just renewed."""

    def has_progressed(self, job: J) -> bool:
        """Whether a failed attempt got further than the one before, so that failures count anew."""
        return False

    def note_failure(
        self, tx: Tx, ctx: Context | None, job: J, error: FastioError, is_final: bool
    ) -> None:
        """Write down a failure beside the job's own record."""

    def settle(self, job: J) -> None:
        """Do what needs no transaction once a job's end, or its failure, is recorded."""

    def note_put_back(self, tx: Tx, job: J) -> None:
        """Write down that a job is queued again without having failed."""
