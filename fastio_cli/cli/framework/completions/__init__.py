"""The shells' completions, written from the description of all commands (``spec.py``).

They are static scripts: what is fixed stands in them, so that a TAB starts no process. Only object
paths and workspaces are asked for, with ``fastio complete``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Places = list[tuple[Any, list[tuple[str, str]]]]
    """Kinds, each with the places, (command, place), where it is offered."""

NOTHING = "nothing"


class Table:
    """What can stand where, in the form that all shells need.

    ``heads`` are the first words and ``verbs`` those of a group, with their helps; ``options`` are
    a command's own. A *kind* says what is offered for a value: one of ``command.COMPLETE``, or
    ``nothing``, or a tuple of fixed words.
    """

    def __init__(self, spec: dict[str, Any]) -> None:
        self.version = spec["version"]
        self.globals = spec["options"]
        self.commands = spec["commands"]
        self._settings = tuple(s["name"] for s in spec["settings"])
        self.heads = {g["name"]: g["help"] for g in spec["groups"]}
        self.verbs: dict[str, dict[str, str]] = {name: {} for name in self.heads}
        self.options: dict[str, list[Any]] = {}
        for c in self.commands:
            head, _, verb = c["words"].partition(" ")
            (self.verbs[head] if verb else self.heads)[verb or head] = c["help"]
            self.options[c["words"]] = c["options"]

    def kind(self, param: dict[str, Any]) -> Any:
        """What is offered for a parameter's value."""
        if param["complete"] == "setting":
            return self._settings
        return tuple(param.get("choices", ())) or param["complete"] or NOTHING

    def values(self) -> Places:
        """The flags that take a value, as (command, flag); command ``*`` is any."""
        found: dict[str, dict[str, Any]] = {}
        for words, options in {"*": self.globals, **self.options}.items():
            for option in options:
                kind = self.kind(option) if option["metavar"] else None
                for flag in option["flags"]:
                    found.setdefault(flag, {})[words] = kind
        by_kind: dict[Any, list[tuple[str, str]]] = {}
        for flag, kinds in found.items():
            alike = len(set(kinds.values())) == 1
            for words, kind in list(kinds.items())[: 1 if alike else None]:
                if kind is not None:
                    by_kind.setdefault(kind, []).append(("*" if alike else words, flag))
        return list(by_kind.items())

    def arguments(self) -> Places:
        """The arguments with something to offer, as (command, how many stand before). Place ``*``,
        which is any, comes last."""
        by_kind: dict[Any, list[tuple[str, str]]] = {}
        rests: Places = []
        for c in self.commands:
            for number, argument in enumerate(c["arguments"]):
                kind = self.kind(argument)
                if kind == "help":  # its words are read as those of a command
                    continue
                by_kind.setdefault(kind, []).append((c["words"], str(number)))
                if argument["many"]:
                    rest = "file" if kind == "command" else kind
                    rests.append((rest, [(c["words"], "*")]))
        return [*by_kind.items(), *rests]


def header(table: Table) -> str:
    """The comment that begins every script."""
    return f'# Completion for fastio {table.version}. Made by "make generate"; do not edit.'


def flags(options: list[Any]) -> list[tuple[str, str]]:
    """Every spelling of the options, with its help."""
    return [(flag, option["help"]) for option in options for flag in option["flags"]]


def scripts(spec: dict[str, Any]) -> dict[str, str]:
    """The scripts by the name of their shell."""
    from fastio_cli.cli.framework.completions import bash, fish, powershell, zsh

    table = Table(spec)
    modules = {"bash": bash, "zsh": zsh, "fish": fish, "powershell": powershell}
    return {shell: module.script(table) for shell, module in modules.items()}


FILES = {
    "bash": "fastio.bash",
    "zsh": "_fastio",
    "fish": "fastio.fish",
    "powershell": "fastio.ps1",
}
