"""fastio help"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, command
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


@command(
    "help",
    Arg("words", "The command, or its group", required=False, many=True, complete="help"),
    help="Show help for a command, or all commands as JSON.",
)
def help_(cli: Session, words: list[str]) -> None:
    """With --json: every command with its arguments and options, the settings, the exit codes, and
    the operations with JSON Schemas of their parameters and results.

    Examples:
    fastio help state set
    fastio help --json
    fastio help lock --json
    """
    if cli.flags["format"] in ("json", "jsonl"):
        cli.out.document(described(words))
        return
    from fastio_cli.cli.framework import typer_app

    typer_app.parse([*words, "--help"])


def described(words: list[str]) -> dict[str, object]:
    """The whole description, or of its commands and operations those that ``words`` name."""
    from fastio_cli.cli.framework.spec import catalogue, spec

    whole = {**spec(), "operations": catalogue()}
    if not words:
        return whole
    commands = [c for c in whole["commands"] if c["words"].split()[: len(words)] == words]
    if not commands:
        raise FastioError(
            "invalid", f"There is no command {' '.join(words)!r}.", "See them all: fastio help"
        )
    used = {name for c in commands for name in c["operations"]}
    chosen = [op for op in whole["operations"] if op["name"] in used]
    return {**whole, "commands": commands, "operations": chosen}
