"""What an operation may use while it runs: one transaction, who asks, and the rules of writing.

Every change of an object goes the same way: :meth:`Context.begin_change` (lock and precondition),
then :meth:`Context.write_version` (version, event, totals). There is no other way to change one.
"""

from __future__ import annotations

from fastio_cli.blobs.content import Content
from fastio_cli.digest import EMPTY, sha256
from fastio_cli.errors import FastioError
from fastio_cli.identity import RANKS, stored_name
from fastio_cli.json_text import RawJson, canonical, quoted, stored
from fastio_cli.operations import lock_tokens
from fastio_cli.operations.documents import run_in_place
from fastio_cli.operations.records import object_record, timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from typing import Any, TypeVar

    from fastio_cli import model
    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.config.secret_box import SecretBox
    from fastio_cli.config.settings import Limits
    from fastio_cli.identity import Grant
    from fastio_cli.search.service import SearchService
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    T = TypeVar("T")

# Old versions are dropped a batch at a time, so that most writes pay nothing for it.
PRUNE_EVERY = 16
# The types of the events that leave numbers out: those that a store or workspace before gave out.
JUMPS = ("store.restore", "store.copy", "workspace.renumber")
NOTHING = Content(EMPTY, 0, body=b"")


class WriteTarget:
    """A path to write to: its lock and its precondition held when the change began."""

    __slots__ = ("head", "live", "path")

    def __init__(self, path: str, head: Row | None) -> None:
        self.path = path
        self.head = head
        # The head, unless the object is deleted or was never there.
        self.live: Row | None = None if head is None or head["deleted"] else head


class Preparation:
    """What an operation's ``prepare`` works with: the store, outside any transaction.

    ``enter`` makes a context of the call's workspace in a transaction; ``on_chunk`` is given each
    chunk of an answer that comes in chunks.
    """

    def __init__(
        self,
        store: Store,
        *,
        enter: Callable[[Tx], Context],
        open_search: Callable[[], SearchService],
        open_secret_box: Callable[[], SecretBox],
        on_chunk: Callable[[str], None] | None = None,
    ) -> None:
        self.store = store
        self._enter = enter
        self.open_search = open_search
        self.open_secret_box = open_secret_box
        self.on_chunk = on_chunk

    def read(self, work: Callable[[Context], T]) -> T:
        """Run ``work`` on one snapshot of the call's workspace."""
        return self.store.read(lambda tx: work(self._enter(tx)))


class Context:
    """One run of one operation. ``call_id`` stays the same when the engine runs it again.

    ``prepared`` is what the operation's ``prepare`` returned, None in the first run.
    ``after_rollback`` holds work that has to last although the operation fails: the engine does it
    in a transaction of its own then.
    """

    def __init__(
        self,
        tx: Tx,
        *,
        workspace: Row | None,
        actor: str,
        call_id: Callable[[], str],
        blobs: BlobStore,
        limits: Limits,
        org: str = "",
        grant: Grant | None = None,
        member: str | None = None,
        prepared: Any = None,
        open_search: Callable[[], SearchService] | None = None,
        lock_key: Callable[[Tx, int], bytes] | None = None,
        compute: Callable[..., Any] = run_in_place,
        verdict: Callable[[Hashable, Callable[[], bool]], bool] | None = None,
        raw_json: bool = False,
        admit: Callable[[str, str], tuple[Row | None, Grant | None]] | None = None,
    ) -> None:
        # Does what may be large or slow (``documents.py``); in a write, before it changes anything.
        self.compute = compute
        self._verdict = verdict
        self._raw_json = raw_json
        self.org = org
        self.grant = grant  # None for the owner of a local store, and for jobs
        self.member = member  # who it is done for; None for the owner of a local store
        self.tx = tx
        self.actor = actor
        self.call_id = call_id
        self.blobs = blobs
        self.limits = limits
        self.prepared = prepared
        self.after_rollback: list[Callable[[Tx], object]] = []
        self._open_search = open_search
        self._lock_key = lock_key
        self._admit = admit
        self._others: list[Context] = []
        self.workspace_id = self.seq = self._seq_before = 0
        self._size_bytes = self._size_before = 0
        if workspace is not None:
            self.enter(workspace)

    def json_value(self, text: bytes) -> object:
        """A stored JSON value as it stands in an answer: as its text if that is only sent on."""
        return RawJson(text) if self._raw_json else stored(text.decode())

    def verdict(self, about: Hashable, decide: Callable[[], bool]) -> bool:
        """What ``decide`` says about something that never changes, worked out once if it can be."""
        return decide() if self._verdict is None else self._verdict(about, decide)

    def enter(self, workspace: Row) -> None:
        """Work in this workspace from here on (``workspace.create`` makes the one it enters)."""
        self.workspace_id = workspace["id"]
        self.workspace_name: str = workspace["name"].rpartition("/")[2]
        self.seq = self._seq_before = workspace["seq"]
        self.head_hash: str = workspace["head_hash"]
        self._floor: int = workspace["number_floor"]
        self._workspace = workspace
        self._size_bytes = self._size_before = workspace["size_bytes"]
        self._live_bytes: int = workspace["live_bytes"]
        self._counts = {"state": workspace["state_count"], "file": workspace["file_count"]}

    def stored_name(self, workspace: str) -> str:
        """The name that a workspace of this org has in the store."""
        return stored_name(self.org, workspace)

    def beside(self, workspace: str, role: str) -> Context:
        """A context of another workspace of the org, in the same transaction and commit.

        Raises ``not_found`` where there is no such workspace for the caller, ``forbidden`` if the
        caller has less than this role there.
        """
        assert self._admit is not None, "only what names a further workspace enters one"
        from copy import copy

        row, grant = self._admit(self.stored_name(workspace), role)
        assert row is not None, "else it was not admitted"
        other = copy(self)
        other.grant = grant
        other._others = []
        other.enter(row)
        self._others.append(other)
        return other

    def enter_org(self) -> None:
        """Work in the org: its log is that of its workspace ``default``, which always exists."""
        row = self.tx.workspaces.by_name(self.stored_name("default"))
        assert row is not None
        self.enter(row)

    def id_of(self, workspace: str | None) -> int:
        """The id of a workspace of this org; 0, the org itself, for none. Raises ``not_found``."""
        if workspace is None:
            return 0
        row = self.tx.workspaces.by_name(self.stored_name(workspace))
        if row is None:
            raise FastioError(
                "not_found",
                f"There is no workspace {workspace!r}.",
                "See which there are: fastio workspace list",
            )
        id: int = row["id"]
        return id

    def require_here(self, role: str) -> None:
        """Raise ``forbidden`` if the caller has less than this role in the workspace."""
        if self.grant is not None and RANKS[self.grant.role] < RANKS[role]:
            raise FastioError(
                "forbidden",
                f"This needs the role {role} in {self.workspace_name}; yours is {self.grant.role}.",
                role=self.grant.role,
                needed=role,
            )

    def require(self, role: str) -> None:
        """Raise ``forbidden`` if the caller has less than this role in the org."""
        if self.grant is not None and not self.grant.at_least(role):
            raise FastioError(
                "forbidden",
                f"This needs the role {role}; yours is {self.grant.org_role}.",
                role=self.grant.org_role,
                needed=role,
            )

    @property
    def workspace_org(self) -> str:
        """The org of the workspace, also where the store's owner or a job works in it."""
        org: str = self._workspace["org"]
        return org

    @property
    def token_id(self) -> str | None:
        """The token that the call is made with; None for the owner of a local store."""
        return self.grant.token_id if self.grant is not None else None

    def require_all_scopes(self, what: str) -> None:
        """Raise ``forbidden`` if the caller's token is for some operations only, where ``what``
        comes of the call would be for all of them."""
        if self.grant is not None and not self.grant.has_all_scopes:
            raise FastioError(
                "forbidden",
                f"{what} would be for more than this token, which is for some operations only.",
                "Use a token without scopes: fastio token create NAME",
                scopes=self.grant.scopes,
            )

    def end_within(self, ttl_s: float | None) -> int | None:
        """When something ends that is made for so long, but not after the caller's token does.

        In milliseconds since 1970; None for never.
        """
        last = self.grant.expires_at if self.grant is not None else None
        if ttl_s is None:
            return last
        end = self.now_ms + int(ttl_s * 1000)
        return end if last is None else min(end, last)

    @property
    def search(self) -> SearchService:
        """The embedding model and the index, as far as they are opened."""
        assert self._open_search is not None
        return self._open_search()

    @property
    def lock_key(self) -> bytes:
        """The store's own key, which the tokens of locks are derived with."""
        assert self._lock_key is not None
        return self._lock_key(self.tx, self._floor)

    @property
    def now_ms(self) -> int:
        """The store's time of this transaction."""
        return self.tx.now_ms

    def emit(
        self,
        type: str,
        path: str | None = None,
        version: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> int:
        """Append an event to the workspace's log and chain its hash; its ``seq``."""
        if self.seq < self._floor:
            self.begin_numbers()
        return self._append(type, path, version, data)

    def begin_numbers(self) -> None:
        """Go on above the workspace's floor, if it has not done so: an event says where and why.

        It is of a type of :data:`JUMPS`, and its ``after`` is the number of the event before it.
        """
        if self.seq >= self._floor:
            return
        row = self.tx.numbers.of_workspace(self.workspace_id)
        after, self.seq = self.seq, self._floor - 1
        self._append(row["floor_reason"], data={"after": after})

    @property
    def event_count(self) -> int:
        """How many events the workspace has: not every number is one's."""
        row = self.tx.numbers.of_workspace(self.workspace_id)
        count: int = max(self.seq, row["number_floor"] - 1) - row["numbers_skipped"]
        return count

    def raise_floor(self, name: str) -> None:
        """Let the workspace go on above whatever others gave out under a name that it takes."""
        floor = self.tx.numbers.of_name(self.stored_name(name)) + 1
        if floor > max(self.seq + 1, self._floor):
            self.tx.numbers.raise_floor(self.workspace_id, floor, "workspace.renumber")
            self._floor = floor

    def _append(
        self,
        type: str,
        path: str | None = None,
        version: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> int:
        self.seq += 1
        event = {
            "workspace_id": self.workspace_id,
            "seq": self.seq,
            "type": type,
            "actor": self.actor,
            "path": path,
            "version": version,
            "at": self.now_ms,
            "data": canonical(data).decode() if data else "{}",
            "prev_hash": self.head_hash,
        }
        self.head_hash = event["hash"] = event_hash(event)
        self.tx.unit.add_event(event)
        return self.seq

    def finish(self) -> None:
        """Write the counters and totals of the workspaces in which anything happened."""
        for other in self._others:
            other.finish()
        if self.seq != self._seq_before or self._size_bytes != self._size_before:
            state_count, file_count = self._counts["state"], self._counts["file"]
            counters = {
                "seq": self.seq,
                "head_hash": self.head_hash,
                "object_count": state_count + file_count,
                "size_bytes": self._size_bytes,
                "state_count": state_count,
                "file_count": file_count,
                "live_bytes": self._live_bytes,
                "updated_at": self.now_ms,
            }
            self.tx.unit.save_workspace(self._workspace, counters)

    def begin_change(
        self, path: str, lock_token: str | None, if_version: int | None = None
    ) -> WriteTarget:
        """Begin the change of a path, as far as its lock and a precondition allow one.

        Raises ``locked`` when somebody else holds it, ``lock_lost`` when ``lock_token`` is no
        longer the live one, ``version_conflict`` when the object is not at ``if_version`` (0: must
        not exist).
        """
        self.check_lock(path, lock_token)
        target = WriteTarget(path, self.tx.unit.head(self.workspace_id, path))
        check_version(path, target.live["version"] if target.live is not None else 0, if_version)
        return target

    def check_lock(
        self, path: str, lock_token: str | None = None, *, proof: str | None = None
    ) -> Row | None:
        """The live lock that covers a path if ``lock_token`` holds it, None if nobody does.

        Background work has only the token's ``proof``. Raises ``lock_lost`` with a token of this
        path that is not the live lock's, and ``locked`` without one where there is a lock. A token
        of another path says nothing about this one: it is as none.
        """
        locks = self.covering_locks(path)
        lock = locks[0] if locks else None
        if lock_token is not None:
            held_hash = lock_tokens.token_hash(lock_token)
            for covering in locks:
                if covering["token_hash"] == held_hash:
                    return covering
            proof = lock_tokens.proof(lock_token)
        if proof is not None and not self._is_of_another(proof, path):
            held_hash = lock_tokens.hash_in(proof)
            held = next((c for c in locks if c["token_hash"] == held_hash), None)
            if held is None:
                raise self.lock_lost(path, lock)
            return held
        if lock is not None:
            raise self.locked(path, lock)
        return None

    def covering_locks(self, path: str) -> list[Row]:
        """The live locks on a path and on its folders. They exclude each other: one at most."""
        lock = self.live_lock(path)
        locks = [] if lock is None else [lock]
        if self._workspace["folder_locks"]:
            folders = lock_tokens.covering_paths(path)[1:]
            locks += filter(None, map(self.live_lock, folders))
        return locks

    def locks_in_the_way(self, path: str) -> list[Row]:
        """The live locks that keep a path from being locked: also those below a folder."""
        granted = self.tx.locks.overlapping(self.workspace_id, path)
        return list(filter(None, (self.live_lock(lock["path"]) for lock in granted)))

    def expect_folder_locks(self) -> None:
        """Have every change in the workspace look for locks on folders from now on."""
        if not self._workspace["folder_locks"]:
            self.tx.workspaces.expect_folder_locks(self.workspace_id)
            self._workspace = {**self._workspace, "folder_locks": 1}

    def _is_of_another(self, proof: str, path: str) -> bool:
        """Whether a proof is of a lock that does not cover a path."""
        covering = lock_tokens.covering_paths(path) if self._workspace["folder_locks"] else [path]
        return all(lock_tokens.is_of_another(proof, self.workspace_id, p) for p in covering)

    def lock_lost(self, path: str, lock: Row | None) -> FastioError:
        """The error for a token of a path whose lock, if there is one, is not that token's."""
        now_held = f" {lock['holder']} holds it now." if lock is not None else ""
        return FastioError(
            "lock_lost",
            f"The lock on {path} is no longer yours: it expired, or was released or broken."
            + now_held,
            f"Acquire it again, then read before you write: fastio lock acquire {path}",
            path=path,
            holder=lock["holder"] if lock is not None else None,
            fence=lock["fence"] if lock is not None else None,
        )

    def live_lock(self, path: str) -> Row | None:
        """The lock that holds on a path now.

        A lock lives for its ttl from when it was granted or renewed. If the clock has since jumped
        back past that moment, the ttl counts from now, so that no lock is stuck for longer.
        """
        lock = self.tx.unit.lock(self.workspace_id, path)
        if lock is None or lock["expires_at"] <= self.now_ms:
            return None
        if lock["renewed_at"] > self.now_ms and self.tx.writable:
            # It has to last: this transaction is rolled back when the lock refuses the change.
            self.after_rollback.append(lambda tx: self._restart_ttl(tx, path))
            return self._restart_ttl(self.tx, path)
        return lock

    def _restart_ttl(self, tx: Tx, path: str) -> Row | None:
        """Count a lock's ttl from now if the clock has jumped back since; the lock."""
        lock = tx.locks.get(self.workspace_id, path)
        if lock is None or lock["renewed_at"] <= tx.now_ms:
            return lock
        tx.locks.renew(self.workspace_id, path, lock["ttl_ms"], tx.now_ms)
        return tx.locks.get(self.workspace_id, path)

    def locked(self, path: str, lock: Row | None, ahead: int | None = None) -> FastioError:
        """The error ``locked``: who, why, until when, and how many are waiting already."""
        queue = self.tx.locks.queue(self.workspace_id, path, self.now_ms)
        waiting = len(queue) if ahead is None else ahead
        until = lock["expires_at"] if lock is not None else queue[0]["expires_at"]
        holder = lock["holder"] if lock is not None else queue[0]["holder"]
        purpose = lock["purpose"] if lock is not None else ""
        why = f" ({purpose})" if purpose else ""
        folder = lock["path"] if lock is not None and lock["path"] != path else None
        where = f", with what else is in {folder}," if folder is not None else ""
        return FastioError(
            "locked",
            f"{path}{where} is locked by {holder}{why} until {timestamp(until)}.",
            f"Wait for it in line: fastio lock acquire {path} --wait 60",
            path=path,
            holder=holder,
            purpose=purpose,
            fence=lock["fence"] if lock is not None else None,
            expires_at=timestamp(until),
            retry_after_s=max(0, until - self.now_ms) / 1000,
            queue_position=waiting + 1,
        )

    def write_version(
        self,
        target: WriteTarget,
        *,
        change: str,
        kind: str,
        content: Content,
        media_type: str,
        schema: str | None = None,
        deleted: bool = False,
        added_bytes: int | None = None,
        data: dict[str, Any] | None = None,
    ) -> model.Object:
        """Write the next version of a path and its event ``<kind>.<change>``; the new head.

        ``added_bytes`` is what the version adds to the workspace's size when that is not its own
        size. Raises ``quota_exceeded`` when the workspace would outgrow its limit.
        """
        head = target.head
        version = max(head["version"] if head is not None else 0, self._floor) + 1
        now_ms = self.now_ms
        created_at = target.live["created_at"] if target.live is not None else now_ms
        self.account(content.size_bytes if added_bytes is None else added_bytes)
        if target.live is not None:
            self._counts[target.live["kind"]] -= 1
            self._live_bytes -= target.live["size_bytes"]
        if not deleted:
            self._counts[kind] += 1
            self._live_bytes += content.size_bytes
        columns: dict[str, object] = {
            "workspace_id": self.workspace_id,
            "path": target.path,
            "version": version,
            "kind": kind,
            "etag": content.etag,
            "media_type": media_type,
            "size_bytes": content.size_bytes,
            "body": content.body,
            "blob": content.blob,
            "chain": content.chain,
            "schema": schema,
            "author": self.actor,
            "created_at": created_at,
            "updated_at": now_ms,
            "at": now_ms,
            "change": change,
            "deleted": int(deleted),
        }
        self.tx.unit.add_version(columns, is_new=head is None)
        self.emit(
            f"{kind}.{change}",
            target.path,
            version,
            {"etag": content.etag, "size_bytes": content.size_bytes, **(data or {})},
        )
        kept = self.limits.versions_max
        if version > kept and version % PRUNE_EVERY == 0:
            below = version - kept + 1
            if below <= self._floor:  # numbers were left out between the versions
                below = self.tx.objects.nth_newest(self.workspace_id, target.path, kept)
            self._size_bytes -= self.tx.unit.prune_versions(self.workspace_id, target.path, below)
        return object_record(columns)

    def next_chain(self) -> int:
        """A number for a chain of segments: the event of this very change, never used before."""
        return self.seq + 1

    def write_deletion(
        self, target: WriteTarget, change: str, data: dict[str, Any] | None = None
    ) -> model.Object:
        """Write the deletion of a live object: a version without content."""
        assert target.live is not None
        return self.write_version(
            target,
            change=change,
            kind=target.live["kind"],
            content=NOTHING,
            media_type=target.live["media_type"],
            schema=target.live["schema"],  # for the day it is restored
            deleted=True,
            data=data,
        )

    def content(self, path: str, version: int | None) -> Row:
        """A kept version (None: the live one) with its content. Raises ``not_found``."""
        if version is None:
            row = self.tx.unit.live_content(self.workspace_id, path)
            if row is not None:
                return row
            version = self.live(path)["version"]  # says why there is none
        row = self.tx.unit.content(self.workspace_id, path, version)
        if row is None:
            raise FastioError(
                "not_found",
                f"{path} has no version {version}, or it is older than the history kept.",
                f"See which versions there are: fastio file history {path}",
                path=path,
                version=version,
            )
        return row

    def live(self, path: str) -> Row:
        """The head of a live object. Raises ``not_found``."""
        head = self.tx.unit.head(self.workspace_id, path)
        if head is None or head["deleted"]:
            raise self.not_found(path, head)
        return head

    def not_found(self, path: str, head: Row | None) -> FastioError:
        """The error for a path where nothing stands."""
        if head is not None:
            return FastioError(
                "not_found",
                f"{path} was deleted (version {head['version']}).",
                f"Bring it back: fastio file restore {path}",
                path=path,
                deleted=True,
            )
        return FastioError(
            "not_found",
            f"There is nothing at {path} in workspace {self.workspace_name}.",
            f"List what is there: fastio file list -w {self.workspace_name}",
            path=path,
            deleted=False,
        )

    def room_bytes(self) -> int:
        """How much more the workspace may hold, and its org."""
        room = self.limits.storage_bytes_max - self._size_bytes
        if self.member is not None:
            room = min(room, self.limits.org_bytes_max - self.tx.unit.org_bytes(self.workspace_org))
        return max(0, room)

    def account(self, added_bytes: int) -> None:
        """Count what the workspace holds more. Raises ``quota_exceeded`` beyond its limit, or that
        of its org."""
        self._size_bytes += added_bytes
        if added_bytes <= 0:
            return
        limits = self.limits
        if self._size_bytes > limits.storage_bytes_max:
            who = f"Workspace {self.workspace_name}"
            raise _over("storage_bytes_max", who, self._size_bytes, limits.storage_bytes_max)
        if self.member is not None:
            added = self._size_bytes - self._workspace["size_bytes"]
            total = self.tx.unit.org_bytes(self.workspace_org) + added
            if total > limits.org_bytes_max:
                raise _over("org_bytes_max", "The org", total, limits.org_bytes_max)


def check_version(path: str, current: int, if_version: int | None) -> None:
    """Raise ``version_conflict`` unless an object is at the version that a change is for.

    0 is the version of an object that is not there.
    """
    if if_version is not None and current != if_version:
        raise FastioError(
            "version_conflict",
            f"{path} is at version {current}, not {if_version}.",
            f"Read it again and repeat the change: fastio file info {path}",
            path=path,
            current_version=current,
            expected_version=if_version,
        )


def _over(limit: str, who: str, size_bytes: int, limit_bytes: int) -> FastioError:
    return FastioError(
        "quota_exceeded",
        f"{who} would hold {size_bytes:,} bytes; the limit is {limit_bytes:,}.",
        f"Delete what is not needed, or raise the limit: fastio config set {limit} BYTES",
        limit_bytes=limit_bytes,
    )


def event_hash(row: Row) -> str:
    """SHA-256 over the canonical form (RFC 8785) of an event without its ``hash``.

    The row holds ``data`` in that form and ``at`` in milliseconds, which it states as RFC 3339. As
    the names are known the form is written out: half the work of a general encoder, in every write.
    """
    path, version = row["path"], row["version"]
    text = (
        f'{{"actor":{quoted(row["actor"])},"at":"{timestamp(row["at"])}","data":{row["data"]},'
        f'"path":{"null" if path is None else quoted(path)},"prev_hash":"{row["prev_hash"]}",'
        f'"seq":{row["seq"]},"type":{quoted(row["type"])},'
        f'"version":{"null" if version is None else version}}}'
    )
    return sha256(text.encode()).hexdigest()
