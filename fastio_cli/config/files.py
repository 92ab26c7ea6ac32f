"""The files that settings are kept in: where they are, how they are read and changed."""

from __future__ import annotations

import os
import sys

from fastio_cli.errors import FastioError
from fastio_cli.filesystem import make_private_folder, read_plain, write_whole
from fastio_cli.utf8 import without_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROJECT_FOLDER = ".fastio"
FILE = "config.toml"
LOCK_TIMEOUT_S = 10
FILE_BYTES_MAX = 1024 * 1024  # of settings that somebody else may have written


def find_project(cwd: str | None = None) -> str | None:
    """The nearest ``.fastio/`` folder, from the current folder upward."""
    try:
        folder = cwd or os.getcwd()
    except FileNotFoundError:
        return None
    while True:
        candidate = os.path.join(folder, PROJECT_FOLDER)
        if os.path.isdir(candidate):
            return candidate
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def user_folder(kind: str, environ: Mapping[str, str] = os.environ) -> str:
    """The user's ``config`` or ``data`` folder, by the XDG Base Directory Specification.

    On Linux it is computed here, because importing platformdirs would take a tenth of a command's
    time; ``tests/test_config.py`` compares the two.
    """
    if sys.platform != "linux":
        import platformdirs

        dirs = platformdirs.PlatformDirs("fastio", appauthor=False)
        return dirs.user_config_dir if kind == "config" else dirs.user_data_dir
    variable, default = {
        "config": ("XDG_CONFIG_HOME", "~/.config"),
        "data": ("XDG_DATA_HOME", "~/.local/share"),
    }[kind]
    base = environ.get(variable, "").strip() or os.path.expanduser(default)
    return os.path.join(base, "fastio")


def read_file(path: str, *, follow: bool = True) -> dict[str, Any]:
    """The values of a TOML file, empty if there is no such file.

    Without ``follow`` it has to be a regular file of a sensible size, and no link. Raises
    ``invalid`` for a file that is not TOML, ``unavailable`` for one that cannot be read.
    """
    if not os.path.lexists(path) or (follow and not os.path.exists(path)):
        return {}
    import tomllib

    try:
        if not follow:
            return tomllib.loads(without_mark(read_plain(path, FILE_BYTES_MAX)).decode())
        with open(path, "rb") as f:
            return tomllib.loads(without_mark(f.read()).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise FastioError(
            "invalid", f"{path} is not valid TOML: {e}.", "Correct the file by hand, or remove it."
        ) from None
    except OSError as e:
        raise FastioError(
            "unavailable", f"{path} cannot be read: {e.strerror}.", "Check its permissions."
        ) from None


def change_file(path: str, name: str, value: object, table: tuple[str, ...] = ()) -> None:
    """Set one value of a TOML file, or remove it (None): atomically, one process at a time.

    ``table`` is the path of the table that holds the value, outermost first. Raises ``invalid`` or
    ``unavailable``; the file is unchanged then.
    """
    import tomli_w
    from filelock import FileLock

    try:
        make_private_folder(os.path.dirname(path))
        with FileLock(path + ".lock", timeout=LOCK_TIMEOUT_S, mode=0o600):
            document = read_file(path)
            values = document
            for part in table:
                values = values.setdefault(part, {})
            values.pop(name, None)
            if value is not None:
                values[name] = value
            replace_file(path, tomli_w.dumps(document).encode())
    except OSError as e:
        raise FastioError(
            "unavailable",
            f"{path} cannot be written: {e.strerror or e}.",
            "Check the folder's permissions.",
        ) from None


def replace_file(path: str, content: bytes) -> None:
    """Write a whole file, atomically and durably.

    Some of these files hold tokens: they are never readable by others, not even for a moment.
    """
    write_whole(path, [content], mode=0o600, durable=True)
