"""Logins at file services: OAuth 2.0 for native apps (RFC 8252), PKCE (RFC 7636), device codes
(RFC 8628), token refresh and revocation (RFC 7009).

The user brings a client of their own. Tokens are kept in the system's keyring if there is one, else
in a file that only the user can read; never in the store, the event log or an error.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import secrets
import time
from functools import cached_property
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import httpx

    from fastio_cli.transfer.guard import Egress
    from fastio_cli.transfer.providers import Endpoints

FILE = "accounts.json"
KEYRING = "fastio"
LOGIN_S = 300
EARLY_S = 60  # a token is refreshed before it ends


class Service:
    """The OAuth addresses of a service; ``device`` and ``revoke`` where it has them."""

    def __init__(
        self,
        authorize: str,
        token: str,
        scope: str,
        *,
        device: str | None = None,
        revoke: str | None = None,
        extra: dict[str, str] | None = None,
    ) -> None:
        self.authorize = authorize
        self.token = token
        self.scope = scope
        self.device = device
        self.revoke = revoke
        self.extra = extra or {}


_MICROSOFT = "https://login.microsoftonline.com/common/oauth2/v2.0"
SERVICES = {
    # Google's device flow cannot read files that exist already.
    "google": Service(
        "https://accounts.google.com/o/oauth2/v2/auth",
        "https://oauth2.googleapis.com/token",
        "https://www.googleapis.com/auth/drive.readonly",
        revoke="https://oauth2.googleapis.com/revoke",
        extra={"access_type": "offline", "prompt": "consent"},
    ),
    "onedrive": Service(
        f"{_MICROSOFT}/authorize",
        f"{_MICROSOFT}/token",
        "offline_access Files.Read.All",
        device=f"{_MICROSOFT}/devicecode",
    ),
    "dropbox": Service(
        "https://www.dropbox.com/oauth2/authorize",
        "https://api.dropboxapi.com/oauth2/token",
        "sharing.read files.content.read",
        revoke="https://api.dropboxapi.com/2/auth/token/revoke",
        extra={"token_access_type": "offline"},
    ),
    "box": Service(
        "https://account.box.com/api/oauth2/authorize",
        "https://api.box.com/oauth2/token",
        "root_readonly",
        revoke="https://api.box.com/oauth2/revoke",
    ),
}


class Accounts:
    """The user's logins. ``setting`` gives ``<service>_client_id`` and ``_client_secret``."""

    def __init__(
        self,
        folder: str,
        egress: Callable[[], Egress],
        endpoints: Endpoints,
        setting: Callable[[str], Any],
    ) -> None:
        self._vault = _Vault(folder)
        self._make_egress = egress
        self._endpoints = endpoints
        self._setting = setting

    def list(self) -> list[dict[str, Any]]:
        """Every service, and whether there is a login."""
        return [_described(service, self._vault.get(service), self._vault) for service in SERVICES]

    def token(self, service: str) -> str | None:
        """A live access token, refreshed if need be; None without a login.

        Raises ``unauthenticated`` when the service no longer accepts the login.
        """
        if not _live_or_none(tokens := self._vault.get(service)):
            # Alone: a refresh token may be good for one use only (Box).
            with self._vault.locked():
                tokens = self._vault.get(service)
                if tokens is not None and not _live_or_none(tokens):
                    tokens = self._refresh(service, tokens)
        return tokens["access_token"] if tokens is not None else None

    def log_in_by_browser(self, service: str, say: Callable[[str], None]) -> dict[str, Any]:
        """Authorisation code with PKCE, answered to a loopback address; waits for the person."""
        about, client = SERVICES[service], self._client(service)
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(
            b"="
        )
        with _Answer(state) as answer:
            query = {
                "response_type": "code",
                "client_id": client["client_id"],
                "redirect_uri": answer.address,
                "scope": about.scope,
                "state": state,
                "code_challenge": challenge.decode(),
                "code_challenge_method": "S256",
                **about.extra,
            }
            say("Open this address in a browser and agree:")
            say(f"{self._endpoints.at(about.authorize)}?{urlencode(query)}")
            code = answer.wait(LOGIN_S)
            tokens = self._ask(
                about.token,
                {
                    "grant_type": "authorization_code",
                    "code": code,
                    "redirect_uri": answer.address,
                    "code_verifier": verifier,
                    **client,
                },
            )
        return self._keep(service, tokens)

    def log_in_by_device(self, service: str, say: Callable[[str], None]) -> dict[str, Any]:
        """Device authorisation: the person types a code on another device."""
        about, client = SERVICES[service], self._client(service)
        if about.device is None:
            raise FastioError(
                "invalid",
                f"{service} has no login by a code that could read files.",
                f"Use the browser: fastio import login {service}",
            )
        begun = self._ask(about.device, {"scope": about.scope, **client}, ("device_code",))
        say(f"Open {begun.get('verification_uri')} and type the code {begun.get('user_code')}")
        pause_s = float(begun.get("interval") or 5)
        deadline = time.monotonic() + float(begun.get("expires_in") or LOGIN_S)
        wanted = {
            "grant_type": "urn:ietf:params:oauth:grant-type:device_code",
            "device_code": begun["device_code"],
            **client,
        }
        while time.monotonic() < deadline:
            time.sleep(pause_s)
            response = self._post(about.token, wanted)
            error = _json(response).get("error")
            if error == "slow_down":
                pause_s += 5
            elif error != "authorization_pending":
                return self._keep(service, self._granted(about.token, response))
        raise FastioError("timeout", "Nobody typed the code in time.", "Log in again.")

    def log_out(self, service: str) -> None:
        """Revoke a login where the service can, and forget it."""
        tokens = self._vault.get(service)
        if tokens is None:
            raise FastioError(
                "not_found", f"There is no login at {service}.", "See them: fastio import accounts"
            )
        revoke = SERVICES[service].revoke
        if revoke is not None:
            token = tokens.get("refresh_token") or tokens["access_token"]
            bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
            form = {"token": token, **self._client(service)}
            self._post(revoke, form, bearer if service == "dropbox" else None)
        self._vault.put(service, None)

    def _refresh(self, service: str, tokens: dict[str, Any]) -> dict[str, Any]:
        if not tokens.get("refresh_token"):
            raise _log_in_again(service)
        wanted = {"grant_type": "refresh_token", "refresh_token": tokens["refresh_token"]}
        response = self._post(SERVICES[service].token, {**wanted, **self._client(service)})
        if response.status_code in (400, 401):
            raise _log_in_again(service)
        fresh = self._granted(SERVICES[service].token, response)
        merged = {**tokens, **_dated(fresh)}
        self._vault.put(service, merged)
        return merged

    def _keep(self, service: str, tokens: dict[str, Any]) -> dict[str, Any]:
        with self._vault.locked():
            self._vault.put(service, _dated(tokens))
        return _described(service, self._vault.get(service), self._vault)

    def _client(self, service: str) -> dict[str, str]:
        id = self._setting(f"{service}_client_id")
        secret = self._setting(f"{service}_client_secret")
        if id is None:
            raise FastioError(
                "invalid",
                f"There is no OAuth client for {service}.",
                f"Register one there, then: fastio config set {service}_client_id ID",
            )
        return {"client_id": id, **({"client_secret": secret} if secret else {})}

    def _ask(
        self, url: str, form: dict[str, str], needs: tuple[str, ...] = ("access_token",)
    ) -> dict[str, Any]:
        return self._granted(url, self._post(url, form), needs)

    def _granted(
        self, url: str, response: httpx.Response, needs: tuple[str, ...] = ("access_token",)
    ) -> dict[str, Any]:
        answer = _json(response)
        if response.status_code != 200 or not all(isinstance(answer.get(k), str) for k in needs):
            why = str(answer.get("error") or f"status {response.status_code}")[:100]
            raise FastioError(
                "unauthenticated",
                f"{urlsplit(url).hostname} did not grant the login: {why}.",
                "Check the client's id and redirect address, then log in again.",
            )
        return answer

    def _post(
        self, url: str, form: dict[str, str], secrets: dict[str, str] | None = None
    ) -> httpx.Response:
        egress = self._make_egress()
        try:
            return egress.read(
                self._endpoints.at(url),
                method="POST",
                headers={
                    "Content-Type": "application/x-www-form-urlencoded",
                    "Accept": "application/json",
                },
                secrets=secrets,
                content=urlencode(form).encode(),
            )
        finally:
            egress.close()


class _Vault:
    """Tokens by service: in the keyring if it works here, else in a file of mode 0600."""

    def __init__(self, folder: str) -> None:
        self._file = os.path.join(folder, FILE)

    @cached_property
    def _keyring(self) -> Any:
        return _working_keyring()

    @property
    def kind(self) -> str:
        return "keyring" if self._keyring is not None else "file"

    def get(self, service: str) -> dict[str, Any] | None:
        if self._keyring is not None:
            text = self._keyring.get_password(KEYRING, service)
            return json.loads(text) if text else None
        return self._read().get(service)

    def put(self, service: str, tokens: dict[str, Any] | None) -> None:
        """Keep a service's tokens, or with None forget them."""
        if self._keyring is not None:
            if tokens is None:
                self._keyring.delete_password(KEYRING, service)
            else:
                self._keyring.set_password(KEYRING, service, json.dumps(tokens))
            return
        kept = self._read()
        kept.pop(service, None)
        if tokens is not None:
            kept[service] = tokens
        self._write(kept)

    def locked(self) -> Any:
        """One process at a time."""
        from filelock import FileLock

        os.makedirs(os.path.dirname(self._file), mode=0o700, exist_ok=True)
        return FileLock(self._file + ".lock", timeout=60)

    def _read(self) -> dict[str, Any]:
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

    def _write(self, kept: dict[str, Any]) -> None:
        os.makedirs(os.path.dirname(self._file), mode=0o700, exist_ok=True)
        temporary = f"{self._file}.{os.getpid()}"
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(fd, "w", encoding="utf-8") as f:
            json.dump(kept, f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(temporary, self._file)


class _Answer:
    """A loopback address that waits for one answer of the browser, with the right ``state``."""

    def __init__(self, state: str) -> None:
        self._state = state
        self._code: str | None = None
        self._error: str | None = None
        self._server = HTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def __enter__(self) -> _Answer:
        return self

    def __exit__(self, *_: object) -> None:
        self._server.server_close()

    def wait(self, seconds: float) -> str:
        """The code. Raises ``timeout``, or ``unauthenticated`` when the person refused."""
        deadline = time.monotonic() + seconds
        while self._code is None and self._error is None:
            self._server.timeout = max(0.0, deadline - time.monotonic())
            if self._server.timeout == 0:
                raise FastioError("timeout", "Nobody agreed in the browser in time.", "Try again.")
            self._server.handle_request()
        if self._code is None:
            raise FastioError("unauthenticated", f"The login was refused: {self._error}.")
        return self._code

    def _take(self, query: dict[str, list[str]]) -> bool:
        stated = (query.get("state") or [""])[0]
        if not hmac.compare_digest(stated.encode(), self._state.encode()):
            return False
        self._code = (query.get("code") or [None])[0]  # type: ignore[list-item]
        self._error = (query.get("error") or ["no code came"])[0][:100]
        return True

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take = self._take

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                taken = take(parse_qs(urlsplit(self.path).query))
                text = b"You can close this page." if taken else b"Not the answer to this login."
                self.send_response(200 if taken else 400)
                self.send_header("Content-Type", "text/plain")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_: Any) -> None:
                pass

        return Handler


def _working_keyring() -> Any:
    try:
        import keyring
        from keyring.backends import chainer, fail, null
    except ImportError:
        return None
    backend = keyring.get_keyring()
    useless = isinstance(backend, fail.Keyring | null.Keyring) or (
        isinstance(backend, chainer.ChainerBackend) and not backend.backends
    )
    return None if useless else keyring


def _live_or_none(tokens: dict[str, Any] | None) -> bool:
    """True unless there are tokens that have to be refreshed."""
    return tokens is None or tokens.get("expires_at", 0) > time.time() + EARLY_S


def _dated(tokens: dict[str, Any]) -> dict[str, Any]:
    lifetime = tokens.get("expires_in")
    kept = {k: tokens[k] for k in ("access_token", "refresh_token", "scope") if tokens.get(k)}
    kept["expires_at"] = time.time() + float(lifetime if lifetime is not None else 3600)
    return kept


def _described(service: str, tokens: dict[str, Any] | None, vault: _Vault) -> dict[str, Any]:
    from datetime import UTC, datetime

    expires = None
    if tokens is not None and not tokens.get("refresh_token"):
        expires = datetime.fromtimestamp(tokens["expires_at"], UTC).isoformat(timespec="seconds")
        expires = expires.replace("+00:00", "Z")
    return {
        "service": service,
        "logged_in": tokens is not None,
        "expires_at": expires,
        "kept_in": vault.kind if tokens is not None else None,
    }


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = response.json()
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _log_in_again(service: str) -> FastioError:
    return FastioError(
        "unauthenticated",
        f"The login at {service} is no longer accepted.",
        f"Log in again: fastio import login {service}",
    )
