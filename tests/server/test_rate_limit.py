"""How many requests one client may make: nobody's share is lost, and nobody has many shares."""

from __future__ import annotations

from contextlib import suppress

import httpx
import pytest

from fastio_cli.errors import FastioError
from fastio_cli.server import rate_limit
from fastio_cli.server.rate_limit import RateLimit, network_of


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still until it is set."""

    class Clock:
        now = 1000.0

    monkeypatch.setattr(rate_limit.time, "monotonic", lambda: Clock.now)
    return Clock


def taken(limit: RateLimit, client: str, count: int) -> int:
    """How many of so many requests are let through."""
    through = 0
    for _ in range(count):
        with suppress(FastioError):
            limit.take(client)
            through += 1
    return through


def test_twice_the_rate_at_once_and_the_rate_from_then_on(clock):
    limit = RateLimit(10)
    assert taken(limit, "a", 30) == 20
    with pytest.raises(FastioError) as caught:
        limit.take("a")
    assert caught.value.code == "rate_limited"
    assert caught.value.details["retry_after_s"] == pytest.approx(0.1)
    clock.now += 1
    assert taken(limit, "a", 30) == 10
    clock.now += 60
    assert taken(limit, "a", 30) == 20


def test_other_addresses_clear_nobodys_bucket(clock):
    limit = RateLimit(10)
    assert taken(limit, "a", 30) == 20
    for n in range(10_000):
        limit.take(f"other {n}")
    assert taken(limit, "a", 1) == 0


def test_memory_is_bounded_and_those_without_room_share_a_bucket(clock):
    limit = RateLimit(10, buckets_max=100)
    assert taken(limit, "a", 30) == 20
    through = sum(taken(limit, f"other {n}", 1) for n in range(10_000))
    assert through == 99 + 20
    assert len(limit._full_at) == 101
    assert taken(limit, "a", 1) == 0
    clock.now += 3  # all are full again, and make room
    assert taken(limit, "new", 30) == 20
    assert len(limit._full_at) == 1


def test_who_is_refused_waits_no_longer_for_it(clock):
    limit = RateLimit(1)
    assert taken(limit, "a", 100) == 2
    clock.now += 1
    assert taken(limit, "a", 100) == 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("fe80::1%eth0", "fe80::2%eth1", True),
        ("", "no address", False),
    ],
)
def test_a_network_of_ipv6_is_one_client(one, other, same):
    assert (network_of(one) == network_of(other)) is same


def test_who_has_a_whole_network_has_one_share(clock):
    limit = RateLimit(10)
    through = sum(taken(limit, network_of(f"2001:db8::{n:x}"), 1) for n in range(1000))
    assert through == 20


def through(server, tokens: list[str], count: int) -> int:
    """How many of so many requests, by these tokens in turn, are let through."""
    with httpx.Client(base_url=server.url, timeout=30) as client:
        answers = [
            client.get("/v1/whoami", headers={"authorization": f"Bearer {tokens[n % len(tokens)]}"})
            for n in range(count)
        ]
    assert {answer.status_code for answer in answers} <= {200, 429}
    return sum(answer.status_code == 200 for answer in answers)


@pytest.fixture
def limited(server, monkeypatch):
    """A server on which nobody's bucket fills again while a test runs; each holds two requests.

    Tokens count from when they were seen once."""

    def limit(*tokens: str):
        through(server, list(tokens), len(tokens))
        monkeypatch.setattr(server.app.pipeline, "rate_limit", RateLimit(5))
        monkeypatch.setattr(server.app.pipeline, "org_rate_limit", RateLimit(20))
        monkeypatch.setattr(rate_limit.time, "monotonic", lambda: 1000.0)

    return limit


def test_a_member_has_no_more_for_more_tokens(server, limited):
    own = [server.token("eve", "viewer") for _ in range(11)]
    other = server.token("bob", "viewer")
    limited(*own, other)
    assert through(server, own, 55) == 10
    assert through(server, [other], 5) == 5


def test_an_org_has_no_more_for_more_members(server, limited):
    server.engine.call("org.create", {"name": "acme"}, actor="ada")
    members = [server.token(f"m{n}", "viewer", org="acme") for n in range(9)]
    other = server.token("bob", "viewer")
    limited(*members, other)
    assert through(server, members, 90) == 40
    assert through(server, [other], 5) == 5
