"""Projects: folders with a ``.fastio/`` of their own, and which of them the user trusts.

A ``.fastio/`` may have come with somebody's repository, or stand where others can write. Until the
user says ``fastio trust``, nothing of it is used but the settings that can do no harm. What is
trusted is recorded in the user's config folder, one file a project, with a digest of what was
looked at: whose the folder is, the settings, and the id that ``fastio init`` gives to a folder it
makes. If any of it is another one later, the project is no longer trusted. direnv treats its
``.envrc`` like that, and git the owner of a repository (CVE-2022-24765).
"""

from __future__ import annotations

import json
import os
import stat

from fastio_cli.config.files import (
    FILE,
    LOCK_TIMEOUT_S,
    PROJECT_FOLDER,
    find_project,
    read_file,
    replace_file,
    user_folder,
)
from fastio_cli.config.settings import ANYWHERE, NEVER, SETTINGS, parse_value
from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import make_private_folder, read_plain, write_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    class Record(TypedDict):
        """What is recorded of a trusted project."""

        folder: str
        digest: str


TRUSTED_FOLDER = "trusted"  # in the user's config folder
ID_FILE = "id"
RECORD_BYTES_MAX = 64 * 1024


class Project:
    """The project whose ``.fastio/`` is ``folder``, as it is now.

    ``settings`` are those of its file, and ``concerns`` what speaks against using it, in words.
    Raises ``invalid`` or ``unavailable`` if the file of a project that was once trusted cannot be
    read; that of any other is as good as empty then.
    """

    def __init__(self, folder: str, environ: Mapping[str, str] = os.environ) -> None:
        self.folder = folder
        self.file = os.path.join(folder, FILE)
        self.home = os.path.dirname(folder)
        self._key, self._record = _record_of(folder, environ)
        recorded = _read_record(self._record)
        self.settings: dict[str, object] = {}
        try:
            self.settings = read_file(self.file, follow=False)
        except FastioError:
            if recorded is not None:
                raise
        self.concerns = _concerns(folder)
        self.was_trusted = recorded is not None
        self.is_trusted = recorded is not None and recorded["digest"] == self._digest()

    @property
    def restricted(self) -> dict[str, object]:
        """The settings that are in force only if the project is trusted, or never."""
        return {n: value for n, value in self.settings.items() if not _is_harmless(n)}

    @property
    def forbidden(self) -> list[str]:
        """The settings that are taken from no project, trusted or not."""
        return [n for n in self.settings if n in SETTINGS and SETTINGS[n].project == NEVER]

    @property
    def harmless(self) -> dict[str, object]:
        """The settings that any project may bring, as far as they make sense."""
        return {
            name: value
            for name, value in self.settings.items()
            if _is_harmless(name) and _is_valid(name, value)
        }

    def trust(self) -> None:
        """Record that the user trusts the project as it is now."""
        make_private_folder(os.path.dirname(self._record))
        record: Record = {"folder": self._key, "digest": self._digest()}
        replace_file(self._record, json.dumps(record).encode())
        self.is_trusted = True

    def refusal(self, otherwise: str) -> FastioError:
        """The error for what would use the project's store; ``otherwise`` is the one in force
        where there is no project."""
        reasons = [*self.concerns, *_distance(self.home)]
        if self.was_trusted:
            reasons.insert(0, "it is not as it was when you trusted it")
        elif not reasons:
            reasons.append("it may have come with somebody's files")
        return FastioError(
            "forbidden",
            f"The project {self.folder} is not trusted: {'; '.join(reasons)}. Nothing of it was "
            f"opened. Elsewhere your store is {otherwise}: name it with --store to use it here.",
            f"See what it would set, and trust it if you know it: fastio trust {self.home}",
            path=self.home,
            reasons=reasons,
        )

    def _digest(self) -> str:
        looked_at = [self._key, self.concerns, _read_id(self.folder), self.restricted]
        text = json.dumps(looked_at, sort_keys=True, default=str)
        return sha256(text.encode()).hexdigest()


def nearest(cwd: str | None = None, environ: Mapping[str, str] = os.environ) -> Project | None:
    """The project that a folder is in, if any; trusted or not."""
    folder = find_project(cwd)
    try:
        return Project(folder, environ) if folder is not None else None
    except FileNotFoundError:
        return None  # it was removed meanwhile


def make_project(home: str, environ: Mapping[str, str] = os.environ) -> Project:
    """Make the folder of a project, which is trusted, as it is of the user's own making.

    Raises ``forbidden`` if there is one with more in it than harmless settings: somebody else may
    have put it there. ``unavailable`` if nothing can be written.
    """
    from filelock import FileLock

    folder = os.path.join(home, PROJECT_FOLDER)
    try:
        make_private_folder(user_folder("config", environ))
        lock = os.path.join(user_folder("config", environ), TRUSTED_FOLDER + ".lock")
        with FileLock(lock, timeout=LOCK_TIMEOUT_S, mode=0o600):
            if not os.path.lexists(folder):
                os.mkdir(folder, 0o700)
            project = Project(folder, environ)
            if project.is_trusted:
                return project
            if project.concerns or project.restricted or not _holds_nothing(folder):
                raise project.refusal(user_folder("data", environ))
            write_whole(os.path.join(folder, ID_FILE), [os.urandom(16).hex().encode()], mode=0o600)
            project.trust()
            return project
    except OSError as e:
        raise FastioError(
            "unavailable",
            f"The project cannot be made in {home}: {e.strerror or e}.",
            "Check the permissions of this folder and of your own settings, or use a store without "
            "a project: --store FOLDER",
        ) from None


def revoke(folder: str, environ: Mapping[str, str] = os.environ) -> None:
    """Trust a project no longer, if it exists or not. Raises ``not_found`` for one that was not."""
    try:
        os.unlink(_record_of(folder, environ)[1])
    except FileNotFoundError:
        raise FastioError(
            "not_found",
            f"{folder} is not among the projects that you trust.",
            "See which are: fastio trust --list",
        ) from None


def trusted_folders(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The ``.fastio/`` folders that are recorded as trusted, whether they exist or not."""
    records = os.path.join(user_folder("config", environ), TRUSTED_FOLDER)
    names = sorted(os.listdir(records)) if os.path.isdir(records) else []
    read = [_read_record(os.path.join(records, name)) for name in names]
    return sorted(record["folder"] for record in read if record is not None)


def _record_of(folder: str, environ: Mapping[str, str]) -> tuple[str, str]:
    """What a project is known by, and the file of its record."""
    # The folder itself may be a link, and stands for itself then.
    key = os.path.join(os.path.realpath(os.path.dirname(folder)), os.path.basename(folder))
    name = sha256(os.fsencode(key)).hexdigest()[:32] + ".json"
    return key, os.path.join(user_folder("config", environ), TRUSTED_FOLDER, name)


def _is_harmless(name: str) -> bool:
    return name in SETTINGS and SETTINGS[name].project == ANYWHERE


def _is_valid(name: str, value: object) -> bool:
    try:
        parse_value(name, value, "")
    except FastioError:
        return False
    return True


def _read_record(file: str) -> Record | None:
    try:
        record: Record = json.loads(read_plain(file, RECORD_BYTES_MAX))
        return record if isinstance(record["folder"], str) and record["digest"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # as good as none: it has to be trusted again


def _read_id(folder: str) -> str:
    try:
        return read_plain(os.path.join(folder, ID_FILE), RECORD_BYTES_MAX).hex()
    except OSError:
        return ""


def _holds_nothing(folder: str) -> bool:
    """Whether a folder holds no more than a repository that asks its users to have a store of
    their own."""
    return {*os.listdir(folder)} <= {FILE, ".gitignore"}


def _concerns(folder: str) -> list[str]:
    """Why a folder may be another's though it stands where one's own would."""
    concerns = []
    if os.path.islink(folder):
        concerns.append(f"it is a link to {os.readlink(folder)}")
    for name in ("store.sqlite", "blobs"):
        if os.path.islink(inside := os.path.join(folder, name)):
            concerns.append(f"its {name} is a link to {os.readlink(inside)}")
    found = os.stat(folder)
    if hasattr(os, "getuid") and found.st_uid not in (os.getuid(), 0):
        concerns.append(f"it belongs to another user (uid {found.st_uid})")
    if os.name == "posix" and found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        concerns.append("others can write to it")
    return concerns


def _distance(home: str) -> list[str]:
    """How far from the current folder a project is, if that may be why nobody expects it."""
    own_home, here = os.path.realpath(os.path.expanduser("~")), os.path.realpath(home)
    reasons = []
    if own_home.startswith(os.path.join(here, "")):
        reasons.append("it lies above your home folder")
    try:
        if os.stat(".").st_dev != os.stat(here).st_dev:
            reasons.append("it is on another file system than the current folder")
    except OSError:
        pass  # the current folder is gone
    return reasons
