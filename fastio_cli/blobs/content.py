"""Where the bytes of a version are kept: small ones in its row, large ones elsewhere."""

from __future__ import annotations

from fastio_cli.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.blobs.claims import BlobClaim

INLINE_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 1024 * 1024


_HEX = frozenset("0123456789abcdef")


def is_blob_name(name: object) -> bool:
    """Whether this is a SHA-256 in hex, which is all that a blob is called; not a path."""
    return isinstance(name, str) and len(name) == 64 and _HEX.issuperset(name)


class Content:
    """Where the bytes of one version are kept: in its row, in a blob, or in a chain of segments.

    ``etag`` is the SHA-256 of the bytes, or for appended files a hash over the chain. Exactly one
    of ``body``, ``blob`` (a SHA-256 in hex) and ``chain`` (the segments' chain number) is set.
    ``claim`` keeps a blob that was just stored from being removed (``claims.py``).
    """

    __slots__ = ("blob", "body", "chain", "claim", "etag", "is_discarded", "size_bytes")

    def __init__(
        self,
        etag: str,
        size_bytes: int,
        body: bytes | None = None,
        blob: str | None = None,
        chain: int | None = None,
        claim: BlobClaim | None = None,
    ) -> None:
        self.etag = etag
        self.size_bytes = size_bytes
        self.body = body
        self.blob = blob
        self.chain = chain
        self.claim = claim
        self.is_discarded = False

    def close(self) -> None:
        """Close what was opened to read the bytes."""


def inline(body: bytes) -> Content:
    """Content that is kept in its row."""
    return Content(sha256(body).hexdigest(), len(body), body=body)
