"""Where the tokens for servers are kept: the environment, the system's keyring, or a file.

The file ``credentials.toml`` in the user's config folder, readable by its owner alone, says for
each server its token, or that the keyring has it; so the keyring, slow to load, is asked only then.
"""

from __future__ import annotations

import os

from fastio_cli.config import change_file, read_file, user_folder
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SERVICE = "fastio"
IN_KEYRING = "keyring"


def find_token(url: str, environ: Any = os.environ) -> str | None:
    """The token for a server: FASTIO_TOKEN, FASTIO_TOKEN_FILE, or what ``fastio login`` kept."""
    token = environ.get("FASTIO_TOKEN", "").strip()
    if token:
        return str(token)
    file = environ.get("FASTIO_TOKEN_FILE")
    if file:
        return _read(file)
    kept: str | None = read_file(_file()).get(url)
    if kept == IN_KEYRING:
        return _keyring().get_password(SERVICE, url)  # type: ignore[no-any-return]
    return kept


def keep_token(url: str, token: str) -> str:
    """Keep a token; where: ``keyring``, or the name of the file."""
    keyring = _keyring()
    if keyring is not None:
        keyring.set_password(SERVICE, url, token)
        change_file(_file(), url, IN_KEYRING)
        return IN_KEYRING
    file = _file()
    change_file(file, url, token)
    return file


def forget_token(url: str) -> bool:
    """Forget a server's token. False when there was none."""
    kept = read_file(_file()).get(url)
    if kept is None:
        return False
    if kept == IN_KEYRING and (keyring := _keyring()) is not None:
        keyring.delete_password(SERVICE, url)
    change_file(_file(), url, None)
    return True


def _file() -> str:
    return os.path.join(user_folder("config"), "credentials.toml")


def _read(file: str) -> str:
    try:
        with open(file, encoding="utf-8") as f:
            return f.read(1024).strip()
    except (OSError, UnicodeDecodeError) as e:
        raise FastioError("invalid", f"The token in {file} cannot be read: {e}.") from None


def _keyring() -> Any:
    """The system's keyring, if there is one that can keep a secret."""
    try:
        import keyring
        from keyring.backends import fail
    except ImportError:
        return None
    backend = keyring.get_keyring()
    usable = not isinstance(backend, fail.Keyring) and backend.priority > 0
    return backend if usable else None
