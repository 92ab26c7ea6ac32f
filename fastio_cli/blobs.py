"""Bytes by their content: small ones travel in rows, large ones are files named by their SHA-256.

A blob is written to a temporary file, hashed on the way, synced, and only then given its name, so a
name is never seen before its bytes are safe. Blobs are immutable; the same bytes are stored once.
"""

from __future__ import annotations

import hashlib
import os

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO, BinaryIO

INLINE_BYTES_MAX = 64 * 1024
CHUNK_BYTES = 1024 * 1024
# A blob younger than this is never swept: a transaction may be about to refer to it.
GRACE_S = 24 * 3600


class Content:
    """Where the bytes of one version are: in the row, in a blob, or in a chain of segments.

    ``etag`` is the SHA-256 of the bytes, or for appended files a hash over the chain. Exactly one
    of ``body``, ``blob`` (a SHA-256 in hex) and ``chain`` (the segments' chain number) is set.
    """

    __slots__ = ("blob", "body", "chain", "etag", "size_bytes")

    def __init__(
        self,
        etag: str,
        size_bytes: int,
        body: bytes | None = None,
        blob: str | None = None,
        chain: int | None = None,
    ) -> None:
        self.etag = etag
        self.size_bytes = size_bytes
        self.body = body
        self.blob = blob
        self.chain = chain


def inline(body: bytes) -> Content:
    """Content that travels in its row."""
    return Content(hashlib.sha256(body).hexdigest(), len(body), body=body)


class Blobs:
    """A folder of blobs: ``ab/abcdef…`` by SHA-256, and ``tmp/`` for what is being written."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def keep(self, body: bytes) -> Content:
        """Content for bytes in memory: inline when small, else a blob."""
        if len(body) <= INLINE_BYTES_MAX:
            return inline(body)
        import io

        return self.put(io.BytesIO(body), len(body))

    def put(self, stream: IO[bytes], size_bytes_max: int) -> Content:
        """Store a stream in constant memory; durable when this returns.

        Raises ``too_large`` when more than ``size_bytes_max`` bytes come, ``unavailable`` when the
        disk is full; nothing is left behind in either case.
        """
        head = _read_up_to(stream, INLINE_BYTES_MAX + 1)
        if len(head) > size_bytes_max:
            raise _too_large(size_bytes_max)
        if len(head) <= INLINE_BYTES_MAX:
            return inline(head)
        try:
            return self._put_file(head, stream, size_bytes_max)
        except OSError as e:
            raise FastioError(
                "unavailable",
                f"The file could not be stored: {e.strerror or e}.",
                "Free some disk space and try again: fastio doctor",
            ) from e

    def add_part(self, upload: str, offset: int, stream: BinaryIO, size_bytes_max: int) -> int:
        """Go on with an upload that comes in parts, at ``offset``; how many bytes there are then.

        What came is kept when the stream breaks, and forgotten after a day. Raises ``invalid`` with
        the right ``offset`` when this is not where the last part ended.
        """
        path = self._part(upload)
        os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
        with open(path, "ab", buffering=0) as f:
            size = f.tell()
            if size != offset:
                raise FastioError(
                    "invalid", f"The upload has {size} bytes, not {offset}.", offset=size
                )
            buffer = memoryview(bytearray(CHUNK_BYTES))
            while count := stream.readinto(buffer):  # type: ignore[attr-defined]
                size += count
                if size > size_bytes_max:
                    raise _too_large(size_bytes_max)
                _write_all(f, buffer[:count])
        return size

    def part_size(self, upload: str) -> int:
        """How many bytes of an upload have come."""
        try:
            return os.path.getsize(self._part(upload))
        except FileNotFoundError:
            return 0

    def finish_parts(self, upload: str) -> Content:
        """Make the parts of an upload one blob. Raises ``not_found`` when there are none."""
        done = self._part(upload) + ".done"
        digest = hashlib.sha256()
        try:
            if not os.path.exists(done):  # else finished before, and the answer was lost
                os.rename(self._part(upload), done)
            with open(done, "rb") as f:
                while chunk := f.read(CHUNK_BYTES):
                    digest.update(chunk)
                size = f.tell()
                os.fsync(f.fileno())
        except FileNotFoundError:
            raise FastioError(
                "not_found", "There is no such upload.", "Begin it again: fastio file put FILE"
            ) from None
        name = digest.hexdigest()
        temporary = os.path.join(self.folder, "tmp", os.urandom(8).hex())
        os.link(done, temporary)
        self._give_name(temporary, name)
        return Content(name, size, blob=name)

    def _part(self, upload: str) -> str:
        return os.path.join(self.folder, "tmp", f"upload-{upload}")

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading. Raises ``unavailable`` when it is missing."""
        try:
            return open(self.path(sha256), "rb")
        except OSError:
            raise FastioError(
                "unavailable",
                f"The stored bytes {sha256[:12]}… are missing from the blob folder.",
                "See what is damaged: fastio doctor",
            ) from None

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes ``start`` to ``end`` (exclusive) of a blob, in chunks."""
        with self.open(sha256) as f:
            f.seek(start)
            left = end - start
            while left > 0:
                chunk = f.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise FastioError(
                        "unavailable",
                        f"The stored bytes {sha256[:12]}… are shorter than they were.",
                        "See what is damaged: fastio doctor",
                    )
                left -= len(chunk)
                yield chunk

    def path(self, sha256: str) -> str:
        """The file that holds, or would hold, a blob."""
        return os.path.join(self.folder, sha256[:2], sha256)

    def names(self) -> Iterator[str]:
        """The SHA-256 of every blob that is there."""
        for shard in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []:
            if len(shard) == 2:
                yield from sorted(os.listdir(os.path.join(self.folder, shard)))

    def _put_file(self, head: bytes, stream: IO[bytes], size_bytes_max: int) -> Content:
        temporary_folder = os.path.join(self.folder, "tmp")
        os.makedirs(temporary_folder, mode=0o700, exist_ok=True)
        temporary = os.path.join(temporary_folder, os.urandom(8).hex())
        digest = hashlib.sha256(head)
        size = len(head)
        try:
            with open(temporary, "xb", buffering=0) as f:
                _write_all(f, head)
                buffer = memoryview(bytearray(CHUNK_BYTES))
                while count := stream.readinto(buffer):  # type: ignore[attr-defined]
                    size += count
                    if size > size_bytes_max:
                        raise _too_large(size_bytes_max)
                    digest.update(buffer[:count])
                    _write_all(f, buffer[:count])
                os.fsync(f.fileno())
            name = digest.hexdigest()
            self._give_name(temporary, name)
        except BaseException:
            _remove(temporary)
            raise
        return Content(name, size, blob=name)

    def _give_name(self, temporary: str, name: str) -> None:
        final = self.path(name)
        shard = os.path.dirname(final)
        if not os.path.isdir(shard):
            os.makedirs(shard, mode=0o700, exist_ok=True)
            sync_folder(self.folder)
        # Also when the name is there: replacing equal bytes renews the age that keeps them.
        os.replace(temporary, final)
        sync_folder(shard)


def sync_folder(folder: str) -> None:
    """Make the names in a folder durable (a no-op where folders cannot be synced)."""
    try:
        fd = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_up_to(stream: IO[bytes], count: int) -> bytes:
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _write_all(f: BinaryIO, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[f.write(view) :]


def _remove(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def _too_large(size_bytes_max: int) -> FastioError:
    return FastioError(
        "too_large",
        f"The file is larger than the limit of {size_bytes_max:,} bytes.",
        "Split it, or raise the limit: fastio config set file_bytes_max BYTES",
        size_bytes_max=size_bytes_max,
    )
