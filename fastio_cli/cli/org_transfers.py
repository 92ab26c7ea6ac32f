"""fastio org transfer"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Opt, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import ALL, CURSOR, EXPIRES, KEY, LIMIT, given
from fastio_cli.cli.framework.values import secret
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


@command(
    "org transfer",
    Arg("action", "create, list, revoke or claim"),
    Arg("subject", "What to revoke (its id), or the claim: @FILE or -", required=False),
    Opt("--name", help="Who you are in the org you claim", metavar="NAME"),
    EXPIRES,
    LIMIT,
    CURSOR,
    ALL,
    KEY,
    op=("transfer.create", "transfer.list", "transfer.revoke", "transfer.claim"),
    help="Hand the org over to a new owner, or take one over.",
)
def transfer(cli: Session, action: str, subject: str | None, **params: object) -> None:
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
        pages = {name: params[name] for name in ("limit", "cursor", "all")}
        columns = "id,state,created_by,expires_at,claimed_by"
        show_list(cli, "transfer.list", pages, columns=columns, essential="id")
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
