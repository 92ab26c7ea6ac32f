"""Access tokens: what lets people and agents in, and who the bearer of one is."""

import json

from fastio_cli.errors import FastioError
from fastio_cli.identity import FIRST_ORG, digest_of, least, new_id, new_token
from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import FIRST_ORG_NAME, org_name, timestamp
from fastio_cli.operations.types import ALL, Cursor, Lifetime, Limit, Line, Name, Role, Scopes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row


def _refuse_again(ctx: "Context", record: "model.AccessToken") -> "NoReturn":
    raise FastioError(
        "already_exists",
        f"This request made the token {record['id']} for {record['member']} already; a token is "
        "shown once.",
        f"If it was lost, end it and make another: fastio token revoke {record['id']}",
        **record,
    )


@operation(
    "token.create",
    "POST /v1/tokens",
    effect="write",
    role="member",
    returns_secret="token",
    replay=_refuse_again,
)
def create(
    ctx: "Context",
    *,
    member: Line | None = None,
    label: Line = "",
    role: Role | None = None,
    scopes: Scopes | None = None,
    in_workspace: Name | None = None,
    ttl_s: Lifetime | None = None,
) -> "model.NewAccessToken":
    """Make a token for a member (default: oneself); it is shown this once.

    It can do what the member can, but no more than ``role``, only the operations that ``scopes``
    match (as ``state.*``), and only in one workspace if one is named. Naming another member gives
    ``role`` in the org to one who has none yet, and needs the role admin.
    """
    ctx.enter_org()
    name = member if member is not None else ctx.actor
    own = ctx.grant is not None and name == ctx.actor
    row = ctx.tx.members.get(ctx.org, name, 0)
    given = role or (row["role"] if row is not None else "editor")
    if own:
        given = role or _least(ctx, given)
        ttl_s = _stay_within_own_token(ctx, given, scopes, in_workspace, ttl_s)
    else:
        for needed in ("admin", given, row["role"] if row is not None else given):
            ctx.require(needed)
    if row is None and in_workspace is None and not own:
        ctx.tx.members.put(ctx.org, name, 0, given, ctx.now_ms)
        ctx.emit("member.set", data={"name": name, "role": given, "workspace": None})
    elif in_workspace is not None and not own:
        _give_workspace_role(ctx, name, in_workspace, given)
    return add_token(
        ctx,
        member=name,
        role=given,
        label=label,
        scopes=scopes,
        in_workspace=in_workspace,
        ttl_s=ttl_s,
    )


@operation("token.list", "GET /v1/tokens", effect="read", role="member")
def list_(ctx: "Context", *, limit: Limit = 50, cursor: Cursor = "") -> "model.AccessTokenList":
    """List the org's tokens (those who are not admin see their own)."""
    everyone = ctx.grant is None or ctx.grant.at_least("admin")
    member = None if everyone else ctx.actor
    rows = ctx.tx.tokens.page(ctx.org, member, cursor, limit + 1)
    return {
        "items": [_record(ctx, row) for row in rows[:limit]],
        "next_cursor": rows[limit - 1]["id"] if len(rows) > limit else None,
    }


@operation("token.revoke", "DELETE /v1/tokens/{id}", effect="write", role="member")
def revoke(ctx: "Context", *, id: Line) -> "model.AccessToken":
    """End a token at once: one's own, or as an admin anybody's."""
    ctx.enter_org()
    row = ctx.tx.tokens.by_id(ctx.org, id)
    visible = ctx.grant is None or ctx.grant.at_least("admin")
    if row is None or not (visible or row["member"] == ctx.actor):
        raise FastioError(
            "not_found", f"There is no token {id}.", "See which there are: fastio token list"
        )
    if row["member"] != ctx.actor:
        owner = ctx.tx.members.get(ctx.org, row["member"], 0)
        ctx.require(owner["role"] if owner is not None else "viewer")
    _revoke(ctx, id, row["member"])
    row = ctx.tx.tokens.by_id(ctx.org, id)
    assert row is not None
    return _record(ctx, row)


@operation("access.whoami", "GET /v1/whoami", effect="read", role="member", inline=True)
def whoami(ctx: "Context") -> "model.WhoAmI":
    """Show who one is: org, member, role, and what the token is for."""
    return {
        "org": org_name(ctx.org),
        "member": ctx.actor,
        "role": ctx.grant.org_role if ctx.grant is not None else "owner",
        "scopes": ctx.grant.scopes if ctx.grant is not None else ["*"],
    }


def add_token(
    ctx: "Context",
    *,
    member: str,
    role: str,
    label: str,
    scopes: list[str] | None = None,
    in_workspace: str | None = None,
    ttl_s: float | None = None,
) -> "model.NewAccessToken":
    """Make a token and show it, this once."""
    token, id = new_token(), new_id("tok")
    digest = digest_of(token)
    ctx.tx.tokens.add(
        id=id,
        digest=digest,
        org=ctx.org,
        member=member,
        label=label,
        role=role,
        scopes=json.dumps(scopes or ["*"]),
        workspace_id=ctx.id_of(in_workspace) or None,
        created_by=ctx.actor,
        expires_at=None if ttl_s is None else ctx.now_ms + int(ttl_s * 1000),
        now_ms=ctx.now_ms,
    )
    ctx.emit("token.create", data={"id": id, "member": member, "role": role})
    row = ctx.tx.tokens.by_id(ctx.org, id)
    assert row is not None
    return {**_record(ctx, row), "token": token}


def new_owner_token(ctx: "Context", org: str, member: str, label: str) -> str:
    """Let the owner of an org in once more: another token.

    Raises ``forbidden`` for a member who is not, or no longer, the owner.
    """
    ctx.org = FIRST_ORG if org == FIRST_ORG_NAME else org
    ctx.enter_org()
    row = ctx.tx.members.get(ctx.org, member, 0)
    if row is None or row["role"] != "owner":
        raise FastioError(
            "forbidden",
            f"{member} owns the org {org} no longer.",
            "Ask an owner for a token.",
        )
    return add_token(ctx, member=member, role="owner", label=label)["token"]


def end_tokens(ctx: "Context", member: str) -> None:
    """Revoke all tokens of a member."""
    for row in ctx.tx.tokens.page(ctx.org, member, "", ALL):
        if row["revoked_at"] is None:
            _revoke(ctx, row["id"], member)


def _revoke(ctx: "Context", id: str, member: str) -> None:
    ctx.tx.tokens.revoke(ctx.org, id, ctx.now_ms)
    ctx.emit("token.revoke", data={"id": id, "member": member})


def _least(ctx: "Context", role: str) -> str:
    """A role, or that of the caller's token if it is less."""
    assert ctx.grant is not None
    return least(role, ctx.grant.token_role)


def _stay_within_own_token(
    ctx: "Context",
    role: str,
    scopes: list[str] | None,
    in_workspace: str | None,
    ttl_s: float | None,
) -> float | None:
    """A token can make others for its member, but none that can do more, or longer, than itself;
    how long the new one may live."""
    assert ctx.grant is not None
    if ctx.grant.scopes != ["*"] and scopes != ctx.grant.scopes:
        raise FastioError("forbidden", "A token with scopes can only make one with the same.")
    bound = ctx.grant.workspace_id
    if bound is not None and ctx.id_of(in_workspace) != bound:
        raise FastioError("forbidden", "A token for one workspace can only make one for the same.")
    if bound is None:
        ctx.require(role)
    if _least(ctx, role) != role:
        raise FastioError(
            "forbidden", f"A token of the role {ctx.grant.token_role} can make none of {role}."
        )
    if ctx.grant.expires_at is None:
        return ttl_s
    left_s = (ctx.grant.expires_at - ctx.now_ms) / 1000
    return left_s if ttl_s is None else min(ttl_s, left_s)


def _give_workspace_role(ctx: "Context", name: str, workspace: str, role: str) -> None:
    """Let somebody into a workspace whose role in the org does not do so."""
    id = ctx.id_of(workspace)
    in_org = ctx.tx.members.get(ctx.org, name, 0)
    if in_org is not None and least(in_org["role"], role) == role:
        return
    if ctx.tx.members.get(ctx.org, name, id) is None:
        ctx.tx.members.put(ctx.org, name, id, role, ctx.now_ms)
        ctx.emit("member.set", data={"name": name, "role": role, "workspace": workspace})


def _record(ctx: "Context", row: "Row") -> "model.AccessToken":
    workspace = None
    if row["workspace_id"] is not None:
        bound = ctx.tx.workspaces.by_id(row["workspace_id"])
        workspace = bound["name"].rpartition("/")[2] if bound is not None else None
    times: dict[str, Any] = {
        key: None if row[key] is None else timestamp(row[key])
        for key in ("expires_at", "revoked_at", "last_used_at")
    }
    return {
        "id": row["id"],
        "member": row["member"],
        "label": row["label"],
        "role": row["role"],
        "scopes": json.loads(row["scopes"]),
        "workspace": workspace,
        "created_at": timestamp(row["created_at"]),
        "created_by": row["created_by"],
        "expires_at": times["expires_at"],
        "revoked_at": times["revoked_at"],
        "last_used_at": times["last_used_at"],
    }
