"""fastio import login, fastio import logout, fastio import accounts"""

from __future__ import annotations

import os
import time

from fastio_cli.cli.framework.command import Arg, Flag, command
from fastio_cli.cli.framework.options import given
from fastio_cli.errors import FastioError
from fastio_cli.operations.types import SERVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.cli.framework.session import Session
    from fastio_cli.imports.logins import OAuthGrants, UserCredentialStore
    from fastio_cli.imports.oauth import OAuthFlows

SERVICE = Arg("service", "google, onedrive, dropbox or box")


@command(
    "import login",
    SERVICE,
    Flag("--device", help="Log in on another device, by a code"),
    op="account.keep",
    help="Let imports read your private files at a file service.",
)
def login(cli: Session, service: str, device: bool) -> None:
    """Needs an OAuth client of your own, registered at the service with the redirect address
    http://127.0.0.1 (any port), and its id in the settings: fastio config set google_client_id ID

    The login is kept in your keyring or in a file that only you can read; with a server's store
    the server keeps it, sealed, and uses it for the imports that you ask it for.

    Example:
    fastio import login google
    """
    cli.out.record(_log_in(cli, _service(service), device), essential="service")


@command(
    "import logout",
    SERVICE,
    op="account.remove",
    help="Revoke and forget a login at a file service.",
)
def logout(cli: Session, service: str) -> None:
    cli.out.record(_log_out(cli, _service(service)), essential="service")


@command(
    "import accounts", op="account.list", help="List the file services and where you are logged in."
)
def list_(cli: Session) -> None:
    page = _accounts(cli)
    cli.out.page(page, columns="service,logged_in,expires_at,kept_in", essential="service")


def accounts(cli: Session) -> OAuthGrants:
    """The user's own logins at file services, which imports into a local store use."""
    from fastio_cli.imports.logins import OAuthGrants

    return OAuthGrants(_vault(), _flows(cli))


def _accounts(cli: Session) -> Any:
    """The file services, and whether imports into this store have a login there."""
    if cli.is_remote:
        return cli.call("account.list")
    return {"items": _vault().describe(), "next_cursor": None}


def _log_in(cli: Session, service: str, device: bool) -> Any:
    """Log in at a service, through the browser or by a code on another device.

    The login is kept where imports will use it: with the user, or by the server of the store.
    """
    flows = _flows(cli)
    ask = flows.by_device if device else flows.by_browser
    if not cli.is_remote:
        accounts(cli).keep(service, ask(service, cli.out.note))
        return next(a for a in _vault().describe() if a["service"] == service)
    cli.call("account.list")  # a server that would not let us in should say so beforehand
    grant = ask(service, cli.out.note)
    expires_in_s = max(0.0, grant["expires_at"] - time.time())
    kept = given(**{name: value for name, value in grant.items() if name != "expires_at"})
    return cli.call("account.keep", service=service, expires_in_s=expires_in_s, **kept)


def _log_out(cli: Session, service: str) -> Any:
    """End a login where it is kept, and have it revoked."""
    if cli.is_remote:
        return cli.call("account.remove", service=service)
    accounts(cli).log_out(service)
    return next(a for a in _vault().describe() if a["service"] == service)


def _vault() -> UserCredentialStore:
    from fastio_cli.config.files import user_folder
    from fastio_cli.imports.logins import UserCredentialStore

    return UserCredentialStore(user_folder("config", os.environ))


def _flows(cli: Session) -> OAuthFlows:
    from fastio_cli.imports.oauth import OAuthFlows

    return OAuthFlows.of(cli.config)


def _service(text: str) -> str:
    if text not in SERVICES:
        raise FastioError("invalid", f"{text!r} is not one of {', '.join(SERVICES)}.")
    return text
