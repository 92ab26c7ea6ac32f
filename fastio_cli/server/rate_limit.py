"""How many requests each client may make: a token bucket per client, in bounded memory.

A bucket is kept as the time at which it is full again (the generic cell rate algorithm), so one
that is full is the same as one that is not there, and is dropped. Buckets that are not full are
never dropped: when there are too many, further clients share one. The packages that were looked at
either keep a list of times for each client, or forget buckets without a bound or a reason.
"""

from __future__ import annotations

import ipaddress
import time
from collections import OrderedDict
from functools import lru_cache

from fastio_cli.errors import FastioError

BURST_S = 2.0  # the time that an empty bucket takes to fill
BUCKETS_MAX = 65_536
SHARED_BUCKET = ""  # of the clients for whom there is no room; nobody's address or name
IPV6_NETWORK_BITS = 64  # what one customer of a provider is given


class RateLimit:
    """Token buckets: ``rate_per_s`` requests a second for each client, twice that at once."""

    def __init__(self, rate_per_s: float, buckets_max: int = BUCKETS_MAX) -> None:
        self._rate_per_s = rate_per_s
        self._interval_s = 1 / rate_per_s
        self._burst_s = BURST_S + self._interval_s / 2  # sums of floats are not exact
        self._buckets_max = buckets_max
        # Client -> when its bucket is full again, the client that was served longest ago first.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request. Raises ``rate_limited`` with ``retry_after_s``."""
        now = time.monotonic()
        full_at = self._full_at.get(client)
        if full_at is None:
            client = self._make_room(client, now)
            full_at = self._full_at.get(client, now)
        full_at = max(full_at, now) + self._interval_s
        if full_at - now > self._burst_s:
            raise FastioError(
                "rate_limited",
                f"More than {self._rate_per_s} requests a second.",
                retry_after_s=full_at - now - BURST_S,
            )
        self._full_at[client] = full_at
        self._full_at.move_to_end(client)

    def _make_room(self, client: str, now: float) -> str:
        """Drop what is full again; the bucket that a new client gets."""
        buckets = self._full_at
        while buckets and buckets[oldest := next(iter(buckets))] <= now:
            del buckets[oldest]
        return client if len(buckets) < self._buckets_max else SHARED_BUCKET


@lru_cache(maxsize=4096)
def network_of(host: str) -> str:
    """What counts as one client: an IPv4 address, or the /64 network of an IPv6 address."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host  # the name of a Unix socket, or what a proxy made up
    if address.version == 4:
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.ip_network((address, IPV6_NETWORK_BITS), strict=False))
