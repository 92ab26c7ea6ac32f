"""Blobs of a store that has no folder and was given no other place for them."""

from __future__ import annotations

from fastio_cli.blobs.local import Blobs, Content, Partial
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, NoReturn


class NoBlobs(Blobs):
    """No place for large bodies: small ones travel in rows, others are refused with advice."""

    def __init__(self) -> None:
        super().__init__("")

    def check_place(self) -> NoReturn:
        """Raise ``invalid``."""
        raise FastioError(
            "invalid",
            "The store is a database, and no place for large files is set.",
            "Set one that all its users reach: fastio config set blobs s3://BUCKET/PREFIX "
            "(or gs://, az://, a folder)",
        )

    def partial(self, name: str, size_bytes: int = 0) -> Partial:
        """A blob in the making that may become small content only."""
        return Partial(self, "", 0)

    def partials(self) -> list[str]:
        """None: nothing is ever kept."""
        return []

    def _put_file(self, head: bytes, stream: IO[bytes], size_bytes_max: int) -> Content:
        self.check_place()
