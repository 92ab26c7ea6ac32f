"""What a transaction reads and changes, beside the statements of repositories."""

from __future__ import annotations


class Prefetch:
    """What a call will read first, so that a distant store can fetch it in one round trip.

    ``path`` is the object it looks at, ``request_key`` the idempotency key that it looks up,
    ``token_digest`` the token that it is made with.
    """

    __slots__ = ("path", "request_key", "token_digest", "workspace")

    def __init__(
        self,
        workspace: str,
        path: str | None = None,
        request_key: str | None = None,
        token_digest: str | None = None,
    ) -> None:
        self.workspace = workspace
        self.path = path
        self.request_key = request_key
        self.token_digest = token_digest
