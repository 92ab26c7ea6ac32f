"""fastio trust"""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.command import Arg, Flag, command
from fastio_cli.cli.framework.options import YES
from fastio_cli.config.files import PROJECT_FOLDER
from fastio_cli.config.settings import masked
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session
    from fastio_cli.config.projects import Project


@command(
    "trust",
    Arg("folder", "The project's folder (default: the nearest)", required=False, complete="folder"),
    Flag("--list", help="Show which projects are trusted"),
    Flag("--revoke", help="Trust it no longer"),
    Flag("--dry-run", "-n", help="Only show what it would set"),
    YES,
    help="Trust this folder's project: its store and its settings.",
)
def trust(
    cli: Session, folder: str | None, list: bool, revoke: bool, dry_run: bool, yes: bool
) -> None:
    """A .fastio folder may have come with somebody's files. Until it is trusted it sets nothing but
    the workspace and the format, and its store is not opened. One that fastio init made here is
    trusted. When its settings or its owner change, it has to be trusted again. Secrets are never
    sent to an address that a project names.

    At a terminal it is shown first, and asked for.

    Examples:
    fastio trust --dry-run
    fastio trust ~/src/project
    fastio trust --list
    """
    from fastio_cli.config.projects import revoke as revoke_trust

    if list:
        _list(cli)
        return
    place = _place(cli, folder)
    if revoke:
        revoke_trust(place)
        cli.out.record({"folder": place, "trusted": False}, essential="folder")
        return
    project = _project(place)
    if not dry_run and not project.is_trusted:
        _check_store(project.folder)
        if sys.stdin.isatty() and not yes:
            cli.out.record(_described(project), essential="folder")
            cli.confirm(f"Trust {project.folder}?", yes)
        project.trust()
    cli.out.record(_described(project), essential="folder")


def _list(cli: Session) -> None:
    from fastio_cli.config.projects import trusted_folders

    items = [{"folder": folder, "trusted": _is_trusted(folder)} for folder in trusted_folders()]
    page = {"items": items, "next_cursor": None}
    cli.out.page(page, columns="folder,trusted", essential="folder")


def _is_trusted(folder: str) -> bool:
    """Whether what was once trusted still is."""
    try:
        return _project(folder).is_trusted
    except FastioError:
        return False


def _place(cli: Session, folder: str | None) -> str:
    """The ``.fastio`` of a folder, or the nearest."""
    if folder is None and cli.config.project is not None:
        return cli.config.project.folder
    place = os.path.abspath(folder or ".")
    is_inside = os.path.basename(place) == PROJECT_FOLDER
    return place if is_inside else os.path.join(place, PROJECT_FOLDER)


def _project(folder: str) -> Project:
    """The project of a folder. Raises ``not_found``."""
    from fastio_cli.config.projects import Project

    if not os.path.isdir(folder):
        raise FastioError(
            "not_found", f"There is no project {folder}.", "Make one there: fastio init"
        )
    return Project(folder)


def _check_store(folder: str) -> None:
    """Raise ``invalid`` if the project's store is not one that fastio made."""
    from fastio_cli.storage.doctor import check_integrity
    from fastio_cli.storage.sqlite.connection import FILE

    file = os.path.join(folder, FILE)
    if os.path.lexists(file) and not (check := check_integrity(file)).ok:
        raise FastioError(
            "invalid", f"This project is not trusted: {check.message}.", "Remove the file."
        )


def _described(project: Project) -> dict[str, object]:
    """What there is to know of a project before one trusts it."""
    sets = {name: masked(name, value) for name, value in project.settings.items()}
    never = project.forbidden
    return {
        "folder": project.folder,
        "trusted": project.is_trusted,
        "has_store": os.path.lexists(os.path.join(project.folder, "store.sqlite")),
        "sets": {name: value for name, value in sets.items() if name not in never},
        "never_taken": never,
        "concerns": project.concerns,
    }
