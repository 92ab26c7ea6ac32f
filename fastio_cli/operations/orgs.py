"""Orgs: making one, showing it and what it uses.

What happens to an org is written to the log of its workspace ``default``.
"""

from fastio_cli.errors import FastioError
from fastio_cli.identity import FIRST_ORG
from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import FIRST_ORG_NAME, month_of, org_name, timestamp
from fastio_cli.operations.tokens import add_token, new_owner_token
from fastio_cli.operations.types import Name

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context

ANYBODY = "member"  # as ``org_create_role``: every member of every org


def _open_again(ctx: "Context", record: "model.Org") -> "model.NewOrg":
    """A new token for who made an org and lost the answer: there is no other way in."""
    return {**record, "token": new_owner_token(ctx, record["name"], ctx.actor, "org.create")}


@operation(
    "org.create",
    "POST /v1/orgs",
    effect="write",
    role="member",
    returns_secret="token",
    replay=_open_again,
)
def create(ctx: "Context", *, name: Name) -> "model.NewOrg":
    """Create an org with a workspace 'default'; whoever creates it owns it.

    The answer holds the owner's token for it, this once: a token works in one org. On a server it
    needs the role ``org_create_role`` in the server's first org, and there are at most ``orgs_max``
    orgs. The new org is one of its own: that token does not end with the one that created it.
    """
    _check_may_create(ctx)
    if name == FIRST_ORG_NAME or ctx.tx.orgs.get(name) is not None:
        raise FastioError(
            "already_exists", f"There is an org {name!r} already.", "Choose another name."
        )
    ctx.tx.orgs.add(name, ctx.now_ms)
    ctx.org = name
    ctx.enter(ctx.tx.workspaces.add(ctx.stored_name("default"), ctx.now_ms))
    ctx.raise_floor("default")
    ctx.emit("org.create", data={"name": name})
    ctx.tx.members.put(name, ctx.actor, 0, "owner", ctx.now_ms)
    token = add_token(ctx, member=ctx.actor, role="owner", label="org.create")
    return {**show(ctx), "token": token["token"]}


def _check_may_create(ctx: "Context") -> None:
    """Each org has a quota of its own, so that the operator of a server says who makes some."""
    ctx.require_all_scopes("The owner's token of a new org")
    needed, orgs_max = ctx.limits.org_create_role, ctx.limits.orgs_max
    if ctx.grant is not None and needed != ANYBODY:
        if ctx.org != FIRST_ORG:
            raise FastioError(
                "forbidden",
                "Orgs are created by members of the server's first org.",
                "Ask the operator; the setting is org_create_role.",
            )
        ctx.require(needed)
    if ctx.tx.orgs.count() >= orgs_max:
        raise FastioError(
            "quota_exceeded",
            f"There are {orgs_max:,} orgs already; the limit is {orgs_max:,}.",
            "The operator may raise it: fastio config set orgs_max NUMBER",
            orgs_max=orgs_max,
        )


@operation("org.show", "GET /v1/org", effect="read", role="viewer")
def show(ctx: "Context") -> "model.Org":
    """Show the org: its owners and how many workspaces it has."""
    row = ctx.tx.orgs.get(ctx.org)
    assert row is not None
    return {
        "name": org_name(ctx.org),
        "owners": [owner["name"] for owner in ctx.tx.members.owners(ctx.org)],
        "workspace_count": ctx.tx.usage.of_org(ctx.org)["workspace_count"],
        "created_at": timestamp(row["created_at"]),
    }


@operation("org.usage", "GET /v1/org-usage", effect="read", role="viewer")
def usage(ctx: "Context") -> "model.OrgUsage":
    """Show what the org uses of its storage and of this month's credits.

    ``size_bytes`` is all that it stores, history, imports and search indexes included;
    ``index_bytes`` are those of the indexes.
    """
    row = ctx.tx.usage.of_org(ctx.org)
    return {
        "name": org_name(ctx.org),
        "workspace_count": row["workspace_count"],
        "object_count": row["object_count"],
        "size_bytes": row["size_bytes"],
        "index_bytes": row["index_bytes"],
        "storage_bytes_max": ctx.limits.org_bytes_max,
        "credits": ctx.tx.orgs.credits(ctx.org, month_of(ctx.now_ms)),
        "credits_per_month": ctx.limits.credits_per_month if ctx.limits.metered == "on" else None,
    }
