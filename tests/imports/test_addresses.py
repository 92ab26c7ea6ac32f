"""Which addresses are public, at the edges of every range."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from fastio_cli.egress.addresses import _REFUSED, parse_literal, why_not_public


@pytest.mark.parametrize("network", _REFUSED)
def test_first_and_last_address_of_every_range_are_refused(network: str) -> None:
    net = ip_network(network)
    assert why_not_public(net[0])
    assert why_not_public(net[-1])


@pytest.mark.parametrize(
    "address",
    [
        "1.1.1.1",
        "8.8.8.8",
        "9.255.255.255",
        "11.0.0.0",
        "100.63.255.255",
        "100.128.0.0",
        "126.255.255.255",
        "128.0.0.0",
        "169.253.255.255",
        "169.255.0.0",
        "172.15.255.255",
        "172.32.0.0",
        "192.0.1.0",
        "192.167.255.255",
        "192.169.0.0",
        "198.17.255.255",
        "198.20.0.0",
        "223.255.255.255",
        "2001:200::1",
        "2606:4700::1111",
        "2a00:1450:4001::1",
        "3ffe::1",
    ],
)
def test_public_addresses_beside_the_ranges_are_public(address: str) -> None:
    assert why_not_public(ip_address(address)) is None


@pytest.mark.parametrize(
    "address",
    [
        # what ipaddress.is_global of Python 3.11 lets pass
        "192.88.99.1",
        "192.0.0.8",
        "64:ff9b:1::1",
        "5f00::1",
        "3fff::1",
        "fec0::1",
        "::7f00:1",
        # cloud metadata
        "169.254.169.254",
        "fd00:ec2::254",
        "100.100.100.200",
        # embedded private IPv4
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::7f00:1",
        "2002:7f00:1::",
        "2001:0:7f00:1::",
        "255.255.255.255",
        "4000::1",
        "1fff::1",
    ],
)
def test_known_traps_are_refused(address: str) -> None:
    assert why_not_public(ip_address(address))


def test_every_address_python_calls_private_is_refused() -> None:
    for first in range(256):
        for second in range(0, 256, 3):
            address = ip_address(f"{first}.{second}.1.1")
            if address.is_private or address.is_multicast or address.is_reserved:
                assert why_not_public(address), address


@pytest.mark.parametrize(
    "host",
    ["2130706433", "0x7f000001", "0x7f.1", "0177.0.0.1", "127.1", "127.0.0.1.", "127.0.0.01",
     "0", "0x", "1.2.3", "1.2.3.4.5", "256.1.1.1", "example.123", "fe80::1%eth0", "::1%lo", "::g"],
)  # fmt: skip
def test_unusual_number_forms_are_no_addresses(host: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the type is the contract
        parse_literal(host)


@pytest.mark.parametrize("host", ["example.com", "a.0x7g", "localhost", "1e100.net", "x.c0m"])
def test_names_are_names(host: str) -> None:
    assert parse_literal(host) is None
