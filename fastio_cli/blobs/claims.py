"""Claims on blobs: who is about to refer to the bytes of one keeps others from removing it.

A blob that a refused call leaves is removed at once, although others may be storing the same bytes
at that moment, in any process. So each holds a shared lock (flock) on a file of the blob's name
from before the blob exists until its own call is over. Only who gets that lock alone may look
whether a row refers to the blob, and remove it: whoever comes later stores it again. The system
ends the locks of a process that dies.
"""

from __future__ import annotations

import os

from fastio_cli.blobs.files import is_at, make_folder, remove, share_file, try_lock_file
from fastio_cli.filesystem import open_plain


class BlobClaim:
    """A claim on a blob, until it is closed or nobody has it any more."""

    __slots__ = ("_fd", "_path")

    def __init__(self, folder: str, name: str) -> None:
        self._path = os.path.join(folder, name)
        self._fd = -1
        make_folder(folder)
        while self._fd < 0:
            fd = open_plain(self._path, os.O_RDWR | os.O_CREAT)
            share_file(fd)
            if is_at(fd, self._path):
                self._fd = fd
            else:  # it was the last one's, who has removed it meanwhile
                os.close(fd)

    def is_only(self) -> bool:
        """Whether nobody else has a claim; then nobody gets one until this is closed."""
        return self._fd >= 0 and try_lock_file(self._fd)

    def close(self) -> None:
        """Give the claim up; the last one removes its file."""
        fd, self._fd = self._fd, -1
        if fd < 0:
            return
        if try_lock_file(fd):
            remove(self._path)
        os.close(fd)

    def __del__(self) -> None:
        self.close()
