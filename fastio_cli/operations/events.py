"""The event log: read it by cursor, wait for more, prove its order."""

import json
from fnmatch import fnmatchcase

from fastio_cli.errors import FastioError
from fastio_cli.json_text import canonical
from fastio_cli.operations.context import event_hash
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
    is so while ``next_cursor`` moves.
    """
    items: list[model.Event] = []
    cursor = after
    while len(items) < limit and cursor - after < SCANNED_MAX:
        rows = ctx.tx.events.after(ctx.workspace_id, cursor, PAGE if type or path else limit)
        if not rows:
            break
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
    expected, previous = 1, ctx.tx.workspaces.genesis_hash
    problem = None
    while problem is None and (rows := ctx.tx.events.after(ctx.workspace_id, expected - 1, PAGE)):
        for row in rows:
            problem = _broken_link(row, expected, previous)
            if problem is None and row["seq"] == head_seq and row["hash"] != head_hash:
                problem = f"Event {head_seq} is not the one whose hash was kept."
            if problem is not None:
                break
            expected, previous = row["seq"] + 1, row["hash"]
    last = expected - 1
    if problem is None and (last != ctx.seq or previous != ctx.head_hash):
        problem = f"The log ends at event {last}, but the workspace counted {ctx.seq}."
    if problem is None and head_seq is not None and head_seq > last:
        problem = f"Event {head_seq}, whose hash was kept, is missing."
    return {
        "workspace": ctx.workspace_name,
        "verified": problem is None,
        "events": last,
        "head_seq": last,
        "head_hash": previous,
        "problem": problem,
    }


def _matches(pattern: str | None, text: str) -> bool:
    return pattern is None or fnmatchcase(text, pattern)


def _broken_link(row: "Any", expected: int, previous: str) -> str | None:
    if row["seq"] != expected:
        return f"Event {expected} is missing."
    if row["prev_hash"] != previous:
        return f"Event {expected} does not follow from the one before it."
    try:
        data = canonical(json.loads(row["data"])).decode()
        intact = event_hash({**row, "data": data}) == row["hash"]
    except (ValueError, OverflowError, OSError):  # no JSON, no time
        intact = False
    return None if intact else f"Event {expected} was changed after it was written."
