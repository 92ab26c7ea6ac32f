"""What a command is, as plain data: its words, its parameters, the operations it uses.

The quick parser (``parse.py``), the Typer application with its help and errors (``typer_app.py``),
``fastio help --json`` and the man pages (``spec.py``), and shell completion (``completion.py``) are
derived from it. It is cheap to import, so that a command starts quickly.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Convert = Callable[[str, str], object]


COMPLETE = ("path", "workspace", "profile", "file", "folder", "setting", "command", "help")
"""What a shell completes a value with: object paths, names of workspaces and profiles, local files
or folders, settings, a program with its arguments, the words of a fastio command."""


def _identifier(flag: str) -> str:
    return flag.lstrip("-").replace("-", "_")


class Arg:
    """A positional argument. ``many`` takes all that are left; ``convert(text, name)`` reads it;
    ``param`` is what the operation calls it, if that is another name."""

    def __init__(
        self,
        name: str,
        help: str,
        *,
        required: bool = True,
        many: bool = False,
        convert: Convert | None = None,
        complete: str | None = None,
        param: str | None = None,
    ) -> None:
        self.name = name
        self.param = param or name
        self.help = help
        self.required = required
        self.many = many
        self.convert = convert
        self.complete = complete  # what the shell offers: one of COMPLETE

    @property
    def metavar(self) -> str:
        return self.name.upper()

    @property
    def usage(self) -> str:
        """Its form in a usage line: PATH, [PATH], PATH..."""
        text = self.metavar + ("..." if self.many else "")
        return text if self.required else f"[{text}]"


class Opt:
    """An option with a value; ``flags`` are its spellings; ``name`` defaults to the first."""

    def __init__(
        self,
        *flags: str,
        help: str,
        name: str | None = None,
        metavar: str = "TEXT",
        many: bool = False,
        convert: Convert | None = None,
        choices: tuple[str, ...] = (),
        complete: str | None = None,
        param: str | None = None,
    ) -> None:
        self.flags = flags
        self.name = name or _identifier(flags[0])
        self.param = param or self.name
        self.help = help
        self.metavar = "|".join(choices) if choices else metavar
        self.many = many
        self.convert = convert
        self.choices = choices
        self.complete = complete


class Flag:
    """An option without a value: present or not."""

    metavar = None
    many = False
    choices: tuple[str, ...] = ()
    complete = None

    def __init__(self, *flags: str, help: str) -> None:
        self.flags = flags
        self.name = _identifier(flags[0])
        self.help = help


class Command:
    """One command: ``words`` as typed after ``fastio``, and ``run(cli, **values)``."""

    def __init__(
        self,
        words: str,
        run: Callable[..., None],
        operations: tuple[str, ...],
        params: tuple[Arg | Opt | Flag, ...],
        help: str | None,
        hidden: bool,
        fields: tuple[str, ...],
    ) -> None:
        self.words = words
        self.run = run
        self.operations = operations
        self.params = params
        self.hidden = hidden
        self.fields = fields
        self._help = help

    @property
    def help(self) -> str:
        """The command's own help, else that of its first operation."""
        if self._help is not None:
            return self._help
        from fastio_cli.operations import find

        return find(self.operations[0]).help

    @property
    def notes(self) -> str:
        """The paragraphs of the command's docstring, shown below the help."""
        return self._documented()[0].strip()

    @property
    def examples(self) -> list[str]:
        """The examples that end the docstring; an indented line continues the one above it."""
        examples: list[str] = []
        for line in self._documented()[2].splitlines():
            if line.startswith(" "):
                examples[-1] += "\n" + line
            else:
                examples.append(line)
        return examples

    def _documented(self) -> tuple[str, str, str]:
        import inspect

        text = inspect.getdoc(self.run) or ""
        return text.replace("Example:\n", "Examples:\n").partition("Examples:\n")

    @property
    def args(self) -> list[Arg]:
        return [p for p in self.params if isinstance(p, Arg)]

    @property
    def options(self) -> list[Opt | Flag]:
        return [p for p in self.params if not isinstance(p, Arg)]

    @property
    def names(self) -> dict[str, str]:
        """The names of the operations' parameters on the command line."""
        return {p.param: _label(p) for p in self.params if not isinstance(p, Flag)}

    def convert(self, values: dict[str, object]) -> dict[str, object]:
        """The values as ``run`` takes them: read from text where the parameter says so."""
        for p in self.params:
            if isinstance(p, Flag) or p.convert is None:
                continue
            value = values[p.name]
            if isinstance(value, str):
                values[p.name] = p.convert(value, _label(p))
        return values


def _label(p: Arg | Opt) -> str:
    return p.metavar if isinstance(p, Arg) else p.flags[0]


def command(
    words: str,
    *params: Arg | Opt | Flag,
    op: str | tuple[str, ...] = (),
    help: str | None = None,
    hidden: bool = False,
    fields: tuple[str, ...] = (),
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function in the table of commands.

    ``op`` names the operations it uses; without ``help`` the first one's help is the command's.
    ``fields`` are what its records have beside those of the operations.
    """

    def enter(run: Callable[..., None]) -> Callable[..., None]:
        operations = (op,) if isinstance(op, str) else op
        COMMANDS[words] = Command(words, run, operations, params, help, hidden, fields)
        return run

    return enter


COMMANDS: dict[str, Command] = {}

GLOBALS: tuple[Opt | Flag, ...] = (
    Opt("--workspace", "-w", help="The workspace to work in", metavar="NAME", complete="workspace"),
    Opt(
        "--store",
        help="The store: a folder, a database or a server",
        metavar="STORE",
        complete="folder",
    ),
    Opt(
        "--profile",
        help="The server to work on, as fastio login named it; local is this machine",
        metavar="NAME",
        complete="profile",
    ),
    Opt(
        "--format",
        help="How results are printed (default: table at a terminal, else json)",
        choices=("table", "json", "jsonl", "csv", "markdown", "raw"),
    ),
    Flag("--json", help="Short for --format json"),
    Opt("--fields", help="Only these fields of the result, as a,b.c", metavar="FIELDS"),
    Opt(
        "--query",
        help="What a JMESPath expression makes of the result, as 'items[].path'",
        name="jmespath",
        metavar="EXPR",
    ),
    Flag("--quiet", "-q", help="Print only the essential value, such as a token"),
    Opt("--actor", help="Who acts, in the event log", metavar="NAME"),
)
