"""The manual: one page per group and fastio(1), in the man macros, from the description of all
commands (``spec.py``)."""

from __future__ import annotations

from textwrap import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastio_cli.cli.framework.spec import CommandSpec, NamedSpec, OptionSpec, Spec

SOURCE_HINT = '.\\" Made by "make generate"; do not edit.'

DESCRIPTION = """\
A command works on a store: the folder named by --store or FASTIO_STORE, else the nearest .fastio
folder upward (fastio init makes one), else the user's own. A store holds workspaces, a workspace
holds objects: JSON (state) or bytes (files), each at a path, with all its versions.

Results go to standard output, everything else to standard error. At a terminal results are tables,
piped they are JSON; --format, --json, --fields and -q choose. Options that are for every command
may stand before or after it."""

COMPLETION = """\
Completions for bash, zsh and fish are installed below share/, where the shells of the system look
for them. Otherwise, and in PowerShell, a line in the shell's own settings loads them:"""

LOADING = (
    'eval "$(fastio complete bash)"',
    'eval "$(fastio complete zsh)"',
    "fastio complete fish | source",
    "fastio complete powershell | Out-String | Invoke-Expression",
)

FILES = (
    (".fastio/", "The store of a project and its settings, config.toml"),
    ("~/.local/share/fastio/", "The user's own store, where XDG_DATA_HOME is not set"),
    ("~/.config/fastio/trusted/", "Which projects are trusted (fastio trust)"),
    ("~/.config/fastio/config.toml", "The user's settings, where XDG_CONFIG_HOME is not set"),
)


def pages(spec: Spec, released: str) -> dict[str, str]:
    """The pages by file name. ``released`` is the day of the release."""
    made = {"fastio.1": _main_page(spec, released)}
    for group in spec["groups"]:
        made[f"fastio-{group['name']}.1"] = _group_page(spec, group, released)
    return made


def _main_page(spec: Spec, released: str) -> str:
    alone = [c for c in spec["commands"] if " " not in c["words"]]
    lines = _head(spec, "fastio", spec["help"], released)
    lines += [".SH SYNOPSIS", r"\fBfastio\fR [\fIOPTIONS\fR] \fICOMMAND\fR [\fIARGUMENTS\fR]"]
    lines += [".SH DESCRIPTION", *_prose(DESCRIPTION)]
    lines += [".SH COMMANDS", "Each group has a page of its own."]
    for group in spec["groups"]:
        lines += _item(_bold(f"fastio-{group['name']}") + "(1)", group["help"])
    for c in alone:
        lines += _command(c)
    lines += [".SH OPTIONS", "For every command:"]
    for option in spec["options"]:
        lines += _option(option)
    lines += _item(_bold("-h") + ", " + _bold("--help"), "Show help")
    lines += [".SH EXIT STATUS"]
    for code, meaning in _exit_codes(spec):
        lines += _item(_bold(str(code)), meaning)
    lines += [".SH ENVIRONMENT"]
    for variable in spec["environment"]:
        lines += _item(_bold(variable["name"]), variable["help"])
    lines += [".SH FILES"]
    for name, help in FILES:
        lines += _item(_italic(name), help)
    lines += [".SH COMPLETION", *_prose(COMPLETION), *_verbatim(LOADING)]
    lines += [".SH SEE ALSO", _see(f"fastio-{group['name']}" for group in spec["groups"])]
    return "\n".join(lines) + "\n"


def _group_page(spec: Spec, group: NamedSpec, released: str) -> str:
    name = group["name"]
    lines = _head(spec, f"fastio-{name}", group["help"], released)
    lines += [".SH SYNOPSIS", rf"\fBfastio {name}\fR \fICOMMAND\fR [\fIOPTIONS\fR]"]
    lines += [".SH DESCRIPTION", *_prose(group["help"] + ".")]
    lines += [".SH COMMANDS"]
    for c in spec["commands"]:
        if c["words"].startswith(name + " "):
            lines += _command(c)
    lines += [".SH OPTIONS", "The options for every command are in \\fBfastio\\fR(1)."]
    lines += [".SH SEE ALSO", _see(["fastio"])]
    return "\n".join(lines) + "\n"


def _head(spec: Spec, name: str, help: str, released: str) -> list[str]:
    title = f'.TH {name.upper()} 1 {released} "fastio {spec["version"]}" "fastio manual"'
    summary = help.rstrip(".")
    return [SOURCE_HINT, title, ".SH NAME", rf"{_text(name)} \- {_text(summary)}"]


def _command(c: CommandSpec) -> list[str]:
    words = f"fastio {c['words']}"
    rest = c["usage"].removeprefix(words).strip()
    lines = [f'.SS "{_text(words)} {_text(rest)}"', *_prose(c["help"])]
    if c["notes"]:
        lines += [".PP", *_prose(c["notes"])]
    for argument in c["arguments"]:
        lines += _item(_italic(argument["metavar"]), argument["help"])
    for option in c["options"]:
        lines += _option(option)
    if c["examples"]:
        lines += [".PP", "Examples:", *_verbatim(c["examples"])]
    return lines


def _option(option: OptionSpec) -> list[str]:
    spelled = ", ".join(_bold(flag) for flag in option["flags"])
    value = option["metavar"]
    if value:
        spelled += " " + (_text(value) if option["choices"] else _italic(value))
    return _item(spelled, option["help"])


def _exit_codes(spec: Spec) -> list[tuple[int, str]]:
    by_exit: dict[int, list[str]] = {0: ["success"]}
    for error in spec["errors"]:
        by_exit.setdefault(error["exit"], []).append(error["code"])
    return [(code, ", ".join(names)) for code, names in sorted(by_exit.items())]


def _item(term: str, help: str) -> list[str]:
    return [".TP", term, *_prose(help)]


def _prose(text: str) -> list[str]:
    """Paragraphs, filled."""
    lines: list[str] = []
    for paragraph in text.split("\n\n"):
        lines += [".PP"] if lines else []
        filled = wrap(_text(paragraph), 78, break_long_words=False, break_on_hyphens=False)
        lines += [_escape_dot(line) for line in filled]
    return lines


def _verbatim(texts: Iterable[str]) -> list[str]:
    lines = [_text(line) for text in texts for line in text.splitlines()]
    return [".PP", ".RS 4", ".nf", *lines, ".fi", ".RE"]


def _see(names: Iterable[str]) -> str:
    return ",\n".join(f"{_bold(name)}(1)" for name in names)


def _bold(text: str) -> str:
    return rf"\fB{_text(text)}\fR"


def _italic(text: str) -> str:
    return rf"\fI{_text(text)}\fR"


ESCAPES = {
    "\\": r"\e",
    "-": r"\-",
    "'": r"\(aq",
    '"': r"\(dq",
    "`": r"\(ga",
    "^": r"\(ha",
    "~": r"\(ti",
}


def _text(text: str) -> str:
    """Text escaped for roff, without its special characters and typographic quotes."""
    return _escape_dot("".join(ESCAPES.get(c, c) for c in text))


def _escape_dot(line: str) -> str:
    return r"\&" + line if line.startswith(".") else line  # else roff reads it as a request
