"""fastio setup"""

from __future__ import annotations

import difflib
import os

from fastio_cli.cli.agent_programs import PROGRAMS, hooked
from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.config.files import replace_file
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.cli.agent_programs import Program
    from fastio_cli.cli.framework.session import Session

    Edit = tuple[str, Callable[[str], str]]  # a file, and its text as it is to be

DIFFERS = 1  # the exit code of --check


@command(
    "setup",
    Arg("program", f"{', '.join(PROGRAMS)}; without one, see which are here", required=False),
    Flag("--project", help="For this project alone, in a file of its own"),
    Flag("--hooks", help="Also have it run fastio prime and fastio guard (Claude Code)"),
    Opt("--tools", help="Tools to show, as fastio mcp --tools", metavar="NAME"),
    Flag("--check", help="Change nothing; exit with 1 if something would change"),
    Flag("--remove", help="Take out what setup wrote"),
    Flag("--dry-run", help="Show what would change, and change nothing"),
    help="Have an agent's program start fastio mcp.",
)
def setup(cli: Session, program: str | None, check: bool, dry_run: bool, **options: Any) -> None:
    """It writes one entry into the program's own settings, shows it, and leaves all else as it
    is. Doing it again changes nothing.

    Example:
    fastio setup claude --project
    """
    if program is None:
        items = [{"program": name, "title": p.title, "here": p.is_here()} for name, p in _all()]
        page = {"items": items, "next_cursor": None}
        cli.out.page(page, columns="program,title,here", essential="program")
        return
    if program not in PROGRAMS:
        names = ", ".join(PROGRAMS)
        raise FastioError("invalid", f"{program!r} is not known.", f"There are: {names}")
    chosen = PROGRAMS[program]
    changes = list(_changes(_edits(chosen, **options)))
    for file, before, after in changes:
        for line in difflib.unified_diff(
            before.splitlines(), after.splitlines(), file, file, lineterm=""
        ):
            cli.out.line(line)
    if not changes:
        cli.out.note(f"{chosen.title} needs no change.")
    elif check:
        raise Exit(DIFFERS)
    elif not dry_run:
        for file, _, after in changes:
            os.makedirs(os.path.dirname(file), exist_ok=True)
            replace_file(file, after.encode())
        cli.out.note(f"Start {chosen.title} anew for it to take effect.")


def _all() -> list[tuple[str, Program]]:
    return list(PROGRAMS.items())


def _edits(
    program: Program, *, project: bool, hooks: bool, tools: str | None, remove: bool
) -> list[Edit]:
    """What is to be done to which files."""
    entry = None if remove else program.entry(["--tools", tools] if tools else [])
    edits: list[Edit] = [
        (program.file(is_project=project), lambda text: program.edited(text, entry))
    ]
    if program.hooks is not None and (hooks or remove):
        folder = os.getcwd() if project else os.path.expanduser("~")
        edits.append(
            (os.path.join(folder, program.hooks), lambda text: hooked(text, is_removed=remove))
        )
    elif hooks:
        raise FastioError("invalid", f"{program.title} has no hooks that fastio writes.")
    return edits


def _changes(edits: list[Edit]) -> Iterator[tuple[str, str, str]]:
    """The files that are to change, with their texts before and after."""
    for file, edit in edits:
        before = _read(file)
        try:
            after = edit(before)
        except FastioError as e:
            raise FastioError(e.code, f"{file}: {e.message}", e.hint) from None
        if after != before:
            yield file, before, after


def _read(file: str) -> str:
    try:
        with open(file, encoding="utf-8-sig") as f:
            return f.read()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as e:
        raise FastioError("invalid", f"{file} cannot be read: {e}.") from None
