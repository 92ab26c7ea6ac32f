"""Everything the command line offers, as one plain-data description.

``fastio help --json`` prints it; the man pages are written from it.
"""

from __future__ import annotations

from fastio_cli import operations
from fastio_cli.cli.framework import tree
from fastio_cli.cli.framework.command import GLOBALS, Arg, Command, Flag, Opt
from fastio_cli.config.settings import SETTINGS
from fastio_cli.errors import KINDS
from fastio_cli.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypedDict

    class ArgumentSpec(TypedDict):
        """An argument of a command."""

        name: str
        metavar: str
        help: str
        required: bool
        many: bool
        complete: str | None

    class OptionSpec(TypedDict):
        """An option; one without a value has no ``metavar``."""

        name: str
        flags: list[str]
        metavar: str | None
        help: str
        many: bool
        choices: list[str]
        complete: str | None

    class CommandSpec(TypedDict):
        """A command with its arguments and options."""

        words: str
        help: str
        notes: str
        examples: list[str]
        usage: str
        arguments: list[ArgumentSpec]
        options: list[OptionSpec]
        operations: list[str]

    class NamedSpec(TypedDict):
        """A group of commands, or a variable of the environment."""

        name: str
        help: str

    class SettingSpec(NamedSpec):
        """A setting."""

        default: str | int | None
        choices: list[str]
        project: str

    class ErrorSpec(TypedDict):
        """A kind of error, and how the shell and HTTP tell it."""

        code: str
        exit: int
        http: int
        retryable: bool
        hint: str

    class Spec(TypedDict):
        """Everything the command line offers."""

        name: str
        version: str
        help: str
        groups: list[NamedSpec]
        commands: list[CommandSpec]
        options: list[OptionSpec]
        settings: list[SettingSpec]
        environment: list[NamedSpec]
        errors: list[ErrorSpec]


ENVIRONMENT = {
    "FASTIO_TOKEN": "The token for the server; goes before what fastio login kept",
    "FASTIO_TOKEN_FILE": "A file that holds it",
    "SSL_CERT_FILE": "Certificate authorities to trust instead of the public ones",
    "HTTPS_PROXY": "The proxy on the way to the server; also HTTP_PROXY, ALL_PROXY, NO_PROXY",
    "FASTIO_LOCK_TOKEN": "Token of the lock you hold; lock run sets it for its command",
    "FASTIO_LOCK_PATH": "Set by lock run: the path of the lock",
    "FASTIO_LOCK_FENCE": "Set by lock run: the number of the lock, higher for every new holder",
    "FASTIO_DEBUG": "Show where fastio itself failed",
    "NO_COLOR": "Print tables without colours",
    "VISUAL": "The editor of state edit; else EDITOR, else vi",
}
"""What is read from the environment besides the settings."""


def spec() -> Spec:
    """The commands and all that is common to them; every key is always there."""
    return {
        "name": "fastio",
        "version": __version__,
        "help": tree.SUMMARY,
        "groups": [{"name": name, "help": help} for name, (_, help) in tree.GROUPS.items()],
        "commands": [_command(c) for c in tree.every() if not c.hidden],
        "options": [_option(p) for p in GLOBALS],
        "settings": _settings(),
        "environment": _environment(),
        "errors": _errors(),
    }


def catalogue() -> list[dict[str, Any]]:
    """The operations as every surface offers them, with schemas of parameters and results."""
    return [
        {
            "name": op.name,
            "help": op.help,
            "effect": op.effect,
            "role": op.role,
            "method": op.method,
            "route": op.route,
            "params": op.schema,
            "result": op.result_schema,
        }
        for op in operations.every()
    ]


def _command(c: Command) -> CommandSpec:
    return {
        "words": c.words,
        "help": c.help,
        "notes": c.notes,
        "examples": c.examples,
        "usage": " ".join(["fastio", c.words, "[OPTIONS]", *(a.usage for a in c.args)]),
        "arguments": [_argument(a) for a in c.args],
        "options": [_option(p) for p in c.options],
        "operations": list(c.operations),
    }


def _argument(a: Arg) -> ArgumentSpec:
    return {
        "name": a.name,
        "metavar": a.metavar,
        "help": a.help,
        "required": a.required,
        "many": a.many,
        "complete": a.complete,
    }


def _option(p: Opt | Flag) -> OptionSpec:
    """An option; one without a value has no ``metavar``."""
    return {
        "name": p.name,
        "flags": list(p.flags),
        "metavar": p.metavar,
        "help": p.help,
        "many": p.many,
        "choices": list(p.choices),
        "complete": p.complete,
    }


def _settings() -> list[SettingSpec]:
    return [
        {
            "name": name,
            "help": s.help,
            "default": s.default,
            "choices": list(s.choices),
            "project": s.project,
        }
        for name, s in SETTINGS.items()
    ]


def _environment() -> list[NamedSpec]:
    settings = {f"FASTIO_{name.upper()}": s.help for name, s in SETTINGS.items()}
    return [{"name": name, "help": help} for name, help in {**settings, **ENVIRONMENT}.items()]


def _errors() -> list[ErrorSpec]:
    return [
        {"code": code, "exit": k.exit, "http": k.http, "retryable": k.retryable, "hint": k.hint}
        for code, k in KINDS.items()
    ]
