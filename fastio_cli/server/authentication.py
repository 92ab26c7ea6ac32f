"""Whose request it is, and how many one may make.

What a token says for ever (its org and member) is remembered; whether it still counts, and for
what, is read in the transaction of every call (``fastio_cli/identity.py``).
"""

from __future__ import annotations

import time

from fastio_cli.engine.authorization import identify
from fastio_cli.errors import FastioError
from fastio_cli.identity import ANONYMOUS, Identity, digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.server.executor import Desk
    from fastio_cli.storage.tx import Tx

KNOWN_MAX = 10_000
TOUCH_S = 60.0


class Doorkeeper:
    """Tells identities by their tokens and notes when they were used."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: dict[str | None, Identity] = {}
        self._touched: dict[str, float] = {}

    async def identify(self, token: str | None) -> Identity:
        """Whose token it is; nobody's without one. Raises ``unauthenticated``."""
        if token is None:
            return ANONYMOUS
        known = self._known.get(token)
        if known is None:
            digest = digest_of(token)
            known = await self._desk.read(lambda tx: identify(tx, digest))
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            self._known[token] = known
        return known

    def at_hand(self, token: str | None) -> Identity | None:
        """Whose token it is, if that is known and its use was noted lately."""
        identity = self._known.get(token)
        if identity is None or identity.digest is None:
            return None
        touched = self._touched.get(identity.digest, -TOUCH_S)
        return identity if time.monotonic() - touched < TOUCH_S else None

    def known(self, token: str | None) -> str | None:
        """The token, if it is one: made-up ones have no share of their own."""
        return token if token in self._known else None

    async def note_use(self, identity: Identity) -> None:
        """Write when a token was last used, at most once a minute."""
        digest, now = identity.digest, time.monotonic()
        if digest is None or now - self._touched.get(digest, -TOUCH_S) < TOUCH_S:
            return
        if len(self._touched) >= KNOWN_MAX:
            self._touched.clear()
        self._touched[digest] = now

        def touch(tx: Tx) -> None:
            tx.tokens.touch(digest, tx.now_ms)

        await self._desk.write(touch)


class RateLimit:
    """A token bucket for everyone: ``rate`` a second, twice that at once."""

    def __init__(self, rate_per_s: int) -> None:
        self._rate = rate_per_s
        self._burst = rate_per_s * 2.0
        self._buckets: dict[str, tuple[float, float]] = {}

    def take(self, who: str) -> None:
        """Count one request. Raises ``rate_limited`` with ``retry_after_s``."""
        now = time.monotonic()
        left, at = self._buckets.get(who, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        if left < 1:
            raise FastioError(
                "rate_limited",
                f"More than {self._rate} requests a second.",
                retry_after_s=(1 - left) / self._rate,
            )
        if len(self._buckets) >= KNOWN_MAX and who not in self._buckets:
            self._buckets.clear()
        self._buckets[who] = (left - 1, now)
