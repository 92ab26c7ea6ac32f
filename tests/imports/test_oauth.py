"""Logins against the fake services: by browser, by code, refreshed, revoked, kept privately."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastio_cli.egress.client import Egress
from fastio_cli.egress.rules import EgressRules
from fastio_cli.errors import FastioError
from fastio_cli.imports.logins import OAuthGrants, UserCredentialStore
from fastio_cli.imports.oauth import SERVICES, OAuthFlows
from fastio_cli.imports.providers import Endpoints

from .services import Services


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    yield services
    services.close()


class Logins:
    """A user who logs in: the flows, and the accounts they are kept in."""

    def __init__(self, folder: Path, services: Services) -> None:
        settings: dict[str, Any] = {f"{name}_client_id": "client" for name in SERVICES}
        self.flows = OAuthFlows(
            lambda: Egress(EgressRules(allow="127.0.0.1")),
            Endpoints(services.endpoints()),
            settings.get,
        )
        self.vault = UserCredentialStore(str(folder))
        self.accounts = OAuthGrants(self.vault, self.flows)

    def by_browser(self, service: str, say: Any) -> dict[str, Any]:
        return self._keep(service, self.flows.by_browser(service, say))

    def by_device(self, service: str, say: Any) -> dict[str, Any]:
        return self._keep(service, self.flows.by_device(service, say))

    def _keep(self, service: str, grant: dict[str, Any]) -> dict[str, Any]:
        self.accounts.keep(service, grant)
        return next(a for a in self.vault.describe() if a["service"] == service)


@pytest.fixture
def logins(tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch) -> Logins:
    monkeypatch.setenv("PYTHON_KEYRING_BACKEND", "keyring.backends.null.Keyring")
    return Logins(tmp_path, services)


class Browser:
    """A person who opens the address that is shown, and agrees."""

    def __init__(self, change: Any = lambda url: url) -> None:
        self.said: list[str] = []
        self.answers: list[str] = []
        self._change = change

    def __call__(self, text: str) -> None:
        self.said.append(text)
        if text.startswith("http"):
            threading.Thread(target=self._open, args=(text,), daemon=True).start()

    def _open(self, url: str) -> None:
        with urllib.request.urlopen(self._change(url), timeout=10) as answer:
            self.answers.append(answer.read().decode())


@pytest.mark.parametrize("service", SERVICES)
def test_login_by_browser(logins: Logins, services: Services, service: str) -> None:
    browser = Browser()
    record = logins.by_browser(service, browser)
    assert record == {
        "service": service,
        "logged_in": True,
        "expires_at": None,
        "kept_in": "file",
    }
    assert logins.accounts.token(service) == "at-1"
    asked = services.site.requests[0][1]
    assert "code_challenge_method=S256" in asked
    assert "redirect_uri=http%3A%2F%2F127.0.0.1%3A" in asked


def test_tokens_are_in_a_private_file_and_nowhere_else(logins: Logins, tmp_path: Path) -> None:
    logins.by_browser("box", Browser())
    file = tmp_path / "accounts.json"
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert "at-1" in file.read_text()
    assert "at-1" not in str(logins.vault.describe())


def test_answers_with_another_state_are_not_taken(logins: Logins, services: Services) -> None:
    """Somebody else's page calls the loopback address first; the login goes on all the same."""
    refused: list[int] = []

    def say(text: str) -> None:
        if not text.startswith("http"):
            return
        address = urllib.parse.parse_qs(urllib.parse.urlsplit(text).query)["redirect_uri"][0]

        def both() -> None:
            try:
                urllib.request.urlopen(f"{address}?code=evil&state=guess", timeout=10)
            except urllib.error.HTTPError as e:
                refused.append(e.code)
                e.close()
            with urllib.request.urlopen(text, timeout=10):
                pass

        threading.Thread(target=both, daemon=True).start()

    logins.by_browser("google", say)
    assert refused == [400]
    assert logins.accounts.token("google") == "at-1"


def test_a_refused_login(logins: Logins) -> None:
    def refusing(url: str) -> str:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)
        return f"{query['redirect_uri'][0]}?error=access_denied&state={query['state'][0]}"

    with pytest.raises(FastioError, match="access_denied"):
        logins.by_browser("google", Browser(refusing))
    assert logins.accounts.token("google") is None


def test_login_by_code(logins: Logins, services: Services) -> None:
    said: list[str] = []
    assert logins.by_device("onedrive", said.append)["logged_in"]
    assert "ABCD" in said[0]
    assert len(services.device_polls) == 3
    for service in ("google", "dropbox", "box"):
        with pytest.raises(FastioError, match="no login by a code"):
            logins.by_device(service, said.append)


def expire(folder: Path) -> None:
    file = folder / "accounts.json"
    kept = json.loads(file.read_text())
    for tokens in kept.values():
        tokens["expires_at"] = time.time() - 1
    file.write_text(json.dumps(kept))


def test_a_login_is_refreshed_and_revoked_by_the_client_it_was_made_for(
    logins: Logins, tmp_path: Path, services: Services
) -> None:
    """Settings that changed since, or another machine's, do not matter."""
    logins.by_browser("box", Browser())
    expire(tmp_path)
    logins.flows._setting = {"box_client_id": "another"}.get
    assert logins.accounts.token("box") == "at-2"
    logins.accounts.log_out("box")
    assert b"client_id=client" in services.site.requests[-1][3]


def test_what_is_no_login_counts_as_none(logins: Logins, tmp_path: Path) -> None:
    (tmp_path / "accounts.json").write_text('{"google": {"access_token": "at-0"}, "box": 7}')
    assert logins.accounts.token("google") is None
    assert logins.accounts.token("box") is None


def test_tokens_are_refreshed_once_by_many(
    logins: Logins, services: Services, tmp_path: Path
) -> None:
    """A refresh token that is good for one use only is used once, whoever needs it at a time."""
    logins.by_browser("box", Browser())
    expire(tmp_path)
    found: list[str | None] = []
    threads = [
        threading.Thread(
            target=lambda: found.append(Logins(tmp_path, services).accounts.token("box"))
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert found == ["at-2"] * 8
    assert services.grants == 2


def test_a_refresh_that_is_refused(logins: Logins, services: Services, tmp_path: Path) -> None:
    logins.by_browser("google", Browser())
    expire(tmp_path)
    services.refresh.clear()
    with pytest.raises(FastioError) as caught:
        logins.accounts.token("google")
    assert caught.value.code == "unauthenticated"
    assert caught.value.hint == "Log in again: fastio import login google"


@pytest.mark.parametrize("service", SERVICES)
def test_logout(logins: Logins, services: Services, service: str) -> None:
    logins.by_browser(service, Browser())
    logins.accounts.log_out(service)
    assert logins.accounts.token(service) is None
    assert not any(a["logged_in"] for a in logins.vault.describe())
    if service != "onedrive":  # which has no address for it
        assert any("revoke" in path for _, path, _, _ in services.site.requests)
    with pytest.raises(FastioError, match="no login"):
        logins.accounts.log_out(service)


def test_the_keyring_is_used_where_there_is_one(
    tmp_path: Path, services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    import keyring
    from keyring.backend import KeyringBackend

    class Memory(KeyringBackend):
        priority = 1  # type: ignore[assignment]

        def __init__(self) -> None:
            super().__init__()
            self.kept: dict[tuple[str, str], str] = {}

        def get_password(self, service: str, username: str) -> str | None:
            return self.kept.get((service, username))

        def set_password(self, service: str, username: str, password: str) -> None:
            self.kept[service, username] = password

        def delete_password(self, service: str, username: str) -> None:
            del self.kept[service, username]

    before = keyring.get_keyring()
    keyring.set_keyring(Memory())
    try:
        logins = Logins(tmp_path, services)
        assert logins.by_browser("box", Browser())["kept_in"] == "keyring"
        assert logins.accounts.token("box") == "at-1"
        logins.accounts.log_out("box")
        assert logins.accounts.token("box") is None
        assert not (tmp_path / "accounts.json").exists()
    finally:
        keyring.set_keyring(before)


def test_without_a_client_nothing_begins(tmp_path: Path, services: Services) -> None:
    flows = OAuthFlows(lambda: Egress(EgressRules()), Endpoints(""), lambda name: None)
    with pytest.raises(FastioError, match="no OAuth client") as caught:
        flows.by_browser("google", print)
    assert "google_client_id" in caught.value.hint
