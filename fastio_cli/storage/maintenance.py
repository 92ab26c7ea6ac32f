"""Looking after an embedded store: what is wrong with it, a copy of it, a copy put back.

A backup is one tar file: ``store.sqlite``, a consistent copy made while the store is in use, and
``blobs/<sha256>`` for every blob the copy refers to. Locks are not part of it.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from functools import partial

from fastio_cli.blobs.local import Blobs, private
from fastio_cli.errors import FastioError
from fastio_cli.storage.migrations import expected
from fastio_cli.storage.sqlite.connection import FILE, Connection, as_uri
from fastio_cli.storage.sqlite.errors import translate
from fastio_cli.storage.sqlite.store import SCHEMA_VERSION, SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.tx import Tx

DIALECT = Connection.dialect
BLOB_MEMBER = re.compile(r"blobs/([0-9a-f]{64})")
FREE_BYTES_MIN = 256 * 1024 * 1024


class Finding:
    """One thing that was looked at: whether it is well, what was seen, and what to do."""

    def __init__(self, check: str, problem: str | None, seen: str = "", hint: str = "") -> None:
        self.check = check
        self.ok = problem is None
        self.message = problem or seen
        self.hint = hint if problem else ""


def examine_file(folder: str) -> Iterator[Finding]:
    """Look at the store's file and folder without changing them, whatever state they are in."""
    file = os.path.join(folder, FILE)
    if not os.path.exists(file):
        yield Finding("store", None, f"{folder} holds no store yet; the first command makes it")
        return
    writable = os.access(folder, os.W_OK) and os.access(file, os.W_OK)
    yield Finding(
        "permissions",
        None if writable else f"{folder} cannot be written",
        f"{folder} can be written",
        f"chmod -R u+rwX {folder}",
    )
    yield _free_space(folder)
    yield _integrity(file)


def examine_blobs(store: Store, blobs: Blobs, hint: str) -> Iterator[Finding]:
    """Look for blobs that the store refers to and that are missing or not what they were."""
    used = store.read(_blobs_in_use)
    kept = set(blobs.names())
    missing = sorted(used - kept)
    changed = sorted(name for name in used & kept if _sha256(blobs, name) != name)
    problems = [
        f"{len(names)} of {len(used)} are {what}, the first is {names[0]}"
        for names, what in ((missing, "missing"), (changed, "damaged"))
        if names
    ]
    yield Finding(
        "blobs",
        "; ".join(problems) or None,
        f"{len(used)} in use, {len(kept - used)} that nothing refers to any more",
        hint,
    )


def examine_bodies(folder: str) -> Iterator[Finding]:
    """Compare every body in a row with its hash: the pages of the file have none of their own."""
    sql = sqlite3.connect(as_uri(folder), uri=True)
    try:
        count = 0
        changed = []
        for path, version, etag, body in sql.execute(
            """select path, version, etag, body from versions
            where body is not null and chain is null"""
        ):
            count += 1
            if hashlib.sha256(body).hexdigest() != etag:
                changed.append(f"{path} (version {version})")
    finally:
        sql.close()
    yield Finding(
        "bodies",
        f"{len(changed)} are not what was written, the first is {changed[0]}" if changed else None,
        f"{count} in rows, all as they were written",
        "Read an earlier version, or put all back from a backup: fastio restore FILE",
    )


def sweep(store: Store, blobs: Blobs) -> int:
    """Remove what nothing has referred to for a day; the bytes of blobs that were freed."""
    freed = blobs.sweep(store.read(_blobs_in_use))
    for workspace in store.read(lambda tx: [row["id"] for row in tx.workspaces.every()]):
        store.write(partial(_sweep_segments, workspace))
    return freed


def backup(store: SqliteStore, blobs: Blobs, target: str) -> dict[str, int]:
    """Write a backup, whole or not at all. Other processes may go on writing meanwhile.

    Returns how many ``blobs`` and ``size_bytes`` it holds. Raises ``unavailable`` when the disk
    will not take it.
    """
    folder = os.path.dirname(os.path.abspath(target))
    try:
        with tempfile.TemporaryDirectory(prefix=".fastio-", dir=folder) as work:
            copy = os.path.join(work, FILE)
            names = _copy_database(store, copy)
            archive = os.path.join(work, "backup.tar")
            with open(archive, "xb", opener=private) as f:
                with tarfile.open(fileobj=f, mode="w") as tar:
                    tar.add(copy, FILE)
                    for name in names:
                        tar.add(blobs.path(name), f"blobs/{name}")
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
    return {"blobs": len(names), "size_bytes": size}


def restore(source: str, folder: str) -> dict[str, int]:
    """Replace the store in a folder by a backup's; processes that use it see the change at once.

    The backup is read and checked completely first: when it is damaged, nothing was changed. A
    store file that is itself damaged is kept beside as ``store.sqlite.damaged``.
    """
    os.makedirs(folder, mode=0o700, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".restore-", dir=folder) as work:
        copy = os.path.join(work, FILE)
        count = _unpack(source, copy, Blobs(os.path.join(folder, "blobs")))
        problem = _integrity(copy)
        if not problem.ok:
            raise _not_a_backup(source, problem.message)
        target = _opened_or_set_aside(folder)
        incoming = sqlite3.connect(copy)
        try:
            if incoming.execute("pragma user_version").fetchone()[0] > SCHEMA_VERSION:
                raise _not_a_backup(source, "it was made by a newer fastio")
            target.lock()
            try:
                incoming.backup(target.sql)
                target.sync_log()
            except sqlite3.Error as e:
                raise translate(e, target.place) from None
            finally:
                target.unlock()
        finally:
            incoming.close()
            target.close()
    return {"blobs": count, "size_bytes": os.path.getsize(source)}


def _free_space(folder: str) -> Finding:
    free = shutil.disk_usage(folder).free
    return Finding(
        "disk",
        f"only {free // 1024 // 1024} MiB are free" if free < FREE_BYTES_MIN else None,
        f"{free // 1024 // 1024:,} MiB free",
        "Free some disk space, then remove what nothing refers to: fastio doctor --sweep",
    )


def _integrity(file: str) -> Finding:
    hint = (
        "Restore the newest backup: fastio restore FILE. Without one, move the folder away and "
        "recover what can be read: sqlite3 store.sqlite .recover"
    )
    try:
        sql = sqlite3.connect(as_uri(os.path.dirname(file)), uri=True)
        try:
            version = sql.execute("pragma user_version").fetchone()[0]
            answer = sql.execute("pragma integrity_check(1)").fetchone()[0]
            tables = {row[0] for row in sql.execute("select name from sqlite_schema")}
        finally:
            sql.close()
    except sqlite3.Error as e:
        return Finding("integrity", f"{file} is damaged: {e}", hint=hint)
    if version > SCHEMA_VERSION:
        return Finding(
            "integrity",
            f"{file} was made by a newer fastio (schema {version})",
            hint="Upgrade fastio: pip install --upgrade fastio-durable",
        )
    missing = sorted(expected(DIALECT, version) - tables)
    if answer == "ok" and missing:
        answer = f"it has no {', '.join(missing)}"
    problem = f"{file} is damaged: {answer}" if answer != "ok" else None
    return Finding("integrity", problem, "every page is sound", hint)


def _copy_database(store: SqliteStore, copy: str) -> list[str]:
    """Copy the database as it is at one moment; the blobs that this copy refers to."""
    out = sqlite3.connect(copy, isolation_level=None)
    try:
        store.copy_to(out)
        out.execute("pragma journal_mode = delete")
        out.execute("delete from lock_waiters")
        out.execute("delete from locks")
        rows = out.execute(
            """select blob from versions where blob is not null
            union select blob from segments where blob is not null"""
        )
        return [row[0] for row in rows]
    except sqlite3.Error as e:
        raise translate(e, copy) from None
    finally:
        out.close()


def _unpack(source: str, copy: str, blobs: Blobs) -> int:
    """Read a backup: the database to ``copy``, every blob into the blob folder, checked."""
    count = 0
    found = False
    try:
        with tarfile.open(source, "r:*") as tar:
            for member in tar:
                stream = tar.extractfile(member) if member.isreg() else None
                blob = BLOB_MEMBER.fullmatch(member.name)
                if stream is None or not (blob or member.name == FILE):
                    raise _not_a_backup(source, f"it holds {member.name!r}")
                if blob:
                    _restore_blob(blobs, blob[1], stream, member.size, source)
                    count += 1
                else:
                    found = True
                    with open(copy, "wb") as f:
                        shutil.copyfileobj(stream, f)
    except (tarfile.TarError, EOFError, OSError) as e:
        if getattr(e, "errno", None) == errno.ENOSPC:
            raise FastioError(
                "unavailable",
                "The disk is full; nothing was changed.",
                "Free some disk space and try again: fastio doctor",
            ) from None
        # An archive that no format fits is told in a line per format.
        reason = (str(e) or "it ends too early").splitlines()[0].rstrip(":")
        raise _not_a_backup(source, reason) from None
    if not found:
        raise _not_a_backup(source, "it holds no store")
    return count


def _restore_blob(blobs: Blobs, name: str, stream: IO[bytes], size: int, source: str) -> None:
    content = blobs.put(stream, size)
    if content.blob != name:
        raise _not_a_backup(source, f"blob {name} is damaged")


def _opened_or_set_aside(folder: str) -> Connection:
    """The store's connection; a store that cannot be opened is moved aside first."""
    file = os.path.join(folder, FILE)
    if os.path.exists(file) and not _integrity(file).ok:
        os.replace(file, file + ".damaged")
        for suffix in ("-wal", "-shm"):
            if os.path.exists(file + suffix):
                os.replace(file + suffix, f"{file}.damaged{suffix}")
    SqliteStore(folder).close()  # makes it when it is not there
    return Connection(folder, True)


def _blobs_in_use(tx: Tx) -> set[str]:
    return {row["blob"] for row in tx.objects.blobs_in_use()}


def _sha256(blobs: Blobs, name: str) -> str:
    with blobs.open(name) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()  # type: ignore[arg-type]


def _sweep_segments(workspace_id: int, tx: Tx) -> None:
    tx.workspaces.by_id(workspace_id)  # its writers wait
    tx.objects.forget_unused_chains(workspace_id)


def _not_a_backup(source: str, why: str) -> FastioError:
    return FastioError(
        "invalid",
        f"{source} is not a sound backup: {why}.",
        "Nothing was changed. Choose a file that fastio backup wrote.",
    )
