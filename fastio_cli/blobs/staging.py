"""A blob being written over more than one attempt, as imports are."""

from __future__ import annotations

import os

from fastio_cli.blobs.content import CHUNK_BYTES, INLINE_BYTES_MAX, Content
from fastio_cli.blobs.errors import not_stored
from fastio_cli.blobs.files import (
    lock_file,
    make_folder,
    remove,
    sync_data,
    sync_folder,
    write_all_to,
)
from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import open_plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Destination(Protocol):
        """The blob store that a staged blob becomes part of (``local.BlobStore``)."""

        def commit(self, temporary: str, name: str, size_bytes: int) -> Content: ...

        def check_place(self) -> None: ...


class StagedBlob:
    """A blob being written: a growing file in the staging folder, and the hash so far.

    ``sync`` makes the appended bytes durable and returns their number; a later ``StagedBlob`` of
    the same name and ``state``, also after a crash, resumes there. ``state`` names what the bytes
    are a part of, in letters and digits. Small contents never touch the disk. Not thread-safe;
    other processes are kept out by a file lock.
    """

    def __init__(self, blobs: Destination, file: str, size_bytes: int = 0, state: str = "") -> None:
        self._blobs = blobs
        self._name = file
        self._file = _file_of(file, state)
        self._fd: int | None = None
        self._head = b""
        self._unsynced = False
        self.size_bytes = 0
        self._digest = sha256()
        if size_bytes:
            self._resume(size_bytes)

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
                self._open_file()
            return
        try:
            write_all_to(self._fd, data)
        except OSError as e:
            raise not_stored(e) from e
        self._unsynced = True

    def sync(self) -> int:
        """Make the appended bytes durable; the number from which a later writer can resume."""
        if self._fd is None:
            return 0
        try:
            if self._unsynced:
                sync_data(self._fd)
        except OSError as e:
            raise not_stored(e) from e
        self._unsynced = False
        return self.size_bytes

    def restart(self, state: str = "") -> None:
        """Discard all bytes and start again, with those of ``state``."""
        self.discard()
        self._file = _file_of(self._name, state)
        self.size_bytes = 0
        self._head = b""
        self._digest = sha256()

    def finish(self) -> Content:
        """Commit the bytes as a blob (or as small content for a row), durably."""
        name = self.sha256
        if self._fd is None:
            return Content(name, self.size_bytes, body=self._head)
        self.sync()
        self.close()
        try:
            return self._blobs.commit(self._file, name, self.size_bytes)
        except OSError as e:
            raise not_stored(e) from e

    def discard(self) -> None:
        """Remove the file, if this writer opened it: otherwise it is another writer's."""
        if self._fd is not None:
            remove(self._file)
        self.close()

    def close(self) -> None:
        """Stop writing; the synced bytes stay for a later writer."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def head(self, size_bytes: int) -> bytes:
        """The first bytes, to detect their media type."""
        if self._fd is None:
            return self._head[:size_bytes]
        with open(open_plain(self._file), "rb") as f:
            return f.read(size_bytes)

    def _resume(self, size_bytes: int) -> None:
        try:
            fd = self._open(os.O_RDWR | os.O_CLOEXEC)
            # Bytes beyond were never synced: after a power loss they may be anything.
            os.ftruncate(fd, size_bytes)
            with open(open_plain(self._file), "rb") as f:
                while chunk := f.read(CHUNK_BYTES):
                    self._digest.update(chunk)
                    self.size_bytes += len(chunk)
            os.lseek(fd, 0, os.SEEK_END)
        except FileNotFoundError:
            return
        except OSError as e:
            raise not_stored(e) from e
        if self.size_bytes != size_bytes:
            self.restart()

    def _open(self, flags: int) -> int:
        """Open and lock the file; the lock ends with the process."""
        fd = open_plain(self._file, flags)
        try:
            lock_file(fd, wait=False)
        except OSError:
            os.close(fd)
            raise FastioError(
                "unavailable", "Another worker is still writing this file.", "Try again later."
            ) from None
        self._fd = fd
        return fd

    def _open_file(self) -> None:
        self._blobs.check_place()
        try:
            folder = os.path.dirname(self._file)
            make_folder(folder)
            fd = self._open(os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            os.ftruncate(fd, 0)
            sync_folder(folder)
            write_all_to(fd, self._head)
        except OSError as e:
            raise not_stored(e) from e
        self._unsynced = True
        self._head = b""


def _file_of(name: str, state: str) -> str:
    return f"{name}-{state}" if state else name
