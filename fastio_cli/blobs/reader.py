"""Chunks of bytes, read as a file."""

from __future__ import annotations

import io

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing_extensions import Buffer


class ChunkReader(io.RawIOBase):
    """A file of the chunks that ``next_chunk`` returns."""

    def __init__(self) -> None:
        super().__init__()
        self._rest = memoryview(b"")

    def next_chunk(self) -> bytes | None:
        """The next bytes, None at the end."""
        raise NotImplementedError

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        """Fill the buffer from what is left of a chunk, or from the next one; 0 at the end."""
        while not self._rest:
            chunk = self.next_chunk()
            if chunk is None:
                return 0
            self._rest = memoryview(chunk)
        free = memoryview(buffer).cast("B")
        count = min(len(free), len(self._rest))
        free[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count
