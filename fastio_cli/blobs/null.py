"""The blob store of a database for which no place for large files is set."""

from __future__ import annotations

from fastio_cli.blobs.local import BlobStore
from fastio_cli.blobs.staging import StagedBlob
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


class NullBlobStore(BlobStore):
    """Keeps nothing: small contents go into rows, large ones are refused (``invalid``)."""

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

    def staged(self, name: str, size_bytes: int = 0, state: str = "") -> StagedBlob:
        """A staged blob that may become small content only."""
        return StagedBlob(self, "", 0)

    def staged_names(self) -> list[str]:
        """None: nothing is ever kept."""
        return []
