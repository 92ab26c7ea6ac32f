"""Bytes by their content: small ones travel in rows, large ones are files named by their SHA-256.

A blob is written to a temporary file, hashed on the way, synced and then renamed, so that a name
never exists before its bytes are durable. Blobs are immutable; the same bytes are stored once.
"""

from __future__ import annotations

import os
import time

from fastio_cli.blobs.content import CHUNK_BYTES, INLINE_BYTES_MAX, Content, inline, is_blob_name
from fastio_cli.blobs.errors import damaged_blob, too_large
from fastio_cli.blobs.files import (
    is_at,
    lock_file,
    make_folder,
    remove,
    sync_folder,
    unlock_file,
    write_all,
)
from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import open_below, open_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import IO, BinaryIO

    from fastio_cli.blobs.claims import BlobClaim
    from fastio_cli.blobs.staging import StagedBlob
    from fastio_cli.blobs.writer import BlobWriter

# A blob younger than this is never swept: a transaction may be about to refer to it.
GRACE_S = 24 * 3600
STAGING_FOLDER = "partial"
CLAIMS_FOLDER = "claims"


class BlobStore:
    """A folder of blobs: ``ab/abcdef…`` by SHA-256; unfinished ones in ``tmp/``, ``partial/``, and
    claims on those that are being stored in ``claims/``."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def put_bytes(self, body: bytes) -> Content:
        """Content for bytes in memory: inline when small, else a blob."""
        if len(body) <= INLINE_BYTES_MAX:
            return inline(body)
        import io

        return self.put(io.BytesIO(body), len(body))

    def put(self, stream: IO[bytes], size_bytes_max: int) -> Content:
        """Store a stream in constant memory; durable when this returns.

        Raises ``too_large`` for more than ``size_bytes_max`` bytes, ``unavailable`` when the disk
        is full; nothing is left behind in either case.
        """
        writer = self.writer(size_bytes_max)
        try:
            writer.write(_read_up_to(stream, INLINE_BYTES_MAX + 1))
            if writer.is_large:
                buffer = memoryview(bytearray(CHUNK_BYTES))
                while count := stream.readinto(buffer):  # type: ignore[attr-defined]
                    writer.write(buffer[:count])
            return writer.finish()
        except BaseException:
            writer.discard()
            raise

    def writer(self, size_bytes_max: int) -> BlobWriter:
        """Takes bytes as they come, to be stored."""
        from fastio_cli.blobs.writer import BlobWriter

        temporary = os.path.join(self.folder, "tmp", os.urandom(8).hex())
        return BlobWriter(self, temporary, size_bytes_max)

    def add_part(self, upload: str, offset: int, stream: BinaryIO, size_bytes_max: int) -> int:
        """Append a part to an upload at ``offset``; returns the new size.

        What arrived is kept when the stream breaks, and swept after a day. Raises ``invalid`` with
        the right ``offset`` if the upload does not end there, also when another part was appended
        meanwhile. The lock is held for a chunk at a time only: a client that was cut off may send
        the rest while the server still reads the part that was cut.
        """
        path = self._part(upload)
        make_folder(os.path.dirname(path))
        try:
            fd = open_plain(path, os.O_RDWR if offset else os.O_RDWR | os.O_CREAT)
        except FileNotFoundError:
            raise _finished() if os.path.exists(path + ".done") else _elsewhere(0, offset) from None
        with open(fd, "r+b", buffering=0) as f:
            size = offset
            _go_to_end(f, path, size)
            buffer = memoryview(bytearray(CHUNK_BYTES))
            while count := stream.readinto(buffer):  # type: ignore[attr-defined]
                if size + count > size_bytes_max:
                    raise too_large(size_bytes_max)
                lock_file(f)
                try:
                    _go_to_end(f, path, size)
                    write_all(f, buffer[:count])
                finally:
                    unlock_file(f)
                size += count
        return size

    def part_size(self, upload: str) -> int:
        """How many bytes of an upload have arrived."""
        try:
            return os.path.getsize(self._part(upload))
        except FileNotFoundError:
            return 0

    def parts_size(self, prefix: str) -> int:
        """The size of all unfinished uploads whose names have this prefix."""
        folder, start = os.path.split(self._part(prefix))
        names = os.listdir(folder) if os.path.isdir(folder) else []
        uploads = [n.removeprefix("upload-") for n in names if n.startswith(start)]
        return sum(self.part_size(u) for u in uploads if not u.endswith(".done"))

    def finish_parts(self, upload: str) -> Content:
        """Make a blob of an upload. Raises ``not_found`` if no part was appended."""
        path = self._part(upload)
        done = path + ".done"
        digest = sha256()
        try:
            if not os.path.exists(done):  # else it was finished before, and the response was lost
                with open(open_plain(path), "rb") as f:
                    lock_file(f)  # nobody appends now, nor after the rename
                    os.rename(path, done)
            with open(open_plain(done), "rb") as f:
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
        return self.commit(temporary, name, size)

    def reopen_parts(self, upload: str) -> None:
        """Have an upload that was finished for nothing count, and end, as an unfinished one."""
        path = self._part(upload)
        try:
            os.rename(path + ".done", path)
        except OSError:
            pass  # it is swept as it is

    def _part(self, upload: str) -> str:
        return os.path.join(self.folder, "tmp", f"upload-{upload}")

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading. Raises ``unavailable`` when it is missing."""
        try:
            return open(self._descriptor(sha256), "rb")
        except OSError:
            raise damaged_blob(sha256, "missing") from None

    def _descriptor(self, sha256: str) -> int:
        check_name(sha256)
        return open_below(self.folder, sha256[:2], sha256)

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes ``start`` to ``end`` (exclusive) of a blob, in chunks."""
        with self.open(sha256) as f:
            f.seek(start)
            left = end - start
            while left > 0:
                chunk = f.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise damaged_blob(sha256, "shorter than they were")
                left -= len(chunk)
                yield chunk

    def staged(self, name: str, size_bytes: int = 0, state: str = "") -> StagedBlob:
        """The staged blob of this name, resumed after the ``size_bytes`` that are durable if these
        are of this ``state``.

        Raises ``unavailable`` if another writer has it or the disk fails.
        """
        from fastio_cli.blobs.staging import StagedBlob

        file = os.path.join(self.folder, STAGING_FOLDER, name)
        return StagedBlob(self, file, size_bytes, state)

    def check_place(self) -> None:
        """Raise ``invalid`` if there is no place for large files."""

    def staged_names(self) -> list[str]:
        """The names of the staged blobs."""
        return self._listed(STAGING_FOLDER)

    def discard_staged(self, name: str) -> None:
        """Remove a staged blob that nobody will resume."""
        remove(os.path.join(self.folder, STAGING_FOLDER, name))

    def path(self, sha256: str) -> str:
        """The file that holds, or would hold, a blob. Raises ``unavailable`` for what is no name
        of a blob: whatever a database holds, it leads nowhere else."""
        check_name(sha256)
        return os.path.join(self.folder, sha256[:2], sha256)

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether a blob exists, in its full size."""
        try:
            fd = self._descriptor(sha256)
        except OSError:
            return False
        try:
            return os.fstat(fd).st_size == size_bytes
        finally:
            os.close(fd)

    def names(self) -> Iterator[str]:
        """The SHA-256 of every blob."""
        for shard in sorted(self._listed()):
            if len(shard) == 2:
                names = sorted(self._listed(shard))
                yield from (n for n in names if is_blob_name(n) and n.startswith(shard))

    def _listed(self, *below: str) -> list[str]:
        """The names in a folder of this store, none if it does not exist, or leads elsewhere."""
        folder = os.path.join(self.folder, *below)
        is_own = os.path.isdir(folder) and not any(map(os.path.islink, (self.folder, folder)))
        return os.listdir(folder) if is_own else []

    def sweep(self, used: set[str]) -> int:
        """Remove blobs that are not ``used`` and temporary files, each after a day.

        Returns the bytes that were freed.
        """
        freed = sum(self._remove_unused(name) for name in self.names() if name not in used)
        return freed + self.sweep_temporary()

    def sweep_temporary(self) -> int:
        """Remove temporary files that are older than a day; the bytes that were freed."""
        freed = 0
        temporary = os.path.join(self.folder, "tmp")
        for name in self._listed("tmp"):
            path = os.path.join(temporary, name)
            if _age_s(path) > GRACE_S:
                freed += os.lstat(path).st_size
                os.unlink(path)
        for name in filter(is_blob_name, self._listed(CLAIMS_FOLDER)):
            self.claim(name).close()  # of processes that died
        return freed

    def _remove_unused(self, name: str) -> int:
        path = self.path(name)
        if _age_s(path) <= GRACE_S:
            return 0
        # Moved first and checked again: storing the same bytes meanwhile renews the age.
        aside = os.path.join(self.folder, "tmp", name)
        make_folder(os.path.dirname(aside))
        os.replace(path, aside)
        if _age_s(aside) <= GRACE_S:
            os.replace(aside, path)
            return 0
        size = os.path.getsize(aside)
        os.unlink(aside)
        return size

    def claim(self, name: str) -> BlobClaim:
        """Keep a blob, which is there or about to be, from being removed."""
        from fastio_cli.blobs.claims import BlobClaim

        check_name(name)
        make_folder(self.folder)
        return BlobClaim(os.path.join(self.folder, CLAIMS_FOLDER), name)

    def commit(self, temporary: str, name: str, size_bytes: int) -> Content:
        """Make a synced file the blob of this name, durably; the content, with a claim on it."""
        claim = self.claim(name)
        self._commit(temporary, name)
        return Content(name, size_bytes, blob=name, claim=claim)

    def discard(self, content: Content, is_used: Callable[[str], bool]) -> None:
        """Remove a blob that was stored in vain, unless others are storing the same bytes, or
        ``is_used`` says that rows refer to them."""
        claim, name = content.claim, content.blob
        if claim is None or name is None:
            return
        content.claim, content.is_discarded = None, True
        try:
            if claim.is_only() and not is_used(name):
                self._remove(name)
        finally:
            claim.close()

    def _remove(self, name: str) -> None:
        remove(self.path(name))

    def _commit(self, temporary: str, name: str) -> None:
        """Rename a synced file to the blob of this name, durably."""
        final = self.path(name)
        shard = os.path.dirname(final)
        make_folder(self.folder)
        make_folder(shard)
        # Also if the blob exists: the new file's age keeps it from being swept.
        os.replace(temporary, final)
        sync_folder(shard)


def check_name(name: str) -> None:
    """Raise ``unavailable`` for what is no name of a blob."""
    if not is_blob_name(name):
        raise damaged_blob(name, "not called as blobs are")


def _go_to_end(f: BinaryIO, path: str, expected: int) -> None:
    """Seek to the end of an upload. Raises ``invalid`` if that is not at ``expected``.

    A file that was renamed belongs to a finished upload: its bytes are those of a blob.
    """
    size = f.seek(0, os.SEEK_END)
    if size != expected:
        raise _elsewhere(size, expected)
    if not is_at(f.fileno(), path):
        raise _finished()


def _elsewhere(size: int, expected: int) -> FastioError:
    return FastioError("invalid", f"The upload has {size} bytes, not {expected}.", offset=size)


def _finished() -> FastioError:
    return FastioError("invalid", "The upload was finished.", "Begin another: fastio file put FILE")


def _read_up_to(stream: IO[bytes], count: int) -> bytes:
    parts = []
    while count > 0 and (part := stream.read(count)):
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _age_s(path: str) -> float:
    return time.time() - os.lstat(path).st_mtime
