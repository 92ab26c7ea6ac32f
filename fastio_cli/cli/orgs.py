"""fastio org"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, command
from fastio_cli.cli.framework.options import KEY

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


@command("org create", Arg("name", "Name of the org"), KEY, op="org.create")
def create(cli: Session, **params: object) -> None:
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
