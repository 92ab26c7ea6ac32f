"""Locks: exclusive leases on paths, with fencing tokens and a fair queue.

A lock ends when its holder releases it, when its ttl passes, or when an admin breaks it. The fence
is the ``seq`` of the event that granted it: it only rises, whatever happens to locks, processes and
clocks, so whoever guards something outside fastio can refuse a lower one (Kleppmann, "How to do
distributed locking", 2016).
"""

from fastio_cli.errors import FastioError
from fastio_cli.operations import lock_tokens
from fastio_cli.operations.operation import Pending, about_any, operation
from fastio_cli.operations.paging import page_of_paths
from fastio_cli.operations.records import lock_record, timestamp
from fastio_cli.operations.types import (
    Cursor,
    Limit,
    Line,
    LockPath,
    PathPattern,
    Prefix,
    Token,
    Ttl,
    Wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

BASE = "/v1/workspaces/{workspace}/locks"
RENEW_S = 1.0  # how often a waiter says that it lives
LAST = chr(0x10FFFF)


def _hold_again(ctx: "Context", record: "model.Lock") -> "model.HeldLock":
    """The answer of an acquisition whose first answer was lost, with its token."""
    token = _derive_token(ctx, record["path"], record["fence"], record["acquired_at"])
    return {**record, "token": token}


@operation(
    "lock.acquire",
    f"POST {BASE}/{{path:path}}",
    effect="write",
    role="editor",
    returns_secret="token",
    replay=_hold_again,
    inline=True,
)
def acquire(
    ctx: "Context",
    *,
    path: LockPath,
    ttl_s: Ttl = 60,
    wait_s: Wait = 0,
    purpose: Line = "",
) -> "model.HeldLock | Pending":
    """Take the lock on a path, waiting in line for it if asked to.

    A path that ends with ``/`` is a folder: its lock covers everything below it.

    Waiters are served first come, first served. The answer's ``token`` proves the holding: every
    change of the path needs it until the lock ends. Raises ``locked`` when it is not to be had
    within ``wait_s``.
    """
    if path.endswith("/"):
        ctx.expect_folder_locks()
    workspace, me = ctx.workspace_id, ctx.call_id()
    in_the_way = ctx.locks_in_the_way(path)
    line = ctx.tx.locks.queue(workspace, path, ctx.now_ms)
    ahead = [waiter["waiter_id"] for waiter in line]
    if not in_the_way and (not ahead or ahead[0] == me):
        return _grant(ctx, path, ttl_s, purpose)
    position = ahead.index(me) if me in ahead else len(ahead)
    refusal = ctx.locked(path, in_the_way[0] if in_the_way else None, position)
    if wait_s <= 0:
        raise refusal
    ctx.tx.locks.enqueue(workspace, path, me, ctx.actor, ctx.now_ms)

    def my_turn(tx: "Tx") -> bool:
        granted = tx.locks.overlapping(workspace, path)
        if any(lock["expires_at"] > tx.now_ms for lock in granted):
            return False
        line = tx.locks.queue(workspace, path, tx.now_ms)
        return not line or line[0]["waiter_id"] == me

    return Pending(
        wait_s,
        refusal,
        concerns=about_any(lock_tokens.covering_paths(path)),
        ready=my_turn,
        wake_at_ms=min(row["expires_at"] for row in in_the_way or line),
        renew_s=RENEW_S,
        abandon=lambda tx: tx.locks.leave(workspace, path, me, tx.now_ms),
    )


@operation(
    "lock.take_over",
    f"POST {BASE}-take-over/{{path:path}}",
    effect="write",
    role="admin",
    returns_secret="token",
    replay=_hold_again,
)
def take_over(
    ctx: "Context",
    *,
    path: LockPath,
    ttl_s: Ttl = 60,
    purpose: Line = "",
    reason: Line = "",
) -> "model.HeldLock":
    """Take the lock on a path from whoever holds it, in one step, before all who wait for it.

    So is every lock that is in the way: of a folder that the path is in, of what is in the folder.
    The audit log says who did, and why: as ``lock.break``, then ``lock.acquire``. The fence is
    higher than those before, whose tokens are worth nothing from then on.
    """
    if path.endswith("/"):
        ctx.expect_folder_locks()
    for lock in ctx.locks_in_the_way(path):
        break_(ctx, path=lock["path"], reason=reason)
    return _grant(ctx, path, ttl_s, purpose)


@operation("lock.renew", f"PATCH {BASE}/{{path:path}}", effect="write", role="editor", inline=True)
def renew(
    ctx: "Context", *, path: LockPath, lock_token: Token, ttl_s: Ttl | None = None
) -> "model.Lock":
    """Extend a lock you hold, from now, by its ttl or another.

    Raises ``lock_lost`` if it is no longer yours, even if nobody else holds it.
    """
    lock = _held(ctx, path, lock_token)
    ttl_ms = lock["ttl_ms"] if ttl_s is None else int(ttl_s * 1000)
    ctx.tx.locks.renew(ctx.workspace_id, path, ttl_ms, ctx.now_ms)
    ctx.emit("lock.renew", path, data={"fence": lock["fence"], "ttl_ms": ttl_ms})
    return show(ctx, path=path)


@operation(
    "lock.release",
    f"DELETE {BASE}/{{path:path}}",
    effect="write",
    role="editor",
    inline=True,
    destructive=False,
)
def release(ctx: "Context", *, path: LockPath, lock_token: Token) -> "model.Lock":
    """Give back a lock you hold; the next in line gets it."""
    _held(ctx, path, lock_token)
    record = show(ctx, path=path)
    ctx.tx.locks.remove(ctx.workspace_id, path)
    ctx.emit("lock.release", path, data={"fence": record["fence"]})
    return record


@operation(
    "lock.break", f"POST {BASE}-break/{{path:path}}", effect="write", role="admin", destructive=True
)
def break_(ctx: "Context", *, path: LockPath, reason: Line = "") -> "model.Lock":
    """Take a lock away from its holder; the audit log says who did, and why."""
    lock = ctx.live_lock(path)
    if lock is None:
        raise _not_locked(path)
    record = _record(ctx, lock)
    ctx.tx.locks.remove(ctx.workspace_id, path)
    ctx.emit(
        "lock.break",
        path,
        data={"fence": record["fence"], "holder": record["holder"], "reason": reason},
    )
    return record


@operation("lock.show", f"GET {BASE}/{{path:path}}", effect="read", role="viewer", inline=True)
def show(ctx: "Context", *, path: LockPath) -> "model.Lock":
    """Show who holds the lock on a path, or on a folder of it, why and until when."""
    locks = ctx.covering_locks(path)
    if not locks:
        raise _not_locked(path)
    return _record(ctx, locks[0])


@operation("lock.list", f"GET {BASE}", effect="read", role="viewer")
def list_(
    ctx: "Context",
    *,
    prefix: Prefix = "",
    path: PathPattern | None = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> "model.LockList":
    """List the live locks of a workspace by path.

    ``prefix`` and ``path`` are those of ``object.list``.
    """

    def read(prefix: str, after: str, count: int) -> "list[Row]":
        end = prefix + LAST
        return ctx.tx.locks.page(ctx.workspace_id, prefix, after, end, ctx.now_ms, count)

    rows, next_cursor = page_of_paths(read, prefix, path, cursor, limit)
    return {"items": [_record(ctx, row) for row in rows], "next_cursor": next_cursor}


def _not_locked(path: str) -> FastioError:
    return FastioError(
        "not_found",
        f"{path} is not locked.",
        f"Take the lock: fastio lock acquire {path}",
        path=path,
    )


def _grant(ctx: "Context", path: str, ttl_s: float, purpose: str) -> "model.HeldLock":
    expired = ctx.tx.locks.get(ctx.workspace_id, path)
    if expired is not None:
        data = {"fence": expired["fence"], "holder": expired["holder"]}
        ctx.emit("lock.expire", path, data=data)
    ttl_ms = int(ttl_s * 1000)
    fence = ctx.emit("lock.acquire", path, data={"purpose": purpose, "ttl_ms": ttl_ms})
    token = _derive_token(ctx, path, fence, timestamp(ctx.now_ms))
    ctx.tx.locks.leave(ctx.workspace_id, path, ctx.call_id(), ctx.now_ms)
    ctx.tx.locks.put(
        ctx.workspace_id,
        path,
        fence=fence,
        token_hash=lock_tokens.token_hash(token),
        holder=ctx.actor,
        purpose=purpose,
        ttl_ms=ttl_ms,
        now_ms=ctx.now_ms,
    )
    return {**show(ctx, path=path), "token": token}


def _derive_token(ctx: "Context", path: str, fence: int, acquired_at: str) -> str:
    return lock_tokens.derive(ctx.lock_key, ctx.workspace_id, path, fence, acquired_at)


def _held(ctx: "Context", path: str, lock_token: str) -> "Row":
    """The live lock that a token holds. Raises ``lock_lost`` if that is none of this path."""
    lock = ctx.live_lock(path)
    if lock is not None and lock["token_hash"] == lock_tokens.token_hash(lock_token):
        return lock
    error = ctx.lock_lost(path, lock)
    if lock_tokens.is_of_another(lock_tokens.proof(lock_token), ctx.workspace_id, path):
        error.message = f"The token is of another lock than the one on {path}."
    raise error


def _record(ctx: "Context", lock: "Row") -> "model.Lock":
    return lock_record(lock, len(ctx.tx.locks.queue(ctx.workspace_id, lock["path"], ctx.now_ms)))
