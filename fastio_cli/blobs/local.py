"""Bytes by their content: small ones travel in rows, large ones are files named by their SHA-256.

A blob is written to a temporary file, hashed on the way, synced, and only then given its name, so a
name is never seen before its bytes are safe. Blobs are immutable; the same bytes are stored once.
"""

from __future__ import annotations

import os
import sys
import time

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

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

    def close(self) -> None:
        """Let go of what was opened to read the bytes."""


def inline(body: bytes) -> Content:
    """Content that travels in its row."""
    return Content(sha256(body).hexdigest(), len(body), body=body)


class BlobStore:
    """A folder of blobs: ``ab/abcdef…`` by SHA-256, and ``tmp/`` for what is being written."""

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
            raise _not_stored(e) from e

    def add_part(self, upload: str, offset: int, stream: BinaryIO, size_bytes_max: int) -> int:
        """Go on with an upload that comes in parts, at ``offset``; how many bytes there are then.

        What came is kept when the stream breaks, and forgotten after a day. Raises ``invalid`` with
        the right ``offset`` when this is not where the last part ended: at once, or as soon as
        another part went on meanwhile. Whoever was cut off may still be sending what had come while
        the rest is sent again, so nobody waits for the other.
        """
        path = self._part(upload)
        make_folder(os.path.dirname(path))
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with open(fd, "r+b", buffering=0) as f:
            size = offset
            _go_to_end(f, path, size)
            buffer = memoryview(bytearray(CHUNK_BYTES))
            while count := stream.readinto(buffer):  # type: ignore[attr-defined]
                if size + count > size_bytes_max:
                    raise _too_large(size_bytes_max)
                _lock(f)
                try:
                    _go_to_end(f, path, size)
                    _write_all(f, buffer[:count])
                finally:
                    _unlock(f)
                size += count
        return size

    def part_size(self, upload: str) -> int:
        """How many bytes of an upload have come."""
        try:
            return os.path.getsize(self._part(upload))
        except FileNotFoundError:
            return 0

    def parts_size(self, prefix: str) -> int:
        """How many bytes there are of all unfinished uploads whose names begin so."""
        folder, begin = os.path.split(self._part(prefix))
        names = os.listdir(folder) if os.path.isdir(folder) else []
        uploads = [n.removeprefix("upload-") for n in names if n.startswith(begin)]
        return sum(self.part_size(u) for u in uploads if not u.endswith(".done"))

    def finish_parts(self, upload: str) -> Content:
        """Make the parts of an upload one blob. Raises ``not_found`` when there are none."""
        path = self._part(upload)
        done = path + ".done"
        digest = sha256()
        try:
            if not os.path.exists(done):  # else finished before, and the answer was lost
                with open(path, "rb") as f:
                    _lock(f)  # nobody is adding to it, nor will once it has lost its name
                    os.rename(path, done)
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
        self.commit(temporary, name)
        return Content(name, size, blob=name)

    def _part(self, upload: str) -> str:
        return os.path.join(self.folder, "tmp", f"upload-{upload}")

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading. Raises ``unavailable`` when it is missing."""
        try:
            return open(self.path(sha256), "rb")
        except OSError:
            raise bytes_lost(sha256, "missing") from None

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes ``start`` to ``end`` (exclusive) of a blob, in chunks."""
        with self.open(sha256) as f:
            f.seek(start)
            left = end - start
            while left > 0:
                chunk = f.read(min(CHUNK_BYTES, left))
                if not chunk:
                    raise bytes_lost(sha256, "shorter than they were")
                left -= len(chunk)
                yield chunk

    def staged(self, name: str, size_bytes: int = 0) -> StagedBlob:
        """The blob in the making of this name, going on after the ``size_bytes`` known to be safe.

        Raises ``unavailable`` when the disk will not.
        """
        return StagedBlob(self, os.path.join(self.folder, "partial", name), size_bytes)

    def check_place(self) -> None:
        """Raise ``invalid`` if there is no place for large bodies."""

    def staged_names(self) -> list[str]:
        """The names of the blobs in the making."""
        folder = os.path.join(self.folder, "partial")
        return os.listdir(folder) if os.path.isdir(folder) else []

    def discard_staged(self, name: str) -> None:
        """Remove a blob in the making that nobody goes on with."""
        _remove(os.path.join(self.folder, "partial", name))

    def path(self, sha256: str) -> str:
        """The file that holds, or would hold, a blob."""
        return os.path.join(self.folder, sha256[:2], sha256)

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether a blob is there, in its full size."""
        try:
            return os.path.getsize(self.path(sha256)) == size_bytes
        except OSError:
            return False

    def names(self) -> Iterator[str]:
        """The SHA-256 of every blob that is there."""
        for shard in sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []:
            if len(shard) == 2:
                yield from sorted(os.listdir(os.path.join(self.folder, shard)))

    def sweep(self, used: set[str]) -> int:
        """Remove blobs and temporary files that are not ``used``, a day after they came.

        Returns the bytes that were freed.
        """
        freed = sum(self._remove_unused(name) for name in self.names() if name not in used)
        return freed + self.sweep_temporary()

    def sweep_temporary(self) -> int:
        """Remove what writers left behind a day ago; the bytes that were freed."""
        freed = 0
        temporary = os.path.join(self.folder, "tmp")
        for name in os.listdir(temporary) if os.path.isdir(temporary) else []:
            path = os.path.join(temporary, name)
            if _age_s(path) > GRACE_S:
                freed += os.path.getsize(path)
                os.unlink(path)
        return freed

    def _remove_unused(self, name: str) -> int:
        path = self.path(name)
        if _age_s(path) <= GRACE_S:
            return 0
        # Out of the way first: whoever stored the same bytes again just now renewed its age.
        aside = os.path.join(self.folder, "tmp", name)
        os.makedirs(os.path.dirname(aside), mode=0o700, exist_ok=True)
        os.replace(path, aside)
        if _age_s(aside) <= GRACE_S:
            os.replace(aside, path)
            return 0
        size = os.path.getsize(aside)
        os.unlink(aside)
        return size

    def _put_file(self, head: bytes, stream: IO[bytes], size_bytes_max: int) -> Content:
        temporary_folder = os.path.join(self.folder, "tmp")
        make_folder(temporary_folder)
        temporary = os.path.join(temporary_folder, os.urandom(8).hex())
        digest = sha256(head)
        size = len(head)
        try:
            with open(temporary, "xb", buffering=0, opener=private) as f:
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
            self.commit(temporary, name)
        except BaseException:
            _remove(temporary)
            raise
        return Content(name, size, blob=name)

    def commit(self, temporary: str, name: str) -> None:
        """Make a synced file the blob of this name, durably."""
        final = self.path(name)
        shard = os.path.dirname(final)
        make_folder(shard)
        # Also when the name is there: replacing equal bytes renews the age that keeps them.
        os.replace(temporary, final)
        sync_folder(shard)


def _lock(f: IO[bytes]) -> None:
    """Keep other processes and threads from changing an open file, at most until it is closed."""
    if fcntl is not None:
        fcntl.flock(f, fcntl.LOCK_EX)


def _unlock(f: IO[bytes]) -> None:
    if fcntl is not None:
        fcntl.flock(f, fcntl.LOCK_UN)


def _go_to_end(f: BinaryIO, path: str, expected: int) -> None:
    """Where the next part of an upload begins. Raises ``invalid`` if that is not as ``expected``.

    A file that has lost its name is a finished upload: its bytes are those of a blob.
    """
    size = f.seek(0, os.SEEK_END)
    if size != expected:
        raise FastioError("invalid", f"The upload has {size} bytes, not {expected}.", offset=size)
    if not _is_at(f, path):
        raise FastioError(
            "invalid", "The upload was finished.", "Begin another: fastio file put FILE"
        )


def _is_at(f: BinaryIO, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(f.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


class StagedBlob:
    """A blob being written: a growing file in the staging folder, and the hash so far.

    ``sync`` makes the appended bytes durable and returns their number; a later ``StagedBlob`` of
    the same name, also after a crash, resumes there. Small contents never touch the disk. Not
    thread-safe; other processes are kept out by a file lock.
    """

    def __init__(self, blobs: BlobStore, file: str, size_bytes: int) -> None:
        self._blobs = blobs
        self._file = file
        self._fd: int | None = None
        self._head = b""
        self._unsynced = False
        self.size_bytes = 0
        self._digest = sha256()
        if size_bytes:
            self._go_on(size_bytes)

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes so far."""
        return self._digest.hexdigest()

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end. Raises ``unavailable`` when the disk is full."""
        self._digest.update(data)
        self.size_bytes += len(data)
        if self._fd is None:
            self._head += bytes(data)
            if len(self._head) > INLINE_BYTES_MAX:
                self._spill()
            return
        try:
            _write_all_to(self._fd, data)
        except OSError as e:
            raise _not_stored(e) from e
        self._unsynced = True

    def sync(self) -> int:
        """Make what was appended durable; how many bytes a later writer can rely on."""
        if self._fd is None:
            return 0
        try:
            if self._unsynced:
                sync_data(self._fd)
        except OSError as e:
            raise _not_stored(e) from e
        self._unsynced = False
        return self.size_bytes

    def restart(self) -> None:
        """Drop all bytes and begin anew."""
        self.discard()
        self.size_bytes = 0
        self._head = b""
        self._digest = sha256()

    def finish(self) -> Content:
        """Make it a blob (or small content that travels in its row), durable."""
        name = self.sha256
        if self._fd is None:
            return Content(name, self.size_bytes, body=self._head)
        self.sync()
        self.close()
        try:
            self._blobs.commit(self._file, name)
        except OSError as e:
            raise _not_stored(e) from e
        return Content(name, self.size_bytes, blob=name)

    def discard(self) -> None:
        """Leave nothing behind. A file that this writer never had is another one's to remove."""
        if self._fd is not None:
            _remove(self._file)
        self.close()

    def close(self) -> None:
        """Stop here; what was synced stays for a later writer."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def head(self, size_bytes: int) -> bytes:
        """The first bytes, to tell what they are."""
        if self._fd is None:
            return self._head[:size_bytes]
        with open(self._file, "rb") as f:
            return f.read(size_bytes)

    def _go_on(self, size_bytes: int) -> None:
        try:
            fd = self._open(os.O_RDWR | os.O_CLOEXEC)
            # What lies beyond was never synced: after a power loss it may be anything.
            os.ftruncate(fd, size_bytes)
            with open(self._file, "rb") as f:
                while chunk := f.read(CHUNK_BYTES):
                    self._digest.update(chunk)
                    self.size_bytes += len(chunk)
            os.lseek(fd, 0, os.SEEK_END)
        except FileNotFoundError:
            return
        except OSError as e:
            raise _not_stored(e) from e
        if self.size_bytes != size_bytes:
            self.restart()

    def _open(self, flags: int) -> int:
        """Open the file for this writer alone; the kernel frees it when the process dies."""
        fd = os.open(self._file, flags, 0o600)
        try:
            if fcntl is not None:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise FastioError(
                "unavailable", "Another worker is still writing this file.", "Try again later."
            ) from None
        self._fd = fd
        return fd

    def _spill(self) -> None:
        self._blobs.check_place()
        try:
            folder = os.path.dirname(self._file)
            make_folder(folder)
            fd = self._open(os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            os.ftruncate(fd, 0)
            sync_folder(folder)
            _write_all_to(fd, self._head)
        except OSError as e:
            raise _not_stored(e) from e
        self._unsynced = True
        self._head = b""


def private(path: str, flags: int) -> int:
    """An ``opener`` for files that are their owner's alone, whatever the umask says."""
    return os.open(path, flags, 0o600)


def make_folder(folder: str) -> None:
    """Make a folder, and those above it that are missing, each under a name that lasts."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(os.path.abspath(folder))
    if not os.path.exists(above):
        make_folder(above)
    os.makedirs(folder, mode=0o700, exist_ok=True)
    sync_folder(above)


def bytes_lost(sha256: str, how: str) -> FastioError:
    """The error for stored bytes that are not there as they were: ``missing``, ``damaged``."""
    return FastioError(
        "unavailable",
        f"The stored bytes {sha256[:12]}… are {how}.",
        "See what is damaged: fastio doctor",
    )


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


def _write_all_to(fd: int, data: bytes | memoryview) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def sync_data(fd: int) -> None:
    """Force a file's data to the medium itself."""
    if sys.platform == "darwin":  # fsync there stops at the drive's cache
        import fcntl

        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def _not_stored(e: OSError) -> FastioError:
    return FastioError(
        "unavailable",
        f"The file could not be stored: {e.strerror or e}.",
        "Free some disk space and try again: fastio doctor",
        kind="disk",
    )


def _age_s(path: str) -> float:
    return time.time() - os.stat(path).st_mtime


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
