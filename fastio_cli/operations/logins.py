"""A member's logins at file services, which imports from there use."""

import json

from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import UNPREPARED, Unprepared, operation
from fastio_cli.operations.records import timestamp
from fastio_cli.operations.types import SERVICES, Line, Remaining, Secret, ServiceName

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.config.secret_box import SecretBox
    from fastio_cli.operations.context import Context, Preparation
    from fastio_cli.storage.db import Row


def _open_secret_box(preparation: "Preparation", **params: object) -> "SecretBox":
    return preparation.open_secret_box()  # its file may have to be made


@operation(
    "account.keep",
    "PUT /v1/accounts/{service}",
    effect="write",
    role="member",
    prepare=_open_secret_box,
)
def keep(
    ctx: "Context",
    *,
    service: ServiceName,
    access_token: Secret,
    client_id: Line,
    client_secret: Secret | None = None,
    refresh_token: Secret | None = None,
    expires_in_s: Remaining = 3600,
) -> "model.Account | Unprepared":
    """Keep one's login at a file service for the imports one asks for.

    It is what the service granted to the OAuth client that is named, and it is sealed with a key
    that is not in the store. Nothing ever answers with it; only the worker that imports uses it.
    """
    if ctx.prepared is None:
        return UNPREPARED
    expires_at = ctx.now_ms + int(expires_in_s * 1000)
    tokens = {
        "access_token": access_token,
        "refresh_token": refresh_token,
        "expires_at": expires_at / 1000,
        "client_id": client_id,
        "client_secret": client_secret,
    }
    sealed = ctx.prepared.encrypt(json.dumps(tokens), ["account", ctx.org, ctx.actor, service])
    ctx.enter_org()
    ctx.tx.logins.put(
        ctx.org,
        ctx.actor,
        service,
        sealed=sealed,
        expires_at=expires_at if refresh_token is None else None,
        now_ms=ctx.now_ms,
    )
    ctx.emit("account.keep", data={"service": service})
    return _record(service, ctx.tx.logins.get(ctx.org, ctx.actor, service))


@operation("account.list", "GET /v1/accounts", effect="read", role="member")
def list_(ctx: "Context") -> "model.AccountList":
    """List the file services, and whether one's imports have a login there."""
    kept = {row["service"]: row for row in ctx.tx.logins.of_member(ctx.org, ctx.actor)}
    items = [_record(service, kept.get(service)) for service in SERVICES]
    return {"items": items, "next_cursor": None}


@operation("account.remove", "DELETE /v1/accounts/{service}", effect="write", role="member")
def remove(ctx: "Context", *, service: ServiceName) -> "model.Account":
    """End one's login at a file service: no import uses it from now on, and it is revoked there."""
    ctx.enter_org()
    if ctx.tx.logins.get(ctx.org, ctx.actor, service) is None:
        raise FastioError(
            "not_found", f"There is no login at {service}.", "See them: fastio import accounts"
        )
    ctx.tx.logins.end(ctx.org, ctx.actor, service, ctx.now_ms)
    ctx.emit("account.remove", data={"service": service})
    return _record(service, None)


def end_logins(ctx: "Context", member: str) -> None:
    """End all logins of a member; the services are told by the worker that revokes them."""
    for login in ctx.tx.logins.of_member(ctx.org, member):
        ctx.tx.logins.end(ctx.org, member, login["service"], ctx.now_ms)


def _record(service: str, row: "Row | None") -> "model.Account":
    expires_at = row["expires_at"] if row is not None else None
    return {
        "service": service,
        "logged_in": row is not None,
        "expires_at": None if expires_at is None else timestamp(expires_at),
        "kept_in": "server" if row is not None else None,
    }
