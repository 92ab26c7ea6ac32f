"""fastio complete: what the shells' completions (``completions/``) ask while somebody types."""

from __future__ import annotations

import os

from fastio_cli.cli.framework.command import Arg, command
from fastio_cli.cli.framework.completion import Cursor, words_of
from fastio_cli.cli.framework.session import SCHEME, Session
from fastio_cli.config.sources import LOCAL
from fastio_cli.errors import FastioError

OFFERED_MAX = 200
SCRIPTS = {
    "bash": "fastio.bash",
    "zsh": "_fastio",
    "fish": "fastio.fish",
    "powershell": "fastio.ps1",
}


@command(
    "complete",
    Arg("what", "A shell (bash, zsh, fish, powershell): its script; or words, or line"),
    Arg(
        "words",
        "What is typed: words, the last with = before it; or a line of bash",
        many=True,
        required=False,
    ),
    help="Offer words to a shell's completion.",
    hidden=True,
)
def complete(cli: Session, what: str, words: list[str]) -> None:
    """Prints what the shell is to offer (``Cursor.kind``), what stays of the last word, what is
    typed of the rest, and then one candidate a line, with its help after a tab.

    Nothing at all is printed when something is wrong: whoever types is not to be disturbed, and no
    store is made by asking.

    Example:
    eval "$(fastio complete bash)"
    """
    if what in SCRIPTS:
        cli.out.line(script(what).rstrip("\n"))
    elif what == "line" and len(words) == 1:
        _print(cli, Cursor(words_of(words[0])))
    elif what == "words" and words:
        _print(cli, Cursor([*words[:-1], words[-1].removeprefix("=")]))


def script(shell: str) -> str:
    """What a shell reads to complete the command."""
    file = os.path.join(os.path.dirname(__file__), "completions", SCRIPTS[shell])
    with open(file, encoding="utf-8") as f:
        return f.read()


def _print(cli: Session, cursor: Cursor) -> None:
    kind, words = cursor.kind, cursor.words
    if kind in STORED:
        try:
            words = [(word, "") for word in _ask(kind, cursor)]
        except FastioError:
            return
        kind = "names"
    cli.out.line(f"{kind}\n{cursor.prefix}\n{cursor.text}")
    for word, help in words:
        if word.isprintable():
            cli.out.line(f"{word}\t{help}" if help else word)


def _ask(kind: str, cursor: Cursor) -> list[str]:
    """Names that begin with what is typed, as the line's store and workspace have them."""
    cli = Session(dict(cursor.flags))
    if kind != "profile" and not _can_be_asked(cli):
        return []
    return STORED[kind](cli, cursor.text)


def paths(cli: Session, prefix: str) -> list[str]:
    """Object paths, of the session's workspace or of the one that ``fio://`` names."""
    if not prefix.startswith(SCHEME):
        return _paths(cli, cli.workspace, prefix)
    workspace, slash, inside = prefix[len(SCHEME) :].partition("/")
    start = f"{SCHEME}{workspace}/"
    if not slash:
        return [f"{SCHEME}{name}/" for name in workspaces(cli, workspace)]
    return [start + path for path in _paths(cli, workspace, inside)]


def workspaces(cli: Session, prefix: str) -> list[str]:
    """Names of workspaces."""
    page = cli.call("workspace.list", limit=1000)
    return [item["name"] for item in page["items"] if item["name"].startswith(prefix)]


def profiles(cli: Session, prefix: str) -> list[str]:
    """Names of profiles."""
    return [name for name in (LOCAL, *cli.config.profiles) if name.startswith(prefix)]


STORED = {"path": paths, "workspace": workspaces, "profile": profiles}


def _can_be_asked(cli: Session) -> bool:
    """Whether there is a store; a server is asked, but not twice."""
    if cli.is_remote:
        cli.override(retry_s="1")
        return True
    return os.path.exists(os.path.join(cli.config.store_folder(), "store.sqlite"))


def _paths(cli: Session, workspace: str, prefix: str) -> list[str]:
    page = cli.call("object.list", workspace=workspace, prefix=prefix, limit=OFFERED_MAX)
    return [item["path"] for item in page["items"]]
