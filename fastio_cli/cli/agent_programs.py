"""Where the programs of agents keep which servers they start, and how an entry is written there.

An edit touches nothing but the entry ``fastio``. JSON is written again as it was indented; TOML is
changed as text, so that comments stay. A file that is no plain JSON or TOML is left alone.
"""

from __future__ import annotations

import json
import os
import re
import shutil

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAME = "fastio"
BEGIN = "# Written by fastio setup; fastio setup codex --remove takes it out."
HOOK_TIMEOUT_S = 10
# What Claude Code runs when, and for which tools: the first two show the agent what they print, the
# last denies a write to a file that somebody else has locked.
HOOKS = (
    ("SessionStart", None, f"{NAME} prime"),
    ("PreCompact", None, f"{NAME} prime"),
    ("PreToolUse", "Edit|Write|MultiEdit|NotebookEdit", f"{NAME} guard check --hook claude"),
)


class Program:
    """A program that starts servers: its command, its files, and the keys above its entries.

    ``user`` is below the home folder, ``project`` below that of the project; None where it has no
    such file. ``hooks`` is where its hooks are, below either folder. ``extra`` are what its entries
    say besides command and arguments.
    """

    def __init__(
        self,
        title: str,
        command: str,
        user: str,
        project: str | None,
        keys: tuple[str, ...],
        hooks: str | None = None,
        **extra: str,
    ) -> None:
        self.title = title
        self.command = command
        self.user = user
        self.project = project
        self.keys = keys
        self.hooks = hooks
        self.extra = extra

    def is_here(self) -> bool:
        """Whether it seems to be used on this machine."""
        folder = os.path.join(os.path.expanduser("~"), self.user.partition("/")[0])
        return shutil.which(self.command) is not None or os.path.exists(folder)

    def file(self, *, is_project: bool) -> str:
        """The file to edit. Raises ``invalid`` where there is none for a project."""
        if not is_project:
            return os.path.join(os.path.expanduser("~"), *self.user.split("/"))
        if self.project is None:
            raise FastioError("invalid", f"{self.title} has no settings for one project.")
        return os.path.join(os.getcwd(), *self.project.split("/"))

    def entry(self, arguments: list[str]) -> dict[str, Any]:
        """What stands below ``fastio``."""
        return {**self.extra, "command": own_command(), "args": ["mcp", *arguments]}

    def edited(self, text: str, entry: dict[str, Any] | None) -> str:
        """The text of its file with this entry, or without one."""
        if self.user.endswith(".toml"):
            return _edited_toml(text, self.keys, entry)
        return edited_json(text, (*self.keys, NAME), entry)


PROGRAMS = {
    "claude": Program(
        "Claude Code",
        "claude",
        ".claude.json",
        ".mcp.json",
        ("mcpServers",),
        hooks=".claude/settings.json",
    ),
    "codex": Program(
        "Codex", "codex", ".codex/config.toml", ".codex/config.toml", ("mcp_servers",)
    ),
    "cursor": Program("Cursor", "cursor", ".cursor/mcp.json", ".cursor/mcp.json", ("mcpServers",)),
    "gemini": Program(
        "Gemini CLI", "gemini", ".gemini/settings.json", ".gemini/settings.json", ("mcpServers",)
    ),
    "vscode": Program(
        "VS Code",
        "code",
        ".config/Code/User/mcp.json",
        ".vscode/mcp.json",
        ("servers",),
        type="stdio",
    ),
    "openclaw": Program(
        "OpenClaw", "openclaw", ".openclaw/openclaw.json", None, ("mcp", "servers")
    ),
}


def own_command() -> str:
    """How this program is started by others: by its name where that finds it."""
    import sys

    return NAME if shutil.which(NAME) is not None else os.path.abspath(sys.argv[0])


def edited_json(text: str, keys: tuple[str, ...], value: object) -> str:
    """JSON text with a value at these keys, or without any; objects that it empties go too.

    Raises ``invalid`` for text that is no JSON object, as with comments in it.
    """
    document = _object_of(text)
    parents = [document]
    for key in keys[:-1]:
        inner = parents[-1].get(key, {})
        if not isinstance(inner, dict):
            raise FastioError("invalid", f"{key} is no object there, and stays as it is.")
        parents.append(inner)
    if value is None:
        parents[-1].pop(keys[-1], None)
    else:
        parents[-1][keys[-1]] = value
    for parent, key, inner in zip(parents[-2::-1], keys[-2::-1], parents[:0:-1], strict=True):
        if inner or value is not None:
            parent[key] = inner
        else:
            parent.pop(key, None)
    if document == _object_of(text):
        return text
    return json.dumps(document, indent=_indent_of(text), ensure_ascii=False) + "\n"


def hooked(text: str, *, is_removed: bool) -> str:
    """Claude Code's settings with the hooks that prime and guard an agent, or without them."""
    settings = _object_of(text)
    before = json.dumps(settings)
    hooks = settings.setdefault("hooks", {})
    for event, matcher, run in HOOKS:
        entries = [entry for entry in hooks.get(event, []) if run not in json.dumps(entry)]
        if not is_removed:
            own = {"type": "command", "command": run, "timeout": HOOK_TIMEOUT_S}
            entries.append({**({"matcher": matcher} if matcher else {}), "hooks": [own]})
        hooks[event] = entries
        if not entries:
            del hooks[event]
    if not hooks:
        del settings["hooks"]
    if json.dumps(settings) == before:
        return text
    return json.dumps(settings, indent=_indent_of(text), ensure_ascii=False) + "\n"


def _object_of(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text or "{}")
    except ValueError as e:
        raise FastioError(
            "invalid",
            f"It is no plain JSON ({e}), and stays as it is.",
            "Add the entry by hand: --dry-run shows it.",
        ) from None
    if not isinstance(document, dict):
        raise FastioError("invalid", "It holds no JSON object, and stays as it is.")
    return document


def _indent_of(text: str) -> int | str:
    """How a JSON text is indented."""
    found = re.search(r"^([ \t]+)\S", text, re.MULTILINE)
    if found is None:
        return 2
    return "\t" if found[1].startswith("\t") else len(found[1])


def _edited_toml(text: str, keys: tuple[str, ...], entry: dict[str, Any] | None) -> str:
    """TOML text with a table at its end, in place of the one that was written before."""
    import tomllib

    try:
        known = tomllib.loads(text)
    except tomllib.TOMLDecodeError as e:
        raise FastioError("invalid", f"It is no TOML ({e}), and stays as it is.") from None
    header = f"[{'.'.join((*keys, NAME))}]"
    block = re.compile(rf"\n*{re.escape(BEGIN)}\n{re.escape(header)}\n(?:(?!\[).*\n?)*")
    without = block.sub("\n", text).lstrip("\n")
    if entry is None:
        return without
    for key in keys:
        known = known.get(key, {})
    if NAME in known and without == text:
        raise FastioError("invalid", f"It has {header} already, not written by fastio setup.")
    lines = [BEGIN, header, *(f"{key} = {json.dumps(value)}" for key, value in entry.items())]
    return without.rstrip("\n") + ("\n\n" if without.strip() else "") + "\n".join(lines) + "\n"
