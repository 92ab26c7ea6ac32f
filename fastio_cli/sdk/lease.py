"""Holding a lock: a lease that is kept alive by threads, and in Python lends its token."""

from __future__ import annotations

import threading
import time

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli import model
    from fastio_cli.engine.client import Client, PreparedCall
    from fastio_cli.sdk.calls import Caller


AGAIN_S = 1.0  # before a log that could not be read is followed again
RENEW_AGAIN_MIN_S = 0.1  # before a renewal that failed is tried again


class LeaseKeeper:
    """Keeps a lock that was granted, until it is stopped or the lock is lost.

    A thread renews it when a third of its ttl has passed, which is at once if its grant took that
    long. Another can follow the event log, which says at once that somebody broke or took the lock;
    nobody has to ask for that. ``safe_until`` is until when the lock is certainly held, a time of
    the monotonic clock; ``on_loss`` is called, in one of the threads, when it is lost before.
    """

    def __init__(
        self,
        client: Client,
        workspace: str,
        actor: str,
        lock: model.HeldLock,
        safe_until: float,
        on_loss: Callable[[], None] = lambda: None,
    ) -> None:
        self.safe_until = safe_until
        self._client = client
        self._workspace = workspace
        self._actor = actor
        self._lock = lock
        self._on_loss = on_loss
        self._failure: FastioError | None = None
        self._over = threading.Event()
        self._due = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="fastio-lease", daemon=True)

    def start(self, follow: bool = False) -> None:
        """Begin to renew the lock, and to ``follow`` the log for its loss."""
        self._renewer.start()
        if follow:
            threading.Thread(target=self._follow, name="fastio-lease-log", daemon=True).start()

    def check(self) -> None:
        """Raise ``lock_lost`` if the lock is known to be lost."""
        if self._failure is not None:
            raise self.lost(self._failure.message)

    def lost(self, why: str) -> FastioError:
        """The error for a lock that was lost while it was held."""
        return FastioError(
            "lock_lost",
            f"The lock on {self._lock['path']} was lost while it was held: {why}",
            path=self._lock["path"],
            holder=None,
            fence=self._lock["fence"],
        )

    def stop(self) -> None:
        """Renew the lock no more."""
        self._over.set()
        self._due.set()

    def release(self) -> None:
        """Give the lock back. Raises ``lock_lost`` if it is no longer held."""
        self.stop()
        if self._renewer.ident is not None:
            self._renewer.join()
        self._client.run(self._prepare("lock.release"))

    def _renew(self) -> None:
        ttl_s = self._lock["ttl_s"]
        tried_until = None
        while not self._over.is_set():
            left_s = self.safe_until - time.monotonic()
            has_failed = self.safe_until == tried_until
            tried_until = self.safe_until
            pause_s = max(RENEW_AGAIN_MIN_S, left_s / 3) if has_failed else left_s - ttl_s * 2 / 3
            self._due.wait(pause_s)
            self._due.clear()
            if self._over.is_set():
                return
            try:
                call = self._prepare("lock.renew", ttl_s=ttl_s)
                self.safe_until = renew(self._client, call, ttl_s, self.safe_until)
            except FastioError as e:
                self._failure = e
                self._on_loss()
                return

    def _follow(self) -> None:
        """Have the lock renewed, which tells whether it is held, when the log speaks of it."""
        after = self._lock["fence"]
        while not self._over.is_set():
            try:
                for event in self._client.watch(self._workspace, after=after, type="lock.*"):
                    after = event["seq"]
                    goes_on = "ttl_ms" in event["data"]  # it was acquired or renewed, not ended
                    if event["path"] == self._lock["path"] and not goes_on:
                        self._due.set()
            except FastioError as e:
                self._due.set()
                if not e.is_retryable:  # as where the token may not read the log
                    return
                self._over.wait(AGAIN_S)

    def _prepare(self, operation: str, **more: object) -> PreparedCall:
        params = {"path": self._lock["path"], "lock_token": self._lock["token"], **more}
        return self._client.prepare(operation, params, self._workspace, self._actor)


class Lease:
    """A lock on a path, held for as long as a ``with`` block runs.

    A thread renews it every third of its ttl. Meanwhile changes of the path through the same
    workspace object need not name its token. Entering raises ``Locked`` when it is not granted
    within ``wait`` seconds; leaving raises ``LockLost`` when it was lost meanwhile, unless another
    error leaves the block.
    """

    def __init__(self, caller: Caller, path: str, ttl: float, wait: float, purpose: str) -> None:
        self.path = path
        self._caller = caller
        self._params = {"path": path, "ttl_s": ttl, "wait_s": wait, "purpose": purpose}
        self._ttl_s = ttl
        self._held: model.HeldLock | None = None
        self._keeper: LeaseKeeper | None = None

    @property
    def record(self) -> model.HeldLock:
        """The lock as it was granted. Raises ``ValueError`` outside the ``with`` block."""
        if self._held is None:
            raise ValueError(f"The lease on {self.path} is not held: use it in a with statement.")
        return self._held

    @property
    def token(self) -> str:
        """What proves the holding, for calls elsewhere."""
        return self.record["token"]

    @property
    def fence(self) -> int:
        """The fencing token: it only rises from holder to holder."""
        return self.record["fence"]

    def check(self) -> None:
        """Raise ``LockLost`` if the lease is known to be lost, before work that it should cover."""
        if self._keeper is not None:
            self._keeper.check()

    def __enter__(self) -> Lease:
        started = time.monotonic()
        self._held = self._caller.call("lock.acquire", dict(self._params))
        self._caller.lock_tokens[self._held["path"]] = self._held["token"]
        self._keeper = LeaseKeeper(
            self._caller.client,
            self._caller.workspace,
            self._caller.actor,
            self._held,
            safe_until(started, self._ttl_s),
        )
        self._keeper.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._keeper is not None
        self._caller.lock_tokens.pop(self.record["path"], None)
        try:
            self._keeper.release()
        except FastioError:
            if kind is None:
                self.check()
                raise
        if kind is None:
            self.check()


def safe_until(asked: float, ttl_s: float) -> float:
    """Until when a lock is certainly held that was just granted, and was asked for at ``asked``.

    A grant that was waited for began later than it was asked for, never sooner.
    """
    return max(asked, time.monotonic() - 1) + ttl_s


def renew(client: Client, call: PreparedCall, ttl_s: float, safe_until: float) -> float:
    """Renew a lock by a prepared call; until when it is certainly held then.

    Past ``safe_until``, what the renewal before returned, it may be another's: a server that is
    away is not tried for longer. Both are times of our monotonic clock, which nobody can set back.
    Raises the failure when the lock is lost, or may be.
    """
    asked = time.monotonic()
    call.deadline_s = max(0.1, safe_until - asked)
    try:
        client.run(call)
    except FastioError as e:
        if not e.is_retryable or time.monotonic() >= safe_until:
            raise
        return safe_until
    return asked + ttl_s
