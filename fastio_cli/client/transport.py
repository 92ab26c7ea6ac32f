"""The HTTP connection to one server: its URL, TLS and proxies, time limits and retries."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

import httpx

from fastio_cli.client.responses import ANSWER_S, read_json
from fastio_cli.errors import FastioError
from fastio_cli.retry import FOREVER, Retries, RetryPolicy
from fastio_cli.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterable
    from typing import Any

CONNECT_S = 10.0
# If a request was cut after more than this, the server was up: the row of failures begins anew.
UPTIME_MIN_S = 1.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0
NOTE_AFTER_S = 0.8  # a user is told about the wait when pauses may be longer than this


class Transport:
    """Sends requests to one server.

    Parameters: ``url`` of the server; ``token`` to authenticate with; ``retry_s`` how long to retry
    while the server is unavailable; ``ca_file`` with additional certificate authorities; ``note``
    to tell a user that a retry takes longer. Raises ``invalid``.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        retry_s: float,
        ca_file: str | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        self.url = server_url(url)
        self.retry_s = retry_s
        self._note = note
        self._client = open_client(self.url, token, ca_file)

    def request(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        params: dict[str, str] | None = None,
        content: bytes | Iterable[bytes] | None = None,
        timeout: httpx.Timeout | None = None,
    ) -> httpx.Response:
        """Send one request; the response's body is unread. Raises ``httpx.RequestError``."""
        request = self._client.build_request(
            method,
            url,
            headers=headers,
            params=params,
            content=content,
            timeout=timeout or time_limits(ANSWER_S),
        )
        return self._client.send(request, stream=True)

    def json(self, method: str, url: str, **options: Any) -> Any:
        """Send one request and read the JSON of its response. Raises the error that it holds."""
        return read_json(self.request(method, url, **options), self.url)

    def retries(self, total_s: float = FOREVER) -> Retries:
        """The attempts at one request: for ``retry_s`` in a row, ``total_s`` in all."""
        policy = RetryPolicy(BACKOFF_S, BACKOFF_MAX_S, deadline_s=self.retry_s)
        on_wait = self._note and _noting(self._note, self.retry_s)
        return Retries(policy, total_s=total_s, on_wait=on_wait)

    def close(self) -> None:
        self._client.close()


def server_url(text: str) -> str:
    """A server's URL in its canonical form. Raises ``invalid``."""
    url = text.strip().rstrip("/")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError as e:
        raise FastioError("invalid", f"{text!r} is not a server's URL: {e}.") from None
    if parts.scheme not in ("http", "https") or not host:
        raise FastioError(
            "invalid", f"{text!r} is not a server's URL.", "As in: https://fastio.example.org"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise FastioError(
            "invalid",
            "A server's URL holds no user, password or query.",
            f"The token says who you are: fastio login {parts.scheme}://{host}",
        )
    return url


def open_client(url: str, token: str | None, ca_file: str | None) -> httpx.Client:
    """An HTTP client for a server, which connects at the first request. Raises ``invalid``.

    ``ca_file`` holds certificate authorities to trust besides the public ones. Proxies and
    SSL_CERT_FILE are taken from the environment by httpx.
    """
    headers = {"user-agent": f"fastio/{__version__}", "accept-encoding": "identity"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    try:
        # Without TLS no certificates are loaded: that takes 15 ms. Redirects are not followed.
        verify: ssl.SSLContext | bool = url.startswith("https://")
        if verify and ca_file is not None:
            verify = httpx.create_ssl_context()
            verify.load_verify_locations(ca_file)
        return httpx.Client(headers=headers, timeout=time_limits(ANSWER_S), verify=verify)
    except ImportError as e:  # a SOCKS proxy
        raise FastioError("invalid", str(e), "Install it: pip install socksio") from None
    except (httpx.InvalidURL, ValueError, OSError) as e:
        given = ca_file or os.environ.get("SSL_CERT_FILE") or os.environ.get("SSL_CERT_DIR")
        where = f" (certificates: {given})" if given else ""
        raise FastioError(
            "invalid",
            f"A proxy or certificate setting is wrong: {e}{where}.",
            "Look at: env | grep -i -e _proxy -e SSL_CERT",
        ) from None


def time_limits(answer_s: float, connect_s: float = CONNECT_S) -> httpx.Timeout:
    """The time limits of a request: for connecting, and for each read and write."""
    return httpx.Timeout(answer_s, connect=connect_s)


def _noting(note: Callable[[str], None], retry_s: float) -> Callable[[FastioError, float], None]:
    """Calls ``note`` once, when pauses become noticeable."""
    is_noted = False

    def on_wait(failure: FastioError, pause_s_max: float) -> None:
        nonlocal is_noted
        if not is_noted and pause_s_max > NOTE_AFTER_S:
            is_noted = True
            note(f"{failure.message} Trying again for up to {retry_s:g} seconds.")

    return on_wait
