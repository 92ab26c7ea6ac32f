"""Files opened without following links, and written whole.

A name in a folder that came with somebody's files, or that others can write to, may be a link to
anywhere. What is opened here is the file of that name itself, and what is written appears under its
name complete or not at all.
"""

from __future__ import annotations

import errno
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# Not on Windows, where making a link needs a privilege.
NOFOLLOW = getattr(os, "O_NOFOLLOW", 0)
# A pipe without a writer would make us wait for ever; it opens, and is then refused.
_PLAIN = NOFOLLOW | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0)


def open_plain(
    path: str, flags: int = os.O_RDONLY, mode: int = 0o600, *, dir_fd: int | None = None
) -> int:
    """Open a regular file that is itself no link: its descriptor. The folders before it may be.

    Raises ``OSError``: ``ELOOP`` for a link, ``EINVAL`` for a folder, a device or a pipe.
    """
    fd = os.open(path, flags | _PLAIN, mode, dir_fd=dir_fd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", path)
    except BaseException:
        os.close(fd)
        raise
    return fd


def open_below(folder: str, *names: str) -> int:
    """Open a regular file for reading, below a folder, by names none of which is a link.

    Nor is the folder itself. Raises ``OSError`` as ``open_plain`` does.
    """
    if not NOFOLLOW:
        return open_plain(os.path.join(folder, *names))
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | NOFOLLOW
    above = os.open(folder, flags)
    try:
        for name in names[:-1]:
            below = os.open(name, flags, dir_fd=above)
            os.close(above)
            above = below
        return open_plain(names[-1], dir_fd=above)
    finally:
        os.close(above)


def read_plain(path: str, size_bytes_max: int) -> bytes:
    """The bytes of a small regular file that is itself no link.

    Raises ``OSError``, ``EFBIG`` for more than ``size_bytes_max`` bytes.
    """
    with open(open_plain(path), "rb") as f:
        content = f.read(size_bytes_max + 1)
    if len(content) > size_bytes_max:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG), path)
    return content


def make_private_folder(folder: str) -> None:
    """Create a folder, and those above it that are missing, each for its owner alone.

    So the XDG Base Directory Specification asks, whatever the umask is.
    """
    if os.path.isdir(folder):
        return
    above = os.path.dirname(os.path.abspath(folder))
    if not os.path.exists(above):
        make_private_folder(above)
    try:
        os.mkdir(folder, 0o700)
    except FileExistsError:
        if not os.path.isdir(folder):
            raise


def write_whole(
    target: str, chunks: Iterable[bytes], *, mode: int = 0o666, durable: bool = False
) -> None:
    """Write a file under its name, complete or not at all; ``mode`` is limited by the umask.

    The temporary file beside it is a new one (``O_EXCL``), so that nothing can be planted in its
    place; a link of the target's name is replaced, not followed. A device or a pipe is written to
    as it is. Raises ``OSError``; what ``chunks`` raises is passed on, and leaves the target as is.
    """
    if _is_special(target):
        with open(os.open(target, os.O_WRONLY | NOFOLLOW), "wb") as f:
            f.writelines(chunks)
        return
    temporary = os.path.join(os.path.dirname(target), f".fastio-{os.urandom(8).hex()}.part")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | NOFOLLOW | getattr(os, "O_BINARY", 0)
    fd = os.open(temporary, flags, mode)
    try:
        with open(fd, "wb") as f:
            f.writelines(chunks)
            if durable:
                f.flush()
                os.fsync(f.fileno())
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise


def _is_special(target: str) -> bool:
    """Whether a name leads to what can be written to but not replaced: a device or a pipe."""
    try:
        kind = stat.S_IFMT(os.stat(target).st_mode)
    except OSError:
        return False
    return kind not in (stat.S_IFREG, stat.S_IFDIR)
