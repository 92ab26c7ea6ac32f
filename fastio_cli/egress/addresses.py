"""Which network addresses are public: an explicit table, because Python's own differs by version.

``ipaddress.is_global`` of Python 3.11 passes several ranges that no public server has (192.88.99.1,
64:ff9b:1::/48, 3fff::/20, fec0::/10 and others). The table follows the IANA special-purpose
registries for IPv4 and IPv6 (RFC 6890 and its updates); for IPv6 only global unicast, 2000::/3, can
be public at all.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address

_REFUSED = {
    "0.0.0.0/8": "this network",
    "10.0.0.0/8": "private",
    "100.64.0.0/10": "carrier-grade NAT",
    "127.0.0.0/8": "loopback",
    "169.254.0.0/16": "link-local, where cloud metadata is served",
    "172.16.0.0/12": "private",
    "192.0.0.0/24": "IETF protocol assignments",
    "192.0.2.0/24": "documentation",
    "192.31.196.0/24": "AS112",
    "192.52.193.0/24": "AMT relays",
    "192.88.99.0/24": "6to4 relays",
    "192.168.0.0/16": "private",
    "192.175.48.0/24": "AS112",
    "198.18.0.0/15": "benchmarking",
    "198.51.100.0/24": "documentation",
    "203.0.113.0/24": "documentation",
    "224.0.0.0/4": "multicast",
    "240.0.0.0/4": "reserved or broadcast",
    "::/128": "unspecified",
    "::1/128": "loopback",
    "::ffff:0:0/96": "an IPv4 address in IPv6 form",
    "::/96": "an IPv4 address in IPv6 form",
    "64:ff9b::/96": "an IPv4 address behind NAT64",
    "64:ff9b:1::/48": "an IPv4 address behind local NAT64",
    "100::/64": "discarded",
    "2001::/32": "an IPv4 address behind Teredo",
    "2001::/23": "IETF protocol assignments",
    "2001:db8::/32": "documentation",
    "2002::/16": "an IPv4 address behind 6to4",
    "2620:4f:8000::/48": "AS112",
    "3fff::/20": "documentation",
    "5f00::/16": "segment routing",
    "fc00::/7": "private",
    "fe80::/10": "link-local",
    "fec0::/10": "site-local",
    "ff00::/8": "multicast",
}
_TABLE = [(ip_network(network), meaning) for network, meaning in _REFUSED.items()]
_GLOBAL_UNICAST = IPv6Network("2000::/3")


def why_not_public(address: Address) -> str | None:
    """Why an address is not public; None if it is."""
    for network, meaning in _TABLE:
        if address.version == network.version and address in network:
            return meaning
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return "reserved"
    return None


def parse_literal(host: str) -> Address | None:
    """The address in a URL's host, in the usual form; None if the host is a name.

    Raises ``ValueError`` for a number in any other form (decimal, octal, hexadecimal, short, with a
    trailing dot) and for IPv6 scopes: programs interpret these differently, so none is accepted.
    """
    if ":" in host:
        if "%" in host:
            raise ValueError("an address with a scope")
        return ip_address(host)
    last = host.rstrip(".").rpartition(".")[2]
    if not last.isdecimal() and not _is_hexadecimal(last):
        return None
    try:
        return IPv4Address(host)
    except ValueError:
        raise ValueError("an address in an unusual number form") from None


def _is_hexadecimal(label: str) -> bool:
    digits = label[2:]
    return label[:2].lower() == "0x" and all(c in "0123456789abcdefABCDEF" for c in digits)
