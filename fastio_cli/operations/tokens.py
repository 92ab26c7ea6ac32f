"""Access tokens: what lets people and agents in, and who the bearer of one is."""

import json
from fnmatch import fnmatchcase

from fastio_cli.errors import FastioError
from fastio_cli.identity import (
    FIRST_ORG,
    digest_of,
    least,
    new_id,
    new_token,
    unauthenticated,
)
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

    Whoever it is for, it can do no more than the token that makes it, lives no longer, and ends
    when that one is revoked.
    """
    ctx.enter_org()
    name = member if member is not None else ctx.actor
    own = ctx.grant is not None and name == ctx.actor
    row = ctx.tx.members.get(ctx.org, name, 0)
    given = role or (row["role"] if row is not None else "editor")
    if own:
        given = role or _least(ctx, given)
        ctx.require(given)
    else:
        for needed in ("admin", given, row["role"] if row is not None else given):
            ctx.require(needed)
    if row is None and in_workspace is None and not own:
        ctx.tx.members.put(ctx.org, name, 0, given, ctx.now_ms)
        ctx.emit("member.set", data={"name": name, "role": given, "workspace": None})
    elif in_workspace is not None and not own:
        _give_workspace_role(ctx, name, in_workspace, given)
    refuse_if_revoked(ctx)
    return add_token(
        ctx,
        member=name,
        role=given,
        label=label,
        scopes=_within_own_scopes(ctx, scopes),
        in_workspace=in_workspace,
        expires_at=ctx.end_within(ttl_s),
        created_by_token=ctx.token_id,
    )


@operation("token.list", "GET /v1/tokens", effect="read", role="member")
def list_(ctx: "Context", *, limit: Limit = 50, cursor: Cursor = "") -> "model.AccessTokenList":
    """List the org's tokens (those who are not admin see their own).

    A token that is for one workspace sees itself alone.
    """
    if ctx.grant is not None and ctx.grant.workspace_id is not None:
        own = ctx.tx.tokens.by_id(ctx.org, str(ctx.token_id))
        return {"items": [_record(ctx, own)] if own is not None else [], "next_cursor": None}
    everyone = ctx.grant is None or ctx.grant.at_least("admin")
    member = None if everyone else ctx.actor
    rows = ctx.tx.tokens.page(ctx.org, member, cursor, limit + 1)
    return {
        "items": [_record(ctx, row) for row in rows[:limit]],
        "next_cursor": rows[limit - 1]["id"] if len(rows) > limit else None,
    }


@operation(
    "token.revoke",
    "DELETE /v1/tokens/{id}",
    effect="write",
    role="member",
    own_token_param="id",
)
def revoke(ctx: "Context", *, id: Line) -> "model.AccessToken":
    """End a token at once: one's own, or as an admin anybody's.

    What it made ends with it: tokens, whoever they are for, and open offers of the org.
    """
    ctx.enter_org()
    row = ctx.tx.tokens.by_id(ctx.org, id)
    visible = ctx.grant is None or ctx.grant.at_least("admin")
    if row is None or not (visible or row["member"] == ctx.actor):
        raise FastioError(
            "not_found", f"There is no token {id}.", "See which there are: fastio token list"
        )
    if row["member"] != ctx.actor and id != ctx.token_id:
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
    expires_at: int | None = None,
    created_by_token: str | None = None,
) -> "model.NewAccessToken":
    """Make a token and show it, this once. It ends with the one that it was created by."""
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
        created_by_token=created_by_token,
        expires_at=expires_at,
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
        token = ctx.tx.tokens.by_id(ctx.org, row["id"])  # one of them may have made another
        if token is not None and token["revoked_at"] is None:
            _revoke(ctx, row["id"], member)


def refuse_if_revoked(ctx: "Context") -> None:
    """Raise ``unauthenticated`` if the caller's token was revoked since the call was authorised,
    while it waited for the org's log: nothing may come of it any more that would outlive it."""
    own = ctx.tx.tokens.by_id(ctx.org, ctx.token_id) if ctx.token_id is not None else None
    if own is not None and own["revoked_at"] is not None:
        raise unauthenticated()


def withdraw_offer(ctx: "Context", id: str) -> None:
    """End an open offer of the org."""
    ctx.tx.org_transfers.end(id, claimed_by=None, now_ms=ctx.now_ms)
    ctx.emit("transfer.revoke", data={"id": id})


def _revoke(ctx: "Context", id: str, member: str) -> None:
    """Revoke a token and what it made, and what that made."""
    found = [(id, member)]
    for token_id, whose in found:
        ctx.tx.tokens.revoke(ctx.org, token_id, ctx.now_ms)
        ctx.emit("token.revoke", data={"id": token_id, "member": whose})
        for offer in ctx.tx.org_transfers.made_by(ctx.org, token_id):
            withdraw_offer(ctx, offer["id"])
        found += [(row["id"], row["member"]) for row in ctx.tx.tokens.made_by(ctx.org, token_id)]


def _least(ctx: "Context", role: str) -> str:
    """A role, or that of the caller's token if it is less."""
    assert ctx.grant is not None
    return least(role, ctx.grant.token_role)


def _within_own_scopes(ctx: "Context", scopes: list[str] | None) -> list[str] | None:
    """What a new token is for: all that the caller's is, or less. Raises ``forbidden`` for more.

    A pattern is within another one if that matches it as a name: its own stars are then matched by
    stars, and whatever they stand for is too. (``?`` and ``[`` could match a star alone.)
    """
    if ctx.grant is None or ctx.grant.has_all_scopes:
        return scopes
    own = ctx.grant.scopes
    for scope in own if scopes is None else scopes:
        plain = [pattern for pattern in own if not set("?[") & set(pattern)]
        if scope not in own and not any(fnmatchcase(scope, pattern) for pattern in plain):
            raise FastioError(
                "forbidden",
                f"This token is for {', '.join(own)}; it can make none for {scope}.",
                "Ask an admin for the token: fastio token create NAME",
                scopes=own,
            )
    return own if scopes is None else scopes


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
        "created_by_token": row["created_by_token"],
        "expires_at": times["expires_at"],
        "revoked_at": times["revoked_at"],
        "last_used_at": times["last_used_at"],
    }
