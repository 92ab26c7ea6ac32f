"""Orgs, their members with their tokens and logins, and handing an org over.

What happens to an org is written to the log of its workspace ``default``.
"""

import json
import os
import time

from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import timestamp
from fastio_cli.operations.types import (
    SERVICES,
    Cursor,
    Lifetime,
    Limit,
    Line,
    Name,
    Remaining,
    Role,
    Scopes,
    Secret,
    ServiceName,
    Token,
    is_number,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

TRANSFER_S = 72 * 3600.0
ALL = 2**31 - 1
FIRST_ORG_NAME = "default"  # how the store's first org, whose stored name is empty, is shown


@operation("org.create", "POST /v1/orgs", effect="write", role="member", returns_secret=True)
def create_org(ctx: "Context", *, name: Name) -> "model.NewOrg":
    """Create an org with a workspace 'default'; whoever creates it owns it.

    The answer holds the owner's token for it, this once: a token works in one org.
    """
    if name == FIRST_ORG_NAME or ctx.tx.access.org(name) is not None:
        raise FastioError(
            "already_exists", f"There is an org {name!r} already.", "Choose another name."
        )
    ctx.tx.access.add_org(name, ctx.now_ms)
    ctx.org = name
    ctx.enter(ctx.tx.workspaces.add(ctx.stored_name("default"), ctx.now_ms))
    ctx.emit("org.create", data={"name": name})
    ctx.tx.access.put_member(name, ctx.actor, 0, "owner", ctx.now_ms)
    token = _add_token(ctx, member=ctx.actor, role="owner", label="org.create")
    return {**show_org(ctx), "token": token["token"]}


@operation("org.show", "GET /v1/org", effect="read", role="viewer")
def show_org(ctx: "Context") -> "model.Org":
    """Show the org: its owners and how many workspaces it has."""
    row = ctx.tx.access.org(ctx.org)
    assert row is not None
    return {
        "name": ctx.org or FIRST_ORG_NAME,
        "owners": [owner["name"] for owner in ctx.tx.access.owners(ctx.org)],
        "workspace_count": ctx.tx.usage.of_org(ctx.org)["workspace_count"],
        "created_at": timestamp(row["created_at"]),
    }


@operation("org.usage", "GET /v1/org-usage", effect="read", role="viewer")
def usage(ctx: "Context") -> "model.OrgUsage":
    """Show what the org uses of its storage and of this month's credits."""
    row = ctx.tx.usage.of_org(ctx.org)
    month = time.strftime("%Y-%m", time.gmtime(ctx.now_ms / 1000))
    return {
        "name": ctx.org or FIRST_ORG_NAME,
        "workspace_count": row["workspace_count"],
        "object_count": row["object_count"],
        "size_bytes": row["size_bytes"],
        "storage_bytes_max": ctx.limits.org_bytes_max,
        "credits": ctx.tx.access.credits(ctx.org, month),
        "credits_per_month": ctx.limits.credits_per_month if ctx.limits.metered == "on" else None,
    }


@operation("member.list", "GET /v1/members", effect="read", role="viewer")
def list_members(ctx: "Context", *, limit: Limit = 50, cursor: Cursor = "") -> "model.MemberList":
    """List the members with their roles in the org and in single workspaces."""
    name, slash, id = cursor.rpartition("/")
    if cursor and not (slash and is_number(id)):
        raise FastioError("invalid", f"{cursor!r} is not a cursor of this list.")
    rows = ctx.tx.access.members(ctx.org, name, int(id or 0), limit + 1)
    last = rows[limit - 1] if len(rows) > limit else None
    return {
        "items": [_member(row) for row in rows[:limit]],
        "next_cursor": f"{last['name']}/{last['workspace_id']}" if last is not None else None,
    }


@operation("member.set", "PUT /v1/members/{name}", effect="write", role="admin")
def set_member(
    ctx: "Context", *, name: Line, role: Role, in_workspace: Name | None = None
) -> "model.Member":
    """Give somebody a role, in the org or in one workspace only.

    Nobody can give more than they have, or change somebody who has more.
    """
    _enter_org(ctx)
    id = _workspace_id(ctx, in_workspace)
    _require(ctx, role)
    before = ctx.tx.access.member(ctx.org, name, id)
    if before is not None:
        _require(ctx, before["role"])
    if before is not None and before["role"] == "owner" and role != "owner" and not id:
        _refuse_last_owner(ctx)
    ctx.tx.access.put_member(ctx.org, name, id, role, ctx.now_ms)
    data = {"name": name, "role": role, "workspace": in_workspace}
    ctx.emit("member.set", data=data)
    created_at = before["created_at"] if before is not None else ctx.now_ms
    return {
        "name": name,
        "role": role,
        "workspace": in_workspace,
        "created_at": timestamp(created_at),
    }


@operation("member.remove", "DELETE /v1/members/{name}", effect="write", role="admin")
def remove_member(
    ctx: "Context", *, name: Line, in_workspace: Name | None = None
) -> "model.Member":
    """Take a role away, in the org or in one workspace; its tokens stop working there at once.

    With somebody's last role their tokens end for good, and their logins at file services.
    """
    _enter_org(ctx)
    id = _workspace_id(ctx, in_workspace)
    row = ctx.tx.access.member(ctx.org, name, id)
    if row is None:
        raise FastioError(
            "not_found", f"{name} has no role there.", "See who has: fastio member list"
        )
    _require(ctx, row["role"])
    if row["role"] == "owner" and not id:
        _refuse_last_owner(ctx)
    ctx.tx.access.remove_member(ctx.org, name, id)
    if not ctx.tx.access.has_role(ctx.org, name):
        _end_access(ctx, name)
    ctx.emit("member.remove", data={"name": name, "workspace": in_workspace})
    return {
        "name": name,
        "role": row["role"],
        "workspace": in_workspace,
        "created_at": timestamp(row["created_at"]),
    }


@operation("token.create", "POST /v1/tokens", effect="write", role="member", returns_secret=True)
def create_token(
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
    _enter_org(ctx)
    name = member if member is not None else ctx.actor
    own = ctx.grant is not None and name == ctx.actor
    row = ctx.tx.access.member(ctx.org, name, 0)
    given = role or (row["role"] if row is not None else "editor")
    if own:
        given = role or _least(ctx, given)
        ttl_s = _stay_within_own_token(ctx, given, scopes, in_workspace, ttl_s)
    else:
        for needed in ("admin", given, row["role"] if row is not None else given):
            _require(ctx, needed)
    if row is None and in_workspace is None and not own:
        ctx.tx.access.put_member(ctx.org, name, 0, given, ctx.now_ms)
        ctx.emit("member.set", data={"name": name, "role": given, "workspace": None})
    elif in_workspace is not None and not own:
        _give_workspace_role(ctx, name, in_workspace, given)
    return _add_token(
        ctx,
        member=name,
        role=given,
        label=label,
        scopes=scopes,
        in_workspace=in_workspace,
        ttl_s=ttl_s,
    )


@operation("token.list", "GET /v1/tokens", effect="read", role="member")
def list_tokens(
    ctx: "Context", *, limit: Limit = 50, cursor: Cursor = ""
) -> "model.AccessTokenList":
    """List the org's tokens (those who are not admin see their own)."""
    everyone = ctx.grant is None or ctx.grant.at_least("admin")
    member = None if everyone else ctx.actor
    rows = ctx.tx.access.tokens(ctx.org, member, cursor, limit + 1)
    return {
        "items": [_token(ctx, row) for row in rows[:limit]],
        "next_cursor": rows[limit - 1]["id"] if len(rows) > limit else None,
    }


@operation("token.revoke", "DELETE /v1/tokens/{id}", effect="write", role="member")
def revoke_token(ctx: "Context", *, id: Line) -> "model.AccessToken":
    """End a token at once: one's own, or as an admin anybody's."""
    _enter_org(ctx)
    row = ctx.tx.access.token_by_id(ctx.org, id)
    visible = ctx.grant is None or ctx.grant.at_least("admin")
    if row is None or not (visible or row["member"] == ctx.actor):
        raise FastioError(
            "not_found", f"There is no token {id}.", "See which there are: fastio token list"
        )
    if row["member"] != ctx.actor:
        owner = ctx.tx.access.member(ctx.org, row["member"], 0)
        _require(ctx, owner["role"] if owner is not None else "viewer")
    _revoke(ctx, id, row["member"])
    row = ctx.tx.access.token_by_id(ctx.org, id)
    assert row is not None
    return _token(ctx, row)


@operation("access.whoami", "GET /v1/whoami", effect="read", role="member", inline=True)
def whoami(ctx: "Context") -> "model.WhoAmI":
    """Show who one is: org, member, role, and what the token is for."""
    return {
        "org": ctx.org or FIRST_ORG_NAME,
        "member": ctx.actor,
        "role": ctx.grant.org_role if ctx.grant is not None else "owner",
        "scopes": ctx.grant.scopes if ctx.grant is not None else ["*"],
    }


@operation(
    "transfer.create", "POST /v1/transfers", effect="write", role="owner", returns_secret=True
)
def create_transfer(ctx: "Context", *, ttl_s: Lifetime = TRANSFER_S) -> "model.NewTransfer":
    """Offer the org to a new owner: the answer holds a claim to pass on, shown this once.

    Whoever claims it becomes the owner; those who own it now stay admin.
    """
    from fastio_cli.identity import secret_digest

    _enter_org(ctx)
    id, claim = _new_id("tr"), "claim_" + os.urandom(32).hex()
    ctx.tx.access.add_transfer(
        id=id,
        digest=secret_digest(claim),
        org=ctx.org,
        created_by=ctx.actor,
        expires_at=ctx.now_ms + int(ttl_s * 1000),
        now_ms=ctx.now_ms,
    )
    ctx.emit("transfer.create", data={"id": id, "ttl_ms": int(ttl_s * 1000)})
    row = ctx.tx.access.transfer_by_id(ctx.org, id)
    assert row is not None
    return {**_transfer(ctx, row), "claim": claim}


@operation("transfer.list", "GET /v1/transfers", effect="read", role="admin")
def list_transfers(
    ctx: "Context", *, limit: Limit = 50, cursor: Cursor = ""
) -> "model.TransferList":
    """List the offers to hand the org over, and what became of them."""
    rows = ctx.tx.access.transfers(ctx.org, cursor, limit + 1)
    return {
        "items": [_transfer(ctx, row) for row in rows[:limit]],
        "next_cursor": rows[limit - 1]["id"] if len(rows) > limit else None,
    }


@operation("transfer.revoke", "DELETE /v1/transfers/{id}", effect="write", role="owner")
def revoke_transfer(ctx: "Context", *, id: Line) -> "model.Transfer":
    """Take an open offer back; its claim is worth nothing then."""
    _enter_org(ctx)
    row = ctx.tx.access.transfer_by_id(ctx.org, id)
    if row is None or _state(ctx, row) != "open":
        raise FastioError(
            "not_found", f"There is no open transfer {id}.", "See them: fastio org transfer list"
        )
    _withdraw(ctx, id)
    return {**_transfer(ctx, row), "state": "revoked"}


@operation(
    "transfer.claim",
    "POST /v1/transfers-claim",
    effect="write",
    role="anyone",
    returns_secret=True,
)
def claim_transfer(ctx: "Context", *, claim: Token, name: Line) -> "model.Claimed":
    """Take over an org by the claim that its owner passed on, as the member ``name``.

    The answer holds the new owner's token, this once. The former owners stay admin.
    """
    from fastio_cli.identity import secret_digest

    row = ctx.tx.access.transfer(secret_digest(claim))
    if row is None or _state(ctx, row) != "open":
        raise FastioError(
            "not_found",
            "This claim is not, or no longer, worth anything.",
            "Ask for a new one: fastio org transfer create",
        )
    ctx.org = row["org"]
    if ctx.tx.access.has_role(ctx.org, name):
        raise FastioError(
            "already_exists", f"The org has a member {name!r} already.", "Choose another name."
        )
    ctx.actor = name
    _enter_org(ctx)
    for owner in ctx.tx.access.owners(ctx.org):
        ctx.tx.access.put_member(ctx.org, owner["name"], 0, "admin", ctx.now_ms)
        ctx.emit("member.set", data={"name": owner["name"], "role": "admin", "workspace": None})
    ctx.tx.access.put_member(ctx.org, name, 0, "owner", ctx.now_ms)
    _end_access(ctx, name)  # of a member of old, whose role may have gone with a workspace
    ctx.tx.access.end_transfer(row["id"], claimed_by=name, now_ms=ctx.now_ms)
    for other in ctx.tx.access.transfers(ctx.org, "", ALL):
        if _state(ctx, other) == "open":  # or a former owner could take the org back
            _withdraw(ctx, other["id"])
    ctx.emit("transfer.claim", data={"id": row["id"], "from": row["created_by"], "to": name})
    token = _add_token(ctx, member=name, role="owner", label="transfer.claim")
    return {
        "org": ctx.org or FIRST_ORG_NAME,
        "member": name,
        "role": "owner",
        "token": token["token"],
    }


@operation("account.keep", "PUT /v1/accounts/{service}", effect="write", role="member")
def keep_account(
    ctx: "Context",
    *,
    service: ServiceName,
    access_token: Secret,
    client_id: Line,
    client_secret: Secret | None = None,
    refresh_token: Secret | None = None,
    expires_in_s: Remaining = 3600,
) -> "model.Account":
    """Keep one's login at a file service for the imports one asks for.

    It is what the service granted to the OAuth client that is named, and it is sealed with a key
    that is not in the store. Nothing ever answers with it; only the worker that imports uses it.
    """
    expires_at = ctx.now_ms + int(expires_in_s * 1000)
    tokens = {
        "access_token": access_token,
        "refresh_token": refresh_token,
        "expires_at": expires_at / 1000,
        "client_id": client_id,
        "client_secret": client_secret,
    }
    sealed = ctx.key.seal(json.dumps(tokens), ["account", ctx.org, ctx.actor, service])
    _enter_org(ctx)
    ctx.tx.accounts.put(
        ctx.org,
        ctx.actor,
        service,
        sealed=sealed,
        expires_at=expires_at if refresh_token is None else None,
        now_ms=ctx.now_ms,
    )
    ctx.emit("account.keep", data={"service": service})
    return _account(service, ctx.tx.accounts.get(ctx.org, ctx.actor, service))


@operation("account.list", "GET /v1/accounts", effect="read", role="member")
def list_accounts(ctx: "Context") -> "model.AccountList":
    """List the file services, and whether one's imports have a login there."""
    kept = {row["service"]: row for row in ctx.tx.accounts.of_member(ctx.org, ctx.actor)}
    items = [_account(service, kept.get(service)) for service in SERVICES]
    return {"items": items, "next_cursor": None}


@operation("account.remove", "DELETE /v1/accounts/{service}", effect="write", role="member")
def remove_account(ctx: "Context", *, service: ServiceName) -> "model.Account":
    """End one's login at a file service: no import uses it from now on, and it is revoked there."""
    _enter_org(ctx)
    if ctx.tx.accounts.get(ctx.org, ctx.actor, service) is None:
        raise FastioError(
            "not_found", f"There is no login at {service}.", "See them: fastio import accounts"
        )
    ctx.tx.accounts.end(ctx.org, ctx.actor, service, ctx.now_ms)
    ctx.emit("account.remove", data={"service": service})
    return _account(service, None)


def _account(service: str, row: "Row | None") -> "model.Account":
    expires_at = row["expires_at"] if row is not None else None
    return {
        "service": service,
        "logged_in": row is not None,
        "expires_at": None if expires_at is None else timestamp(expires_at),
        "kept_in": "server" if row is not None else None,
    }


def _enter_org(ctx: "Context") -> None:
    row = ctx.tx.workspaces.by_name(ctx.stored_name("default"))
    assert row is not None, "the workspace 'default' always exists"
    ctx.enter(row)


def _add_token(
    ctx: "Context",
    *,
    member: str,
    role: str,
    label: str,
    scopes: list[str] | None = None,
    in_workspace: str | None = None,
    ttl_s: float | None = None,
) -> "model.NewAccessToken":
    from fastio_cli.identity import digest_of, new_token

    token, id = new_token(), _new_id("tok")
    digest = digest_of(token)
    ctx.tx.access.add_token(
        id=id,
        digest=digest,
        org=ctx.org,
        member=member,
        label=label,
        role=role,
        scopes=json.dumps(scopes or ["*"]),
        workspace_id=_workspace_id(ctx, in_workspace) or None,
        created_by=ctx.actor,
        expires_at=None if ttl_s is None else ctx.now_ms + int(ttl_s * 1000),
        now_ms=ctx.now_ms,
    )
    ctx.emit("token.create", data={"id": id, "member": member, "role": role})
    row = ctx.tx.access.token_by_id(ctx.org, id)
    assert row is not None
    return {**_token(ctx, row), "token": token}


def _revoke(ctx: "Context", id: str, member: str) -> None:
    ctx.tx.access.revoke_token(ctx.org, id, ctx.now_ms)
    ctx.emit("token.revoke", data={"id": id, "member": member})


def _withdraw(ctx: "Context", id: str) -> None:
    ctx.tx.access.end_transfer(id, claimed_by=None, now_ms=ctx.now_ms)
    ctx.emit("transfer.revoke", data={"id": id})


def _end_access(ctx: "Context", name: str) -> None:
    """End all that acts for a name without a role: somebody else may get the name one day."""
    for account in ctx.tx.accounts.of_member(ctx.org, name):
        ctx.tx.accounts.end(ctx.org, name, account["service"], ctx.now_ms)
    for row in ctx.tx.access.tokens(ctx.org, name, "", ALL):
        if row["revoked_at"] is None:
            _revoke(ctx, row["id"], name)


def _least(ctx: "Context", role: str) -> str:
    """A role, or that of the caller's token if it is less."""
    from fastio_cli.identity import least

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
    if bound is not None and _workspace_id(ctx, in_workspace) != bound:
        raise FastioError("forbidden", "A token for one workspace can only make one for the same.")
    if bound is None:
        _require(ctx, role)
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
    from fastio_cli.identity import least

    id = _workspace_id(ctx, workspace)
    in_org = ctx.tx.access.member(ctx.org, name, 0)
    if in_org is not None and least(in_org["role"], role) == role:
        return
    if ctx.tx.access.member(ctx.org, name, id) is None:
        ctx.tx.access.put_member(ctx.org, name, id, role, ctx.now_ms)
        ctx.emit("member.set", data={"name": name, "role": role, "workspace": workspace})


def _workspace_id(ctx: "Context", name: str | None) -> int:
    if name is None:
        return 0
    row = ctx.tx.workspaces.by_name(ctx.stored_name(name))
    if row is None:
        raise FastioError(
            "not_found",
            f"There is no workspace {name!r}.",
            "See which there are: fastio workspace list",
        )
    id: int = row["id"]
    return id


def _require(ctx: "Context", role: str) -> None:
    if ctx.grant is not None and not ctx.grant.at_least(role):
        raise FastioError(
            "forbidden",
            f"This needs the role {role}; yours is {ctx.grant.org_role}.",
            role=ctx.grant.org_role,
            needed=role,
        )


def _refuse_last_owner(ctx: "Context") -> None:
    if len(ctx.tx.access.owners(ctx.org)) == 1:
        raise FastioError(
            "invalid",
            "An org has at least one owner.",
            "Make somebody else owner first: fastio member set NAME owner",
        )


def _member(row: "Row") -> "model.Member":
    name: str | None = row["workspace"]
    return {
        "name": row["name"],
        "role": row["role"],
        "workspace": None if name is None else name.rpartition("/")[2],
        "created_at": timestamp(row["created_at"]),
    }


def _token(ctx: "Context", row: "Row") -> "model.AccessToken":
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


def _transfer(ctx: "Context", row: "Row") -> "model.Transfer":
    return {
        "id": row["id"],
        "org": row["org"] or FIRST_ORG_NAME,
        "state": _state(ctx, row),
        "created_by": row["created_by"],
        "created_at": timestamp(row["created_at"]),
        "expires_at": timestamp(row["expires_at"]),
        "claimed_by": row["claimed_by"],
    }


def _state(ctx: "Context", row: "Row") -> str:
    if row["claimed_at"] is not None:
        return "claimed"
    if row["revoked_at"] is not None:
        return "revoked"
    return "open" if row["expires_at"] > ctx.now_ms else "expired"


def _new_id(prefix: str) -> str:
    return f"{prefix}_{os.urandom(8).hex()}"
