"""How file services grant logins: OAuth 2.0 for native apps (RFC 8252), PKCE (RFC 7636), device
codes (RFC 8628), token refresh and revocation (RFC 7009).

The user brings a client of their own. What is granted names that client, so that whoever keeps it
(``logins.py``) can have it refreshed and revoked without the settings it was asked with.

A client library saves nothing here: through the guard, Authlib's takes more lines than this, has
no client for device codes, and takes any JSON object without an ``error`` for a token.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from fastio_cli.errors import FastioError
from fastio_cli.json_text import foreign

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypedDict

    import httpx

    from fastio_cli.config.sources import Config
    from fastio_cli.egress.client import Egress
    from fastio_cli.imports.providers import Endpoints

    class Grant(TypedDict):
        """What a service granted, and the client it was made for; ``expires_at`` since 1970."""

        access_token: str
        refresh_token: str | None
        expires_at: float
        client_id: str
        client_secret: str | None


LOGIN_S = 300


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


class OAuthFlows:
    """Asks services for grants. ``setting`` gives ``<service>_client_id`` and ``_client_secret``.

    A grant is a plain record: ``access_token``, ``refresh_token`` (or None), ``expires_at`` in
    seconds since 1970, and the ``client_id`` and ``client_secret`` (or None) it was made for.
    """

    def __init__(
        self,
        egress: Callable[[], Egress],
        endpoints: Endpoints,
        setting: Callable[[str], str | None],
    ) -> None:
        self._make_egress = egress
        self._endpoints = endpoints
        self._setting = setting

    @classmethod
    def of(cls, config: Config) -> OAuthFlows:
        """The flows that the settings describe. Raises ``invalid`` when they are wrong."""
        from fastio_cli.egress.client import Egress
        from fastio_cli.egress.rules import rules_from
        from fastio_cli.imports.providers import Endpoints

        endpoints = Endpoints(config.get("import_endpoints") or "")
        return cls(lambda: Egress(rules_from(config)), endpoints, config.get)

    def by_browser(self, service: str, say: Callable[[str], None]) -> Grant:
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
            wanted = {
                "grant_type": "authorization_code",
                "code": answer.wait(LOGIN_S),
                "redirect_uri": answer.address,
                "code_verifier": verifier,
                **client,
            }
            return _grant(self._ask(about.token, wanted), client)

    def by_device(self, service: str, say: Callable[[str], None]) -> Grant:
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
                return _grant(self._granted(about.token, response), client)
        raise FastioError("timeout", "Nobody typed the code in time.", "Log in again.")

    def refreshed(self, service: str, grant: Grant) -> Grant:
        """The grant with a new access token. Raises ``unauthenticated`` when it is over."""
        if not grant["refresh_token"]:
            raise _log_in_again(service)
        client = _client_of(grant)
        wanted = {"grant_type": "refresh_token", "refresh_token": grant["refresh_token"]}
        response = self._post(SERVICES[service].token, {**wanted, **client})
        if response.status_code in (400, 401):
            raise _log_in_again(service)
        fresh = _grant(self._granted(SERVICES[service].token, response), client)
        return {**fresh, "refresh_token": fresh["refresh_token"] or grant["refresh_token"]}

    def revoke(self, service: str, grant: Grant) -> None:
        """End a grant at its service, where that has an address for it."""
        revoke = SERVICES[service].revoke
        if revoke is None:
            return
        token = grant["refresh_token"] or grant["access_token"]
        bearer = {"Authorization": f"Bearer {grant['access_token']}"}
        form = {"token": token, **_client_of(grant)}
        self._post(revoke, form, bearer if service == "dropbox" else None)

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

            def log_message(self, *_: object) -> None:
                pass

        return Handler


def _grant(answer: dict[str, Any], client: dict[str, str]) -> Grant:
    """What a service answered, as it is kept."""
    lifetime_s = answer.get("expires_in")
    return {
        "access_token": answer["access_token"],
        "refresh_token": answer.get("refresh_token"),
        "expires_at": time.time() + float(lifetime_s if lifetime_s is not None else 3600),
        "client_id": client["client_id"],
        "client_secret": client.get("client_secret"),
    }


def _client_of(grant: Grant) -> dict[str, str]:
    named = {"client_id": grant["client_id"], "client_secret": grant["client_secret"]}
    return {name: value for name, value in named.items() if value}


def _json(response: httpx.Response) -> dict[str, Any]:
    try:
        answer = foreign(response.content)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _log_in_again(service: str) -> FastioError:
    return FastioError(
        "unauthenticated",
        f"The login at {service} is no longer accepted.",
        f"Log in again: fastio import login {service}",
    )
