"""fastio member"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import ALL, CURSOR, IN_WORKSPACE, KEY, LIMIT, given

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

MEMBER = Arg("name", "Name of the member")


@command("member list", LIMIT, CURSOR, ALL, op="member.list")
def list_(cli: Session, **params: object) -> None:
    show_list(
        cli, "member.list", params, columns="name,role,workspace,created_at", essential="name"
    )


@command(
    "member set",
    MEMBER,
    Arg("role", "viewer, editor, admin or owner"),
    IN_WORKSPACE,
    KEY,
    op="member.set",
)
def set_(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("member.set", **given(**params)), essential="role")


@command("member remove", MEMBER, IN_WORKSPACE, KEY, op="member.remove")
def remove(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("member.remove", **given(**params)), essential="name")
