"""The event log: read it by cursor, wait for more, prove its order."""

import json

from fastio_cli.errors import FastioError
from fastio_cli.json_text import canonical
from fastio_cli.operations.context import JUMPS, event_hash
from fastio_cli.operations.operation import Pending, operation
from fastio_cli.operations.records import event_record
from fastio_cli.operations.types import Age, Boolean, Limit, Line, PathPattern, Seq, Wait
from fastio_cli.patterns import matches

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


class _Filter:
    """Which events are asked for."""

    def __init__(
        self, type: str | None, path: str | None, by: str | None, since_ms: int | None
    ) -> None:
        self._type = type
        self._path = path
        self._by = by
        self._since_ms = since_ms
        self.lets_all_through = (type, path, by, since_ms) == (None, None, None, None)

    def matches(self, event: "Row") -> bool:
        """Whether an event passes."""
        return (
            matches(self._type, event["type"])
            and matches(self._path, event["path"] or "")
            and matches(self._by, event["actor"])
            and (self._since_ms is None or event["at"] >= self._since_ms)
        )


@operation("event.list", f"GET {BASE}/events", effect="read", role="viewer")
def list_(
    ctx: "Context",
    *,
    after: Seq = 0,
    before: Seq | None = None,
    newest_first: Boolean = False,
    limit: Limit = 50,
    type: Line | None = None,
    path: PathPattern | None = None,
    by: Line | None = None,
    since_s: Age | None = None,
    wait_s: Wait = 0,
) -> "model.EventList | Pending":
    """Read the events after a sequence number, in order, waiting for the next one if asked to.

    ``before`` is the number of the first one that is not wanted. ``type``, ``path`` and ``by``, the
    actor, are patterns: ``*`` matches anything, also ``/``, ``?`` one character, after a backslash
    both stand for themselves. ``since_s`` is an age. With a filter a page may be empty and yet not
    the last.

    ``next_cursor`` is the number to pass as ``after`` next, and ``has_more`` says whether there are
    events after it now. With ``newest_first`` it is the number to pass as ``before``, null on the
    last page. Raises ``invalid`` for an ``after`` that this log never gave out: of a log that was
    replaced, or of none.
    """
    if after > ctx.seq:
        raise _beyond(ctx, after)
    asked = after
    since_ms = None if since_s is None else ctx.now_ms - int(since_s * 1000)
    wanted = _Filter(type, path, by, since_ms)
    if since_ms is not None:
        first = ctx.tx.events.first_since(ctx.workspace_id, after, since_ms)
        after = max(after, ctx.seq if first is None else first - 1)
    if newest_first:
        return _newest(ctx, wanted, after, before, limit)
    items, cursor = _oldest(ctx, wanted, after, before, limit, is_asked=after == asked)
    has_more = cursor < min(ctx.seq, ctx.seq if before is None else before - 1)
    page: model.EventList = {"items": items, "next_cursor": str(cursor), "has_more": has_more}
    if items or cursor < ctx.seq or before is not None or wait_s <= 0:
        return page

    def concerns(event: "Row") -> bool:
        # Who may read may have changed.
        return wanted.matches(event) or event["path"] is None

    return Pending(wait_s, page, concerns=concerns)


def _oldest(
    ctx: "Context",
    wanted: _Filter,
    after: int,
    before: int | None,
    limit: int,
    *,
    is_asked: bool,
) -> "tuple[list[model.Event], int]":
    """Events from a number on, which the caller named or not, and how far was looked."""
    items: list[model.Event] = []
    cursor, scanned = after, 0
    while len(items) < limit and scanned < SCANNED_MAX:
        count = limit if wanted.lets_all_through else PAGE
        rows = ctx.tx.events.after(ctx.workspace_id, cursor, count)
        if not rows:
            break
        if is_asked and not scanned:
            _refuse_left_out(ctx, after, rows[0])
        scanned += len(rows)
        for row in rows:
            if before is not None and row["seq"] >= before:
                return items, cursor
            cursor = row["seq"]
            if wanted.matches(row):
                items.append(event_record(row))
                if len(items) == limit:
                    break
    return items, cursor


def _newest(
    ctx: "Context", wanted: _Filter, after: int, before: int | None, limit: int
) -> "model.EventList":
    """The page of the newest events below a number."""
    items: list[model.Event] = []
    cursor, scanned = ctx.seq + 1 if before is None else before, 0
    while len(items) < limit and scanned < SCANNED_MAX:
        count = limit if wanted.lets_all_through else PAGE
        rows = ctx.tx.events.before(ctx.workspace_id, cursor, after, count)
        if not rows:
            return {"items": items, "next_cursor": None, "has_more": False}
        scanned += len(rows)
        for row in rows:
            cursor = row["seq"]
            if wanted.matches(row):
                items.append(event_record(row))
                if len(items) == limit:
                    break
    has_more = cursor > after + 1
    return {
        "items": items,
        "next_cursor": str(cursor) if has_more else None,
        "has_more": has_more,
    }


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
