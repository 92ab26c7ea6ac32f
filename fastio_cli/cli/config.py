"""fastio config"""

from __future__ import annotations

from fastio_cli.cli.command import Arg, Flag, command
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.session import Session

SETTING = Arg("setting", "Name of the setting", complete="setting")
PROJECT = Flag("--project", help="In this project's settings instead of yours")


@command(
    "config show",
    Arg("setting", "Only this one", required=False, complete="setting"),
    help="Show the settings in force and where each comes from.",
)
def show(cli: Session, setting: str | None) -> None:
    from fastio_cli.config import SETTINGS, checked

    if setting is not None and setting not in SETTINGS:
        checked(setting, "", "the command line")
    items = []
    for name in [setting] if setting else SETTINGS:
        value, source = cli.config.lookup(name)
        items.append(
            {"setting": name, "value": value, "source": source, "help": SETTINGS[name].help}
        )
    if setting:
        cli.out.record(items[0], essential="value")
    else:
        page = {"items": items, "next_cursor": None}
        cli.out.page(page, columns="setting,value,source,help", essential="setting")


@command(
    "config set",
    SETTING,
    Arg("value", "Its value"),
    PROJECT,
    help="Set a setting, for you or for this project.",
)
def set_(cli: Session, setting: str, value: str, project: bool) -> None:
    from fastio_cli.config import change_file, checked

    file = _file(cli, project)
    checked_value = checked(setting, value, "the command line")
    change_file(file, setting, checked_value)
    cli.out.record({"setting": setting, "value": checked_value, "source": file}, essential="value")


@command("config unset", SETTING, PROJECT, help="Forget a setting.")
def unset(cli: Session, setting: str, project: bool) -> None:
    from fastio_cli.config import change_file

    change_file(_file(cli, project), setting, None)
    cli.out.record({"setting": setting, "value": None, "source": None}, essential="setting")


def _file(cli: Session, project: bool) -> str:
    if not project:
        return cli.config.user_file
    if cli.config.project_file is None:
        raise FastioError("invalid", "There is no project here.", "Make one: fastio init")
    return cli.config.project_file
