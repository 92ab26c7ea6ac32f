"""Tokens for servers: in the environment, the system's keyring, or a file.

The file ``credentials.toml`` in the user's config folder, readable by its owner alone, holds for
each profile its token, or a mark that the keyring has it, so that the keyring, slow to load, is
opened only then. A token is sent to the server of its profile and to no other.
"""

from __future__ import annotations

import os

from fastio_cli.config.files import change_file, read_file, user_folder
from fastio_cli.config.sources import FLAG
from fastio_cli.errors import FastioError
from fastio_cli.utf8 import without_mark

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    from fastio_cli.config.sources import Config

    class Keyring(Protocol):
        """The passwords of the system's keyring."""

        def get_password(self, service: str, username: str, /) -> str | None: ...

        def set_password(self, service: str, username: str, password: str, /) -> None: ...

        def delete_password(self, service: str, username: str, /) -> None: ...


SERVICE = "fastio"
IN_KEYRING = "keyring"


def find_token(config: Config, url: str, environ: Any = os.environ) -> str | None:
    """The token for a server: FASTIO_TOKEN, FASTIO_TOKEN_FILE, or the one ``fastio login`` stored.

    A profile named on the command line comes before the environment. Raises ``forbidden`` if a
    project's file, which somebody else may have written, names a server without a profile: the
    environment's token is not sent there.
    """
    profile = config.profile_for(url)
    if profile is not None and config.profile_source == FLAG and profile == config.profile:
        return load_token(profile)
    token = environ.get("FASTIO_TOKEN", "").strip()
    file = environ.get("FASTIO_TOKEN_FILE")
    if not token and not file:
        return load_token(profile) if profile is not None else None
    if profile is None:
        config.check_address(url, "The token of your environment is not")
    return str(token) or _read(file)


def load_token(profile: str) -> str | None:
    """The stored token of a profile; None if there is none."""
    stored: str | None = read_file(_file()).get(profile)
    if stored != IN_KEYRING:
        return stored
    keyring = usable_keyring()
    try:
        if keyring is not None:
            return keyring.get_password(SERVICE, profile)
        reason = "it is not there any more"
    except Exception as e:  # whatever the system's keyring raises
        reason = str(e) or type(e).__name__
    raise FastioError(
        "unauthenticated",
        f"The token of {profile} is in the system's keyring, which cannot be read: {reason}.",
        "Unlock it, or give the token in a file: export FASTIO_TOKEN_FILE=FILE",
    )


def token_location(profile: str) -> str | None:
    """Where the token of a profile is: ``keyring``, a file, or None."""
    stored = read_file(_file()).get(profile)
    return None if stored is None else IN_KEYRING if stored == IN_KEYRING else _file()


def store_token(profile: str, token: str) -> str:
    """Store a token; returns where: ``keyring``, or the name of the file."""
    keyring, file = usable_keyring(), _file()
    try:
        if keyring is not None:
            keyring.set_password(SERVICE, profile, token)
            change_file(file, profile, IN_KEYRING)
            return IN_KEYRING
    except FastioError:
        raise
    except Exception:  # locked, without anybody to unlock it: use the file
        pass
    change_file(file, profile, token)
    return file


def delete_token(profile: str) -> bool:
    """Delete a profile's token. False if there was none."""
    stored = read_file(_file()).get(profile)
    if stored is None:
        return False
    if stored == IN_KEYRING and (keyring := usable_keyring()) is not None:
        try:
            keyring.delete_password(SERVICE, profile)
        except Exception as e:
            raise FastioError(
                "unavailable",
                f"The system's keyring does not delete the token: {e or type(e).__name__}.",
                "Unlock it, then try again.",
            ) from None
    change_file(_file(), profile, None)
    return True


def _file() -> str:
    return os.path.join(user_folder("config"), "credentials.toml")


def _read(file: str) -> str:
    try:
        with open(file, "rb") as f:
            return without_mark(f.read(1024)).decode().strip()
    except (OSError, UnicodeDecodeError) as e:
        raise FastioError("invalid", f"The token in {file} cannot be read: {e}.") from None


def usable_keyring() -> Keyring | None:
    """The system's keyring, if one is usable."""
    try:
        import keyring
        from keyring.backends import fail
    except ImportError:
        return None
    backend = keyring.get_keyring()
    usable = not isinstance(backend, fail.Keyring) and backend.priority > 0
    return backend if usable else None
