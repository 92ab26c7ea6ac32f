"""Who acts in a workspace: what each last did, and what changed while one was away."""

from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import event_record, timestamp
from fastio_cli.operations.types import Age, Limit

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}"
DAY_S = 24 * 3600
SCANNED_MAX = 10_000  # events that are looked at, the newest
LOCKS_MAX = 1000
CHANGES_MAX = 10
LAST = chr(0x10FFFF)


@operation("actor.list", f"GET {BASE}/actors", effect="read", role="viewer")
def list_(ctx: "Context", *, since_s: Age = DAY_S, limit: Limit = 50) -> "model.ActorList":
    """List who acted lately, with what they last did and the locks they hold.

    The newest 10,000 events are looked at.
    """
    oldest, since_ms = ctx.seq - SCANNED_MAX, ctx.now_ms - int(since_s * 1000)
    rows = ctx.tx.actors.since(ctx.workspace_id, oldest, since_ms, limit)
    held: dict[str, list[str]] = {}
    for lock in _live_locks(ctx):
        held.setdefault(lock["holder"], []).append(lock["path"])
    items: list[model.Actor] = [
        {
            "name": row["actor"],
            "events": row["events"],
            "last_seq": row["seq"],
            "last_type": row["type"],
            "last_path": row["path"],
            "last_at": timestamp(row["at"]),
            "locks": held.get(row["actor"], []),
        }
        for row in rows
    ]
    return {"items": items, "next_cursor": None}


@operation("actor.brief", f"GET {BASE}/actors-brief", effect="read", role="viewer")
def brief(ctx: "Context") -> "model.Brief":
    """Tell who asks what changed since they last did something, and who holds which locks."""
    oldest = max(0, ctx.seq - SCANNED_MAX)
    seen = ctx.tx.actors.last_seq(ctx.workspace_id, ctx.actor, oldest)
    after = oldest if seen is None else seen
    others = ctx.tx.actors.since(ctx.workspace_id, after, 0, CHANGES_MAX)
    before = max(after, ctx.seq - CHANGES_MAX)
    newest = ctx.tx.events.after(ctx.workspace_id, before, CHANGES_MAX)
    locks = _live_locks(ctx)
    return {
        "actor": ctx.actor,
        "workspace": ctx.workspace_name,
        "seq": ctx.seq,
        "last_seen_seq": seen,
        "events_since": ctx.seq - after,
        "actors_since": [row["actor"] for row in others],
        "newest": [event_record(row) for row in reversed(newest)],
        "held": [_lock(lock) for lock in locks if lock["holder"] == ctx.actor][:CHANGES_MAX],
        "locked": [_lock(lock) for lock in locks if lock["holder"] != ctx.actor][:CHANGES_MAX],
    }


def _live_locks(ctx: "Context") -> "list[Row]":
    return ctx.tx.locks.page(ctx.workspace_id, "", "", LAST, ctx.now_ms, LOCKS_MAX)


def _lock(row: "Row") -> "model.LockNote":
    return {
        "path": row["path"],
        "holder": row["holder"],
        "purpose": row["purpose"],
        "expires_at": timestamp(row["expires_at"]),
    }
