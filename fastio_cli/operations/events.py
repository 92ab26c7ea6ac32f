"""The event log: read it by cursor, wait for more, prove its order."""

import json
from fnmatch import fnmatchcase

from fastio_cli.errors import FastioError
from fastio_cli.json_text import canonical
from fastio_cli.operations.context import JUMPS, event_hash
from fastio_cli.operations.operation import Pending, operation
from fastio_cli.operations.records import event_record
from fastio_cli.operations.types import Limit, Line, PathPattern, Seq, Wait

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}"
# A filter that matches little must not make one call read the whole log.
SCANNED_MAX = 10_000
PAGE = 1000


@operation("event.list", f"GET {BASE}/events", effect="read", role="viewer")
def list_(
    ctx: "Context",
    *,
    after: Seq = 0,
    limit: Limit = 50,
    type: Line | None = None,
    path: PathPattern | None = None,
    wait_s: Wait = 0,
) -> "model.EventList | Pending":
    """Read the events after a sequence number, in order, waiting for the next one if asked to.

    ``type`` and ``path`` are patterns: ``*`` matches anything, also ``/``. ``next_cursor`` is the
    number to pass as ``after`` next; with a filter a page may be empty and yet not the last, which
    is so while ``next_cursor`` moves. Raises ``invalid`` for an ``after`` that this log never gave
    out: of a log that was replaced, or of none.
    """
    items: list[model.Event] = []
    cursor, scanned = after, 0
    if after > ctx.seq:
        raise _beyond(ctx, after)
    while len(items) < limit and scanned < SCANNED_MAX:
        rows = ctx.tx.events.after(ctx.workspace_id, cursor, PAGE if type or path else limit)
        if not rows:
            break
        if not scanned:
            _refuse_left_out(ctx, after, rows[0])
        scanned += len(rows)
        for row in rows:
            cursor = row["seq"]
            if _matches(type, row["type"]) and _matches(path, row["path"] or ""):
                items.append(event_record(row))
                if len(items) == limit:
                    break
    page: model.EventList = {"items": items, "next_cursor": str(cursor)}
    if not items and cursor >= ctx.seq and wait_s > 0:

        def concerns(event: "Row") -> bool:
            is_asked_for = _matches(type, event["type"]) and _matches(path, event["path"] or "")
            # Who may read may have changed.
            return is_asked_for or event["path"] is None

        return Pending(wait_s, page, concerns=concerns)
    return page


@operation("audit.verify", f"GET {BASE}/audit", effect="read", role="viewer")
def verify(
    ctx: "Context", *, head_seq: Seq | None = None, head_hash: Line | None = None
) -> "model.AuditReport":
    """Recompute the hash chain of the event log and say whether it holds.

    A chain proves that nothing was changed or removed before a point whose hash somebody kept: pass
    what an earlier report said as ``head_seq`` and ``head_hash`` to check against it.
    """
    if (head_seq is None) != (head_hash is None):
        raise FastioError("invalid", "head_seq and head_hash belong together.")
    last, previous = 0, ctx.tx.workspaces.genesis_hash
    count, problem = 0, None
    while problem is None and (rows := ctx.tx.events.after(ctx.workspace_id, last, PAGE)):
        for row in rows:
            problem = _broken_link(row, last, previous)
            if problem is None and head_seq is not None and last < head_seq <= row["seq"]:
                problem = _broken_promise(row, head_seq, head_hash)
            if problem is not None:
                break
            last, previous = row["seq"], row["hash"]
            count += 1
    if problem is None and (last != ctx.seq or previous != ctx.head_hash):
        problem = f"The log ends at event {last}, but the workspace counted {ctx.seq}."
    if problem is None and head_seq is not None and head_seq > last:
        problem = f"Event {head_seq}, whose hash was kept, is missing."
    return {
        "workspace": ctx.workspace_name,
        "verified": problem is None,
        "events": count,
        "head_seq": last,
        "head_hash": previous,
        "problem": problem,
    }


def _matches(pattern: str | None, text: str) -> bool:
    return pattern is None or fnmatchcase(text, pattern)


def _beyond(ctx: "Context", after: int) -> FastioError:
    return FastioError(
        "invalid",
        f"There is no event {after}: the log of {ctx.workspace_name} ends at event {ctx.seq}.",
        f"Go on from there: fastio event list -w {ctx.workspace_name} --after {ctx.seq}",
        newest_seq=ctx.seq,
    )


def _refuse_left_out(ctx: "Context", after: int, first: "Any") -> None:
    """Refuse a number that the log left out, between two events that follow each other."""
    last = _followed(first)
    if last is None or last == after:
        return
    raise FastioError(
        "invalid",
        f"Event {after} is of a log that was replaced: in this one event {first['seq']} "
        f"({first['type']}) follows event {last}.",
        f"Read on from where they part: fastio event list -w {ctx.workspace_name} --after {last}",
        newest_seq=ctx.seq,
        parted_after=last,
    )


def _followed(row: "Any") -> int | None:
    """The number of the event that one follows which leaves numbers out; None for others."""
    if row["type"] not in JUMPS:
        return None
    after = json.loads(row["data"]).get("after")
    return after if isinstance(after, int) else None


def _broken_promise(row: "Any", head_seq: int, head_hash: str | None) -> str | None:
    """What is wrong with the event whose hash was kept: this one, or one that was left out."""
    if row["seq"] != head_seq:
        return f"Event {head_seq}, whose hash was kept, is missing: {row['type']} left it out."
    if row["hash"] != head_hash:
        return f"Event {head_seq} is not the one whose hash was kept."
    return None


def _broken_link(row: "Any", last: int, previous: str) -> str | None:
    expected = last + 1
    if row["seq"] != expected and not (row["seq"] > expected and _followed(row) == last):
        return f"Event {expected} is missing."
    if row["prev_hash"] != previous:
        return f"Event {row['seq']} does not follow from the one before it."
    try:
        data = canonical(json.loads(row["data"])).decode()
        intact = event_hash({**row, "data": data}) == row["hash"]
    except (ValueError, OverflowError, OSError):  # no JSON, no time
        intact = False
    return None if intact else f"Event {row['seq']} was changed after it was written."
