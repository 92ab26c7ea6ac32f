"""The first words of all commands, with their help and modules.

The root prints its help and finds a command's module from these tables alone, without importing
other modules. ``tests/test_tidy.py`` compares them with the commands.
"""

from __future__ import annotations

from importlib import import_module

from fastio_cli.cli.framework.command import COMMANDS, Command

SUMMARY = "Durable, shared state for agents: state, files, locks, events."

GROUPS = {
    "workspace": (("workspaces",), "Create, list and remove workspaces"),
    "state": (("state",), "Read and change JSON state objects"),
    "file": (("files",), "Store, read and manage files"),
    "lock": (("locks",), "Take turns: exclusive locks that expire"),
    "guard": (("guard",), "Keep writes away from files that others have locked"),
    "event": (("events",), "Read and watch the log of all changes"),
    "audit": (("events",), "Prove that the log was not tampered with"),
    "org": (("orgs", "org_transfers"), "Share a server: orgs, and handing one over"),
    "member": (("members",), "Give people and agents their roles"),
    "token": (("tokens",), "Create and revoke access tokens"),
    "index": (("search",), "Show and rebuild the search index"),
    "import": (
        ("imports", "logins"),
        "Fetch files from URLs into the workspace: fastio import URL...",
    ),
    "job": (("jobs",), "Look after the work that is done in the background"),
    "store": (("store",), "Move whole stores between folders and databases"),
    "profile": (("profiles",), "Choose among the servers you are logged in to"),
    "config": (("config",), "Show and change settings"),
}

# The default command of a group, when none is named: fastio import URL.
DEFAULTS = {"import": "add"}

LEAVES = {
    "init": (
        "workspaces",
        "Make a store: for this folder, or where --store says.",
    ),
    "trust": ("trust", "Trust this folder's project: its store and its settings."),
    "use": ("workspaces", "Choose the workspace that commands work in from now on."),
    "query": (
        "search",
        "Find the passages of a workspace that answer a query best, by words and by meaning.",
    ),
    "ask": (
        "search",
        "Answer a question from what the workspace holds, each sentence with its source.",
    ),
    "context": (
        "search",
        "Pack what a prompt needs to go on: the session's summary, then the best passages.",
    ),
    "batch": ("batch", "Run operations from NDJSON on standard input, in one process."),
    "serve": ("serve", "Turn this store into a service for a team."),
    "setup": ("setup", "Have an agent's program start fastio mcp."),
    "mcp": ("mcp", "Speak the Model Context Protocol with an agent, over stdin and stdout."),
    "login": ("profiles", "Work on a server from now on."),
    "logout": ("profiles", "Forget the token for a server."),
    "who": ("actors", "List who acted lately, with what they last did and the locks they hold."),
    "prime": (
        "actors",
        "Tell an agent in a few lines where things stand, for its hooks.",
    ),
    "whoami": ("tokens", "Show who one is: org, member, role, and what the token is for."),
    "backup": ("maintenance", "Copy the whole store into one file, while it is in use."),
    "restore": ("maintenance", "Replace the whole store by what a backup file holds."),
    "doctor": (
        "maintenance",
        "Check the installation and the store, and say how to fix what is wrong.",
    ),
    "demo": ("demo", "Watch three agents share one state object, and one of them die."),
    "help": ("help", "Show help for a command, or all commands as JSON."),
}

HIDDEN = {
    "complete": ("complete", "Offer words to a shell's completion."),
}
"""Commands outside groups that only programs call."""


def lookup(words: list[str]) -> Command | None:
    """Import and return the command that these words start with; None if there is none."""
    if not words:
        return None
    first = words[0]
    leaf = LEAVES.get(first) or HIDDEN.get(first)
    if leaf is not None:
        import_module(f"fastio_cli.cli.{leaf[0]}")
        return COMMANDS.get(first)
    if first in GROUPS and len(words) > 1:
        for module in GROUPS[first][0]:
            import_module(f"fastio_cli.cli.{module}")
            if (command := COMMANDS.get(f"{first} {words[1]}")) is not None:
                return command
    return None


def default_word(name: str, word: str) -> str | None:
    """The group's default command, if ``word`` names none of its commands."""
    default = DEFAULTS.get(name)
    if default is None or word in ("-h", "--help") or lookup([name, word]) is not None:
        return None
    return default


def group(name: str) -> list[Command]:
    """The commands of a group, in the order they are written."""
    for module in GROUPS[name][0]:
        import_module(f"fastio_cli.cli.{module}")
    return [c for words, c in COMMANDS.items() if words.partition(" ")[0] == name]


def every() -> list[Command]:
    """All commands, including hidden ones: groups first, then those outside groups."""
    commands = [c for name in GROUPS for c in group(name)]
    leaves = [lookup([name]) for name in (*LEAVES, *HIDDEN)]
    return commands + [c for c in leaves if c is not None]
