"""Files that are private, written whole, and durable under their names."""

from __future__ import annotations

import errno
import os
import sys

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, BinaryIO


def private(path: str, flags: int) -> int:
    """An ``opener`` for files that only their owner can read, whatever the umask is."""
    return os.open(path, flags, 0o600)


def make_folder(folder: str) -> None:
    """Create a folder and its missing parents, durably. Raises ``OSError`` if it is a link."""
    if os.path.isdir(folder):
        if os.path.islink(folder):
            raise OSError(errno.ELOOP, "it is a link", folder)
        return
    above = os.path.dirname(os.path.abspath(folder))
    if not os.path.exists(above):
        make_folder(above)
    try:
        os.makedirs(folder, mode=0o700, exist_ok=True)
    except FileExistsError:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder) from None
    sync_folder(above)


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


def sync_data(fd: int) -> None:
    """Force a file's data to the storage medium."""
    if sys.platform == "darwin":  # fsync there stops at the drive's cache
        fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
    elif hasattr(os, "fdatasync"):
        os.fdatasync(fd)
    else:
        os.fsync(fd)


def lock_file(f: IO[bytes] | int, *, wait: bool = True) -> None:
    """Lock an open file against other processes and threads, at most until it is closed.

    Without ``wait`` raises ``OSError`` if it is locked. A no-op where there are no such locks.
    """
    if fcntl is not None:
        fcntl.flock(f, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def share_file(fd: int) -> None:
    """Lock an open file, beside others who share it. A no-op where there are no such locks."""
    if fcntl is not None:
        fcntl.flock(fd, fcntl.LOCK_SH)


def try_lock_file(fd: int) -> bool:
    """Lock an open file unless others have it locked or share it; our own share is lost either way.

    False where there are no such locks.
    """
    if fcntl is None:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def is_at(file: int, path: str) -> bool:
    """Whether an open file is the one of this name."""
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False


def unlock_file(f: IO[bytes]) -> None:
    """Release a lock before the file is closed."""
    if fcntl is not None:
        fcntl.flock(f, fcntl.LOCK_UN)


def write_all(f: BinaryIO, data: bytes | memoryview) -> None:
    """Write all bytes to an unbuffered file."""
    view = memoryview(data)
    while view:
        view = view[f.write(view) :]


def write_all_to(fd: int, data: bytes | memoryview) -> None:
    """Write all bytes to a file descriptor."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def remove(path: str) -> None:
    """Remove a file if it exists."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
