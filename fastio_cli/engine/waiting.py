"""Waiting until a workspace changes: one mechanism for every operation that waits.

A call that answers ``Pending`` (``operations/operation.py``) becomes a long poll. A registry looks
after any number of them: it notices commits, of this process at once when it is told and of others
by polling the store's change tokens, and says which calls are worth another run and which have
waited long enough. It holds no transaction and no thread of a waiting call.

The engine waits with a registry of its own in the caller's thread (``wait``); a server has one for
all its calls, on one thread (``watch``).
"""

from __future__ import annotations

import threading
import time

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.operations.operation import Pending
    from fastio_cli.storage.contract import Store

POLL_S = 0.02
STORE_AWAY_S = 1.0  # between two looks at a store that cannot be reached

UNSEEN = -1


class LongPoll:
    """One call that waits, through all its runs.

    ``seq`` is the workspace's last event at the last look, so that nothing is missed that was
    committed while the call ran; none before the first look. ``is_worth_a_run`` is what the
    registry found: run it again, or its time is up.
    """

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.seq = UNSEEN
        self.is_worth_a_run = False
        self._started = time.monotonic()

    def suspend(self, pending: Pending) -> None:
        """Begin to wait after a run that was not answered yet."""
        now = time.monotonic()
        self._ready = pending.ready
        self._deadline = self._started + pending.wait_s
        self._renew_at = now + (pending.renew_s or pending.wait_s)
        self._wake_at_ms = pending.wake_at_ms

    def pause_s(self, now_ms: int) -> float:
        """How long there is nothing to look at, unless the workspace changes."""
        pause = min(self._deadline, self._renew_at) - time.monotonic()
        if self._wake_at_ms is not None:
            pause = min(pause, (self._wake_at_ms - now_ms) / 1000)
        return max(pause, 0.0)

    def is_due(self, store: Store, seq: int, now_ms: int) -> bool:
        """Whether the waiting is over for now: a run is worth it, or the time is up."""
        has_changed, self.seq = seq != self.seq, seq
        if time.monotonic() >= self._deadline:
            self.is_worth_a_run = False
            return True
        if not has_changed and self.pause_s(now_ms) > 0:
            return False
        self._wake_at_ms = None
        must_renew = time.monotonic() >= self._renew_at
        self.is_worth_a_run = must_renew or self._ready is None or store.read(self._ready)
        return self.is_worth_a_run


class LongPollRegistry:
    """All calls that wait on one store. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._polls: set[LongPoll] = set()
        self._lock = threading.Lock()
        self._notified = threading.Event()
        self._is_closed = False
        # Of each workspace that is waited for: its change token at the last look, its last event.
        self._seen: dict[str, tuple[object, int]] = {}

    def add(self, poll: LongPoll) -> None:
        """Look after a call that was suspended."""
        with self._lock:
            self._polls.add(poll)
        self._notified.set()

    def remove(self, poll: LongPoll) -> None:
        """Forget a call: it is due, or its caller has left."""
        with self._lock:
            self._polls.discard(poll)

    def notify(self) -> None:
        """Say that something was committed in this process."""
        if self._polls:
            self._notified.set()

    def close(self) -> None:
        """End ``watch``."""
        self._is_closed = True
        self._notified.set()

    def wait(self, poll: LongPoll) -> bool:
        """Wait in this thread until a suspended call is due; whether it is worth a run."""
        self.add(poll)
        try:
            while poll not in self.due():
                token = self._seen[poll.workspace][0]
                self._store.wait_for_change(token, poll.pause_s(self._store.now_ms()))
        finally:
            self.remove(poll)
        return poll.is_worth_a_run

    def watch(self, on_due: Callable[[list[LongPoll]], None]) -> None:
        """Hand over the calls that are due until ``close``, each once."""
        while not self._is_closed:
            pause_s = POLL_S if self._polls else None
            try:
                if due := self.due():
                    on_due(due)
            except FastioError:
                pause_s = STORE_AWAY_S
            self._notified.wait(pause_s)
            self._notified.clear()

    def due(self) -> list[LongPoll]:
        """Look once: the calls that are due, which are no longer looked after."""
        with self._lock:
            polls = list(self._polls)
        if not polls:
            self._seen.clear()
            return []
        self._look({poll.workspace for poll in polls})
        now_ms = self._store.now_ms()
        due = [p for p in polls if p.is_due(self._store, self._seen[p.workspace][1], now_ms)]
        for poll in due:
            self.remove(poll)
        return due

    def _look(self, workspaces: set[str]) -> None:
        """Note the last event of every workspace that may have changed."""
        changed = {}
        for workspace in workspaces:
            token = self._store.change_token(workspace)
            if workspace not in self._seen or self._seen[workspace][0] != token:
                changed[workspace] = token
        if changed:
            seqs = self._store.read(lambda tx: {w: tx.workspaces.seq(w) for w in changed})
            self._seen.update({w: (token, seqs[w]) for w, token in changed.items()})


def expired(pending: Pending) -> object:
    """What a call answers whose time is up. Raises what it is to raise."""
    if isinstance(pending.otherwise, Exception):
        raise pending.otherwise
    return pending.otherwise
