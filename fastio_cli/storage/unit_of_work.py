"""The unit of work: what a transaction has read (identity map) and what it will write (change set).

**Identity map.** The rows that every call looks at (workspace, head, lock, stored request, grant)
are read once. A store that a connection has to itself keeps them for its next transaction, as long
as nobody else has committed meanwhile.

**Change set.** The rows that every change writes (versions, heads, events, counters, stored
requests, usage) go to the database together at the commit, one row where several works of a
commit changed the same head or counter. There are two layers: that of the work that runs, and that
of the works before it in the same commit. Undoing a work is dropping its layer.

**Autoflush.** Repositories run their statements on an :class:`AutoflushDb`: what is pending is
written before any of them, and a statement that changes rows makes the identity map forget. A work
that wrote through statements has a savepoint and is undone by the database.
"""

from __future__ import annotations

from itertools import chain

from fastio_cli.storage.repositories.locks import Locks
from fastio_cli.storage.repositories.objects import Objects
from fastio_cli.storage.repositories.requests import TIDY_EVERY, Requests
from fastio_cli.storage.repositories.usage import Usage, shard_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Protocol, TypeVar

    from fastio_cli.storage.db import Db, Row

    T = TypeVar("T")
    Key = tuple[int, str]  # of a path in a workspace, or of a request

    class Session(Protocol):
        """What a unit of work needs of its store: a connection with an open transaction."""

        def load(
            self, identity: IdentityMap, prefetch: Prefetch, others: list[Prefetch]
        ) -> Row | None:
            """Lock a workspace if the transaction writes, and read what calls will look at.

            The workspace's row and what was read go into the identity map. None if there is no
            such workspace.
            """

        def apply(self, changes: ChangeSet) -> None:
            """Write a change set."""

        def savepoint(self) -> None: ...

        def release(self) -> None: ...

        def rollback(self) -> None:
            """Undo what was done since the savepoint."""

        def is_lost(self, error: Exception) -> bool:
            """Whether an error ended the whole transaction."""

        def time_ms(self) -> int:
            """The store's time."""


KNOWN_MAX = 1000
KNOWN_BYTES_MAX = 16 * 1024 * 1024


class Prefetch:
    """What a call will read first, so that a distant store can fetch it in one round trip.

    ``path`` is the object it looks at, ``request_key`` the idempotency key that it looks up,
    ``token_digest`` the token that it is made with.
    """

    __slots__ = ("path", "request_key", "token_digest", "workspace")

    def __init__(
        self,
        workspace: str,
        path: str | None = None,
        request_key: str | None = None,
        token_digest: str | None = None,
    ) -> None:
        self.workspace = workspace
        self.path = path
        self.request_key = request_key
        self.token_digest = token_digest


class ChangeSet:
    """Rows that one work, or all works of a commit so far, will write."""

    __slots__ = (
        "events",
        "expired",
        "heads",
        "prunings",
        "requests",
        "usage",
        "versions",
        "workspaces",
    )

    def __init__(self) -> None:
        self.versions: list[Row] = []
        self.prunings: dict[Key, Row] = {}  # paths whose versions below a number go
        self.events: list[Row] = []
        self.heads: dict[Key, tuple[Row, bool]] = {}  # and whether the path is new
        self.workspaces: dict[int, Row] = {}  # counters
        self.requests: dict[Key, Row] = {}
        self.expired: dict[int, Row] = {}  # workspaces whose old requests are to be dropped
        self.usage: dict[tuple[str, int], tuple[int, int]] = {}  # of orgs: objects, bytes

    def __bool__(self) -> bool:
        return bool(self.events or self.versions or self.workspaces or self.requests)

    def set_head(self, key: Key, columns: Row, is_new: bool) -> None:
        """The newest version of a path, in place of one that is not written yet either."""
        before = self.heads.get(key)
        self.heads[key] = columns, is_new or (before is not None and before[1])

    def add_usage(self, key: tuple[str, int], objects: int, size_bytes: int) -> None:
        """Count what an org has more, or less."""
        before = self.usage.get(key, (0, 0))
        self.usage[key] = before[0] + objects, before[1] + size_bytes

    def merge(self, later: ChangeSet) -> None:
        """Add what came later."""
        self.versions += later.versions
        self.prunings.update(later.prunings)
        self.events += later.events
        for key, (columns, is_new) in later.heads.items():
            self.set_head(key, columns, is_new)
        self.workspaces.update(later.workspaces)
        self.requests.update(later.requests)
        self.expired.update(later.expired)
        for org, (objects, size_bytes) in later.usage.items():
            self.add_usage(org, objects, size_bytes)

    def head_rows(self, is_new: bool) -> list[Row]:
        """The heads of new paths, or of those that had one."""
        return [columns for columns, new in self.heads.values() if new is is_new]

    def usage_rows(self) -> list[Row]:
        """What orgs have more, in the one order in which every transaction writes it."""
        return [
            {"org": org, "shard": shard, "objects": objects, "bytes": size_bytes}
            for (org, shard), (objects, size_bytes) in sorted(self.usage.items())
        ]


class IdentityMap:
    """Rows that were read or written, by their keys; None for those that are known to be missing.

    A head has its content with it if this process wrote it.
    """

    __slots__ = ("_bytes", "grants", "heads", "locks", "org_usage", "requests", "workspaces")

    def __init__(self) -> None:
        self.workspaces: dict[str, dict[str, object]] = {}
        self.heads: dict[Key, Row | None] = {}
        self.locks: dict[Key, Row | None] = {}
        self.requests: dict[Key, Row | None] = {}
        self.grants: dict[tuple[str, int], Row | None] = {}
        self.org_usage: dict[str, Row] = {}
        self._bytes = 0

    def clear(self) -> None:
        """Know nothing any longer, as others may have changed it."""
        self.workspaces.clear()
        self.heads.clear()
        self.locks.clear()
        self.requests.clear()
        self.grants.clear()
        self.org_usage.clear()
        self._bytes = 0

    def trim(self) -> None:
        """Forget all when that is much."""
        largest = max(len(self.heads), len(self.locks), len(self.workspaces), len(self.grants))
        if largest > KNOWN_MAX or self._bytes > KNOWN_BYTES_MAX:
            self.clear()

    def absorb(self, changes: ChangeSet) -> None:
        """Know what is being written."""
        for key, (columns, _) in changes.heads.items():
            self.heads[key] = columns
            self._bytes += columns["size_bytes"]
        counters = changes.workspaces
        for row in self.workspaces.values() if counters else ():
            if row["id"] in counters:
                row.update(counters[row["id"]])
        for key in changes.requests if self.requests else ():
            self.requests.pop(key, None)
        for (org, _), (_, size_bytes) in changes.usage.items() if self.org_usage else ():
            if org in self.org_usage:
                usage = self.org_usage[org]
                self.org_usage[org] = {**usage, "size_bytes": usage["size_bytes"] + size_bytes}


class UnitOfWork:
    """What one transaction reads and writes on its way through a call.

    ``writable`` says that the transaction may change something, ``alone`` that it is for one work.
    """

    def __init__(self, db: Db, session: Session) -> None:
        self.identity = IdentityMap()
        self.writable = False
        self._session = session
        self._objects = Objects(db)
        self._requests = Requests(db)
        self._locks = Locks(db)
        self._db = db
        self._now_ms = 0
        self._alone = True
        self._expected: list[Prefetch] = []
        self._work = ChangeSet()
        self._batch = ChangeSet()
        self._has_savepoint = self._is_applying = False

    def begin(self, *, writable: bool, now_ms: int = 0) -> None:
        """Start anew for a transaction; without a time the store is asked when it is needed."""
        self.writable = writable
        self._now_ms = now_ms
        self._alone = True
        self._has_savepoint = self._is_applying = False

    @property
    def now_ms(self) -> int:
        """The store's time, which stands still while the transaction is open."""
        if not self._now_ms:
            self._now_ms = self._session.time_ms()
        return self._now_ms

    def saw_time(self, now_ms: int) -> None:
        """The store told its time along with something else."""
        self._now_ms = self._now_ms or now_ms

    def share(self, expected: list[Prefetch]) -> None:
        """Several works use this transaction, which will read this."""
        self._alone = False
        self._expected = expected

    # What a call looks at.

    def enter(self, prefetch: Prefetch) -> Row | None:
        """The live workspace of this name; in a writing transaction it is ours alone from here."""
        row: Row | None = self.identity.workspaces.get(prefetch.workspace)
        if row is None:
            row = self._session.load(self.identity, prefetch, self._expected)
            if row is None:
                return None
        counters = self._batch.workspaces.get(row["id"])
        return row if counters is None else {**row, **counters}

    def head(self, workspace_id: int, path: str) -> Row | None:
        """The newest version of a path, live or deleted; its content may be missing."""
        key = workspace_id, path
        pending = self._pending_head(key)
        if pending is not None:
            return pending
        heads = self.identity.heads
        if key not in heads:
            heads[key] = self._objects.head(workspace_id, path)
        return heads[key]

    def live_content(self, workspace_id: int, path: str) -> Row | None:
        """The newest version of a path with its content, unless it is deleted."""
        row = self._known_content((workspace_id, path))
        if row is None:
            return self._objects.live_content(workspace_id, path)
        return None if row["deleted"] else row

    def content(self, workspace_id: int, path: str, version: int) -> Row | None:
        """One kept version with its content."""
        row = self._known_content((workspace_id, path))
        if row is not None and row["version"] == version:
            return row
        if self._pending_head((workspace_id, path)) is not None:
            self.flush()
        return self._objects.content(workspace_id, path, version)

    def lock(self, workspace_id: int, path: str) -> Row | None:
        """The last lock granted on a path and not released; it may have expired."""
        locks, key = self.identity.locks, (workspace_id, path)
        if key not in locks:
            locks[key] = self._locks.get(workspace_id, path)
        return locks[key]

    def grant(self, digest: str, workspace_id: int) -> Row | None:
        """A token with its member's roles in the org and in one workspace."""
        grants, key = self.identity.grants, (digest, workspace_id)
        if key not in grants:
            from fastio_cli.storage.repositories.tokens import Tokens

            grants[key] = Tokens(self._db).grant(digest, workspace_id)
        return grants[key]

    def request(self, workspace_id: int, key: str) -> Row | None:
        """What is stored by an idempotency key, unless its time is over."""
        row = self._stored_request((workspace_id, key))
        return row if row is not None and row["expires_at"] > self.now_ms else None

    def org_bytes(self, org: str) -> int:
        """The bytes that an org has, with what this transaction will have added."""
        known = self.identity.org_usage
        if org not in known:
            known[org] = Usage(self._db).of_org(org)
        pending = chain(self._work.usage.items(), self._batch.usage.items())
        added = sum(size_bytes for (name, _), (_, size_bytes) in pending if name == org)
        size_bytes: int = known[org]["size_bytes"] + added
        return size_bytes

    # What a call changes.

    @property
    def has_changes(self) -> bool:
        """Whether the call has changed anything that is not written yet."""
        return bool(self._work)

    def add_version(self, columns: Row, is_new: bool) -> None:
        """Add a version and make it the head of its path; ``columns`` are those of both rows."""
        self._work.versions.append(columns)
        self._work.set_head((columns["workspace_id"], columns["path"]), columns, is_new)

    def add_event(self, columns: Row) -> None:
        """Append an event to its workspace's log."""
        self._work.events.append(columns)

    def prune_versions(self, workspace_id: int, path: str, below: int) -> int:
        """Drop the versions below a number; the bytes that they have."""
        key = workspace_id, path
        before = self._work.prunings.get(key) or self._batch.prunings.get(key)
        since = 0 if before is None else before["below"]
        self._work.prunings[key] = {"workspace_id": workspace_id, "path": path, "below": below}
        pending: int = sum(
            row["size_bytes"]
            for row in chain(self._batch.versions, self._work.versions)
            if since <= row["version"] < below
            and row["path"] == path
            and row["workspace_id"] == workspace_id
            and row["chain"] is None
        )
        return pending + self._objects.bytes_of_versions(workspace_id, path, since, below)

    def save_workspace(self, before: Row, after: dict[str, object]) -> None:
        """Set a workspace's counters, and count what its org has more."""
        id = before["id"]
        self._work.workspaces[id] = {"id": id, **after}
        objects = after["object_count"] - before["object_count"]
        size_bytes = after["size_bytes"] - before["size_bytes"]
        if objects or size_bytes:
            self._work.add_usage((before["org"], shard_of(id)), objects, size_bytes)

    def put_request(
        self,
        workspace_id: int,
        key: str,
        *,
        request_hash: str,
        result: str,
        target_id: int | None,
        kept_ms: int,
    ) -> None:
        """Store the result of a call; now and then forget those whose time is over."""
        if self.now_ms % TIDY_EVERY == 0:
            expired = {"workspace_id": workspace_id, "now_ms": self.now_ms}
            self._work.expired[workspace_id] = expired
        self._work.requests[workspace_id, key] = {
            "workspace_id": workspace_id,
            "key": key,
            "request_hash": request_hash,
            "result": result,
            "target_id": target_id,
            "expires_at": self.now_ms + kept_ms,
        }

    # How it is written, or undone.

    def attempt(self, run: Callable[[T], object], tx: T) -> object:
        """Run one of several works; undo it alone and return the exception when it fails."""
        try:
            result = run(tx)
        except Exception as e:
            if self._is_applying or self._session.is_lost(e):
                raise  # what others have pending is lost with it
            self._work = ChangeSet()
            if self._has_savepoint:
                self._session.rollback()
                self.identity.clear()
            self._release()
            return e
        if self._work:
            self._batch.merge(self._work)
            self._work = ChangeSet()
        self._release()
        return result

    def flush(self) -> None:
        """Write what is pending; whatever the work does from here can be undone."""
        if self._batch:
            self._apply(self._batch)
            self._batch = ChangeSet()
        if self._work:
            self._save()
            self._apply(self._work)
            self._work = ChangeSet()

    def before_change(self) -> None:
        """Before a statement that changes rows: nothing is known for certain after it."""
        self.flush()
        self._save()
        self.identity.clear()

    def abandon(self) -> None:
        """Nothing of this transaction happened."""
        self._work, self._batch = ChangeSet(), ChangeSet()
        self.identity.clear()

    def _save(self) -> None:
        if not (self._alone or self._has_savepoint):
            self._session.savepoint()
            self._has_savepoint = True

    def _release(self) -> None:
        if self._has_savepoint:
            self._session.release()
            self._has_savepoint = False

    def _apply(self, changes: ChangeSet) -> None:
        self._is_applying = True
        self.identity.absorb(changes)
        self._session.apply(changes)
        self._is_applying = False

    def _pending_head(self, key: Key) -> Row | None:
        found = self._work.heads.get(key) or self._batch.heads.get(key)
        return None if found is None else found[0]

    def _known_content(self, key: Key) -> Row | None:
        row = self._pending_head(key) or self.identity.heads.get(key)
        return row if row is not None and "body" in row else None

    def _stored_request(self, key: Key) -> Row | None:
        pending = self._work.requests.get(key) or self._batch.requests.get(key)
        if pending is not None:
            return pending
        if key in self.identity.requests:
            return self.identity.requests[key]
        return self._requests.stored(*key)


class AutoflushDb:
    """The statements of repositories, in step with a unit of work."""

    def __init__(self, db: Db, unit: UnitOfWork) -> None:
        self.lock_clause = db.lock_clause
        self.now_column = db.now_column
        self._db = db
        self._unit = unit

    def one(self, sql: str, **params: object) -> Row | None:
        self._unit.flush()
        return self._db.one(sql, **params)

    def all(self, sql: str, **params: object) -> list[Row]:
        self._unit.flush()
        return self._db.all(sql, **params)

    def run(self, sql: str, **params: object) -> None:
        self._unit.before_change()
        self._db.run(sql, **params)

    def run_many(self, sql: str, rows: Iterable[Row]) -> None:
        self._unit.before_change()
        self._db.run_many(sql, rows)

    def returning(self, sql: str, **params: object) -> Row | None:
        self._unit.before_change()
        return self._db.returning(sql, **params)
