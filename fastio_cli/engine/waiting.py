"""Waiting until a workspace changes: one mechanism for every operation that waits.

A call that answers ``Pending`` (``operations/operation.py``) becomes a long poll. A registry looks
after any number of them: it notices commits, of this process at once when it is told and of others
by polling the store's change tokens, and says which calls are worth another run and which have
waited long enough. It holds no transaction and no thread of a waiting call. It reads the events
that came, once for all who wait in a workspace: a call is run again for those that concern it.

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
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

POLL_S = 0.02
STORE_AWAY_S = 1.0  # between two looks at a store that cannot be reached

EVENTS_MAX = 1000  # beyond so many new events it is not asked whom they concern
GONE = -1  # the last event of a workspace that is not there


class Log:
    """What is known of a workspace's log: its last event, and those that came lately.

    ``token`` is the store's change token from before it was read. ``events`` is None if too many
    came, or the workspace is gone.
    """

    def __init__(self, token: object, seq: int) -> None:
        self.token = token
        self.seq = seq
        self.events: list[Row] | None = []


class LongPoll:
    """One call that waits, through all its runs.

    ``seq`` is the last event that it has seen: in its run, or at a look since then. So nothing is
    missed that was committed while the call ran. ``is_worth_a_run`` is what the registry found: run
    it again, or its time is up.
    """

    def __init__(self, workspace: str) -> None:
        self.workspace = workspace
        self.seq = 0
        self.is_worth_a_run = False
        self._has_passed_over = False
        self._started = time.monotonic()

    def suspend(self, pending: Pending) -> None:
        """Begin to wait after a run that was not answered yet."""
        now = time.monotonic()
        self.seq = pending.seq
        self._has_passed_over = False
        self._ready = pending.ready
        self._concerns = pending.concerns
        self._deadline = self._started + pending.wait_s
        self._renew_at = now + (pending.renew_s or pending.wait_s)
        self._wake_at_ms = pending.wake_at_ms

    def pause_s(self, now_ms: int) -> float:
        """How long there is nothing to look at, unless the workspace changes."""
        pause = min(self._deadline, self._renew_at) - time.monotonic()
        if self._wake_at_ms is not None:
            pause = min(pause, (self._wake_at_ms - now_ms) / 1000)
        return max(pause, 0.0)

    def may_be_due(self, log: Log, now_ms: int) -> bool:
        """Whether its time is up, or something came that concerns it."""
        is_concerned = log.seq != self.seq and self._is_concerned(log)
        self._has_passed_over |= log.seq != self.seq and not is_concerned
        self.seq = log.seq
        return is_concerned or self.pause_s(now_ms) <= 0

    def is_due(self, tx: Tx) -> bool:
        """Whether the waiting of a call that may be due is over for now.

        When the time is up there is one run more if events were passed over, so that the answer
        says how far the call has looked, and is given only to who may have it still.
        """
        if time.monotonic() >= self._deadline:
            self.is_worth_a_run = self._has_passed_over
            return True
        self._wake_at_ms = None
        must_renew = time.monotonic() >= self._renew_at
        self.is_worth_a_run = must_renew or self._ready is None or self._ready(tx)
        return self.is_worth_a_run

    def _is_concerned(self, log: Log) -> bool:
        if self._concerns is None or log.events is None:
            return True
        return any(self._concerns(event) for event in log.events if event["seq"] > self.seq)


class LongPollRegistry:
    """All calls that wait on one store. Safe to use from many threads."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._polls: set[LongPoll] = set()
        self._lock = threading.Lock()
        self._notified = threading.Event()
        self._is_closed = False
        self._logs: dict[str, Log] = {}  # of the workspaces that are waited for

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
                token = self._logs[poll.workspace].token
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
            self._logs.clear()
            return []
        self._look(polls)
        now_ms = self._store.now_ms()
        candidates = [p for p in polls if p.may_be_due(self._logs[p.workspace], now_ms)]
        if not candidates:
            return []
        due = self._store.read(lambda tx: [poll for poll in candidates if poll.is_due(tx)])
        for poll in due:
            self.remove(poll)
        return due

    def _look(self, polls: list[LongPoll]) -> None:
        """Read what came since the calls last saw the logs of their workspaces."""
        seen: dict[str, int] = {}  # by workspace: the last event that all its calls have seen
        for poll in polls:
            seen[poll.workspace] = min(poll.seq, seen.get(poll.workspace, poll.seq))
        tokens = {workspace: self._store.change_token(workspace) for workspace in seen}

        def is_behind(workspace: str) -> bool:
            log = self._logs.get(workspace)
            return log is None or log.token != tokens[workspace] or log.seq != seen[workspace]

        behind = [workspace for workspace in seen if is_behind(workspace)]
        if behind:
            read = self._store.read
            self._logs.update(read(lambda tx: {w: _log(tx, w, tokens[w], seen[w]) for w in behind}))


def _log(tx: Tx, workspace: str, token: object, seen: int) -> Log:
    row = tx.workspaces.by_name(workspace)
    if row is None:
        log = Log(token, GONE)
        log.events = None
        return log
    log = Log(token, row["seq"])
    if seen != log.seq:
        events = tx.events.after(row["id"], seen, EVENTS_MAX)
        log.events = events if len(events) < EVENTS_MAX and seen < log.seq else None
    return log


def expired(pending: Pending) -> object:
    """What a call answers whose time is up. Raises what it is to raise."""
    if isinstance(pending.otherwise, Exception):
        raise pending.otherwise
    return pending.otherwise
