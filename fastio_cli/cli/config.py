"""fastio config"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, command
from fastio_cli.config.settings import NEVER, SETTINGS, has_password, masked
from fastio_cli.config.sources import LOCAL, PROFILES
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

SETTING = Arg("setting", "Name of the setting", complete="setting")
PROJECT = Flag("--project", help="In this project's settings instead of yours")


@command(
    "config show",
    Arg("setting", "Only this one", required=False, complete="setting"),
    help="Show the settings in force and where each comes from.",
)
def show(cli: Session, setting: str | None) -> None:
    from fastio_cli.config.settings import parse_value

    if setting is not None and setting not in SETTINGS:
        parse_value(setting, "", "the command line")
    items = []
    for name in [setting] if setting else SETTINGS:
        value, source = cli.config.lookup(name)
        items.append(
            {
                "setting": name,
                "value": masked(name, value),
                "source": source,
                "help": SETTINGS[name].help,
            }
        )
    if setting:
        cli.out.record(items[0], essential="value")
    else:
        page = {"items": items, "next_cursor": None}
        cli.out.page(page, columns="setting,value,source,help", essential="setting")
    if cli.config.is_refused and cli.config.ignored:
        cli.out.note(cli.config.ignored)


@command(
    "config set",
    SETTING,
    Arg("value", "Its value; a secret as @FILE or - (standard input)"),
    PROJECT,
    help="Set a setting, for you, this project or the profile that --profile names.",
)
def set_(cli: Session, setting: str, value: str, project: bool) -> None:
    from fastio_cli.config.files import change_file
    from fastio_cli.config.settings import parse_value

    file, table = _place(cli, project)
    known = SETTINGS.get(setting)
    if known is not None and known.project == NEVER and project:
        raise FastioError(
            "invalid",
            f"{setting} is yours alone, and the settings of a project are shared with it.",
            f"Keep it in your own: fastio config set {setting} "
            + ("@FILE" if known.secret else "VALUE"),
        )
    if known is not None and (known.secret or known.url):
        value = _read_value(setting, value, known.secret)
    if project and has_password(value):
        raise FastioError(
            "invalid",
            "A password does not belong in a project's settings.",
            "Leave it out; PostgreSQL takes it from PGPASSWORD or ~/.pgpass.",
        )
    set_to: str | int = parse_value(setting, value, "the command line")
    change_file(file, setting, set_to, table)
    _trust_again(project)
    record = {"setting": setting, "value": masked(setting, set_to), "source": file}
    cli.out.record(record, essential="value")


@command("config unset", SETTING, PROJECT, help="Forget a setting.")
def unset(cli: Session, setting: str, project: bool) -> None:
    from fastio_cli.config.files import change_file

    file, table = _place(cli, project)
    change_file(file, setting, None, table)
    _trust_again(project)
    cli.out.record({"setting": setting, "value": None, "source": None}, essential="setting")


def _read_value(setting: str, text: str, secret: bool) -> str:
    """A value whose secrets come from a file or standard input: command lines are visible to every
    user of the machine."""
    from fastio_cli.cli.framework.values import file_of, literal
    from fastio_cli.cli.framework.values import secret as read_secret

    if file_of(text) is not None:
        value = read_secret(text, setting)
        if not value:
            raise FastioError("invalid", f"There is no {setting} in what was given.")
        return value
    if secret or has_password(text):
        what = f"{setting} is a secret and" if secret else "A password"
        instead = "" if secret else " (PostgreSQL also takes it from PGPASSWORD or ~/.pgpass)"
        raise FastioError(
            "invalid",
            f"{what} is not taken from the command line.",
            f"Give it in a file or on standard input: fastio config set {setting} @FILE{instead}",
        )
    return literal(text)


def _place(cli: Session, project: bool) -> tuple[str, tuple[str, ...]]:
    """The file and the table in it: the profile named on the command line, if any."""
    profile = cli.flags.get("profile")
    if not project:
        return cli.config.user_file, (PROFILES, str(profile)) if profile else ()
    if cli.config.project_file is None:
        raise FastioError("invalid", "There is no project here.", "Make one: fastio init")
    if cli.config.project is not None and not cli.config.project.is_trusted:
        raise cli.config.project.refusal(str(cli.config.settings_of(LOCAL)["store"]))
    return cli.config.project_file, ()


def _trust_again(project: bool) -> None:
    """Trust a project with the change that its user has just made."""
    from fastio_cli.config.projects import nearest

    if project and (changed := nearest()) is not None:
        changed.trust()
