"""What may stand at the cursor of a command line that somebody is typing.

The shells' scripts (``fastio_cli/cli/completions/``) know no command: they ask ``fastio complete``
with the words of the line. It finds the place of the cursor here, in the table of commands.
"""

from __future__ import annotations

from fastio_cli.cli.framework.command import GLOBALS, Arg, Command, Opt
from fastio_cli.cli.framework.tree import GROUPS, LEAVES, default_word, group, lookup

TYPE_CHECKING = False
if TYPE_CHECKING:
    Words = list[tuple[str, str]]
    """Words with their help."""

GLOBAL_OPTIONS = {flag: p for p in GLOBALS for flag in p.flags}
HELP_FLAG: Words = [("--help", "Show help")]


class Cursor:
    """Where the last of these words stands, and what it may become.

    ``kind`` says what the shell is to offer: the fixed ``words``, or one of ``command.COMPLETE``,
    or ``arguments`` (those of another program), or nothing (the empty string). What is typed is
    ``prefix``, which stays as it is, and then ``text``, which what is offered begins with.
    ``flags`` are the global options of the line, by name.
    """

    def __init__(self, words: list[str]) -> None:
        self.flags: dict[str, str] = {}
        self.prefix, self.text = "", words[-1]
        self._typed: list[str] = []  # the words of the command
        self._command: Command | None = None
        self._position = 0  # how many arguments stand before
        self._option: Opt | None = None  # the one whose value is next
        self._only_arguments = False  # after --
        for word in words[:-1]:
            self._pass(word)
        self._split_option()
        self.kind, self.words = self._offer()

    def _pass(self, word: str) -> None:
        """Go over a word that stands before the cursor."""
        if self._option is not None:
            self._take(self._option, word)
            self._option = None
        elif self._only_arguments or not word.startswith("-") or word == "-":
            self._pass_argument(word)
        elif word == "--":
            self._only_arguments = True
        else:
            flag, equals, value = word.partition("=")
            option = self._find_option(flag)
            if option is not None and equals:
                self._take(option, value)
            else:
                self._option = option

    def _take(self, option: Opt, value: str) -> None:
        if option in GLOBALS:
            self.flags[option.name] = value

    def _pass_argument(self, word: str) -> None:
        if self._command is not None:
            self._position += 1
        elif self._typed or word != "help":  # what follows help is a command
            default = default_word(self._typed[0], word) if self._typed else None
            self._typed.append(default or word)
            self._command = lookup(self._typed)
            self._position += default is not None

    def _find_option(self, flag: str) -> Opt | None:
        """The option that takes a value and is spelled so."""
        own = self._command.options if self._command is not None else []
        known = {**GLOBAL_OPTIONS, **{f: p for p in own for f in p.flags}}
        option = known.get(flag)
        return option if isinstance(option, Opt) else None

    def _split_option(self) -> None:
        """Take ``--option=`` off what is typed."""
        flag, equals, value = self.text.partition("=")
        if equals and flag.startswith("--") and not self._only_arguments and self._option is None:
            self._option = self._find_option(flag)
            self.prefix, self.text = flag + equals, value

    def _offer(self) -> tuple[str, Words]:
        if self._option is not None or self.prefix:
            return self._offer_value(self._option)
        if self.text.startswith("-") and not self._only_arguments:
            return self._offer_options()
        if self._command is not None:
            return self._offer_argument(self._command)
        return "words", [word for word in self._next_words() if word[0].startswith(self.text)]

    def _offer_value(self, param: Arg | Opt | None) -> tuple[str, Words]:
        """What may be the value of a parameter; that of one with no such list, a file after @."""
        if isinstance(param, Opt) and param.choices:
            return "words", [(c, "") for c in param.choices if c.startswith(self.text)]
        if param is not None and param.complete == "setting":
            return "words", [word for word in _settings() if word[0].startswith(self.text)]
        if param is not None and param.complete is not None:
            return param.complete, []
        if param is None or not self.text.startswith("@"):
            return "", []
        self.prefix, self.text = self.prefix + "@", self.text[1:]
        return "file", []

    def _offer_options(self) -> tuple[str, Words]:
        own = self._command.options if self._command is not None else []
        options = [(flag, p.help) for p in [*own, *GLOBALS] for flag in p.flags]
        begin = self.text or "--"
        return "words", [word for word in options + HELP_FLAG if word[0].startswith(begin)]

    def _offer_argument(self, command: Command) -> tuple[str, Words]:
        args = command.args
        if args and args[-1].complete == "help":
            return "words", []
        if self._position < len(args):
            return self._offer_value(args[self._position])
        if not args or not args[-1].many:
            return self._offer_options()
        rest = args[-1]
        return ("arguments", []) if rest.complete == "command" else self._offer_value(rest)

    def _next_words(self) -> Words:
        """The words that a command begins or goes on with."""
        if not self._typed:
            firsts = {**GROUPS, **LEAVES}
            return [(word, help) for word, (_, help) in firsts.items()]
        name = self._typed[0]
        if len(self._typed) > 1 or name not in GROUPS:
            return []
        return [(c.words.partition(" ")[2], c.help) for c in group(name) if not c.hidden]


def words_of(line: str) -> list[str]:
    """The words after the program's name of a line that is typed in bash, up to the cursor."""
    import shlex

    for quote in ("", '"', "'"):  # one of which may be open
        try:
            *words, last = shlex.split(f"{line}x{quote}")  # x: a last word that is not there yet
        except ValueError:
            continue
        return [*words[1:], last[:-1]]
    return [""]


def _settings() -> Words:
    from fastio_cli.config.settings import SETTINGS

    return [(name, s.help) for name, s in SETTINGS.items()]
