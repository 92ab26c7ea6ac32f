"""Holding a lock from Python: a lease that renews itself and lends its token."""

from __future__ import annotations

import threading
import time

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.engine.client import Client, PreparedCall
    from fastio_cli.sdk.calls import Caller


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
        self._failure: FastioError | None = None
        self._over = threading.Event()
        self._renewer: threading.Thread | None = None

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
        if self._failure is not None:
            raise FastioError(
                "lock_lost",
                f"The lock on {self.path} was lost while it was held: {self._failure.message}",
                path=self.path,
                holder=None,
                fence=self.fence,
            )

    def __enter__(self) -> Lease:
        started = time.monotonic()
        self._held = self._caller.call("lock.acquire", dict(self._params))
        # A grant that was waited for began later than it was asked for, never sooner.
        self._safe_until = max(started, time.monotonic() - 1) + self._ttl_s
        self._caller.lock_tokens[self._held["path"]] = self._held["token"]
        self._over.clear()
        self._renewer = threading.Thread(target=self._renew, name="fastio-lease", daemon=True)
        self._renewer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        assert self._renewer is not None
        held = self.record
        self._over.set()
        self._renewer.join()
        self._caller.lock_tokens.pop(held["path"], None)
        try:
            self._caller.call("lock.release", {"path": self.path, "lock_token": held["token"]})
        except FastioError:
            if kind is None:
                self.check()
                raise
        if kind is None:
            self.check()

    def _renew(self) -> None:
        """Renew until the block is left or the lease is lost."""
        params = {"path": self.path, "lock_token": self.token, "ttl_s": self._ttl_s}
        while not self._over.wait(self._ttl_s / 3):
            try:
                call = self._caller.prepare("lock.renew", params)
                self._safe_until = renew(self._caller.client, call, self._ttl_s, self._safe_until)
            except FastioError as e:
                self._failure = e
                return


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
