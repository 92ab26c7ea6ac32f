"""Logins at file services and where they are kept: by the user, or in a server's store.

The user's own are in the system's keyring if there is one, else in a file that only the user can
read. Those of a server's members are in its store, encrypted (``secret_box.py``). They never appear
in the event log, a result or an error.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from functools import cached_property

from fastio_cli.config.credentials import usable_keyring
from fastio_cli.config.files import replace_file
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import make_private_folder
from fastio_cli.imports.oauth import SERVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from typing import Any, Protocol

    from fastio_cli.config.credentials import Keyring
    from fastio_cli.config.secret_box import SecretBox
    from fastio_cli.imports.oauth import Grant, OAuthFlows
    from fastio_cli.model import Account
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    class CredentialStore(Protocol):
        """Keeps the grants of one person (``oauth.OAuthFlows``), by service."""

        def get(self, service: str) -> Grant | None: ...

        def put(self, service: str, grant: Grant) -> None: ...

        def remove(self, service: str) -> None: ...

        def locked(self, service: str) -> AbstractContextManager[object]:
            """One process at a time."""


FILE = "accounts.json"
KEYRING = "fastio"
GRANT = ("access_token", "refresh_token", "expires_at", "client_id", "client_secret")
EARLY_S = 60  # a token is refreshed this long before it expires
LOGIN_LEASE_MS = 90_000  # longer than a service may take to answer
LOCK_TIMEOUT_S = 120.0
POLL_S = 0.05


class OAuthGrants:
    """The grants of one person: refreshed when needed, revoked on logout."""

    def __init__(self, credentials: CredentialStore, flows: OAuthFlows) -> None:
        self._credentials = credentials
        self._flows = flows

    def token(self, service: str) -> str | None:
        """A valid access token, refreshed if it expires soon; None without a login.

        Raises ``unauthenticated`` when the service no longer accepts the login.
        """
        if not _is_current(grant := self._credentials.get(service)):
            # One process at a time: a refresh token may be valid for one use only (Box).
            with self._credentials.locked(service):
                grant = self._credentials.get(service)
                if grant is not None and not _is_current(grant):
                    grant = self._flows.refreshed(service, grant)
                    self._credentials.put(service, grant)
        return grant["access_token"] if grant is not None else None

    def keep(self, service: str, grant: Grant) -> None:
        """Keep a new login; it replaces the previous one."""
        with self._credentials.locked(service):
            self._credentials.put(service, grant)

    def log_out(self, service: str) -> None:
        """Revoke a login, if the service supports it, and forget it."""
        with self._credentials.locked(service):
            grant = self._credentials.get(service)
            if grant is None:
                raise FastioError(
                    "not_found",
                    f"There is no login at {service}.",
                    "See them: fastio import accounts",
                )
            self._flows.revoke(service, grant)
            self._credentials.remove(service)


class UserCredentialStore:
    """The user's grants: in the system's keyring if it works, else in a file of mode 0600."""

    def __init__(self, folder: str) -> None:
        self._file = os.path.join(folder, FILE)

    @cached_property
    def _keyring(self) -> Keyring | None:
        return usable_keyring()

    def describe(self) -> list[Account]:
        """Every service, and whether there is a login; as ``account.list`` answers."""
        kind = "keyring" if self._keyring is not None else "file"
        return [_described(service, self.get(service), kind) for service in SERVICES]

    def get(self, service: str) -> Grant | None:
        if self._keyring is not None:
            text = self._keyring.get_password(KEYRING, service)
            return _grant(json.loads(text)) if text else None
        return _grant(self._read().get(service))

    def put(self, service: str, grant: Grant) -> None:
        if self._keyring is not None:
            self._keyring.set_password(KEYRING, service, json.dumps(grant))
        else:
            self._write({**self._read(), service: grant})

    def remove(self, service: str) -> None:
        if self._keyring is not None:
            self._keyring.delete_password(KEYRING, service)
        else:
            self._write({name: kept for name, kept in self._read().items() if name != service})

    def locked(self, service: str) -> AbstractContextManager[object]:
        """One process at a time, for all services."""
        from filelock import FileLock

        make_private_folder(os.path.dirname(self._file))
        return FileLock(self._file + ".lock", timeout=LOCK_TIMEOUT_S, mode=0o600)

    def _read(self) -> dict[str, object]:
        try:
            with open(self._file, encoding="utf-8") as f:
                kept = json.load(f)
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as e:
            raise FastioError(
                "unavailable", f"{self._file} cannot be read: {e}.", "Remove it and log in again."
            ) from None
        return kept if isinstance(kept, dict) else {}

    def _write(self, kept: dict[str, object]) -> None:
        replace_file(self._file, json.dumps(kept).encode())


class DatabaseCredentialStore:
    """A member's grants in a server's store, encrypted.

    ``open_secret_box`` is called when a grant is read or written.
    """

    def __init__(
        self, store: Store, open_secret_box: Callable[[], SecretBox], org: str, member: str
    ) -> None:
        self._store = store
        self._open_secret_box = open_secret_box
        self._org = org
        self._member = member

    def get(self, service: str) -> Grant | None:
        key = self._org, self._member, service
        row = self._store.read(lambda tx: tx.logins.get(*key))
        return None if row is None else self.opened(row)

    def opened(self, row: Row) -> Grant:
        """The grant in a row. Raises ``unauthenticated`` when the key is another one."""
        owner = ["account", self._org, self._member, row["service"]]
        grant: Grant = json.loads(self._open_secret_box().decrypt(row["sealed"], owner))
        return grant

    def put(self, service: str, grant: Grant) -> None:
        """Keep fresh tokens; a login itself comes by ``account.keep``."""
        key = self._org, self._member, service
        sealed = self._open_secret_box().encrypt(json.dumps(grant), ["account", *key])
        self._store.write(lambda tx: tx.logins.refresh(*key, sealed))

    def remove(self, service: str) -> None:
        """Remove a login that was ended."""
        key = self._org, self._member, service
        self._store.write(lambda tx: tx.logins.forget(*key))

    @contextmanager
    def locked(self, service: str) -> Iterator[None]:
        """One process at a time among all servers, by a lease, which ends by itself."""
        key = self._org, self._member, service
        deadline = time.monotonic() + LOCK_TIMEOUT_S

        def acquire(tx: Tx) -> bool:
            lease = tx.logins.hold(*key, tx.now_ms, tx.now_ms + LOGIN_LEASE_MS)
            return lease is not None or tx.logins.get(*key) is None

        while not self._store.write(acquire):
            if time.monotonic() > deadline:
                raise FastioError("unavailable", f"The login at {service} is in use elsewhere.")
            time.sleep(POLL_S)
        try:
            yield
        finally:
            self._store.write(lambda tx: tx.logins.release(*key))


def _grant(kept: Any) -> Grant | None:
    """The value kept for a service, if it is a grant."""
    is_grant = isinstance(kept, dict) and set(GRANT) <= set(kept)
    return kept if is_grant else None


def _is_current(grant: Grant | None) -> bool:
    """Whether there is no grant, or one that need not be refreshed."""
    return grant is None or grant["expires_at"] > time.time() + EARLY_S


def _described(service: str, grant: Grant | None, kind: str) -> Account:
    from datetime import UTC, datetime

    expires = None
    if grant is not None and not grant["refresh_token"]:
        expires = datetime.fromtimestamp(grant["expires_at"], UTC).isoformat(timespec="seconds")
        expires = expires.replace("+00:00", "Z")
    return {
        "service": service,
        "logged_in": grant is not None,
        "expires_at": expires,
        "kept_in": kind if grant is not None else None,
    }
