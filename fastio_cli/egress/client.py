"""The guard: every outgoing request of fastio goes through :class:`Egress` and is checked there.

A URL from a user, or a redirect from a stranger, must not reach what only this machine can reach:
its own services, the private network, the cloud's metadata. So the check sits in the connection
itself. The name is resolved once, every address it has must be public, and the connection goes to
one of exactly those addresses: an answer that changes between check and connect changes nothing.
The URL, and with it ``Host`` and the name the TLS certificate is checked for, stays as it was.

Refusals are ``blocked_url`` and say why. What a network of one's own needs is listed in ``Rules``.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
import time
from contextlib import contextmanager
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

import httpcore
import httpx

from fastio_cli.egress.addresses import parse_literal, why_not_public
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from fastio_cli.config.sources import Config
    from fastio_cli.egress.addresses import Address

    Resolve = Callable[..., list[tuple[Any, ...]]]

PORTS = frozenset({80, 443, 8080, 8443})
SCHEMES = {"http": 80, "https": 443}
REDIRECTS = frozenset({301, 302, 303, 307, 308})
URL_LENGTH_MAX = 8192
FAILURES = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    httpcore.ProxyError,
    httpcore.UnsupportedProtocol,
)
AGENT = "fastio"
OWN_NETWORK = "For a network of your own: fastio config set egress_allow HOST,NETWORK"


class Allowed:
    """One entry of the allow list: ``HOST``, ``ADDRESS`` or ``NETWORK/BITS``, each with ``:PORT``
    or for all ports; IPv6 with a port is written ``[::1]:8080``. Raises ``invalid``."""

    def __init__(self, text: str) -> None:
        host, port = text.strip(), ""
        if host.startswith("["):
            host, _, port = host[1:].partition("]")
            port = port.removeprefix(":")
        elif host.count(":") == 1:
            host, _, port = host.partition(":")
        self.port = int(port) if port.isdecimal() else None
        self.network = _network(host)
        self.name = host.lower().rstrip(".")
        if not host or (port and self.port is None) or ("/" in host and self.network is None):
            raise FastioError(
                "invalid",
                f"egress_allow: {text.strip()!r} is not a host, address or network.",
                "Write it as host, 10.1.0.0/16 or 127.0.0.1:8080, separated by commas.",
            )

    def host(self, name: str, port: int) -> bool:
        """Whether it lists this name, whatever its addresses."""
        return self.name == name and self.port in (None, port)

    def address(self, address: Address, port: int) -> bool:
        """Whether it lists this address."""
        network = self.network
        return network is not None and address in network and self.port in (None, port)


class Rules:
    """What requests may do. ``allow`` is the allow list as text, ``ca_file`` a file of certificate
    authorities to trust besides the public ones, times are seconds."""

    def __init__(
        self,
        *,
        allow: str = "",
        ports: frozenset[int] = PORTS,
        ca_file: str | None = None,
        redirects_max: int = 5,
        header_bytes_max: int = 64 * 1024,
        connect_s: float = 10,
        read_s: float = 30,
        answer_s: float = 60,
    ) -> None:
        self.allowed = [Allowed(entry) for entry in allow.split(",") if entry.strip()]
        self.ports = ports
        self.ca_file = ca_file
        self.redirects_max = redirects_max
        self.header_bytes_max = header_bytes_max
        self.connect_s = connect_s
        self.read_s = read_s
        self.answer_s = answer_s

    def check_url(self, text: str) -> httpx.URL:
        """A URL that may be asked for, as far as can be told without resolving its name.

        Raises ``blocked_url``, or ``invalid`` for what is not a URL at all.
        """
        url = _parse(text)
        scheme = url.scheme
        if scheme not in SCHEMES:
            raise blocked("only http and https are fetched", url)
        if url.userinfo:
            raise blocked("it holds a user name or password; use --header-file for these", url)
        host = shown_host(url)
        if not host:
            raise FastioError("invalid", "The URL has no host.")
        if any(c in host for c in '%\\ "<>^`{|}'):
            raise blocked("its host holds characters that no host name has", url)
        try:
            parse_literal(host)
        except ValueError as e:
            raise blocked(f"its host is {e}", url) from None
        port = url.port or SCHEMES[scheme]
        if port not in self.ports and not self._lists_port(host, port):
            why = f"port {port} is not among those allowed ({_list(self.ports)})"
            raise blocked(why, url, OWN_NETWORK)
        return url

    def vet(self, host: str, port: int, addresses: list[Address]) -> None:
        """Raise ``blocked_url`` unless every address may be connected to."""
        if any(entry.host(host.lower().rstrip("."), port) for entry in self.allowed):
            return
        for address in addresses:
            if any(entry.address(address, port) for entry in self.allowed):
                continue
            at = f"{address}, where {host} is," if host != str(address) else str(address)
            why = why_not_public(address)
            if why is not None:
                raise blocked(f"{at} is not a public address ({why})", hint=OWN_NETWORK)
            if port not in self.ports:
                raise blocked(f"port {port} of {at} is not among those allowed", hint=OWN_NETWORK)

    def _lists_port(self, host: str, port: int) -> bool:
        # An entry for a network can only be matched once the name is resolved: see ``vet``.
        name = host.lower().rstrip(".")
        return any(
            e.host(name, port) or (e.network and e.port in (None, port)) for e in self.allowed
        )


def rules_of(config: Config) -> Rules:
    """The rules that the settings state. Raises ``invalid``."""
    ports = [port.strip() for port in config.text("egress_ports").split(",")]
    if not all(port.isdecimal() and 0 < int(port) < 65536 for port in ports):
        raise FastioError("invalid", "egress_ports must be port numbers, as 80,443.")
    return Rules(
        allow=config.get("egress_allow") or "",
        ports=frozenset(int(port) for port in ports),
        ca_file=config.get("egress_ca_file"),
        read_s=config.number("import_stall_s"),
    )


class Egress:
    """Outgoing HTTP under ``rules``; one may be shared by many threads.

    ``resolve`` looks names up like ``socket.getaddrinfo``.
    """

    def __init__(
        self, rules: Rules | None = None, *, resolve: Resolve = socket.getaddrinfo
    ) -> None:
        self.rules = rules or Rules()
        self._backend = _Backend(self.rules, resolve)
        self._client = httpx.Client(
            transport=_Transport(_trust(self.rules), self._backend),
            trust_env=False,
            follow_redirects=False,
            timeout=httpx.Timeout(self.rules.read_s, connect=self.rules.connect_s),
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
    ) -> Iterator[httpx.Response]:
        """Ask, follow redirects of a GET, and give the response with its body unread.

        ``headers`` go wherever redirects lead; ``secrets`` (authorisation, cookies, whatever the
        user added) only to the origin of ``url``. Raises ``blocked_url``, ``timeout``, or
        ``unavailable`` when there was no answer.
        """
        target = self.rules.check_url(url)
        origin = _origin(target)
        for _ in range(self.rules.redirects_max + 1):
            own = secrets if _origin(target) == origin else None
            response = self._send(method, target, {**(headers or {}), **(own or {})}, content)
            try:
                following = self._redirect(response) if method in ("GET", "HEAD") else None
                if following is None:
                    yield response
                    return
            finally:
                response.close()
            target = following
        raise blocked(f"it was redirected more than {self.rules.redirects_max} times")

    def read(self, url: str, *, size_bytes_max: int = 1 << 20, **request: Any) -> httpx.Response:
        """Like ``stream``, with a body of limited size read: for the answers of services.

        Raises ``too_large`` besides.
        """
        with self.stream(url, **request) as response, translated(url):
            body = b""
            for chunk in response.iter_raw(65536):
                body += chunk
                if len(body) > size_bytes_max:
                    raise FastioError("too_large", f"{shown(response.url)} answered with too much.")
        kept = {k: v for k, v in response.headers.items() if k != "content-encoding"}
        return httpx.Response(
            response.status_code, headers=kept, content=body, request=response.request
        )

    def close(self) -> None:
        self._client.close()

    def _send(
        self, method: str, url: httpx.URL, headers: dict[str, str], content: bytes | None
    ) -> httpx.Response:
        fixed = {"User-Agent": AGENT, "Accept": "*/*", "Accept-Encoding": "identity"}
        if content is None and method != "GET":
            content = b""  # so that a length is stated
        request = httpx.Request(method, url, headers={**fixed, **headers}, content=content)
        request.extensions = {"timeout": self._client.timeout.as_dict()}
        with translated(str(url)), self._backend.within(self.rules.answer_s):
            response = self._client.send(request, stream=True)
        self._client.cookies.clear()  # what one server sets is nobody else's, and not kept
        if sum(len(k) + len(v) for k, v in response.headers.raw) > self.rules.header_bytes_max:
            response.close()
            raise blocked("its answer has too many headers", url)
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


def client_to(url: str, *, headers: Mapping[str, str], read_s: float, connect_s: float) -> Any:
    """An ``httpx.Client`` under the guard for a service that the settings name, wherever that is.

    It reaches this one host and the public ones, by no proxy, and follows no redirects. A private
    authority is trusted by SSL_CERT_FILE.
    """
    try:
        host = shown_host(httpx.URL(url))
    except httpx.InvalidURL:
        host = ""
    ca_file = os.environ.get("SSL_CERT_FILE") or None
    rules = Rules(allow=f"[{host}]" if ":" in host else host, ca_file=ca_file)
    return httpx.Client(
        transport=_Transport(_trust(rules), _Backend(rules, socket.getaddrinfo)),
        trust_env=False,
        timeout=httpx.Timeout(read_s, connect=connect_s),
        headers={"User-Agent": AGENT, **headers},
    )


class _Transport(httpx.BaseTransport):
    """What httpx sends by: a pool whose connections are made by the guard."""

    def __init__(self, context: ssl.SSLContext, backend: httpcore.NetworkBackend) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=context,
            max_connections=64,
            max_keepalive_connections=16,
            keepalive_expiry=30,
            network_backend=backend,
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request and read the head of its answer."""
        url = request.url
        sent = httpcore.Request(
            request.method,
            httpcore.URL(
                scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
            ),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        with _errors_of_httpx():
            answer = self._pool.handle_request(sent)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions=answer.extensions,
        )

    def close(self) -> None:
        self._pool.close()


class _Body(httpx.SyncByteStream):
    """The body of an answer, as it comes."""

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        with _errors_of_httpx():
            yield from self._answer.iter_stream()

    def close(self) -> None:
        self._answer.close()


@contextmanager
def _errors_of_httpx() -> Iterator[None]:
    """httpcore's errors as those of httpx, which have the same names."""
    try:
        yield
    except FAILURES as e:
        raise getattr(httpx, type(e).__name__)(str(e)) from e


class _Backend(httpcore.NetworkBackend):
    """Makes connections, to vetted addresses only, and bounds the wait for an answer's headers."""

    def __init__(self, rules: Rules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._connect = httpcore.SyncBackend()
        self._deadline = _Deadline()

    @contextmanager
    def within(self, seconds: float) -> Iterator[None]:
        """Bound all reading of this thread inside the block."""
        self._deadline.at = time.monotonic() + seconds
        try:
            yield
        finally:
            self._deadline.at = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.NetworkStream:
        """Resolve, vet, and connect to the first vetted address that answers."""
        addresses = self._addresses(host, port)
        self._rules.vet(host, port, addresses)
        failure: Exception | None = None
        for address in addresses:
            try:
                stream = self._connect.connect_tcp(
                    str(address),
                    port,
                    timeout=self._deadline.bound(timeout),
                    socket_options=socket_options,
                )
                return _Stream(stream, self._deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as e:
                failure = e
        raise failure or httpcore.ConnectError(f"{host} has no address")

    def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.NetworkStream:
        raise blocked("it is a socket of this machine")

    def sleep(self, seconds: float) -> None:
        self._connect.sleep(seconds)

    def _addresses(self, host: str, port: int) -> list[Address]:
        try:
            found = self._resolve(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as e:
            raise httpcore.ConnectError(f"{host} is not known: {e}") from None
        # dict: each address once, in the resolver's order. A scope makes it no other address.
        return list(dict.fromkeys(ip_address(str(f[4][0]).partition("%")[0]) for f in found))


class _Deadline(threading.local):
    at: float | None = None

    def bound(self, timeout: float | None) -> float | None:
        if self.at is None:
            return timeout
        left = max(self.at - time.monotonic(), 0.001)
        return left if timeout is None else min(timeout, left)


class _Stream(httpcore.NetworkStream):
    """A connection whose reads end at the deadline, however slowly the bytes drip."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._inner = inner
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._deadline.bound(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._deadline.bound(timeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        bound = self._deadline.bound(timeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, bound), self._deadline)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


@contextmanager
def translated(url: str) -> Iterator[None]:
    """Network failures as ours: ``timeout`` and ``unavailable`` may pass, both worth a retry."""
    try:
        yield
    except httpx.TimeoutException as e:
        raise FastioError(
            "timeout", f"{shown(url)} did not answer in time.", "Try again later.", kind=_kind(e)
        ) from None
    except httpx.HTTPError as e:
        if "CERTIFICATE" in str(e) or "SSL" in str(e):
            raise FastioError(
                "unavailable",
                f"The connection to {shown(url)} is not secure: {e}.",
                "Check the server's certificate; a private authority is trusted with "
                "fastio config set egress_ca_file FILE",
                kind="tls",
            ) from None
        raise FastioError(
            "unavailable",
            f"The connection to {shown(url)} failed: {_sentence(e)}.",
            "Check the address and the network, then try again.",
            kind=_kind(e),
        ) from None


def blocked(why: str, url: httpx.URL | None = None, hint: str | None = None) -> FastioError:
    """The refusal."""
    what = f"{shown(url)} is refused" if url is not None else "The address is refused"
    return FastioError("blocked_url", f"{what}: {why}.", hint)


def shown(url: httpx.URL | str) -> str:
    """A URL as it may be shown and logged: no credentials, no query, look-alike letters encoded."""
    try:
        url = httpx.URL(url)
    except httpx.InvalidURL:
        return "the URL"
    if url.scheme not in SCHEMES:
        return f"a {url.scheme}: address"
    port = f":{url.port}" if url.port else ""
    host = shown_host(url)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}{url.path}"


def shown_host(url: httpx.URL) -> str:
    """The host in ASCII (IDNA), which shows look-alike letters as what they are."""
    return url.raw_host.decode("ascii", "replace")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text)
    except ValueError:
        return None


def _parse(text: str) -> httpx.URL:
    if len(text) > URL_LENGTH_MAX:
        raise FastioError("invalid", f"The URL is longer than {URL_LENGTH_MAX:,} characters.")
    if "\\" in text or any(ord(c) <= 0x20 or ord(c) == 0x7F for c in text):
        raise FastioError("invalid", "The URL holds spaces, backslashes or control characters.")
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, UnicodeError):
        raise FastioError("invalid", f"{text[:200]!r} is not a valid URL.") from None
    if not url.scheme or (url.scheme in SCHEMES and not url.host):
        raise FastioError(
            "invalid", f"{text[:200]!r} is not a URL.", "Write it as https://host/path"
        )
    return url


def _origin(url: httpx.URL) -> tuple[str, str, int]:
    return url.scheme, url.host.rstrip("."), url.port or SCHEMES.get(url.scheme, 0)


def _trust(rules: Rules) -> ssl.SSLContext:
    context = httpx.create_ssl_context(trust_env=False)
    if rules.ca_file is not None:
        try:
            context.load_verify_locations(rules.ca_file)
        except (OSError, ssl.SSLError) as e:
            raise FastioError(
                "invalid", f"egress_ca_file: {rules.ca_file} cannot be used: {e}."
            ) from None
    return context


def _kind(e: Exception) -> str:
    return "connect" if isinstance(e, httpx.ConnectError | httpx.ConnectTimeout) else "transfer"


def _sentence(e: Exception) -> str:
    return str(e).rstrip(".") or type(e).__name__


def _list(ports: frozenset[int]) -> str:
    return ", ".join(str(port) for port in sorted(ports))
