"""HTTP client for every outgoing request: :class:`Egress` checks where each of them goes.

A URL from a user, or a redirect from a stranger, must not reach what only this machine can reach:
its own services, the private network, the cloud's metadata. So the check is part of the connection.
The name is resolved once, every address must be public, and the connection goes to one of exactly
those addresses, so that another answer of the resolver changes nothing. The URL, ``Host`` and the
name that the TLS certificate is verified for stay the same.

Refusals are ``blocked_url`` and state the reason. Networks of one's own are listed in the rules.
"""

from __future__ import annotations

import os
import socket
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from fastio_cli.egress.connections import VettedBackend, VettedTransport, ssl_context
from fastio_cli.egress.headers import header_value
from fastio_cli.egress.rules import SCHEMES, EgressRules, ascii_host, blocked, redact_url
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from http.cookiejar import Cookie
    from typing import Any
    from urllib.request import Request

    from fastio_cli.egress.connections import Resolve

REDIRECTS = frozenset({301, 302, 303, 307, 308})
AGENT = "fastio"
REDIRECTS_MAX = 5
HEADER_BYTES_MAX = 64 * 1024
CONNECT_S = 10.0


class Egress:
    """Outgoing HTTP under ``rules``; thread-safe.

    ``resolve`` looks names up like ``socket.getaddrinfo``.
    """

    def __init__(
        self, rules: EgressRules | None = None, *, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self.rules = rules or EgressRules()
        self._backend = VettedBackend(self.rules, resolve)
        self._client = httpx.Client(
            transport=VettedTransport(ssl_context(self.rules), self._backend),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self.rules.read_s, connect=CONNECT_S),
        )

    @contextmanager
    def stream(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: Mapping[str, str] | None = None,
        secrets: Mapping[str, str] | None = None,
        content: bytes | None = None,
        cookies: httpx.Cookies | None = None,
    ) -> Iterator[httpx.Response]:
        """Send a request, follow redirects of a GET, and yield the response with its body unread.

        ``headers`` are also sent to where redirects lead, ``secrets`` (authorisation, cookies, the
        user's own headers) only to the origin of ``url``. Cookies that the answers set go back to
        their own sites along the redirects; ``cookies`` lends them to further requests (see
        ``new_cookies``). Raises ``blocked_url``, ``timeout``, or ``unavailable`` when there was no
        answer.
        """
        cookies = new_cookies() if cookies is None else cookies
        target = self.rules.check_url(url)
        origin = _origin(target)
        for _ in range(REDIRECTS_MAX + 1):
            own = secrets if _origin(target) == origin else None
            sent = {**(headers or {}), **(own or {})}
            response = self._send(method, target, sent, content, cookies)
            try:
                following = self._redirect(response) if method in ("GET", "HEAD") else None
                if following is None:
                    yield response
                    return
            finally:
                response.close()
            target = following
        raise blocked(f"it was redirected more than {REDIRECTS_MAX} times")

    def read(self, url: str, *, size_bytes_max: int = 1 << 20, **request: Any) -> httpx.Response:
        """Like ``stream``, with the body read, which is limited in size: for the answers of APIs.

        Also raises ``too_large``.
        """
        with self.stream(url, **request) as response, as_fastio_errors(url):
            body = b""
            for chunk in response.iter_raw(65536):
                body += chunk
                if len(body) > size_bytes_max:
                    raise FastioError(
                        "too_large", f"{redact_url(response.url)} answered with too much."
                    )
        kept = {k: v for k, v in response.headers.items() if k != "content-encoding"}
        return httpx.Response(
            response.status_code, headers=kept, content=body, request=response.request
        )

    def close(self) -> None:
        self._client.close()

    def _send(
        self,
        method: str,
        url: httpx.URL,
        headers: dict[str, str],
        content: bytes | None,
        cookies: httpx.Cookies,
    ) -> httpx.Response:
        fixed = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if content is None and method != "GET":
            content = b""  # so that a length is stated
        for name, value in headers.items():
            header_value(value, f"The header {name} for {redact_url(url)}")
        request = httpx.Request(method, url, headers={**fixed, **headers}, content=content)
        _add_cookies(request, cookies)
        request.extensions = {"timeout": self._client.timeout.as_dict()}
        with as_fastio_errors(str(url)), self._backend.deadline_in(self.rules.answer_s):
            response = self._client.send(request, stream=True)
        self._client.cookies.clear()  # none outlives the fetch that it was set in
        if sum(len(k) + len(v) for k, v in response.headers.raw) > HEADER_BYTES_MAX:
            response.close()
            raise blocked("its answer has too many headers", url)
        cookies.extract_cookies(response)
        return response

    def _redirect(self, response: httpx.Response) -> httpx.URL | None:
        location = response.headers.get("location")
        if response.status_code not in REDIRECTS or not location:
            return None
        try:
            joined = str(response.url.join(location))
        except httpx.InvalidURL:
            raise blocked("it was redirected to something that is not a URL") from None
        url = self.rules.check_url(joined)
        if response.url.scheme == "https" and url.scheme == "http":
            raise blocked("it was redirected from https to http", url)
        return url


def new_cookies() -> httpx.Cookies:
    """An empty jar for the cookies of one fetch, which sends each only to the site that set it.

    A cookie without ``Domain`` goes back to its very host; one for a whole domain is refused if
    that is a country's registry (``co.uk``) (RFC 6265, 5.3 and 5.4).
    """
    policy = _CookiePolicy(
        strict_domain=True, strict_ns_domain=DefaultCookiePolicy.DomainStrictNonDomain
    )
    return httpx.Cookies(CookieJar(policy))


class _CookiePolicy(DefaultCookiePolicy):
    """Passes over cookies that no header can send back as they came."""

    def set_ok(self, cookie: Cookie, request: Request) -> bool:
        text = f"{cookie.name}{cookie.value}"
        return text.isascii() and text.isprintable() and super().set_ok(cookie, request)


def client_for(url: str, *, headers: Mapping[str, str], read_s: float, connect_s: float) -> Any:
    """An ``httpx.Client`` for a service that the settings name, on whatever network it is.

    It may reach this host and public ones, uses no proxy and follows no redirects. SSL_CERT_FILE
    may name a private certificate authority.
    """
    try:
        host = ascii_host(httpx.URL(url))
    except httpx.InvalidURL:
        host = ""
    ca_file = os.environ.get("SSL_CERT_FILE") or None
    rules = EgressRules(allow=f"[{host}]" if ":" in host else host, ca_file=ca_file)
    return httpx.Client(
        transport=VettedTransport(ssl_context(rules), VettedBackend(rules, socket.getaddrinfo)),
        trust_env=False,
        timeout=httpx.Timeout(read_s, connect=connect_s),
        headers={"User-Agent": AGENT, **headers},
    )


@contextmanager
def as_fastio_errors(url: str) -> Iterator[None]:
    """Raise network failures as ``timeout`` or ``unavailable``; both are transient."""
    try:
        yield
    except httpx.TimeoutException as e:
        raise FastioError(
            "timeout",
            f"{redact_url(url)} did not answer in time.",
            "Try again later.",
            kind=_kind(e),
        ) from None
    except httpx.HTTPError as e:
        if "CERTIFICATE" in str(e) or "SSL" in str(e):
            raise FastioError(
                "unavailable",
                f"The connection to {redact_url(url)} is not secure: {e}.",
                "Check the server's certificate; a private authority is trusted with "
                "fastio config set egress_ca_file FILE",
                kind="tls",
            ) from None
        raise FastioError(
            "unavailable",
            f"The connection to {redact_url(url)} failed: {_sentence(e)}.",
            "Check the address and the network, then try again.",
            kind=_kind(e),
        ) from None


def _add_cookies(request: httpx.Request, cookies: httpx.Cookies) -> None:
    """Add the cookies of the request's site, after those that the user states."""
    own = request.headers.pop("cookie", None)
    cookies.set_cookie_header(request)
    if own is not None:
        ours = request.headers.get("cookie")
        request.headers["cookie"] = own if ours is None else f"{own}; {ours}"


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host.rstrip("."), url.port or SCHEMES.get(url.scheme, 0)


def _kind(e: Exception) -> str:
    return "connect" if isinstance(e, httpx.ConnectError | httpx.ConnectTimeout) else "transfer"


def _sentence(e: Exception) -> str:
    return str(e).rstrip(".") or type(e).__name__
