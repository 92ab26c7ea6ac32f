"""Members of an org and their roles, in the org and in single workspaces."""

from fastio_cli.errors import FastioError
from fastio_cli.operations.jobs import cancel_jobs_of
from fastio_cli.operations.logins import end_logins
from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import timestamp
from fastio_cli.operations.tokens import end_tokens
from fastio_cli.operations.types import Cursor, Limit, Line, Name, Role, is_number, wrong_cursor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row


@operation("member.list", "GET /v1/members", effect="read", role="viewer")
def list_(ctx: "Context", *, limit: Limit = 50, cursor: Cursor = "") -> "model.MemberList":
    """List the members with their roles in the org and in single workspaces."""
    name, slash, id = cursor.rpartition("/")
    if cursor and not (slash and is_number(id)):
        raise wrong_cursor(cursor)
    rows = ctx.tx.members.page(ctx.org, name, int(id or 0), limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [_record(row) for row in rows[:limit]],
        "next_cursor": f"{last['name']}/{last['workspace_id']}" if last is not None else None,
    }


@operation("member.set", "PUT /v1/members/{name}", effect="write", role="admin")
def set_(
    ctx: "Context", *, name: Line, role: Role, in_workspace: Name | None = None
) -> "model.Member":
    """Give somebody a role, in the org or in one workspace only.

    Nobody can give more than they have, or change somebody who has more.
    """
    ctx.enter_org()
    id = ctx.id_of(in_workspace)
    ctx.require(role)
    before = ctx.tx.members.get(ctx.org, name, id)
    if before is not None:
        ctx.require(before["role"])
    if before is not None and before["role"] == "owner" and role != "owner" and not id:
        _refuse_last_owner(ctx)
    ctx.tx.members.put(ctx.org, name, id, role, ctx.now_ms)
    data = {"name": name, "role": role, "workspace": in_workspace}
    ctx.emit("member.set", data=data)
    cancel_jobs_of(ctx, name)
    created_at = before["created_at"] if before is not None else ctx.now_ms
    return {
        "name": name,
        "role": role,
        "workspace": in_workspace,
        "created_at": timestamp(created_at),
    }


@operation("member.remove", "DELETE /v1/members/{name}", effect="write", role="admin")
def remove(ctx: "Context", *, name: Line, in_workspace: Name | None = None) -> "model.Member":
    """Take a role away, in the org or in one workspace; its tokens stop working there at once.

    The imports of theirs that are not done yet are cancelled where they may write no more. With
    somebody's last role their tokens end for good, and their logins at file services.
    """
    ctx.enter_org()
    id = ctx.id_of(in_workspace)
    row = ctx.tx.members.get(ctx.org, name, id)
    if row is None:
        raise FastioError(
            "not_found", f"{name} has no role there.", "See who has: fastio member list"
        )
    ctx.require(row["role"])
    if row["role"] == "owner" and not id:
        _refuse_last_owner(ctx)
    ctx.tx.members.remove(ctx.org, name, id)
    if ctx.tx.members.has_role(ctx.org, name):
        cancel_jobs_of(ctx, name)
    else:
        end_access(ctx, name)
    ctx.emit("member.remove", data={"name": name, "workspace": in_workspace})
    return {
        "name": name,
        "role": row["role"],
        "workspace": in_workspace,
        "created_at": timestamp(row["created_at"]),
    }


def end_access(ctx: "Context", name: str) -> None:
    """End all that acts for a name without a role: somebody else may get the name one day."""
    end_logins(ctx, name)
    end_tokens(ctx, name)
    cancel_jobs_of(ctx, name)


def _refuse_last_owner(ctx: "Context") -> None:
    if len(ctx.tx.members.owners(ctx.org)) == 1:
        raise FastioError(
            "invalid",
            "An org has at least one owner.",
            "Make somebody else owner first: fastio member set NAME owner",
        )


def _record(row: "Row") -> "model.Member":
    name: str | None = row["workspace"]
    return {
        "name": row["name"],
        "role": row["role"],
        "workspace": None if name is None else name.rpartition("/")[2],
        "created_at": timestamp(row["created_at"]),
    }
