"""The engine: every operation goes through :meth:`Engine.call`, whatever the surface.

A call is checked, prepared (bytes stored, JSON encoded), and then run in one transaction together
with its event and its idempotency record. An operation that has to wait waits between transactions,
never inside one.
"""

from __future__ import annotations

import json
import os
from functools import cache, partial
from itertools import count

from fastio_cli.blobs.content import Content
from fastio_cli.digest import sha256
from fastio_cli.engine.client import Client, PreparedCall
from fastio_cli.engine.outside import NeedsWork, OutsideWork
from fastio_cli.engine.verdicts import Verdicts
from fastio_cli.engine.waiting import LongPoll, LongPollRegistry, expired
from fastio_cli.errors import FastioError
from fastio_cli.identity import stored_name
from fastio_cli.json_text import canonical, record_text
from fastio_cli.operations import find
from fastio_cli.operations.context import Context, Preparation
from fastio_cli.operations.documents import run_in_place
from fastio_cli.operations.operation import UNPREPARED, Pending
from fastio_cli.operations.types import ACTOR_RULE, NAME_RULE
from fastio_cli.storage.tx import Work
from fastio_cli.storage.unit_of_work import Prefetch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.blobs.writer import BlobWriter
    from fastio_cli.config.secret_box import SecretBox
    from fastio_cli.config.settings import Limits, SearchSettings
    from fastio_cli.identity import Grant, Identity
    from fastio_cli.operations.files import Download
    from fastio_cli.operations.operation import Operation
    from fastio_cli.search.service import SearchService
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

KEY_LENGTH_MAX = 255
FLOORS_MAX = 1000  # whose keys are remembered; almost all workspaces have the same
KEY_KEPT_MS = 24 * 3600 * 1000
# A call that ends with one of these may have been done all the same.
UNKNOWN_OUTCOMES = ("unavailable", "internal", "interrupted", "timeout")
KEPT_BYTES_MAX = 4096  # of an answer that is kept as it is; most are a tenth of that
# The engine's own keys serve only until it has heard from the database again.
OWN_KEY_KEPT_MS = 10 * 60 * 1000
_PROCESS = os.urandom(12).hex()
_NUMBERS = count(1)


TOO_LARGE = object()  # the outcome of a call whose object is larger than ``inline_bytes_max``


class Call(PreparedCall):
    """A call on a store.

    ``inline_bytes_max`` bounds the size of the object that it works on; the outcome is
    :data:`TOO_LARGE`, with nothing done, beyond it, and where the object has a schema to satisfy.
    ``raw_json``: JSON values in the answer may be :class:`RawJson`.
    """

    inline_bytes_max: int | None = None
    raw_json = False

    def __init__(
        self,
        operation: Operation,
        params: dict[str, object],
        workspace: str,
        actor: str,
        idempotency_key: str | None,
        request_hash: str,
        own_key: bool = False,
        identity: Identity | None = None,
        other_workspace: str | None = None,
    ) -> None:
        super().__init__(operation, params, workspace)
        self.actor = actor
        self.idempotency_key = idempotency_key
        self.request_hash = request_hash
        self.key_kept_ms = OWN_KEY_KEPT_MS if own_key else KEY_KEPT_MS
        # The key that the engine made was never seen before this very call ran.
        self.may_be_done = idempotency_key is not None and not own_key
        self.identity = identity
        # The stored name of the further workspace that it works in.
        self.other_workspace = other_workspace
        self.result: object = None  # of the last run, which may have been committed unknown to us
        self.prepared: object = None
        self.outside: OutsideWork | None = None
        self.after_rollback: list[Callable[[Tx], object]] = []  # see Context
        self._id = ""

    @property
    def prefetch(self) -> Prefetch:
        """What it reads first: a workspace, a path in it, what is stored by its key, a token."""
        key = self.idempotency_key if self.may_be_done else None
        digest = self.identity.digest if self.identity is not None else None
        path = self.params.get("path")
        return Prefetch(self.workspace, path if isinstance(path, str) else None, key, digest)

    @property
    def workspaces(self) -> str:
        """What tells the workspaces that it locks from those of other calls."""
        other = self.other_workspace
        return self.workspace if other is None else f"{self.workspace}\n{other}"

    @property
    def stored(self) -> list[Content]:
        """The bytes that were stored for it before it ran."""
        upload = self.operation.upload_param
        content = self.params[upload] if upload is not None else None
        return [content] if isinstance(content, Content) and content.claim is not None else []

    def id(self) -> str:
        """What tells it from other calls. One that comes again keeps its place in a line."""
        if not self._id:
            key = self.idempotency_key
            self._id = new_id() if key is None else _short_hash(key)
        return self._id


class Engine(Client):
    """The operations on one store."""

    def __init__(
        self,
        store: Store,
        blobs: BlobStore,
        limits: Limits,
        search_settings: Callable[[], SearchSettings] | None = None,
        key_file: Callable[[], str] | None = None,
    ) -> None:
        self.store = store
        self.blobs = blobs
        self.limits = limits
        self._search_settings = search_settings
        self._key_file = key_file
        self._search: SearchService | None = None
        self._lock_keys: dict[int, bytes] = {}
        self._verdicts = Verdicts()
        # Do what may be large or slow for reads, and for writes; a server has helpers for it.
        self.compute: Callable[..., object] = run_in_place
        self.compute_in_write: Callable[..., object] = run_in_place

    @property
    def search(self) -> SearchService:
        """What searching needs besides the store; opened at the first search."""
        if self._search is None:
            from fastio_cli.config.settings import SearchSettings
            from fastio_cli.search.service import SearchService

            settings = (self._search_settings or SearchSettings)()
            self._search = SearchService(self.blobs, settings)
        return self._search

    def open_secret_box(self) -> SecretBox:
        """What encrypts secrets in this store. Raises as :class:`SecretBox` does."""
        from fastio_cli.config.secret_box import SecretBox

        if self._key_file is None:
            raise FastioError("invalid", "No key file was named to keep secrets with.")
        return SecretBox(self._key_file())

    def run(self, call: PreparedCall) -> object:
        """Do a prepared call, waiting for as long as it asks to."""
        assert isinstance(call, Call)
        poll = None
        transaction = self.store.write if call.operation.effect == "write" else self.store.read
        while True:
            try:
                outcome = transaction(lambda tx: self._run(tx, call))
            except FastioError as e:
                self.finish_rollback(call, e)
                raise
            if outcome is UNPREPARED:
                scratch = self._scratch_engine(call)
                if scratch is not None:
                    try:
                        return scratch.run(call)
                    finally:
                        scratch.close()
                self.prepare_outside(call)
            elif isinstance(outcome, Pending):
                poll = poll or LongPoll(call.workspace)
                if not self._wait(poll, outcome):
                    return expired(outcome)
            else:
                return outcome

    def _scratch_engine(self, call: Call) -> Engine | None:
        """What a call that only reads is prepared on where the store itself cannot be written."""
        if call.operation.effect != "read":
            return None
        from fastio_cli.storage.scratch import scratch_copy

        store = scratch_copy(self.store)
        if store is None:
            return None
        return Engine(store, self.blobs, self.limits, self._search_settings, self._key_file)

    def work(self, call: Call) -> Work:
        """A prepared call as a store takes it.

        The outcome may be ``Pending``, to be waited for, or ``UNPREPARED``: then the work is to be
        done again after ``prepare_outside``. When it fails, ``finish_rollback`` follows.
        """

        def run(tx: Tx) -> object:
            return self._run(tx, call)

        return Work(run, call.prefetch if call.operation.in_workspace else None)

    def call_many(self, calls: Sequence[PreparedCall]) -> list[object]:
        """Do several calls in one commit; each fails alone: results or exceptions, in order.

        A call that would have to wait fails as if its time were up.
        """

        def work(call: Call) -> Work:
            def run(tx: Tx) -> object:
                outcome = self._run(tx, call)
                return expired(outcome) if isinstance(outcome, Pending) else outcome

            return Work(run)

        own = [call for call in calls if isinstance(call, Call)]
        outcomes = self.store.write_batch([work(call) for call in own])
        for i, call in enumerate(own):
            while outcomes[i] is UNPREPARED:  # rare: the same call again, alone, in its place
                try:
                    self.prepare_outside(call)
                    outcomes[i] = self.store.write(work(call).run)
                except FastioError as e:
                    outcomes[i] = e
            self.finish_rollback(call, outcomes[i])
        return outcomes

    def prepare_outside(self, call: Call) -> None:
        """Do what a call that answered ``UNPREPARED`` needs, outside any transaction."""
        if call.outside is not None and call.outside.is_asked:
            call.outside.do(self.compute)
            return
        prepare = call.operation.prepare
        assert prepare is not None, f"{call.operation.name} has nothing to prepare"

        def enter(tx: Tx) -> Context:
            admitted = _admit(tx, call.operation, call.workspace, call.identity)
            return self._context(tx, call, *admitted)

        preparation = Preparation(
            self.store,
            enter=enter,
            open_search=lambda: self.search,
            open_secret_box=self.open_secret_box,
            on_chunk=call.on_chunk,
        )
        call.prepared = prepare(preparation, **call.params)

    def finish_rollback(self, call: Call, outcome: object = None) -> None:
        """Do what has to last of a call whose transaction was rolled back, and remove what it
        stored if its ``outcome`` is the error that refused it."""
        if isinstance(outcome, FastioError) and outcome.code not in UNKNOWN_OUTCOMES:
            for content in call.stored:
                self.discard(content)
        if call.after_rollback:
            works, call.after_rollback = call.after_rollback, []
            self.store.write(lambda tx: [work(tx) for work in works])

    def act(
        self,
        works: list[tuple[int, str, str | None, Callable[[Tx, Context | None], object]]],
    ) -> list[object]:
        """Do background work, in one commit, each alone: results or exceptions.

        A work is a workspace's number, the actor it is done for, who that is as a member of the
        org (None: the store's owner), and a function of a transaction and a context. In a workspace
        that was deleted meanwhile it is not done, and gives None; with the number 0 it is about no
        workspace, and there is no context.
        """

        def run(
            workspace_id: int,
            actor: str,
            member: str | None,
            work: Callable[[Tx, Context | None], object],
        ) -> Work:
            def in_transaction(tx: Tx) -> object:
                if not workspace_id:
                    return work(tx, None)
                ctx = self.background_context(tx, workspace_id, actor, member)
                if ctx is None:
                    return None
                result = work(tx, ctx)
                ctx.finish()
                return result

            return Work(in_transaction)

        return self.store.write_batch([run(*work) for work in works])

    def begin_numbers(self, actor: str) -> None:
        """Say in every workspace whose numbers have to go on higher that they do."""

        def pending(tx: Tx) -> list[int]:
            rows = tx.workspaces.every()
            return [row["id"] for row in rows if row["seq"] < row["number_floor"]]

        def begin(tx: Tx, ctx: Context | None) -> None:
            assert ctx is not None
            ctx.begin_numbers()

        for outcome in self.act([(id, actor, None, begin) for id in self.store.read(pending)]):
            if isinstance(outcome, Exception):
                raise outcome

    def background_context(
        self, tx: Tx, workspace_id: int, actor: str, member: str | None = None
    ) -> Context | None:
        """What work in the background may use in a workspace; None if that was deleted."""
        row = tx.workspaces.by_id(workspace_id)
        if row is None:
            return None
        return Context(
            tx,
            workspace=row,
            actor=actor,
            member=member,
            call_id=str,
            blobs=self.blobs,
            limits=self.limits,
        )

    def prepare(
        self,
        name: str,
        params: dict[str, object],
        workspace: str,
        actor: str,
        idempotency_key: str | None = None,
        identity: Identity | None = None,
    ) -> Call:
        """Check a call's parameters and do the work that needs no transaction.

        With an ``identity`` it acts as that member, within what the member may do; without one it
        acts for the owner of the store.
        """
        operation = find(name)
        decoded = operation.decode(params)
        NAME_RULE.check(workspace, "workspace")
        if identity is None:
            ACTOR_RULE.check(actor, "actor")
        else:
            actor = identity.member
            workspace = stored_name(identity.org, workspace)
        other = decoded.get(operation.workspace_param) if operation.workspace_param else None
        if other is not None:
            other = stored_name(identity.org if identity is not None else "", str(other))
        request_hash, own_key = "", False
        if idempotency_key is not None:
            if operation.effect != "write":
                raise FastioError("invalid", f"{name} changes nothing and takes no key.")
            if not 1 <= len(idempotency_key) <= KEY_LENGTH_MAX or not idempotency_key.isprintable():
                raise FastioError(
                    "invalid", f"An idempotency key has 1 to {KEY_LENGTH_MAX} printable characters."
                )
            request_hash = _request_hash(
                [name, workspace if operation.targets_workspace else ""],
                {key: value for key, value in params.items() if key != operation.wait_param},
            )
            if identity is not None:  # nobody gets an answer by another's key
                idempotency_key = _whose(identity) + idempotency_key
        elif self.store.retries_whole_transaction and operation.effect == "write":
            idempotency_key, own_key = f"rerun:{new_id()}", True
        return Call(
            operation,
            decoded,
            workspace,
            actor,
            idempotency_key,
            request_hash,
            own_key=own_key,
            identity=identity,
            other_workspace=other,
        )

    def upload(self, stream: BinaryIO) -> Content:
        """Store the bytes of a stream, as the ``content`` parameter of a file operation."""
        return self.blobs.put(stream, self.limits.file_bytes_max)

    def begin_upload(self, size_bytes_max: int) -> BlobWriter:
        """Takes the bytes of a ``content`` parameter as they come."""
        return self.blobs.writer(size_bytes_max)

    def discard(self, content: Content) -> None:
        """Remove the bytes of a refused call, unless something else refers to them."""

        def is_used(name: str) -> bool:
            return self.store.read(lambda tx: tx.objects.uses_blob(name))

        try:
            self.blobs.discard(content, is_used)
        except FastioError:
            pass  # what cannot be removed now is swept

    def chunks(self, download: Download) -> Iterator[bytes]:
        """The bytes that ``file.get`` answered with."""
        return download.chunks(self.store.read, self.blobs)

    def _run(self, tx: Tx, call: Call) -> object:
        operation = call.operation
        row = grant = None
        if operation.in_workspace:
            other = call.other_workspace
            if other is not None and other < call.workspace:
                tx.unit.enter(Prefetch(other))  # all lock two workspaces in the same order
            row = tx.unit.enter(call.prefetch)
        if call.identity is not None:
            grant = _authorization().authorise(tx, call.identity, operation, row, call.params)
        # A request that renamed or deleted its workspace is found without that workspace.
        scope = row["id"] if row is not None and not operation.targets_workspace else 0
        hidden = call.identity is not None and grant is None  # exactly as if it were not there
        if call.idempotency_key is not None and call.may_be_done and not (hidden and scope):
            done = tx.unit.request(scope, call.idempotency_key)
            if done is not None and _may_be_told(tx, call, done):
                return self._replay(tx, call, row, grant, done)
        if hidden or (row is None and operation.in_workspace):
            raise no_workspace(tx, call.workspace, call.identity)
        if call.inline_bytes_max is not None and _is_too_large(tx, call, row):
            return TOO_LARGE
        ctx = self._context(tx, call, row, grant)
        try:
            result = operation.run(ctx, **call.params)
        except FastioError:
            call.after_rollback = ctx.after_rollback
            raise
        except NeedsWork:
            return UNPREPARED
        if isinstance(result, Pending):
            result.seq = ctx.seq
        if operation.effect == "write" and result is not UNPREPARED:
            if grant is not None and self.limits.metered == "on":
                self._charge(tx, call)
            ctx.finish()
            if call.idempotency_key is not None and not isinstance(result, Pending):
                tx.unit.put_request(
                    scope,
                    call.idempotency_key,
                    request_hash=call.request_hash,
                    result=_as_kept(_without_secret(operation, result)),
                    target_id=row["id"] if row is not None and not scope else None,
                    kept_ms=call.key_kept_ms,
                )
                call.may_be_done = True
                call.result = result
        return result

    def _replay(
        self, tx: Tx, call: Call, row: Row | None, grant: Grant | None, done: Row
    ) -> object:
        """The answer to a request that was done before, by what was kept of it.

        Raises ``invalid`` if another request used the key, and what the operation's ``replay``
        raises.
        """
        if done["request_hash"] != call.request_hash:
            key = str(call.idempotency_key)
            if call.identity is not None:
                key = key.removeprefix(_whose(call.identity))
            raise FastioError(
                "invalid",
                f"The idempotency key {key!r} was used for another request.",
                "Use a new key for a new request.",
            )
        record = json.loads(done["result"])
        operation = call.operation
        if operation.returns_secret is None:
            return self._resolved(tx, call, row, grant, record)
        if call.result is not None and record == _without_secret(operation, call.result):
            return call.result  # this very call did it, and did not hear of its commit
        assert operation.replay is not None
        ctx = self._context(tx, call, row, grant)
        result = operation.replay(ctx, record)
        ctx.finish()
        return result

    def _resolved(
        self, tx: Tx, call: Call, row: Row | None, grant: Grant | None, record: object
    ) -> object:
        if row is None:
            return record
        from fastio_cli.engine.kept_answers import resolved

        return resolved(self._context(tx, call, row, grant), record)

    def _context(self, tx: Tx, call: Call, row: Row | None, grant: Grant | None) -> Context:
        return Context(
            tx,
            workspace=row,
            actor=call.actor,
            call_id=call.id,
            blobs=self.blobs,
            limits=self.limits,
            org=call.identity.org if call.identity is not None else "",
            grant=grant,
            member=call.actor if grant is not None else None,
            prepared=call.prepared,
            open_search=lambda: self.search,
            compute=self._compute_for(tx, call),
            verdict=self._verdicts.get,
            raw_json=call.raw_json,
            lock_key=self._read_lock_key,
            admit=lambda name, role: _admit(tx, call.operation, name, call.identity, role),
        )

    def _compute_for(self, tx: Tx, call: Call) -> Callable[..., object]:
        if call.operation.effect == "read":
            return self.compute
        call.outside = call.outside or OutsideWork(self.compute_in_write)
        return partial(call.outside.compute, tx)

    def _read_lock_key(self, tx: Tx, floor: int) -> bytes:
        """The key, which changes only when all floors do: when the store is restored."""
        if floor not in self._lock_keys:
            if len(self._lock_keys) >= FLOORS_MAX:
                self._lock_keys.clear()
            self._lock_keys[floor] = tx.locks.token_key()
        return self._lock_keys[floor]

    def close(self) -> None:
        """Close the store."""
        self.store.close()

    def admission(
        self, operation: Operation, workspace: str, identity: Identity
    ) -> Callable[[Tx], object]:
        """A work that raises unless the identity may do the operation, before bytes are sent."""
        name = stored_name(identity.org, workspace)
        return lambda tx: _admit(tx, operation, name, identity)

    def upload_admission(self, call: Call, size_bytes: int) -> Callable[[Tx], int]:
        """A work that raises what would refuse an upload of so many bytes, before they are sent;
        how many there may be at most.

        ``call`` has other bytes in their place. One that was done before is not refused.
        """

        def admit(tx: Tx) -> int:
            tx.unit.enter(call.prefetch)  # all that is looked at, in one round trip
            row, grant = _admit(tx, call.operation, call.workspace, call.identity)
            assert row is not None
            key = call.idempotency_key
            most = self.limits.file_bytes_max
            if key is not None and tx.unit.request(row["id"], key) is not None:
                return most
            ctx = self._context(tx, call, row, grant)
            most = min(most, ctx.room_bytes())
            if call.operation.admit is not None:
                call.operation.admit(ctx, size_bytes, **call.params)
            return most

        return admit

    def _charge(self, tx: Tx, call: Call) -> None:
        assert call.identity is not None
        from fastio_cli.engine.quota import charge

        charge(tx, call.identity.org, self.limits.credits_per_month)

    def _wait(self, poll: LongPoll, pending: Pending) -> bool:
        """Wait until a call is worth another run. False when its time is up."""
        poll.suspend(pending)
        is_worth_a_run = False
        try:
            is_worth_a_run = LongPollRegistry(self.store).wait(poll)
        finally:
            if not is_worth_a_run and pending.abandon is not None:
                self.store.write(pending.abandon)
        return is_worth_a_run


@cache
def _authorization() -> Any:
    """The rules of who may do what, which a local call has no need to load."""
    from fastio_cli.engine import authorization

    return authorization


def _admit(
    tx: Tx,
    operation: Operation,
    name: str,
    identity: Identity | None,
    role: str | None = None,
) -> tuple[Row | None, Grant | None]:
    """The workspace of this stored name, and what the identity may do in it.

    ``role`` is the least that it needs there, if that is not the operation's. Raises what
    ``authorise`` raises, and ``not_found`` where it may not know of the workspace.
    """
    row = tx.unit.enter(Prefetch(name)) if operation.in_workspace else None
    grant = None
    if identity is not None:
        grant = _authorization().authorise(tx, identity, operation, row, role=role)
    if (identity is not None and grant is None) or (row is None and operation.in_workspace):
        raise no_workspace(tx, name, identity)
    return row, grant


def _may_be_told(tx: Tx, call: Call, done: Row) -> bool:
    """Whether who asks may have a kept answer: an operation on a workspace itself is looked up
    without it, as it may have renamed or deleted it, so the role in it is still to be asked.

    Raises as ``authorise`` does.
    """
    if call.identity is None or not call.operation.targets_workspace:
        return True
    target = None if done["target_id"] is None else tx.workspaces.any_by_id(done["target_id"])
    if target is None:
        return False
    return _authorization().authorise(tx, call.identity, call.operation, target) is not None


def _is_too_large(tx: Tx, call: Call, row: Row | None) -> bool:
    path = call.params.get("path")
    if not isinstance(path, str) or row is None:
        return False
    head = tx.unit.head(row["id"], path)
    if head is None:
        return False
    return bool(head["size_bytes"] > (call.inline_bytes_max or 0) or head["schema"] is not None)


def new_id() -> str:
    """A name that nothing else has. Asking the system for it each time would let go of the GIL."""
    return f"{_PROCESS}{next(_NUMBERS):x}"


def no_workspace(tx: Tx, stored_name: str, identity: Identity | None) -> FastioError:
    """The error for a workspace that is not there, or must look as if it were not."""
    name = stored_name.rpartition("/")[2]
    hint = f"Create it: fastio workspace create {name}"
    deleted = tx.workspaces.latest_deleted(stored_name)
    if deleted is not None and (
        identity is None or _authorization().may_see(tx, identity, deleted)
    ):
        hint = f"It was deleted. Bring it back: fastio workspace restore {name}"
    return FastioError("not_found", f"There is no workspace {name!r}.", hint, workspace=name)


def _whose(identity: Identity) -> str:
    """What stands before the idempotency keys of a token: another one of the same member, which may
    be for less, is not told what was done with it."""
    return f"{identity.digest or ''}:"


def _short_hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]


def _request_hash(what: list[str], params: dict[str, object]) -> str:
    plain = {
        key: {"etag": value.etag} if isinstance(value, Content) else value
        for key, value in params.items()
    }
    return sha256(canonical([*what, plain])).hexdigest()


def _as_kept(answer: object) -> str:
    """An answer as it is kept: the few that are large by reference."""
    text = record_text(answer)
    if len(text) > KEPT_BYTES_MAX and isinstance(answer, dict):
        from fastio_cli.engine.kept_answers import by_reference

        text = by_reference(answer)
    return text.decode()


def _without_secret(operation: Operation, result: object) -> object:
    """What may be kept of an answer."""
    if operation.returns_secret is None:
        return result
    assert isinstance(result, dict)
    return {name: value for name, value in result.items() if name != operation.returns_secret}
