"""Bytes on their way to a server: hashed first, and resumable when they are many."""

from __future__ import annotations

import os

import httpx

from fastio_cli.blobs.content import CHUNK_BYTES, Content
from fastio_cli.client.responses import transient, unreachable
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, BinaryIO

    from fastio_cli.client.transport import Transport

RESENT_BYTES_MAX = 8 * 1024 * 1024  # smaller bodies are sent again from the start after a cut
SPOOLED_BYTES_MAX = 16 * 1024 * 1024  # kept in memory; larger streams go to a temporary file


class Body(Content):
    """Bytes to be uploaded with a call; they can be read again from any offset."""

    __slots__ = ("is_own", "stream", "upload_id")

    def __init__(self, etag: str, size_bytes: int, stream: IO[bytes], is_own: bool) -> None:
        super().__init__(etag, size_bytes)
        self.stream = stream
        self.is_own = is_own  # opened here, so to be closed here
        self.upload_id = os.urandom(16).hex()

    def close(self) -> None:
        if self.is_own:
            self.stream.close()

    def read_from(self, offset: int) -> Iterator[bytes]:
        self.stream.seek(offset)
        while chunk := self.stream.read(CHUNK_BYTES):
            yield chunk


def body_of(stream: BinaryIO) -> Body:
    """The bytes of a stream, hashed. A stream that can be read only once is copied."""
    import hashlib
    import tempfile

    reader: IO[bytes]
    reader = _reopen(stream) or tempfile.SpooledTemporaryFile(SPOOLED_BYTES_MAX)  # noqa: SIM115
    digest, size = hashlib.sha256(), 0
    try:
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            if not stream.seekable():
                reader.write(chunk)
    except BaseException:
        if reader is not stream:
            reader.close()
        raise
    return Body(digest.hexdigest(), size, reader, reader is not stream)


def upload_ahead(transport: Transport, workspace: str, body: Body) -> None:
    """Send a large body before its call, resuming at the server's offset after each failure.

    Raises ``unavailable`` when the server stays unavailable.
    """
    url = f"{transport.url}/v1/workspaces/{workspace}/uploads/{body.upload_id}"
    attempts = transport.retries()
    offset: int | None = 0
    received = 0
    while True:
        try:
            if offset is None:
                offset = _stated_offset(transport, url, body.size_bytes)
            if offset > received:
                received = offset
                attempts.reset()
            if offset < body.size_bytes:
                headers = {"upload-offset": str(offset)}
                transport.json("PATCH", url, headers=headers, content=body.read_from(offset))
            return
        except httpx.RequestError as e:
            failure = unreachable(transport.url, e)
        except FastioError as e:
            # The offset was wrong if the server was still writing the previous part.
            failure = e if "offset" in e.details else transient(e)
        offset = None
        attempts.wait_or_raise(failure)


def _stated_offset(transport: Transport, url: str, size_bytes: int) -> int:
    """How many bytes the server has. Raises ``invalid`` for an answer that says nothing of it."""
    answer = transport.json("GET", url)
    offset = answer.get("offset") if isinstance(answer, dict) else None
    if isinstance(offset, int) and 0 <= offset <= size_bytes:
        return offset
    raise FastioError(
        "invalid",
        f"{transport.url} did not answer as a fastio server does: it does not say how many bytes "
        "it has.",
        "Check the address, and whether a proxy or a login page of the network is in between.",
    )


def _reopen(stream: BinaryIO) -> IO[bytes] | None:
    """A handle on the same bytes that survives the caller's closing of theirs; None if the stream
    can be read only once."""
    if not stream.seekable():
        return None
    try:
        return open(os.dup(stream.fileno()), "rb")
    except OSError:  # bytes in memory
        return stream
