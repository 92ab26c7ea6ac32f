"""Bytes as streams: what a file operation reads from, and what it answers with."""

from __future__ import annotations

import io
import os

from fastio_cli.blobs.reader import ChunkReader
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO, TypeAlias

    from fastio_cli import model
    from fastio_cli.blobs.content import Content
    from fastio_cli.engine.client import Client

    # The bytes themselves, the path of a file, or a file that is open for reading bytes.
    Source: TypeAlias = bytes | bytearray | memoryview | str | os.PathLike[str] | BinaryIO | Content


def upload(client: Client, source: Source) -> Content:
    """Store the bytes of a source, as the ``content`` of a file operation."""
    from fastio_cli.blobs.content import Content

    if isinstance(source, Content):
        return source
    if isinstance(source, bytes | bytearray | memoryview):
        return client.upload(io.BytesIO(source))
    if isinstance(source, str | os.PathLike):
        with open(source, "rb") as f:
            return client.upload(f)
    if not hasattr(source, "read") or isinstance(source, io.TextIOBase):
        raise FastioError(
            "invalid",
            "Bytes come as bytes, a path, or a file open for reading bytes.",
            "Open the file with mode 'rb', or encode the text.",
        )
    return client.upload(source)


class Download(ChunkReader):
    """The bytes of a version of an object, read once from beginning to end.

    Iterate over it for chunks of bytes as they come, or ``read`` it as any file. ``record`` is the
    version. Close it, or use it in a ``with`` statement.
    """

    def __init__(self, client: Client, answer: Any) -> None:
        super().__init__()
        self.record: model.Version = answer.record
        self._chunks = client.chunks(answer)

    def next_chunk(self) -> bytes | None:
        return next(self._chunks, None)

    def read(self, size: int | None = -1) -> bytes:
        """So many bytes, fewer only at the end; without a number all that are left."""
        if size is None or size < 0:
            return self.readall()
        parts = []
        while size > 0 and (part := super().read(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def readall(self) -> bytes:
        """All bytes that are left."""
        return b"".join(self)

    def __next__(self) -> bytes:
        """The next chunk, not the next line as of other files."""
        rest, self._rest = bytes(self._rest), memoryview(b"")
        return rest or next(self._chunks)

    def __iter__(self) -> Iterator[bytes]:
        return self

    def close(self) -> None:
        """Let go of the connection that the bytes come by."""
        if not self.closed:
            close = getattr(self._chunks, "close", None)
            if close is not None:
                close()
        super().close()
