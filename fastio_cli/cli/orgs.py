"""fastio org, fastio member, fastio token"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Opt, command
from fastio_cli.cli.framework.options import CURSOR, KEY, LIMIT, given
from fastio_cli.cli.framework.values import seconds, secret
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.cli.framework.session import Session

MEMBER = Arg("name", "Name of the member")
ROLES = ("viewer", "editor", "admin", "owner")
IN_WORKSPACE = Opt(
    "--in-workspace", help="Only in this workspace", metavar="NAME", complete="workspace"
)
EXPIRES = Opt(
    "--expires",
    help="Ends by itself after",
    metavar="DURATION",
    convert=seconds,
    param="ttl_s",
)


@command("org create", Arg("name", "Name of the org"), KEY, op="org.create")
def create(cli: Session, **params: Any) -> None:
    """Example:
    export FASTIO_TOKEN=$(fastio org create acme -q)
    """
    cli.out.record(cli.call("org.create", **params), essential="token")


@command("org show", op="org.show")
def show(cli: Session) -> None:
    cli.out.record(cli.call("org.show"), essential="name")


@command("org usage", op="org.usage")
def usage(cli: Session) -> None:
    cli.out.record(cli.call("org.usage"), essential="size_bytes")


@command(
    "org transfer",
    Arg("action", "create, list, revoke or claim"),
    Arg("subject", "What to revoke (its id), or the claim: @FILE or -", required=False),
    Opt("--name", help="Who you are in the org you claim", metavar="NAME"),
    EXPIRES,
    LIMIT,
    CURSOR,
    KEY,
    op=("transfer.create", "transfer.list", "transfer.revoke", "transfer.claim"),
    help="Hand the org over to a new owner, or take one over.",
)
def transfer(cli: Session, action: str, subject: str | None, **params: Any) -> None:
    """An agent sets everything up, offers it, and passes the claim on; it stays admin. Whoever
    claims it within 72 hours owns it, and is shown a token for it: fastio login URL

    Examples:
    fastio org transfer create -q
    fastio org transfer claim @claim.txt --name ada
    """
    key = params["idempotency_key"]
    if action == "create":
        record = cli.call("transfer.create", **given(ttl_s=params["expires"], idempotency_key=key))
        cli.out.record(record, essential="claim")
        at = f" --store {cli.config.store()}" if cli.is_remote else ""
        cli.out.note(f"To be claimed by: fastio org transfer claim @FILE --name NAME{at}")
    elif action == "list":
        page = cli.call("transfer.list", **given(limit=params["limit"], cursor=params["cursor"]))
        cli.out.page(page, columns="id,state,created_by,expires_at,claimed_by", essential="id")
    elif action == "revoke" and subject:
        cli.out.record(cli.call("transfer.revoke", id=subject, idempotency_key=key), essential="id")
    elif action == "claim":
        claim = secret(subject or "-", "The claim")
        name = params["name"] or cli.config.actor()
        record = cli.call("transfer.claim", claim=claim, name=name, idempotency_key=key)
        cli.out.record(record, essential="token")
    else:
        raise FastioError(
            "invalid",
            "A transfer is created, listed, revoked (by its id) or claimed.",
            "See how it is used: fastio org transfer --help",
        )


@command("member list", LIMIT, CURSOR, op="member.list")
def list_members(cli: Session, **params: Any) -> None:
    page = cli.call("member.list", **given(**params))
    cli.out.page(page, columns="name,role,workspace,created_at", essential="name")


@command(
    "member set",
    MEMBER,
    Arg("role", "viewer, editor, admin or owner"),
    IN_WORKSPACE,
    KEY,
    op="member.set",
)
def set_member(cli: Session, **params: Any) -> None:
    cli.out.record(cli.call("member.set", **given(**params)), essential="role")


@command("member remove", MEMBER, IN_WORKSPACE, KEY, op="member.remove")
def remove_member(cli: Session, **params: Any) -> None:
    cli.out.record(cli.call("member.remove", **given(**params)), essential="name")


@command(
    "token create",
    Arg("member", "Whose token (default: your own)", required=False),
    Opt("--role", help="At most this role", choices=ROLES),
    Opt(
        "--scope",
        help="Only operations like this, as 'state.*'",
        metavar="PATTERN",
        many=True,
        param="scopes",
    ),
    IN_WORKSPACE,
    EXPIRES,
    Opt("--label", help="What it is for", metavar="TEXT"),
    KEY,
    op="token.create",
)
def create_token(cli: Session, scope: list[str], expires: float | None, **params: Any) -> None:
    """Example:
    fastio token create researcher --role editor -q
    """
    more = given(scopes=scope or None, ttl_s=expires)
    cli.out.record(cli.call("token.create", **given(**params), **more), essential="token")


@command("token list", LIMIT, CURSOR, op="token.list")
def list_tokens(cli: Session, **params: Any) -> None:
    page = cli.call("token.list", **given(**params))
    columns = "id,member,role,label,expires_at,revoked_at,last_used_at"
    cli.out.page(page, columns=columns, essential="id")


@command("token revoke", Arg("id", "The token's id"), KEY, op="token.revoke")
def revoke_token(cli: Session, **params: Any) -> None:
    cli.out.record(cli.call("token.revoke", **params), essential="id")
