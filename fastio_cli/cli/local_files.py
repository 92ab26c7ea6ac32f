"""Which local files are stored as objects: never what belongs to a store, and others on request."""

from __future__ import annotations

import os

from fastio_cli.config.files import PROJECT_FOLDER, user_folder
from fastio_cli.errors import FastioError
from fastio_cli.utf8 import without_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pathspec import GitIgnoreSpec

    from fastio_cli.config.sources import Config

IGNORE_FILES = (".gitignore", ".fastioignore")
GIT_FOLDER = ".git"


class StoreFiles:
    """The files of stores, and of our settings with their tokens and keys.

    An object that held the store would grow with each copy, and would show a workspace's reader all
    the others.
    """

    def __init__(self, config: Config) -> None:
        places = [config.store(), config.blobs(), config.secret_key_file(), user_folder("config")]
        folders = [place for place in places if place and "://" not in place]
        self._places = {os.path.realpath(place) for place in [*folders, user_folder("data")]}

    def hold(self, path: str) -> bool:
        """Whether a file or folder is one of them, also by way of a link."""
        path = os.path.realpath(path)
        if PROJECT_FOLDER in path.split(os.sep):
            return True
        return any(path == place or path.startswith(place + os.sep) for place in self._places)

    def refuse(self, path: str) -> None:
        """Raise ``invalid`` if a file or folder is one of them."""
        if self.hold(path):
            raise FastioError(
                "invalid",
                f"{path} belongs to a store; it is not stored in one.",
                "Copy the store itself: fastio backup FILE",
            )


class IgnoreRules:
    """What ``.gitignore`` and ``.fastioignore`` files leave out, as ``git`` reads them.

    The last rule that fits decides, and those of a deeper folder come later; a folder that is left
    out is not looked into (gitignore(5)). Rules above ``folder`` count up to the root of its
    repository.
    """

    def __init__(self, folder: str) -> None:
        self._specs: dict[str, GitIgnoreSpec | None] = {}
        self._top = folder = os.path.realpath(folder)
        while not os.path.exists(os.path.join(folder, GIT_FOLDER)):
            if folder == os.path.dirname(folder):
                return  # no repository: what lies above has nothing to say
            folder = os.path.dirname(folder)
        self._top = folder

    def leave_out(self, path: str, is_folder: bool) -> bool:
        """Whether a file or folder is left out, whose own folder is not."""
        path = os.path.realpath(os.path.dirname(path)) + os.sep + os.path.basename(path)
        if os.path.basename(path) == GIT_FOLDER:
            return True
        folder = os.path.dirname(path)
        while True:
            spec = self._spec(folder)
            if spec is not None:
                name = os.path.relpath(path, folder).replace(os.sep, "/") + "/" * is_folder
                decision = spec.check_file(name).include
                if decision is not None:
                    return decision
            if folder == self._top or folder == os.path.dirname(folder):
                return False
            folder = os.path.dirname(folder)

    def _spec(self, folder: str) -> GitIgnoreSpec | None:
        if folder not in self._specs:
            self._specs[folder] = _read_rules(folder)
        return self._specs[folder]


def files_below(
    folder: str, store_files: StoreFiles, rules: IgnoreRules | None, note: Callable[[str], None]
) -> Iterator[str]:
    """The files below a folder, relative to it and in order; ``note`` is told what is left out."""
    store_files.refuse(folder)
    inside = os.path.join(os.path.realpath(folder), "")
    for current, folders, files in os.walk(folder, onerror=lambda e: note(_not_read(e))):
        for name in list(folders):
            path = os.path.join(current, name)
            if store_files.hold(path):
                note(f"Left out: {path} belongs to a store")
                folders.remove(name)
            elif rules is not None and rules.leave_out(path, is_folder=True):
                folders.remove(name)
        folders.sort()
        for name in sorted(files):
            file = os.path.join(current, name)
            if not os.path.realpath(file).startswith(inside):
                # A link could disclose files that its owner keeps elsewhere.
                note(f"Left out: {file} leads out of the folder")
            elif store_files.hold(file):
                note(f"Left out: {file} belongs to a store")
            elif not os.path.isfile(file):
                note(f"Left out: {file} is no file")
            elif rules is None or not rules.leave_out(file, is_folder=False):
                yield os.path.relpath(file, folder)


def _read_rules(folder: str) -> GitIgnoreSpec | None:
    lines: list[str] = []
    for name in IGNORE_FILES:
        try:
            with open(os.path.join(folder, name), "rb") as f:
                lines += without_mark(f.read()).decode("utf-8", "surrogateescape").splitlines()
        except OSError:
            continue
    if not lines:
        return None
    from pathspec import GitIgnoreSpec

    return GitIgnoreSpec.from_lines(lines)


def _not_read(e: OSError) -> str:
    return f"Left out: {e.filename} cannot be read ({e.strerror})"
