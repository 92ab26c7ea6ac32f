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
    from fastio_cli.config import HIDDEN, SETTINGS, checked, without_password

    if setting is not None and setting not in SETTINGS:
        checked(setting, "", "the command line")
    items = []
    for name in [setting] if setting else SETTINGS:
        value, source = cli.config.lookup(name)
        if SETTINGS[name].secret and value is not None:
            value = HIDDEN
        elif isinstance(value, str):
            value = without_password(value)
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
    Arg("value", "Its value; a secret as @FILE or - (standard input)"),
    PROJECT,
    help="Set a setting, for you or for this project.",
)
def set_(cli: Session, setting: str, value: str, project: bool) -> None:
    from fastio_cli.config import HIDDEN, SETTINGS, change_file, checked, without_password

    file = _file(cli, project)
    is_secret = setting in SETTINGS and SETTINGS[setting].secret
    if without_password(value) != value:
        raise FastioError(
            "invalid",
            "A password is not taken from the command line, nor kept in settings.",
            "Leave it out of the URL and set PGPASSWORD, or write it into ~/.pgpass.",
        )
    if is_secret:
        value = _secret(setting, value, project)
    set_to: str | int = checked(setting, value, "the command line")
    change_file(file, setting, set_to)
    shown = HIDDEN if is_secret else set_to
    cli.out.record({"setting": setting, "value": shown, "source": file}, essential="value")


@command("config unset", SETTING, PROJECT, help="Forget a setting.")
def unset(cli: Session, setting: str, project: bool) -> None:
    from fastio_cli.config import change_file

    change_file(_file(cli, project), setting, None)
    cli.out.record({"setting": setting, "value": None, "source": None}, essential="setting")


def _secret(setting: str, text: str, project: bool) -> str:
    """A secret from a file or standard input. Every user of the machine can read a command line."""
    if project:
        raise FastioError(
            "invalid",
            f"{setting} is a secret, and the settings of a project are shared with it.",
            f"Keep it in your own: fastio config set {setting} @FILE",
        )
    if text != "-" and not text.startswith("@"):
        raise FastioError(
            "invalid",
            f"{setting} is a secret and is not taken from the command line.",
            f"Give it in a file or on standard input: fastio config set {setting} @FILE",
        )
    from fastio_cli.cli.values import secret

    value = secret(text, setting)
    if not value:
        raise FastioError("invalid", f"There is no {setting} in what was given.")
    return value


def _file(cli: Session, project: bool) -> str:
    if not project:
        return cli.config.user_file
    if cli.config.project_file is None:
        raise FastioError("invalid", "There is no project here.", "Make one: fastio init")
    return cli.config.project_file
