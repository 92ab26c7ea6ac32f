"""fastio token, fastio whoami"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Opt, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import ALL, CURSOR, EXPIRES, IN_WORKSPACE, KEY, LIMIT, given
from fastio_cli.identity import ROLES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


@command(
    "token create",
    Arg("member", "Whose token (default: your own)", required=False),
    Opt("--role", help="At most this role", choices=ROLES[2:]),
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
def create(cli: Session, scope: list[str], expires: float | None, **params: object) -> None:
    """Example:
    fastio token create researcher --role editor -q
    """
    more = given(scopes=scope or None, ttl_s=expires)
    cli.out.record(cli.call("token.create", **given(**params), **more), essential="token")


@command("token list", LIMIT, CURSOR, ALL, op="token.list")
def list_(cli: Session, **params: object) -> None:
    columns = "id,member,role,label,expires_at,revoked_at,last_used_at"
    show_list(cli, "token.list", params, columns=columns, essential="id")


@command("token revoke", Arg("id", "The token's id"), KEY, op="token.revoke")
def revoke(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("token.revoke", **params), essential="id")


@command("whoami", op="access.whoami")
def whoami(cli: Session) -> None:
    cli.out.record(cli.call("access.whoami"), essential="member")
