"""Whose request it is.

What a token says for ever (its org and member) is remembered; whether it still counts, and for
what, is read in the transaction of every call (``fastio_cli/identity.py``).
"""

from __future__ import annotations

import time
from collections import OrderedDict

from fastio_cli.engine.authorization import identify
from fastio_cli.identity import ANONYMOUS, Identity, digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.server.executor import Desk
    from fastio_cli.storage.tx import Tx

KNOWN_MAX = 10_000
TOUCH_S = 60.0


class Authenticator:
    """Tells identities by their tokens and notes when they were used."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._known: OrderedDict[str, Identity] = OrderedDict()
        self._touched: OrderedDict[str, float] = OrderedDict()

    async def identify(self, token: str | None) -> Identity:
        """Whose token it is; nobody's without one. Raises ``unauthenticated``."""
        if token is None:
            return ANONYMOUS
        known = self._known.get(token)
        if known is None:
            digest = digest_of(token)
            known = await self._desk.read(lambda tx: identify(tx, digest))
            self._known[token] = known
            if len(self._known) > KNOWN_MAX:
                self._known.popitem(last=False)
        return known

    def at_hand(self, token: str | None) -> Identity | None:
        """Whose token it is, if that is known and its use was noted lately."""
        identity = self._known.get(token or "")
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
        self._touched[digest] = now
        if len(self._touched) > KNOWN_MAX:
            self._touched.popitem(last=False)

        def touch(tx: Tx) -> None:
            tx.tokens.touch(digest, tx.now_ms)

        await self._desk.write(touch)
