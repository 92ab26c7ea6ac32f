"""Whose request it is behind proxies: their word counts, the client's does not."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from fastio_cli.server.forwarded import Forwarded, client_of
from tests.backends import until
from tests.client.serving import fastio
from tests.hostile.process import Attacked


@pytest.mark.parametrize(
    ("field", "proxies", "client"),
    [
        ("192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1", 1, "192.0.2.1"),
        ("203.0.113.9,192.0.2.1 , 10.0.0.1", 2, "192.0.2.1"),
        ("203.0.113.9, 192.0.2.1, 10.0.0.1", 1, "10.0.0.1"),
        ("192.0.2.1", 3, "192.0.2.1"),
        ("192.0.2.1:4711", 1, "192.0.2.1"),
        ("[2001:db8::1]:4711", 1, "2001:db8::1"),
        ("2001:db8::1", 1, "2001:db8::1"),
        ("", 1, None),
        ("192.0.2.1, unknown", 1, None),
        ("192.0.2.1,", 1, None),
        ("192.0.2.1\x00", 1, None),
    ],
)
def test_the_address_that_the_outermost_proxy_saw(field, proxies, client):
    assert client_of(field, proxies) == client


def seen_by(app_of, *fields: bytes, peer: tuple[str, int] | None) -> object:
    """The client that an application behind something sees."""
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["client"])

    headers = [(b"x-forwarded-for", field) for field in fields]
    scope = {"type": "http", "client": peer, "headers": headers}
    asyncio.run(app_of(app)(scope, None, None))
    return seen[0]


def test_several_fields_are_one():
    peer = ("10.0.0.1", 1)
    made_up, real = b"203.0.113.9", b"192.0.2.1"
    assert seen_by(lambda app: Forwarded(app, 1), made_up, real, peer=peer) == ("192.0.2.1", 0)
    assert seen_by(lambda app: Forwarded(app, 1), peer=peer) == peer
    assert seen_by(lambda app: Forwarded(app, 1), b"who?", peer=peer) == peer


def test_the_peer_of_a_unix_socket_is_a_proxy_too():
    assert seen_by(lambda app: Forwarded(app, 1), b"192.0.2.1", peer=None) == ("192.0.2.1", 0)
    assert seen_by(lambda app: Forwarded(app, 1), peer=None) is None


@pytest.mark.parametrize(
    ("flags", "client"),
    [((), "127.0.0.1"), (("--behind-proxy", "1"), "192.0.2.1"), (("--behind-proxy", "2"), "::1")],
)
@pytest.mark.parametrize("workers", ["1", "2"])
def test_what_a_server_believes(tmp_path, flags, client, workers):
    """By default nobody: anybody can write the field."""
    server = Attacked(tmp_path, *flags, "--workers", workers)
    headers = {"x-forwarded-for": "203.0.113.9, ::1, 192.0.2.1"}
    url = f"{server.url}/v1/whoami"
    try:
        assert httpx.get(url, headers=headers, timeout=30).status_code == 401
        until(lambda: f'"client":"{client}"' in server.log())
    finally:
        server.stop()


@pytest.mark.parametrize("count", ["-1", "17", "x"])
def test_a_wrong_number_of_proxies_is_refused(count):
    done = fastio("serve", "--behind-proxy", count)
    assert done.returncode == 2
