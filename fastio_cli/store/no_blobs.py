"""Blobs of a store that has no folder and was given no other place for them."""

from __future__ import annotations

from fastio_cli.blobs import Blobs, Content
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO


class NoBlobs(Blobs):
    """No place for large bodies: small ones travel in rows, others are refused with advice."""

    def __init__(self) -> None:
        super().__init__("")

    def _put_file(self, head: bytes, stream: IO[bytes], size_bytes_max: int) -> Content:
        raise FastioError(
            "invalid",
            "The store is a database, and no place for large files is set.",
            "Set one that all its users reach: fastio config set blobs s3://BUCKET (or a FOLDER)",
        )
