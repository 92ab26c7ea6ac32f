"""fastio workspace, fastio use, fastio init"""

from __future__ import annotations

import os

from fastio_cli.cli.framework.command import Arg, Flag, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import ALL, CURSOR, KEY, LIMIT, YES
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

NAME = Arg("name", "Name of the workspace", complete="workspace")
NAME_OR_CURRENT = Arg(
    "name",
    "Name of the workspace (default: the current one)",
    required=False,
    complete="workspace",
)


@command("workspace create", NAME, KEY, op="workspace.create")
def create(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("workspace.create", **params), essential="name")


@command(
    "workspace list",
    Flag("--deleted", help="Deleted ones, which can be restored"),
    LIMIT,
    CURSOR,
    ALL,
    op="workspace.list",
)
def list_(cli: Session, **params: object) -> None:
    columns = "name,object_count,size_bytes,seq,updated_at"
    show_list(cli, "workspace.list", params, columns=columns, essential="name")


@command("workspace show", NAME_OR_CURRENT, op="workspace.show")
def show(cli: Session, name: str | None) -> None:
    cli.out.record(cli.call("workspace.show", workspace=name), essential="name")


@command("workspace usage", NAME_OR_CURRENT, op="workspace.usage")
def usage(cli: Session, name: str | None) -> None:
    cli.out.record(cli.call("workspace.usage", workspace=name), essential="size_bytes")


@command(
    "workspace rename",
    NAME,
    Arg("new_name", "Its new name", param="name"),
    KEY,
    op="workspace.rename",
)
def rename(cli: Session, name: str, new_name: str, **params: object) -> None:
    record = cli.call("workspace.rename", workspace=name, name=new_name, **params)
    cli.out.record(record, essential="name")


@command(
    "workspace delete",
    NAME,
    YES,
    Flag("--dry-run", "-n", help="Only show what would be deleted"),
    KEY,
    op=("workspace.delete", "workspace.show"),
)
def delete(cli: Session, name: str, yes: bool, dry_run: bool, **params: object) -> None:
    workspace = cli.call("workspace.show", workspace=name)
    if not dry_run:
        cli.confirm(f"Delete workspace {name} with {workspace['object_count']} objects?", yes)
        workspace = cli.call("workspace.delete", workspace=name, **params)
    cli.out.record(workspace, essential="name")


@command("workspace restore", NAME, KEY, op="workspace.restore")
def restore(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("workspace.restore", **params), essential="name")


@command(
    "workspace intelligence",
    Arg("switch", "on or off: whether what is written here is searched"),
    op="workspace.intelligence",
)
def intelligence(cli: Session, switch: str) -> None:
    if switch not in ("on", "off"):
        raise FastioError("invalid", f"Intelligence is on or off, not {switch!r}.")
    cli.out.record(cli.call("workspace.intelligence", enabled=switch == "on"))


@command(
    "use",
    NAME,
    Flag("--create", help="Create it if there is none of this name"),
    op=("workspace.show", "workspace.create"),
    help="Choose the workspace that commands work in from now on.",
)
def use(cli: Session, name: str, create: bool) -> None:
    """The choice is kept with the store: in the profile or project that names it, else in your
    settings.
    """
    from fastio_cli.config.files import change_file
    from fastio_cli.config.sources import Config

    try:
        workspace = cli.call("workspace.show", workspace=name)
    except FastioError as e:
        if e.code != "not_found" or not create:
            raise
        workspace = cli.call("workspace.create", name=name)
    file, table = cli.config.file_for("store")
    change_file(file, "workspace", name, table)
    cli.out.record(workspace, essential="name")
    place = {k: v for k in ("store", "profile") if isinstance(v := cli.flags.get(k), str)}
    in_force, source = Config(place).lookup("workspace")
    if in_force != name:
        cli.out.note(
            f"Here {source} goes first, which says {in_force}. To work in {name}: -w {name}"
        )


@command("init", help="Make a store: for this folder, or where --store says.")
def init(cli: Session) -> None:
    """Commands run in this folder or below use the store in .fastio from then on. With --store or
    FASTIO_STORE the store is made there.

    Examples:
    fastio init
    fastio init --store /srv/fastio
    """
    if cli.config.names_store:
        cli.out.record(_make_store(cli, cli.config.store()), essential="store")
        return
    from fastio_cli.config.projects import make_project

    folder = make_project(os.getcwd()).folder
    made = _make_store(cli, folder)
    ignore = os.path.join(folder, ".gitignore")
    if not os.path.lexists(ignore):
        with open(ignore, "x", encoding="utf-8") as f:
            f.write("*\n")  # state does not belong in the project's history
    cli.out.record(made, essential="store")


def _make_store(cli: Session, target: str) -> dict[str, object]:
    """Make a store where there is none: its place, and whether it is new."""
    from fastio_cli.config.settings import mask_password
    from fastio_cli.opening import is_server
    from fastio_cli.storage import open_store

    if is_server(target):
        raise FastioError(
            "invalid",
            "The store of a server is made where the server runs.",
            "Make it there: fastio init --store FOLDER",
        )
    created = False
    try:
        open_store(target).close()
    except FastioError as e:
        if e.code != "not_found" or "store" not in e.details:
            raise
        open_store(target, durability=cli.config.text("durability"), if_absent="make").close()
        created = True
    place = target if "://" in target else os.path.abspath(target)
    return {"store": mask_password(place), "created": created}
