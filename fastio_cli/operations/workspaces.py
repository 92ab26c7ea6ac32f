"""Workspaces: named sets of objects, each with one order of writes and one log."""

from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import UNPREPARED, Unprepared, operation
from fastio_cli.operations.records import workspace_record
from fastio_cli.operations.types import ALL, Boolean, Cursor, Limit, Name, is_number, wrong_cursor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context, Preparation
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces"


@operation("workspace.create", f"POST {BASE}", effect="write", role="admin")
def create(ctx: "Context", *, name: Name) -> "model.Workspace":
    """Create a workspace."""
    _refuse_taken(ctx, name)
    ctx.enter(ctx.tx.workspaces.add(ctx.stored_name(name), ctx.now_ms))
    ctx.raise_floor(name)
    ctx.emit("workspace.create", data={"name": name})
    return _record(ctx, name)


@operation("workspace.list", f"GET {BASE}", effect="read", role="member")
def list_(
    ctx: "Context", *, deleted: Boolean = False, limit: Limit = 50, cursor: Cursor = ""
) -> "model.WorkspaceList":
    """List the workspaces by name (or, with ``deleted``, those that can be restored)."""
    # Several deleted workspaces may have one name, so a cursor is name/id.
    name, slash, id = cursor.partition("/")
    if slash and not is_number(id):
        raise wrong_cursor(cursor)
    rows = visible(ctx, limit + 1, name, int(id or 0), deleted=deleted)
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [workspace_record(row) for row in rows[:limit]],
        "next_cursor": f"{last['name'].rpartition('/')[2]}/{last['id']}"
        if last is not None
        else None,
    }


def visible(
    ctx: "Context", limit: int, after: str = "", after_id: int = 0, *, deleted: bool = False
) -> "list[Row]":
    """The workspaces of the org that the caller may read, by name."""
    stored, page = ctx.stored_name(after), ctx.tx.workspaces.page
    if ctx.grant is None or ctx.tx.members.get(ctx.org, ctx.actor, 0) is not None:
        member = None
    else:
        member = ctx.actor  # who has no role in the org, but in some workspaces
    bound = ctx.grant.workspace_id if ctx.grant is not None else None
    if bound is None:
        return page(ctx.org, stored, after_id, limit, deleted, member=member)
    rows = page(ctx.org, stored, after_id, ALL, deleted, member=member)
    return [row for row in rows if row["id"] == bound]


@operation("workspace.show", f"GET {BASE}/{{workspace}}", effect="read", role="viewer", inline=True)
def show(ctx: "Context") -> "model.Workspace":
    """Show a workspace: how many objects and bytes it holds, and its last event."""
    return _record(ctx, ctx.workspace_name)


@operation("workspace.usage", f"GET {BASE}-usage/{{workspace}}", effect="read", role="viewer")
def usage(ctx: "Context") -> "model.WorkspaceUsage":
    """Show what a workspace holds, by kind, and what its history and locks add."""
    row = ctx.tx.workspaces.by_id(ctx.workspace_id)
    assert row is not None
    return {
        "name": ctx.workspace_name,
        "object_count": row["object_count"],
        "state_count": row["state_count"],
        "file_count": row["file_count"],
        "live_bytes": row["live_bytes"],
        "size_bytes": row["size_bytes"],
        "event_count": ctx.event_count,
        "storage_bytes_max": ctx.limits.storage_bytes_max,
    }


@operation("workspace.rename", f"PATCH {BASE}/{{workspace}}", effect="write", role="admin")
def rename(ctx: "Context", *, name: Name) -> "model.Workspace":
    """Give a workspace another name."""
    if ctx.workspace_name == "default":
        raise FastioError(
            "invalid",
            "The workspace 'default' always exists and keeps its name.",
            f"Create another: fastio workspace create {name}",
        )
    _refuse_taken(ctx, name)
    ctx.tx.numbers.keep(ctx.stored_name(ctx.workspace_name), ctx.seq)
    ctx.tx.workspaces.rename(ctx.workspace_id, ctx.stored_name(name))
    ctx.raise_floor(name)
    ctx.emit("workspace.rename", data={"from": ctx.workspace_name, "to": name})
    return _record(ctx, name)


@operation("workspace.delete", f"DELETE {BASE}/{{workspace}}", effect="write", role="owner")
def delete(ctx: "Context") -> "model.Workspace":
    """Delete a workspace; nothing in it is lost until it is purged, and it can be restored."""
    if ctx.workspace_name == "default":
        raise FastioError(
            "invalid",
            "The workspace 'default' always exists and cannot be deleted.",
            "Delete its objects instead: fastio file delete PATH",
        )
    ctx.emit("workspace.delete")
    ctx.tx.numbers.keep(ctx.stored_name(ctx.workspace_name), ctx.seq)
    ctx.tx.workspaces.mark_deleted(ctx.workspace_id, ctx.now_ms)
    row = ctx.tx.workspaces.latest_deleted(ctx.stored_name(ctx.workspace_name))
    assert row is not None
    return {**workspace_record(row), "seq": ctx.seq}


@operation("workspace.restore", f"POST {BASE}-restore/{{name}}", effect="write", role="owner")
def restore(ctx: "Context", *, name: Name) -> "model.Workspace":
    """Bring back the workspace of this name that was deleted last."""
    _refuse_taken(ctx, name)
    row = ctx.tx.workspaces.latest_deleted(ctx.stored_name(name))
    if row is None:
        raise FastioError(
            "not_found",
            f"No deleted workspace is called {name!r}.",
            "See which there are: fastio workspace list --deleted",
        )
    ctx.tx.workspaces.mark_deleted(row["id"], None)
    ctx.enter(row)
    ctx.raise_floor(name)
    ctx.emit("workspace.restore")
    return _record(ctx, name)


def _drop_index(preparation: "Preparation", *, enabled: bool) -> bool:
    workspace_id = preparation.read(lambda ctx: ctx.workspace_id)
    preparation.open_search().disable(preparation.store, workspace_id)
    return True


@operation(
    "workspace.intelligence",
    f"POST {BASE}/{{workspace}}/intelligence",
    effect="write",
    role="admin",
    prepare=_drop_index,
)
def intelligence(ctx: "Context", *, enabled: Boolean) -> "model.Intelligence | Unprepared":
    """Turn the search over a workspace on or off; off, nothing of it stays in the index."""
    index = ctx.tx.search.index(ctx.workspace_id)
    was_enabled = index is None or bool(index["enabled"])
    if not enabled and ctx.prepared is None and index is not None:
        return UNPREPARED
    if enabled != was_enabled:
        ctx.tx.search.invalidate(ctx.workspace_id, enabled)
    ctx.emit("workspace.intelligence", data={"enabled": enabled})
    return {"workspace": ctx.workspace_name, "enabled": enabled}


def _refuse_taken(ctx: "Context", name: str) -> None:
    if ctx.tx.workspaces.by_name(ctx.stored_name(name)) is not None:
        raise FastioError(
            "already_exists",
            f"There is a workspace {name!r} already.",
            f"Use it: fastio use {name}",
            name=name,
        )


def _record(ctx: "Context", name: str) -> "model.Workspace":
    row = ctx.tx.workspaces.by_name(ctx.stored_name(name))
    assert row is not None
    # The counter is written when the operation ends; the record already tells it.
    return {**workspace_record(row), "seq": ctx.seq}
