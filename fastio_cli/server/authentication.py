"""Whose request it is.

What a token says for ever (its org and member) is remembered; whether it still counts, and for
what, is read in the transaction of every call (``fastio_cli/identity.py``).
"""

from __future__ import annotations

import time
from collections import OrderedDict
from contextlib import suppress

from fastio_cli.engine.authorization import identify
from fastio_cli.errors import FastioError
from fastio_cli.identity import ANONYMOUS, Identity, digest_of
from fastio_cli.server.shares import ANYONE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.server.executor import RequestExecutor
    from fastio_cli.storage.tx import Tx

CACHED_MAX = 10_000
TOUCH_S = 60.0


class Authenticator:
    """Tells identities by their tokens and notes when they were used."""

    def __init__(self, executor: RequestExecutor) -> None:
        self._executor = executor
        self._identities: OrderedDict[str, Identity] = OrderedDict()
        self._touched: OrderedDict[str, float] = OrderedDict()

    async def identify(self, token: str | None) -> Identity:
        """Whose token it is; nobody's without one. Raises ``unauthenticated``."""
        if token is None:
            return ANONYMOUS
        identity = self._identities.get(token)
        if identity is None:
            digest = digest_of(token)
            identity = await self._executor.read(lambda tx: identify(tx, digest), ANYONE)
            self._identities[token] = identity
            if len(self._identities) > CACHED_MAX:
                self._identities.popitem(last=False)
        return identity

    def known(self, token: str | None) -> Identity | None:
        """Whose token it is, as far as is known without asking: never for a made-up one."""
        return None if token is None else self._identities.get(token)

    async def touch(self, identity: Identity) -> None:
        """Write when a token was last used, at most once a minute, if the store can be written."""
        digest, now = identity.digest, time.monotonic()
        if digest is None or now - self._touched.get(digest, -TOUCH_S) < TOUCH_S:
            return
        self._touched[digest] = now
        if len(self._touched) > CACHED_MAX:
            self._touched.popitem(last=False)

        def write(tx: Tx) -> None:
            tx.tokens.touch(digest, tx.now_ms)

        with suppress(FastioError):  # a full disk, say, is no reason to refuse to read
            await self._executor.write(write, owner=identity.org)
