"""The quick parser: reads a plain, correct command line, and declines everything else.

Importing Typer takes longer than the rest of a command. So a complete and plain command line is
parsed here, from the table of its command. For help, mistakes and unusual forms this parser
declines, and Typer parses the same table (``typer_app.py``). A property test asserts that Typer
reads everything that is accepted here in the same way.
"""

from __future__ import annotations

from fastio_cli.cli.framework.command import GLOBALS, Arg, Flag, Opt
from fastio_cli.cli.framework.tree import GROUPS, default_word, lookup
from fastio_cli.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.cli.framework.command import Command

VERSION_LINE = f"fastio {__version__}"
GLOBAL_FLAGS = {flag: p for p in GLOBALS for flag in p.flags}


class Parsed:
    """A command with the values of its parameters and of the global options, as text."""

    def __init__(
        self, command: Command, values: dict[str, object], flags: dict[str, object]
    ) -> None:
        self.command = command
        self.values = values
        self.flags = flags


def parse(argv: list[str]) -> Parsed | None:
    """Read a command line, or decline with None."""
    flags: dict[str, object] = {}
    words: list[str] = []
    rest = list(argv)
    while rest and len(words) < 2:
        if rest[0].startswith("-") and _option(rest, GLOBAL_FLAGS, flags):
            continue
        default = default_word(words[0], rest[0]) if words else None
        if default is None and rest[0].startswith("-"):
            return None
        words.append(default or rest.pop(0))
        if words[0] not in GROUPS:
            break
    command = lookup(words)
    if command is None:
        return None
    values = _parameters(command, rest, flags)
    return None if values is None else Parsed(command, values, flags)


def is_option(word: str) -> bool:
    """Whether a word is meant as an option, and not as a negative number, a list item or the like.

    After its dashes an option begins with a letter; ``--`` alone ends the options.
    """
    return word == "--" or (
        word.startswith("-") and word[1 + word.startswith("--") :][:1].isalpha()
    )


def globals_before(argv: list[str]) -> int:
    """How many arguments at the beginning are global options and their values."""
    rest = list(argv)
    while rest and rest[0].startswith("-") and _option(rest, GLOBAL_FLAGS, {}):
        pass
    return len(argv) - len(rest)


def _parameters(
    command: Command, rest: list[str], flags: dict[str, object]
) -> dict[str, object] | None:
    own = {flag: p for p in command.options for flag in p.flags}
    values: dict[str, object] = {}
    positional: list[str] = []
    while rest:
        word = rest[0]
        if word == "--":
            positional += rest[1:]
            break
        if is_option(word):
            if not _option(rest, own, values) and not _option(rest, GLOBAL_FLAGS, flags):
                return None
            continue
        positional.append(rest.pop(0))
    for p in command.options:
        if p.name not in values:
            values[p.name] = False if isinstance(p, Flag) else [] if p.many else None
    return values if _assign(command.args, positional, values) else None


def _option(rest: list[str], known: dict[str, Any], values: dict[str, Any]) -> bool:
    """Consume one option from the front. False, consuming nothing, if it is not a plain one."""
    flag, equals, value = rest[0].partition("=")
    p = known.get(flag)
    if p is None or (equals and not flag.startswith("--")):
        return False
    if isinstance(p, Flag):
        if equals:
            return False
        values[p.name] = True
        del rest[:1]
        return True
    if not equals:
        if len(rest) < 2 or is_option(rest[1]):
            return False
        value = rest[1]
    if isinstance(p, Opt) and p.choices and value not in p.choices:
        return False
    if p.many:
        values.setdefault(p.name, []).append(value)
    else:
        values[p.name] = value
    del rest[: 1 if equals else 2]
    return True


def _assign(args: list[Arg], positional: list[str], values: dict[str, object]) -> bool:
    for number, arg in enumerate(args):
        if arg.many:
            after = len(args) - number - 1
            taken = positional[: len(positional) - after] if after else positional
            positional = positional[len(taken) :]
            if arg.required and not taken:
                return False
            values[arg.name] = list(taken)
        elif positional:
            values[arg.name] = positional[0]
            positional = positional[1:]
        elif arg.required:
            return False
        else:
            values[arg.name] = None
    return not positional
