"""A store as one file: a backup made while the store is in use, and restored in its place.

A backup is a tar file: ``store.sqlite``, a consistent copy of the database, and ``blobs/<sha256>``
for every blob the copy refers to. Locks are not part of it.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
import time
from contextlib import ExitStack, closing

from fastio_cli.blobs.content import CHUNK_BYTES
from fastio_cli.blobs.files import private
from fastio_cli.blobs.local import BlobStore
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import make_private_folder
from fastio_cli.storage.doctor import check_integrity
from fastio_cli.storage.incarnation import Replaced, begin
from fastio_cli.storage.sqlite.connection import FILE, Connection
from fastio_cli.storage.sqlite.errors import translate
from fastio_cli.storage.sqlite.store import SCHEMA_VERSION, SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

BLOB_MEMBER = re.compile(r"blobs/([0-9a-f]{64})")
CUT_OFF = "it is cut off or damaged"


def backup(store: SqliteStore, blobs: BlobStore, target: str) -> dict[str, int]:
    """Write a backup atomically; other processes may write to the store meanwhile.

    Returns the number of ``blobs`` and the ``size_bytes`` of the file. Raises ``unavailable`` when
    it cannot be written.
    """
    folder = os.path.dirname(os.path.abspath(target))
    try:
        with tempfile.TemporaryDirectory(prefix=".fastio-", dir=folder) as work:
            archive = os.path.join(work, "backup.tar")
            with open(archive, "xb", opener=private) as f:
                count = _write_archive(store, blobs, work, f)
                f.flush()
                os.fsync(f.fileno())
            size = os.path.getsize(archive)
            os.replace(archive, target)
    except OSError as e:
        raise FastioError(
            "unavailable",
            f"The backup could not be written to {target}: {e.strerror or e}.",
            "Choose a place that exists and has room: fastio backup FILE",
        ) from None
    return {"blobs": count, "size_bytes": size}


def backup_to_stream(store: SqliteStore, blobs: BlobStore, stream: IO[bytes]) -> dict[str, int]:
    """The same to a stream, such as standard output; only a copy of the database needs a place.

    Raises what writing to the stream raises. What was cut off is no sound backup to ``restore``.
    """
    counted = _Counted(stream)
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=store.folder) as work:
        count = _write_archive(store, blobs, work, counted)
    stream.flush()
    return {"blobs": count, "size_bytes": counted.size_bytes}


class _Counted:
    """A stream, and how many bytes were read from it or written to it."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.size_bytes = 0

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.size_bytes += len(data)
        return data

    def write(self, data: bytes) -> int:
        self._stream.write(data)
        self.size_bytes += len(data)
        return len(data)


def restore(
    source: str, folder: str, stream: IO[bytes] | None = None, *, revoke_tokens: bool = False
) -> dict[str, object]:
    """Replace the store in a folder by a backup; processes that use it see the change at once.

    With ``stream`` the backup is read from there, and ``source`` is what errors call it. The whole
    backup is read and verified first, so a damaged one changes nothing (``invalid``). A store file
    that is itself damaged is kept as ``store.sqlite.damaged``. What the restored store gives out
    goes on above what the replaced one did (``incarnation.begin``, whose record is returned too).
    """
    make_private_folder(folder)
    with ExitStack() as opened:
        work = opened.enter_context(tempfile.TemporaryDirectory(prefix=".restore-", dir=folder))
        counted = _Counted(stream or opened.enter_context(_opened(source)))
        copy = os.path.join(work, FILE)
        restored = _unpack(source, copy, BlobStore(os.path.join(folder, "blobs")), counted)
        problem = check_integrity(copy)
        if not problem.ok:
            raise _not_a_backup(source, problem.message)
        _upgrade(source, copy, restored)
        target = _open_or_set_aside(folder)
        try:
            target.lock()
            begun = _begin(work, _read_replaced(target), revoke_tokens)
            with closing(sqlite3.connect(copy)) as incoming:
                incoming.backup(target.sql)
            target.sync_log()
        except sqlite3.Error as e:
            raise translate(e, target.place) from None
        finally:
            target.unlock()
            target.close()
    return {"blobs": len(restored), "size_bytes": counted.size_bytes, **begun}


def _upgrade(source: str, copy: str, restored: set[str]) -> None:
    """Bring the unpacked database to this version's schema; the blobs ``restored`` have come."""
    with closing(sqlite3.connect(copy)) as incoming:
        if incoming.execute("pragma user_version").fetchone()[0] > SCHEMA_VERSION:
            raise _not_a_backup(source, "it was made by a newer fastio")
        if not restored.issuperset(_blobs_in_use(incoming)):
            raise _not_a_backup(source, CUT_OFF)
    SqliteStore(os.path.dirname(copy), durability="normal").close()


def _read_replaced(target: Connection) -> Replaced:
    """What the store gave out until now, read while nobody else writes to it."""
    target.begin(int(time.time() * 1000), writable=False)
    try:
        return Replaced(target.tx)
    finally:
        target.end()


def _begin(work: str, replaced: Replaced, revoke_tokens: bool) -> dict[str, object]:
    """Let the numbers of the unpacked store go on above those of the replaced one."""
    store = SqliteStore(work, durability="normal")
    try:
        return store.write(lambda tx: begin(tx, replaced, revoke_tokens=revoke_tokens))
    finally:
        store.close()


def _opened(source: str) -> IO[bytes]:
    try:
        return open(source, "rb")
    except OSError as e:
        raise _not_a_backup(source, e.strerror or str(e)) from None


def _write_archive(
    store: SqliteStore, blobs: BlobStore, work: str, out: IO[bytes] | _Counted
) -> int:
    """Write the archive; ``work`` is a folder for the database's copy. The number of blobs."""
    copy = os.path.join(work, FILE)
    names = _copy_database(store, copy)
    with tarfile.open(fileobj=out, mode="w|") as tar:  # type: ignore[call-overload]
        tar.add(copy, FILE)
        for name in names:
            with blobs.open(name) as content:
                tar.addfile(tar.gettarinfo(arcname=f"blobs/{name}", fileobj=content), content)
    return len(names)


def _copy_database(store: SqliteStore, copy: str) -> list[str]:
    """Copy a snapshot of the database; returns the blobs that the copy refers to."""
    out = sqlite3.connect(copy, isolation_level=None)
    try:
        store.copy_to(out)
        out.execute("pragma journal_mode = delete")
        out.execute("delete from lock_waiters")
        out.execute("delete from locks")
        return _blobs_in_use(out)
    except sqlite3.Error as e:
        raise translate(e, copy) from None
    finally:
        out.close()


def _blobs_in_use(database: sqlite3.Connection) -> list[str]:
    rows = database.execute(
        """select blob from versions where blob is not null
        union select blob from segments where blob is not null"""
    )
    return [row[0] for row in rows]


def _unpack(source: str, copy: str, blobs: BlobStore, stream: _Counted) -> set[str]:
    """Extract a backup: the database to ``copy``, verified blobs into ``blobs``, which it says."""
    names: set[str] = set()
    found = False
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:  # type: ignore[call-overload]
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                blob = BLOB_MEMBER.fullmatch(member.name)
                if content is None or not (blob or member.name == FILE):
                    raise _not_a_backup(source, f"it holds {member.name!r}")
                if blob:
                    _restore_blob(blobs, blob[1], content, member.size, source)
                    names.add(blob[1])
                else:
                    found = True
                    with open(copy, "wb") as f:
                        shutil.copyfileobj(content, f)
        while stream.read(CHUNK_BYTES):  # who writes the rest is not to be cut off
            pass
    except (tarfile.TarError, EOFError, OSError) as e:
        if getattr(e, "errno", None) == errno.ENOSPC:
            raise FastioError(
                "unavailable",
                "The disk is full; nothing was changed.",
                "Free some disk space and try again: fastio doctor",
            ) from None
        raise _not_a_backup(source, CUT_OFF if found else "it is no archive") from None
    if not found:
        raise _not_a_backup(source, "it holds no store")
    return names


def _restore_blob(blobs: BlobStore, name: str, stream: IO[bytes], size: int, source: str) -> None:
    content = blobs.put(stream, size)
    if content.blob != name:
        raise _not_a_backup(source, f"blob {name} is damaged")


def _open_or_set_aside(folder: str) -> Connection:
    """A connection to the store; a damaged store file is renamed first."""
    file = os.path.join(folder, FILE)
    if os.path.exists(file) and not check_integrity(file).ok:
        os.replace(file, file + ".damaged")
        for suffix in ("-wal", "-shm"):
            if os.path.exists(file + suffix):
                os.replace(file + suffix, f"{file}.damaged{suffix}")
    SqliteStore(folder).close()  # creates it if there is none
    return Connection(folder, True)


def _not_a_backup(source: str, why: str) -> FastioError:
    return FastioError(
        "invalid",
        f"{source} is not a sound backup: {why}.",
        "Nothing was changed. Choose a file that fastio backup wrote.",
    )
