"""The Typer application, built from the table of commands: help, errors, suggestions.

Typer only parses the command line; ``main.py`` runs the command, as it does after the quick parser.
Only the group or command that is needed is built.
"""

from __future__ import annotations

import inspect
import os
import shlex
import sys
from typing import Annotated, Optional

os.environ["TYPER_USE_RICH"] = "0"  # plain text: importing rich would double the time

import typer
import typer.core
import typer.main
from typer._click.exceptions import NoArgsIsHelpError

from fastio_cli.cli.framework import tree
from fastio_cli.cli.framework.command import GLOBALS, Arg, Command, Flag, Opt
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.framework.parse import VERSION_LINE, Parsed, globals_before, is_option
from fastio_cli.cli.framework.parse import parse as parse_quickly
from fastio_cli.errors import KINDS, FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from typer import _click

EPILOG = "Options for every command: fastio --help"
VERSION = Flag("--version", help="Print the version and end")
SETTINGS = {"help_option_names": ["-h", "--help"]}


def parse(argv: list[str]) -> Parsed | None:
    """Parse a command line. None if Typer printed help. Raises ``invalid``."""
    app = typer.Typer(
        cls=Root,
        name="fastio",
        help=tree.SUMMARY,
        epilog="Start with: fastio demo",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
    )
    app.callback()(_with_signature(_root_callback, (*GLOBALS, VERSION), hidden=False))
    root = typer.main.get_group(app)
    try:
        answer = root.main(argv, prog_name="fastio", standalone_mode=False)
    except NoArgsIsHelpError as e:
        print(e.format_message(), file=sys.stderr)
        raise Exit(KINDS["invalid"].exit) from None
    except typer.TyperException as e:
        raise _usage_error(e, argv) from None
    except typer.Abort:
        raise KeyboardInterrupt from None
    return answer if isinstance(answer, Parsed) else None


class Listing(typer.core.TyperGroup):
    """A group whose commands are listed by name and help, and built only when needed."""

    def lines(self) -> list[tuple[str, str]]:
        """The commands' names and helps."""
        raise NotImplementedError

    def list_commands(self, ctx: _click.Context) -> list[str]:
        return [name for name, _ in self.lines()]

    def format_commands(self, ctx: _click.Context, formatter: _click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(self.lines())

    def resolve_command(
        self, ctx: _click.Context, args: list[str]
    ) -> tuple[str | None, _click.Command | None, list[str]]:
        # Searched for suggestions, by name alone.
        self.commands = {name: typer.core.TyperCommand(name) for name in self.list_commands(ctx)}
        return super().resolve_command(ctx, args)


class Root(Listing):
    """The first words."""

    def lines(self) -> list[tuple[str, str]]:
        return [(name, help) for name, (_, help) in {**tree.GROUPS, **tree.LEAVES}.items()]

    def get_command(self, ctx: _click.Context, cmd_name: str) -> _click.Command | None:
        if cmd_name in tree.GROUPS:
            return _group(cmd_name)
        command = tree.lookup([cmd_name])
        return _command(command) if command is not None else None


class Group(Listing):
    """The commands of one noun."""

    def lines(self) -> list[tuple[str, str]]:
        commands = tree.group(self.name or "")
        return [(c.words.partition(" ")[2], c.help) for c in commands if not c.hidden]

    def parse_args(self, ctx: _click.Context, args: list[str]) -> list[str]:
        before = globals_before(args)
        if before < len(args) and (word := tree.default_word(self.name or "", args[before])):
            args = [*args[:before], word, *args[before:]]
        return super().parse_args(ctx, args)

    def get_command(self, ctx: _click.Context, cmd_name: str) -> _click.Command | None:
        command = tree.lookup([self.name or "", cmd_name])
        return _command(command) if command is not None else None


class Leaf(typer.core.TyperCommand):
    """A command; its usage names arguments as the manual does: PATH, [PATH], COMMAND..."""

    def parse_args(self, ctx: _click.Context, args: list[str]) -> list[str]:
        with_value = {flag for p in self.params for flag in p.opts if not getattr(p, "is_flag", 0)}
        return super().parse_args(ctx, _values_last(args, with_value))

    def collect_usage_pieces(self, ctx: _click.Context) -> list[str]:
        return ["[OPTIONS]", *(usage for p in self.params for usage in self._usage(p))]

    def _usage(self, p: _click.Parameter) -> list[str]:
        if not isinstance(p, typer.core.TyperArgument):
            return []
        return [Arg(p.name or "", "", required=p.required, many=p.nargs != 1).usage]


def _group(name: str) -> typer.core.TyperGroup:
    app = typer.Typer(
        cls=Group,
        name=name,
        help=tree.GROUPS[name][1],
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings=SETTINGS,
    )
    app.callback()(_with_signature(_group_callback, GLOBALS, hidden=True))
    return typer.main.get_group(app)


def _command(command: Command) -> _click.Command:
    own = {flag for p in command.options for flag in p.flags}
    shared = [p for p in GLOBALS if own.isdisjoint(p.flags)]

    def callback(ctx: typer.Context, **values: object) -> Parsed:
        flags: dict[str, object] = dict(ctx.obj or {})
        flags.update(_given({p.name: values.pop(p.name) for p in shared}))
        return Parsed(command, _plain(command, values), flags)

    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command(
        command.words.rpartition(" ")[2],
        cls=Leaf,
        help="\n\n".join(filter(None, (command.help, command.notes, _examples(command)))),
        epilog=EPILOG,
        context_settings=SETTINGS,
        hidden=command.hidden,
    )(_with_signature(callback, (*command.params, *shared), hidden_names={p.name for p in shared}))
    return typer.main.get_command_from_info(
        app.registered_commands[0], pretty_exceptions_short=True, rich_markup_mode=None
    )


def _examples(command: Command) -> str:
    if not command.examples:
        return ""
    lines = "\n".join(command.examples).splitlines()
    # \b keeps Typer from joining the lines of a paragraph.
    return "\b\nExamples:\n" + "\n".join("  " + line for line in lines)


def _root_callback(ctx: typer.Context, version: bool, **values: object) -> None:
    ctx.obj = _given(values)


def _print_version(asked: bool) -> None:
    if asked:
        print(VERSION_LINE)
        raise typer.Exit


def _group_callback(ctx: typer.Context, **values: object) -> None:
    ctx.obj = {**(ctx.obj or {}), **_given(values)}


def _given(values: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in values.items() if value not in (None, False)}


def _plain(command: Command, values: dict[str, object]) -> dict[str, object]:
    """The values with a list for every ``many``, for which Typer gives None or a tuple."""
    for p in command.params:
        if not isinstance(p, Flag) and p.many:
            many = values[p.name]
            values[p.name] = list(many) if isinstance(many, list | tuple) else []
    return values


def _with_signature(
    callback: Callable[..., Parsed | None],
    params: tuple[Arg | Opt | Flag, ...],
    *,
    hidden: bool = False,
    hidden_names: set[str] | None = None,
) -> Callable[..., Parsed | None]:
    """The callback with a signature made from the table, for Typer to read."""
    signature = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
    for p in params:
        is_hidden = hidden or p.name in (hidden_names or ())
        signature.append(
            inspect.Parameter(
                p.name,
                inspect.Parameter.KEYWORD_ONLY,
                annotation=Annotated[_type(p), _info(p, is_hidden)],
                default=_default(p),
            )
        )

    def signed(**values: object) -> Parsed | None:
        return callback(**values)

    signed.__signature__ = inspect.Signature(signature)  # type: ignore[attr-defined]
    signed.__annotations__ = {p.name: p.annotation for p in signature}
    return signed


def _type(p: Arg | Opt | Flag) -> object:
    if isinstance(p, Flag):
        return bool
    if p.many:
        return list[str]
    return str if isinstance(p, Arg) and p.required else Optional[str]


def _default(p: Arg | Opt | Flag) -> object:
    if isinstance(p, Flag):
        return False
    if isinstance(p, Arg) and p.required:
        return inspect.Parameter.empty
    return None


def _info(p: Arg | Opt | Flag, hidden: bool) -> object:
    if isinstance(p, Arg):
        return typer.Argument(help=p.help, metavar=p.metavar, show_default=False)
    if isinstance(p, Flag):
        # The explicit flags keep Typer from adding a --no-... option.
        return typer.Option(
            *p.flags,
            help=p.help,
            hidden=hidden,
            show_default=False,
            is_eager=p is VERSION,
            callback=_print_version if p is VERSION else None,
        )
    return typer.Option(
        *p.flags,
        help=p.help,
        metavar=p.metavar,
        hidden=hidden,
        show_default=False,
        callback=_choice(p) if p.choices else None,
    )


def _choice(p: Opt) -> Callable[[str | None], str | None]:
    def check(value: str | None) -> str | None:
        if value is not None and value not in p.choices:
            raise typer.BadParameter(f"{value!r} is not one of {', '.join(p.choices)}.")
        return value

    return check


def _usage_error(e: typer.TyperException, argv: list[str]) -> FastioError:
    ctx = getattr(e, "ctx", None)
    words = ctx.command_path if ctx is not None else _command_path(argv)
    message = e.format_message() if hasattr(e, "format_message") else str(e)
    hint = f"See how it is used: {words} --help"
    if hasattr(e, "possibilities") and not e.possibilities:  # no such option, nor one like it
        with_dashes = _as_values(argv, words.split()[1:])
        if with_dashes is not None:
            hint = f"If that is a value and no option, set it after '--': {with_dashes}"
    return FastioError("invalid", message.strip(), hint)


def _values_last(args: list[str], with_value: set[str]) -> list[str]:
    """The arguments with ``--`` before all values if one of them, as ``-5``, looks like an option.

    ``with_value`` are the options whose value follows.
    """
    options: list[str] = []
    values: list[str] = []
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            values += rest
            break
        if not is_option(word):
            values.append(word)
            continue
        options.append(word)
        if word in with_value:
            options += rest[:1]
            del rest[:1]
    is_needed = any(v.startswith("-") and v != "-" for v in values)
    return [*options, "--", *values] if is_needed else args


def _command_path(argv: list[str]) -> str:
    """The command that a command line names, as far as it names one."""
    words = argv[globals_before(argv) :][:2]
    while words and tree.lookup(words) is None:
        words.pop()
    return " ".join(["fastio", *words])


def _as_values(argv: list[str], words: list[str]) -> str | None:
    """The command line with what is no known option after ``--``, if that can be read."""
    command = tree.lookup(words)
    if command is None:
        return None
    known = {flag: p for p in (*command.options, *GLOBALS) for flag in p.flags}
    options, values, rest = [], [], list(argv)
    while rest:
        word = rest.pop(0)
        flag, equals, _ = word.partition("=")
        if word == "--":
            values += rest
            break
        if flag not in known:
            values.append(word)
            continue
        options.append(word)
        if not equals and not isinstance(known[flag], Flag):
            options += rest[:1]
            del rest[:1]
    line = [*words, *options, "--", *values[len(words) :]]
    return shlex.join(["fastio", *line]) if parse_quickly(line) is not None else None
