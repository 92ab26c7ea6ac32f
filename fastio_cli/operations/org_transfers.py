"""Handing an org over: an offer, and the claim that makes its bearer the owner."""

import os

from fastio_cli.errors import FastioError
from fastio_cli.identity import new_id, secret_digest
from fastio_cli.operations.members import end_access
from fastio_cli.operations.operation import operation
from fastio_cli.operations.records import org_name, timestamp
from fastio_cli.operations.tokens import (
    add_token,
    new_owner_token,
    refuse_if_revoked,
    withdraw_offer,
)
from fastio_cli.operations.types import ALL, Cursor, Lifetime, Limit, Line, Token

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

OFFER_TTL_S = 72 * 3600.0


def _refuse_again(ctx: "Context", record: "model.Transfer") -> "NoReturn":
    raise FastioError(
        "already_exists",
        f"This request made the offer {record['id']} already; its claim is shown once.",
        f"If it was lost, take it back and make another: fastio org transfer revoke {record['id']}",
        **record,
    )


@operation(
    "transfer.create",
    "POST /v1/transfers",
    effect="write",
    role="owner",
    returns_secret="claim",
    replay=_refuse_again,
)
def create(ctx: "Context", *, ttl_s: Lifetime = OFFER_TTL_S) -> "model.NewTransfer":
    """Offer the org to a new owner: the answer holds a claim to pass on, shown this once.

    Whoever claims it becomes the owner; those who own it now stay admin. The offer ends with the
    token that made it.
    """
    ctx.require_all_scopes("The new owner's token")
    ctx.enter_org()
    refuse_if_revoked(ctx)
    expires_at = ctx.end_within(ttl_s)
    assert expires_at is not None
    id, claim = new_id("tr"), "claim_" + os.urandom(32).hex()
    ctx.tx.org_transfers.add(
        id=id,
        digest=secret_digest(claim),
        org=ctx.org,
        created_by=ctx.actor,
        created_by_token=ctx.token_id,
        expires_at=expires_at,
        now_ms=ctx.now_ms,
    )
    ctx.emit("transfer.create", data={"id": id, "ttl_ms": expires_at - ctx.now_ms})
    row = ctx.tx.org_transfers.by_id(ctx.org, id)
    assert row is not None
    return {**_record(ctx, row), "claim": claim}


@operation("transfer.list", "GET /v1/transfers", effect="read", role="admin")
def list_(ctx: "Context", *, limit: Limit = 50, cursor: Cursor = "") -> "model.TransferList":
    """List the offers to hand the org over, and what became of them."""
    rows = ctx.tx.org_transfers.page(ctx.org, cursor, limit + 1)
    return {
        "items": [_record(ctx, row) for row in rows[:limit]],
        "next_cursor": rows[limit - 1]["id"] if len(rows) > limit else None,
    }


@operation("transfer.revoke", "DELETE /v1/transfers/{id}", effect="write", role="owner")
def revoke(ctx: "Context", *, id: Line) -> "model.Transfer":
    """Take an open offer back; its claim is worth nothing then."""
    ctx.enter_org()
    row = ctx.tx.org_transfers.by_id(ctx.org, id)
    if row is None or _state(ctx, row) != "open":
        raise FastioError(
            "not_found", f"There is no open transfer {id}.", "See them: fastio org transfer list"
        )
    withdraw_offer(ctx, id)
    return {**_record(ctx, row), "state": "revoked"}


def _open_again(ctx: "Context", record: "model.Claimed") -> "model.Claimed":
    """A new token for who claimed an org and lost the answer: there is no other way in."""
    token = new_owner_token(ctx, record["org"], record["member"], "transfer.claim")
    return {**record, "token": token}


@operation(
    "transfer.claim",
    "POST /v1/transfers-claim",
    effect="write",
    role="anyone",
    returns_secret="token",
    replay=_open_again,
)
def claim(ctx: "Context", *, claim: Token, name: Line) -> "model.Claimed":
    """Take over an org by the claim that its owner passed on, as the member ``name``.

    The answer holds the new owner's token, this once. The former owners stay admin.
    """
    row = ctx.tx.org_transfers.by_digest(secret_digest(claim))
    if row is None or _state(ctx, row) != "open":
        raise FastioError(
            "not_found",
            "This claim is not, or no longer, worth anything.",
            "Ask for a new one: fastio org transfer create",
        )
    ctx.org = row["org"]
    if ctx.tx.members.has_role(ctx.org, name):
        raise FastioError(
            "already_exists", f"The org has a member {name!r} already.", "Choose another name."
        )
    ctx.actor = name
    ctx.enter_org()
    for owner in ctx.tx.members.owners(ctx.org):
        ctx.tx.members.put(ctx.org, owner["name"], 0, "admin", ctx.now_ms)
        ctx.emit("member.set", data={"name": owner["name"], "role": "admin", "workspace": None})
    ctx.tx.members.put(ctx.org, name, 0, "owner", ctx.now_ms)
    end_access(ctx, name)  # of a former member, whose role may have gone with a workspace
    ctx.tx.org_transfers.end(row["id"], claimed_by=name, now_ms=ctx.now_ms)
    for other in ctx.tx.org_transfers.page(ctx.org, "", ALL):
        if _state(ctx, other) == "open":  # or a former owner could take the org back
            withdraw_offer(ctx, other["id"])
    ctx.emit("transfer.claim", data={"id": row["id"], "from": row["created_by"], "to": name})
    token = add_token(ctx, member=name, role="owner", label="transfer.claim")
    return {
        "org": org_name(ctx.org),
        "member": name,
        "role": "owner",
        "token": token["token"],
    }


def _record(ctx: "Context", row: "Row") -> "model.Transfer":
    return {
        "id": row["id"],
        "org": org_name(row["org"]),
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
