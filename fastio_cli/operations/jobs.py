"""Jobs: the work that a store does in the background, watched, tried again and cancelled."""

import json

from fastio_cli.errors import FastioError
from fastio_cli.identity import least
from fastio_cli.operations import imports
from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import job_record
from fastio_cli.operations.types import (
    LATEST,
    Cursor,
    JobId,
    JobKindName,
    JobState,
    Limit,
    is_number,
    wrong_cursor,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}/jobs"


@operation("job.list", f"GET {BASE}", effect="read", role="viewer")
def list_(
    ctx: "Context",
    *,
    state: JobState | None = None,
    kind: JobKindName | None = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> "model.JobList":
    """List the jobs of a workspace, those that were queued last first."""
    at, dot, id = cursor.partition(".")
    if cursor and not (dot and is_number(at)):
        raise wrong_cursor(cursor)
    rows = ctx.tx.jobs.page(
        ctx.workspace_id,
        before_at=int(at) if cursor else LATEST,
        before_id=id,
        state=state,
        kind=kind,
        limit=limit + 1,
    )
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [job_record(row) for row in rows[:limit]],
        "next_cursor": f"{last['queued_at']}.{last['id']}" if last is not None else None,
    }


@operation("job.show", f"GET {BASE}/{{id}}", effect="read", role="viewer")
def show(ctx: "Context", *, id: JobId) -> "model.Job":
    """Show one job: when it is due or how it ended, its attempts, and why it failed."""
    return job_record(_get(ctx, id))


@operation("job.cancel", f"POST {BASE}/{{id}}/cancel", effect="write", role="editor")
def cancel(ctx: "Context", *, id: JobId) -> "model.Job":
    """Stop a job that has not ended; what it works on is cancelled with it.

    A job that comes back by itself, as that of the search index, stays away until it is retried.
    """
    row = _get(ctx, id)
    if row["state"] in imports.OVER:
        raise FastioError(
            "invalid",
            f"Job {id} has ended already: it is {row['state']}.",
            f"See it: fastio job show {id}",
        )
    if row["kind"] == imports.JOB_KIND:
        imports.cancel(ctx, id=_import_id(row))
    else:
        ctx.emit("job.cancel", data={"job": id})
        ctx.tx.jobs.cancel(ctx.workspace_id, id, ctx.now_ms)
    return job_record(_get(ctx, id))


@operation("job.retry", f"POST {BASE}/{{id}}/retry", effect="write", role="editor")
def retry(ctx: "Context", *, id: JobId) -> "model.Job":
    """Have a job run at once that ended, or that waits for its next attempt."""
    row = _get(ctx, id)
    if row["state"] == "running":
        raise FastioError("invalid", f"Job {id} is running.", f"See it: fastio job show {id}")
    if row["kind"] == imports.JOB_KIND:
        imports.retry(ctx, id=_import_id(row))
    else:
        ctx.emit("job.retry", data={"job": id})
        ctx.tx.jobs.queue(
            ctx.workspace_id,
            id,
            kind=row["kind"],
            actor=row["actor"],
            member=row["member"],
            payload=row["payload"],
            due_at=ctx.now_ms,
            now_ms=ctx.now_ms,
        )
    return job_record(_get(ctx, id))


def cancel_jobs_of(ctx: "Context", member: str) -> None:
    """Cancel what acts for a member wherever the role that it needs was taken from them.

    Leaves the context in the org. A job that has just begun is asked for the role again when it
    ends (``engine/authorization.py``).
    """
    for row in ctx.tx.jobs.of_member(ctx.org, member):
        ctx.finish()
        workspace = ctx.tx.workspaces.by_id(row["workspace_id"])
        if workspace is None or row["kind"] != imports.JOB_KIND:
            continue
        roles = [ctx.tx.members.get(ctx.org, member, id) for id in (0, workspace["id"])]
        if any(r is not None and least(r["role"], imports.ROLE) == imports.ROLE for r in roles):
            continue
        ctx.enter(workspace)
        error = FastioError(
            "forbidden",
            f"{member}, for whom it was, no longer has the role {imports.ROLE} here.",
            f"Whoever has it can have it done: fastio job retry {row['id']}",
        )
        imports.cancel_for(ctx, _import_id(row), error)
    ctx.finish()
    ctx.enter_org()


def _get(ctx: "Context", id: str) -> "Row":
    row = ctx.tx.jobs.get(ctx.workspace_id, id)
    if row is None:
        raise FastioError(
            "not_found",
            f"There is no job {id} in workspace {ctx.workspace_name}.",
            "See which there are: fastio job list",
        )
    return row


def _import_id(row: "Row") -> int:
    return int(json.loads(row["payload"])["import"])
