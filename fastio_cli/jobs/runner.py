"""The runner of jobs: claims what is due under a lease, runs it on threads, records how it ended.

**Fairness.** Orgs take turns, and within an org its workspaces do: one job each and round, whoever
was served longest ago first. One org may have ``parallel`` jobs of a kind running, which is half of
the threads, unless there is but one thread, or the runner works for one actor alone.

**Leases.** A claim raises the job's fencing token. A runner that dies leaves a lease that runs out,
and another one begins the job anew; a runner that lost its lease can write nothing any more: every
write of a job goes through its fencing token, in the same transaction.

**Once.** What a job brings about is written in the transaction that ends it.
"""

from __future__ import annotations

import json
import queue
import threading
import time
import traceback
from collections import Counter, OrderedDict, deque
from functools import partial

from fastio_cli.errors import FastioError
from fastio_cli.imports.transfer import is_transient
from fastio_cli.jobs.kind import LEASE_MS, STORE_WIDE, Done, Job, JobKind, NewJob, Stopped
from fastio_cli.retry import asked_s

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from fastio_cli.engine.engine import Engine
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    Work = Callable[[Tx, Context | None], bool]
    Outcome = Done | FastioError | None  # None: it was stopped
    Org = str | int  # its name; the number of the workspace for what belongs to none

POLL_S = 0.2
ATTEMPTS_MAX = 100  # of a job that is queued once, also with progress each time
GRACE_S = 3.0  # for running jobs when the runner closes
CLOSE_S = 1.0  # to record that they are put back
STORE_AWAY_S = 1.0
FIRST_TURN = -1
SCANNED_MAX = 256  # workspaces that are looked at in a step
ORGS_MAX = 10_000  # whose last turn is remembered


class JobRunner:
    """Runs jobs of some kinds on a store. Call its methods from one thread.

    With an ``actor`` it takes that actor's jobs alone: a runner with a person's credentials
    must not use them for what others asked for.
    """

    def __init__(
        self, engine: Engine, kinds: Sequence[JobKind[Any]], actor: str | None = None
    ) -> None:
        self.running: dict[tuple[int, str], Job] = {}
        self._engine = engine
        self._actor = actor
        self._outcomes: queue.SimpleQueue[tuple[Job, Outcome] | None] = queue.SimpleQueue()
        self._unrecorded: list[tuple[Job, Outcome]] = []
        self._pools = [_Pool(kind, self._outcomes, actor is None) for kind in kinds]
        self._pool_of: dict[tuple[int, str], _Pool] = {}
        self._orgs: dict[int, str] = {}
        self._is_open = False
        self._wake_at = 0.0  # when a job that this runner put back is due

    def step(self) -> list[Job]:
        """Queue what was discovered, claim what is due, wait a moment for jobs to end, and record
        those that did; they are returned, also those that are queued again."""
        self._open()
        has_work = self._discover()
        has_work = self._claim() or has_work
        self._collect(0.0 if has_work and not self.running else self._pause_s())
        ended = self._record()
        self._renew()
        return ended

    @property
    def is_busy(self) -> bool:
        """Whether jobs that were given back still work in their threads."""
        return any(pool.is_busy for pool in self._pools)

    def wake(self) -> None:
        """End the waiting of ``step``; may be called from any thread."""
        self._outcomes.put(None)

    def close(self, grace_s: float = GRACE_S) -> None:
        """Stop: jobs that do not end within the grace are due again at once."""
        for job in self.running.values():
            job.stop()
        deadline = time.monotonic() + grace_s
        while self.running and (left_s := deadline - time.monotonic()) > 0:
            self._collect(left_s)
            self._record()
        self._unrecorded += [(job, None) for job in self.running.values()]
        self._record()
        for pool in self._pools:
            pool.close()

    def _open(self) -> None:
        if not self._is_open:
            for pool in self._pools:
                pool.kind.open()
            self._is_open = True

    def _discover(self) -> bool:
        """Queue what the kinds find that has no job yet; True if there was something."""
        now = time.monotonic()
        pools = [pool for pool in self._pools if now >= pool.discover_at]
        if not pools:
            return False
        found = self._engine.store.read(partial(self._missing, pools))
        for pool in pools:
            pool.discover_at = now + pool.kind.discover_s
        if found:
            self._engine.store.write(partial(_queue, found))
        return bool(found)

    def _missing(self, pools: list[_Pool], tx: Tx) -> list[tuple[str, NewJob]]:
        kinds = [pool.kind for pool in pools]
        found = [(kind.name, new) for kind in kinds for new in kind.discover(tx, self._actor)]
        return [(kind, new) for kind, new in found if _may_be_queued(tx, new)]

    def _claim(self) -> bool:
        """Take leases as far as there is room, and have the jobs run; False if there was none."""
        store = self._engine.store
        picks = store.read(self._picks)
        if not picks:
            return False
        claimed = store.write(partial(self._take, picks))
        renewed_at = time.monotonic()
        for pool, job, refusal in claimed:
            self.running[job.key] = job
            self._pool_of[job.key] = pool
            if refusal is None:
                pool.run(job, renewed_at)
            else:
                self._unrecorded.append((job, refusal))
        return bool(claimed)

    def _picks(self, tx: Tx) -> list[tuple[_Pool, Row]]:
        picks = []
        for pool in self._pools:
            if pool.room > 0:
                picks += [(pool, row) for row in self._turns(pool, tx)]
        # All runners lock rows in one order.
        return sorted(picks, key=lambda pick: (pick[1]["workspace_id"], pick[1]["id"]))

    def _turns(self, pool: _Pool, tx: Tx) -> list[Row]:
        """The jobs to run next: one an org and round, from whom was served longest ago on."""
        lines = self._lines(pool, tx)
        orgs = [*(org for org in lines if org not in pool.turns), *filter(lines.get, pool.turns)]
        held = Counter(self._org(job.workspace_id) for job in pool.jobs)
        due: dict[int, list[Row]] = {}
        picks: list[Row] = []
        while orgs and len(picks) < pool.room:
            org = orgs.pop(0)
            line = lines[org]
            while line and held[org] < pool.share_max and not self._due_in(line[0], due, pool, tx):
                line.popleft()
            if line and held[org] < pool.share_max:
                picks.append(due[line[0]].pop(0))
                held[org] += 1
                pool.note_turn(org, line[0])
                line.rotate(-1)
                orgs.append(org)
        return picks

    def _due_in(
        self, workspace_id: int, known: dict[int, list[Row]], pool: _Pool, tx: Tx
    ) -> list[Row]:
        """The due jobs of a workspace that were not picked; none if it was deleted."""
        if workspace_id not in known:
            is_live = workspace_id == STORE_WIDE or self._is_live(tx, workspace_id)
            known[workspace_id] = self._due(pool, tx, workspace_id) if is_live else []
        return known[workspace_id]

    def _lines(self, pool: _Pool, tx: Tx) -> dict[Org, deque[int]]:
        """Workspaces that have jobs due, by their orgs, each org's in its own order.

        A part of the workspaces is looked at if there are many, the next part the next time.
        """
        find = partial(tx.jobs.due_workspaces, pool.kind.name, self._actor, tx.now_ms)
        found = find(pool.looked_at, SCANNED_MAX)
        if len(found) < SCANNED_MAX:
            found += [id for id in find(FIRST_TURN, SCANNED_MAX) if id <= pool.looked_at]
            pool.looked_at = FIRST_TURN
        else:
            pool.looked_at = found[-1]
        lines: dict[Org, deque[int]] = {}
        for id in sorted(found):
            if id == STORE_WIDE or id in self._orgs or self._is_live(tx, id):
                lines.setdefault(self._org(id), deque()).append(id)
        for org, line in lines.items():
            last = pool.turns.get(org, FIRST_TURN)
            line.rotate(-sum(id <= last for id in line))
        return lines

    def _is_live(self, tx: Tx, workspace_id: int) -> bool:
        row = tx.workspaces.by_id(workspace_id)
        if row is not None:
            self._orgs[workspace_id] = row["org"]
        return row is not None

    def _due(self, pool: _Pool, tx: Tx, workspace_id: int) -> list[Row]:
        rows = tx.jobs.due(workspace_id, pool.kind.name, self._actor, tx.now_ms, pool.room_max)
        # An attempt that lost its lease may still be on its way out.
        return [row for row in rows if (workspace_id, row["id"]) not in self.running]

    def _org(self, workspace_id: int) -> Org:
        """Whose part of the threads a job of a workspace takes: its org's, or the store's own."""
        return self._orgs.get(workspace_id, workspace_id)

    def _take(
        self, picks: list[tuple[_Pool, Row]], tx: Tx
    ) -> list[tuple[_Pool, Job, FastioError | None]]:
        """The jobs that are ours now, each with why it may not be done if it may not."""
        claimed = []
        for pool, pick in picks:
            where = pick["workspace_id"], pick["id"]
            row = tx.jobs.claim(*where, tx.now_ms, tx.now_ms + LEASE_MS)
            if row is None:
                continue  # another runner was faster
            job = pool.kind.start(tx, row)
            if job is None:
                tx.jobs.finish(*where, row["fence"], tx.now_ms)
            else:
                claimed.append((pool, job, _refusal(tx, pool.kind, job)))
        return claimed

    def _pause_s(self) -> float:
        return max(0.0, min(POLL_S, self._wake_at - time.monotonic())) if self._wake_at else POLL_S

    def _collect(self, pause_s: float) -> None:
        """What the threads brought; waits a moment for the first."""
        try:
            outcome = (
                self._outcomes.get(timeout=pause_s) if pause_s else self._outcomes.get_nowait()
            )
            while True:
                if outcome is not None:
                    self._unrecorded.append(outcome)
                outcome = self._outcomes.get_nowait()
        except queue.Empty:
            return

    def _record(self) -> list[Job]:
        """Write down how jobs ended, all in one commit; what may not be written is a failure."""
        outcomes = [(job, o) for job, o in self._unrecorded if job.key in self.running]
        if not outcomes:
            return []
        self._wake_at = 0.0
        outcomes.sort(key=lambda pair: pair[0].key)  # all runners lock rows in one order
        results = self._engine.act([self._ending(job, outcome) for job, outcome in outcomes])
        refused = [
            (job, _as_error(result))
            for (job, _), result in zip(outcomes, results, strict=True)
            if isinstance(result, Exception)
        ]
        if refused:
            self._engine.act([self._failing(job, error) for job, error in refused])
        self._unrecorded.clear()
        for job, _ in outcomes:
            del self.running[job.key]
            pool = self._pool_of.pop(job.key)
            pool.jobs.discard(job)
            pool.kind.settle(job)
        return [job for job, _ in outcomes]

    def _ending(self, job: Job, outcome: Outcome) -> tuple[int, str, str | None, Work]:
        """The work that records an outcome; it does nothing once the lease is lost."""
        if isinstance(outcome, FastioError):
            return self._failing(job, outcome)
        if outcome is None:
            return self._putting_back(job)
        if outcome.again_in_s is not None:
            return self._putting_back(job, outcome, outcome.again_in_s)
        kind = self._pool_of[job.key].kind

        def work(tx: Tx, ctx: Context | None) -> bool:
            refusal = _refusal(tx, kind, job)
            if refusal is not None:
                raise refusal
            is_held = tx.jobs.finish(*job.key, job.fence, tx.now_ms)
            if is_held and outcome.effect is not None:
                outcome.effect(tx, ctx)
            return is_held

        return self._scoped(job, work)

    def _putting_back(
        self, job: Job, done: Done | None = None, again_in_s: float = 0.0
    ) -> tuple[int, str, str | None, Work]:
        kind = self._pool_of[job.key].kind
        self._wake_in(again_in_s)

        def work(tx: Tx, ctx: Context | None) -> bool:
            due_at = tx.now_ms + int(again_in_s * 1000)
            attempts = job.attempts if done is None else 0
            is_held = tx.jobs.put_back(
                *job.key, job.fence, due_at=due_at, attempts=attempts, now_ms=tx.now_ms
            )
            if is_held:
                kind.note_put_back(tx, job)
                if done is not None and done.effect is not None:
                    done.effect(tx, ctx)
            return is_held

        return self._scoped(job, work)

    def _failing(self, job: Job, error: FastioError) -> tuple[int, str, str | None, Work]:
        kind = self._pool_of[job.key].kind
        retry = kind.retry
        failures = 0 if kind.has_progressed(job) else job.failures + 1
        may_retry = is_transient(error) and job.attempts < ATTEMPTS_MAX
        may_retry = may_retry and not retry.is_exhausted(failures)
        pause_s = retry.pause_s(failures, asked_s(error))
        if may_retry:
            self._wake_in(pause_s)

        def work(tx: Tx, ctx: Context | None) -> bool:
            is_final = not may_retry or tx.now_ms >= job.queued_at + retry.deadline_s * 1000
            is_held = tx.jobs.fail(
                *job.key,
                job.fence,
                due_at=None if is_final else tx.now_ms + int(pause_s * 1000),
                failures=failures,
                reason_code=error.code,
                reason=error.message,
                hint=error.hint,
                now_ms=tx.now_ms,
            )
            if is_held:
                kind.note_failure(tx, ctx, job, error, is_final)
            return is_held

        return self._scoped(job, work)

    def _scoped(self, job: Job, work: Work) -> tuple[int, str, str | None, Work]:
        enters = self._pool_of[job.key].kind.enters_workspace
        return job.workspace_id if enters else STORE_WIDE, job.actor, job.member, work

    def _wake_in(self, pause_s: float) -> None:
        at = time.monotonic() + pause_s + 0.001  # the store counts whole milliseconds
        self._wake_at = min(self._wake_at or at, at)

    def _renew(self) -> None:
        """Renew the leases of running jobs and note their progress; stop those that are lost."""
        now = time.monotonic()
        jobs = [job for job in self.running.values() if self._is_renewal_due(job, now)]
        if not jobs:
            return
        jobs.sort(key=lambda job: job.key)
        lost = self._engine.store.write(partial(self._renew_all, jobs))
        for job in jobs:
            self._pool_of[job.key].renewed_at[job.key] = now
        for job, is_cancelled in lost:
            job.is_cancelled = is_cancelled
            job.stop()

    def _is_renewal_due(self, job: Job, now: float) -> bool:
        pool = self._pool_of[job.key]
        return not job.is_stopped and now - pool.renewed_at[job.key] >= pool.kind.renew_s

    def _renew_all(self, jobs: list[Job], tx: Tx) -> list[tuple[Job, bool]]:
        """Those whose lease is lost, and whether they were cancelled."""
        lost = []
        for job in jobs:
            if tx.jobs.renew(*job.key, job.fence, tx.now_ms, tx.now_ms + LEASE_MS):
                self._pool_of[job.key].kind.note_progress(tx, job)
            else:
                row = tx.jobs.get(*job.key)
                lost.append((job, row is not None and row["state"] == "cancelled"))
        return lost


class _Pool:
    """The threads of one kind, begun as they are needed, and the jobs that they have."""

    def __init__(
        self,
        kind: JobKind[Any],
        outcomes: queue.SimpleQueue[tuple[Job, Outcome] | None],
        is_shared: bool,
    ) -> None:
        self.kind = kind
        self.jobs: set[Job] = set()
        self.renewed_at: dict[tuple[int, str], float] = {}
        # Of each org, who was served longest ago first: the workspace that had the last turn.
        self.turns: OrderedDict[Org, int] = OrderedDict()
        self.looked_at = FIRST_TURN  # the last workspace that was
        self.discover_at = 0.0
        is_divided = is_shared and kind.parallel > 1
        self._threads_max = 2 * kind.parallel if is_divided else kind.parallel
        # Twice as many as run, so that no thread waits for a commit.
        self.room_max = 2 * self._threads_max
        # How many jobs one org may have at a time.
        self.share_max = kind.parallel if is_shared else self.room_max
        self._outcomes = outcomes
        self._todo: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._at_work: set[Job] = set()
        self._threads: list[threading.Thread] = []

    def note_turn(self, org: Org, workspace_id: int) -> None:
        """An org was served."""
        self.turns[org] = workspace_id
        self.turns.move_to_end(org)
        if len(self.turns) > ORGS_MAX:
            self.turns.popitem(last=False)

    @property
    def is_busy(self) -> bool:
        """Whether a thread works on a job, be it one that was given up."""
        return bool(self._at_work)

    @property
    def room(self) -> int:
        """How many more jobs may be claimed."""
        return self.room_max - len(self.jobs)

    def run(self, job: Job, renewed_at: float) -> None:
        """Have a job run as soon as a thread is free."""
        self.jobs.add(job)
        self.renewed_at[job.key] = renewed_at
        if len(self._threads) < min(self._threads_max, len(self.jobs)):
            name = f"jobs-{self.kind.name}"
            self._threads.append(threading.Thread(target=self._work, name=name, daemon=True))
            self._threads[-1].start()
        self._todo.put(job)

    def close(self) -> None:
        """Let the threads end once they are idle."""
        for _ in self._threads:
            self._todo.put(None)
        self.kind.close()

    def _work(self) -> None:
        while (job := self._todo.get()) is not None:
            self._at_work.add(job)
            outcome = self._outcome(job)
            self._at_work.discard(job)
            self._outcomes.put((job, outcome))

    def _outcome(self, job: Job) -> Outcome:
        if job.is_stopped:
            return None
        if job.attempts > ATTEMPTS_MAX:
            return FastioError("internal", f"It was begun {ATTEMPTS_MAX} times and never ended.")
        try:
            return self.kind.run(job)
        except Stopped:
            return None
        except Exception as e:
            return _as_error(e)


class RunnerThread(threading.Thread):
    """A runner in the background, until it is told to stop."""

    def __init__(self, runner: JobRunner) -> None:
        super().__init__(name="jobs", daemon=True)
        self._runner = runner
        self._is_told = threading.Event()

    def run(self) -> None:
        while not self._is_told.is_set():
            try:
                self._runner.step()
            except FastioError:
                self._is_told.wait(STORE_AWAY_S)  # the store is away for a moment
            except Exception:  # one job's fault is not the end of all others
                traceback.print_exc()
                self._is_told.wait(STORE_AWAY_S)
        self._runner.close()

    def close(self) -> bool:
        """Have running jobs end or be put back, and wait a moment for that; whether it is done."""
        self._is_told.set()
        self._runner.wake()
        if self.is_alive():
            self.join(GRACE_S + CLOSE_S)
        return not self.is_alive() and not self._runner.is_busy


def _refusal(tx: Tx, kind: JobKind[Any], job: Job) -> FastioError | None:
    """Why a job may not be done any more for the member that it acts for."""
    if kind.role is None or job.member is None:
        return None
    from fastio_cli.engine.authorization import refusal_of_job

    return refusal_of_job(tx, job.workspace_id, job.id, job.member, kind.role)


def _queue(found: list[tuple[str, NewJob]], tx: Tx) -> None:
    for kind, new in found:
        tx.jobs.queue(
            new.workspace_id,
            new.id,
            kind=kind,
            actor=new.actor,
            member=new.member,
            payload=json.dumps(new.payload),
            due_at=tx.now_ms + int(new.due_in_s * 1000),
            now_ms=tx.now_ms,
        )


def _may_be_queued(tx: Tx, new: NewJob) -> bool:
    """Whether there is no such job yet, or it has ended by itself; a cancelled one stays so."""
    row = tx.jobs.get(new.workspace_id, new.id)
    return row is None or row["state"] in ("done", "failed")


def _as_error(e: Exception) -> FastioError:
    if isinstance(e, FastioError):
        return e
    return FastioError("internal", f"It failed in fastio itself: {type(e).__name__}: {e}.")
