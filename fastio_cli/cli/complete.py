"""fastio complete: what the shells' completions (``completions/``) ask for while somebody types."""

from __future__ import annotations

import os

from fastio_cli.cli.framework.command import Arg, command
from fastio_cli.cli.framework.session import SCHEME
from fastio_cli.config.sources import LOCAL
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

OFFERED_MAX = 200


@command(
    "complete",
    Arg("what", "path, workspace or profile; or a shell (bash, zsh, fish, powershell): its script"),
    Arg("prefix", "What was typed so far", required=False),
    help="Offer words to a shell's completion.",
    hidden=True,
)
def complete(cli: Session, what: str, prefix: str | None) -> None:
    """Prints one candidate a line, and nothing at all when something is wrong: whoever types is not
    to be disturbed, and no store is made by asking.

    Example:
    eval "$(fastio complete bash)"
    """
    if what in ("bash", "zsh", "fish", "powershell"):
        from fastio_cli.cli.framework.completions import scripts
        from fastio_cli.cli.framework.spec import spec

        cli.out.line(scripts(spec())[what].rstrip("\n"))
        return
    offers = {"path": paths, "workspace": workspaces, "profile": profiles}
    try:
        if what != "profile" and not _can_be_asked(cli):
            return
        offered = offers[what](cli, prefix or "")
    except (FastioError, KeyError):
        return
    for candidate in offered:
        if candidate.isprintable():
            cli.out.line(candidate)


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


def _can_be_asked(cli: Session) -> bool:
    """Whether there is a store; a server is asked, but not twice."""
    if cli.is_remote:
        cli.override(retry_s="1")
        return True
    return os.path.exists(os.path.join(cli.config.store_folder(), "store.sqlite"))


def _paths(cli: Session, workspace: str, prefix: str) -> list[str]:
    page = cli.call("object.list", workspace=workspace, prefix=prefix, limit=OFFERED_MAX)
    return [item["path"] for item in page["items"]]
