"""Which URLs and addresses outgoing requests may reach, and how refusals are reported."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network

import httpx

from fastio_cli.config.settings import port_numbers
from fastio_cli.egress.addresses import parse_literal, why_not_public
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.config.sources import Config
    from fastio_cli.egress.addresses import Address

PORTS = frozenset({80, 443, 8080, 8443})
SCHEMES = {"http": 80, "https": 443}
URL_LENGTH_MAX = 8192
OWN_NETWORK = "For a network of your own: fastio config set egress_allow HOST,NETWORK"


class AllowEntry:
    """One entry of the allow list: ``HOST``, ``ADDRESS`` or ``NETWORK/BITS``, for one ``:PORT`` or
    all; IPv6 with a port is written ``[::1]:8080``. Raises ``invalid``."""

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

    def allows_name(self, name: str, port: int) -> bool:
        """Whether the entry allows this host name, whatever its addresses."""
        return self.name == name and self.port in (None, port)

    def allows_address(self, address: Address, port: int) -> bool:
        """Whether the entry allows this address."""
        network = self.network
        return network is not None and address in network and self.port in (None, port)


class EgressRules:
    """What requests may reach: ``allow`` is the allow list as text, ``ca_file`` a file with
    certificate authorities to trust besides the public ones."""

    def __init__(
        self,
        *,
        allow: str = "",
        ports: frozenset[int] = PORTS,
        ca_file: str | None = None,
        read_s: float = 30,
        answer_s: float = 60,
    ) -> None:
        self.allowed = [AllowEntry(entry) for entry in allow.split(",") if entry.strip()]
        self.ports = ports
        self.ca_file = ca_file
        self.read_s = read_s
        self.answer_s = answer_s

    def check_url(self, text: str) -> httpx.URL:
        """A URL that may be requested, as far as is known before its name is resolved.

        Raises ``blocked_url``, or ``invalid`` for what is not a URL at all.
        """
        url = _parse(text)
        scheme = url.scheme
        if scheme not in SCHEMES:
            raise blocked("only http and https are fetched", url)
        if url.userinfo:
            raise blocked("it holds a user name or password; use --header-file for these", url)
        host = ascii_host(url)
        if not host:
            raise FastioError("invalid", "The URL has no host.")
        if any(c in host for c in '%\\ "<>^`{|}'):
            raise blocked("its host holds characters that no host name has", url)
        try:
            parse_literal(host)
        except ValueError as e:
            raise blocked(f"its host is {e}", url) from None
        port = url.port or SCHEMES[scheme]
        if port not in self.ports and not self._allows_port(host, port):
            why = f"port {port} is not among those allowed ({_list(self.ports)})"
            raise blocked(why, url, OWN_NETWORK)
        return url

    def check_addresses(self, host: str, port: int, addresses: list[Address]) -> None:
        """Raise ``blocked_url`` unless every address may be connected to."""
        if any(entry.allows_name(host.lower().rstrip("."), port) for entry in self.allowed):
            return
        for address in addresses:
            if any(entry.allows_address(address, port) for entry in self.allowed):
                continue
            at = f"{address}, where {host} is," if host != str(address) else str(address)
            why = why_not_public(address)
            if why is not None:
                raise blocked(f"{at} is not a public address ({why})", hint=OWN_NETWORK)
            if port not in self.ports:
                raise blocked(f"port {port} of {at} is not among those allowed", hint=OWN_NETWORK)

    def _allows_port(self, host: str, port: int) -> bool:
        # A network is only matched when the name is resolved: see ``check_addresses``.
        name = host.lower().rstrip(".")
        return any(
            e.allows_name(name, port) or (e.network and e.port in (None, port))
            for e in self.allowed
        )


def rules_from(config: Config) -> EgressRules:
    """The rules that the settings state. Raises ``invalid``."""
    return EgressRules(
        allow=config.get("egress_allow") or "",
        ports=port_numbers("egress_ports", config.text("egress_ports"), "the settings"),
        ca_file=config.get("egress_ca_file"),
        read_s=config.number("import_stall_s"),
    )


def blocked(why: str, url: httpx.URL | None = None, hint: str | None = None) -> FastioError:
    """The error for a refused request."""
    what = f"{redact_url(url)} is refused" if url is not None else "The address is refused"
    return FastioError("blocked_url", f"{what}: {why}.", hint)


def redact_url(url: httpx.URL | str) -> str:
    """A URL for messages and logs: no credentials, no query, look-alike letters encoded."""
    try:
        url = httpx.URL(url)
    except httpx.InvalidURL:
        return "the URL"
    if url.scheme not in SCHEMES:
        return f"a {url.scheme}: address"
    port = f":{url.port}" if url.port else ""
    host = ascii_host(url)
    return f"{url.scheme}://{f'[{host}]' if ':' in host else host}{port}{url.path}"


def ascii_host(url: httpx.URL) -> str:
    """The host in ASCII (IDNA), which reveals look-alike letters."""
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


def _list(ports: frozenset[int]) -> str:
    return ", ".join(str(port) for port in sorted(ports))
