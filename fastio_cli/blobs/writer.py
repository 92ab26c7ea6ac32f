"""A blob being written, a chunk at a time."""

from __future__ import annotations

import os

from fastio_cli.blobs.content import INLINE_BYTES_MAX, Content, inline
from fastio_cli.blobs.errors import not_stored, too_large
from fastio_cli.blobs.files import make_folder, private, remove, write_all
from fastio_cli.digest import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from fastio_cli.blobs.staging import Destination


class BlobWriter:
    """Takes the bytes of one content in order, of which little is ever in memory.

    Small contents never touch the disk. ``temporary`` is the file of a large one until it is
    finished. Raises ``too_large`` for more than ``size_bytes_max`` bytes, ``unavailable`` when the
    disk is full; then, and for what is not to be finished, ``discard`` is to be called. Not
    thread-safe.
    """

    def __init__(self, blobs: Destination, temporary: str, size_bytes_max: int) -> None:
        self._blobs = blobs
        self._temporary = temporary
        self._size_bytes_max = size_bytes_max
        self._file: BinaryIO | None = None
        self._head = b""
        self._digest = sha256()
        self._size_bytes = 0

    @property
    def is_large(self) -> bool:
        """Whether it is no small content any more."""
        return self._file is not None

    def write(self, data: bytes | memoryview) -> None:
        """Add bytes at the end."""
        self._size_bytes += len(data)
        if self._size_bytes > self._size_bytes_max:
            raise too_large(self._size_bytes_max)
        self._digest.update(data)
        try:
            if self._file is not None:
                write_all(self._file, data)
                return
            self._head += bytes(data)
            if len(self._head) > INLINE_BYTES_MAX:
                self._open_file()
        except OSError as e:
            raise not_stored(e) from e

    def finish(self) -> Content:
        """The content, durable when this returns."""
        if self._file is None:
            return inline(self._head)
        name = self._digest.hexdigest()
        try:
            os.fsync(self._file.fileno())
            self._file.close()
            content = self._blobs.commit(self._temporary, name, self._size_bytes)
        except OSError as e:
            raise not_stored(e) from e
        self._file = None
        return content

    def discard(self) -> None:
        """Leave nothing behind, unless it is finished."""
        if self._file is not None:
            self._file.close()
            self._file = None
            remove(self._temporary)

    def _open_file(self) -> None:
        self._blobs.check_place()
        make_folder(os.path.dirname(self._temporary))
        self._file = open(self._temporary, "xb", buffering=0, opener=private)  # noqa: SIM115
        write_all(self._file, self._head)
        self._head = b""
