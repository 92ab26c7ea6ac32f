"""Checks of a store: is its file sound, are its bodies and blobs what was written, is there room.

``sweep`` removes the blobs and segments that nothing refers to any more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sqlite3
from functools import partial

from fastio_cli.errors import FastioError
from fastio_cli.storage.sqlite.connection import FILE, as_uri
from fastio_cli.storage.sqlite.schema_check import schema_difference
from fastio_cli.storage.sqlite.store import SCHEMA_VERSION

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.tx import Tx

FREE_BYTES_MIN = 256 * 1024 * 1024


class Check:
    """The result of one check: its name, whether it passed, what was found, and a hint if not.

    ``problem`` is None when it passed; ``summary`` is the message then.
    """

    def __init__(self, name: str, problem: str | None, summary: str = "", hint: str = "") -> None:
        self.name = name
        self.ok = problem is None
        self.message = problem or summary
        self.hint = hint if problem else ""


def check_file(folder: str) -> Iterator[Check]:
    """Check the store's folder and file, read-only, whatever state they are in."""
    file = os.path.join(folder, FILE)
    if not os.path.exists(file):
        yield Check("store", None, f"{folder} holds no store yet; the first command makes it")
        return
    writable = os.access(folder, os.W_OK) and os.access(file, os.W_OK)
    yield Check(
        "permissions",
        None if writable else f"{folder} cannot be written",
        f"{folder} can be written",
        f"chmod -R u+rwX {folder}",
    )
    yield _free_space(folder)
    yield check_integrity(file)


def check_schema(store: Store) -> Iterator[Check]:
    """Check that nothing that fastio did not make acts on a database's tables."""
    try:
        store.check_schema()
    except FastioError as e:
        yield Check("schema", e.message, hint=e.hint)
    else:
        yield Check("schema", None, "nothing in it but what fastio made")


def check_blobs(store: Store, blobs: BlobStore, hint: str) -> Iterator[Check]:
    """Check that every blob the store refers to exists and still has its hash."""
    used = store.read(_blobs_in_use)
    stored = set(blobs.names())
    missing = sorted(used - stored)
    changed = sorted(name for name in used & stored if _sha256(blobs, name) != name)
    problems = [
        f"{len(names)} of {len(used)} are {what}, the first is {names[0]}"
        for names, what in ((missing, "missing"), (changed, "damaged"))
        if names
    ]
    yield Check(
        "blobs",
        "; ".join(problems) or None,
        f"{len(used)} in use, {len(stored - used)} that nothing refers to any more",
        hint,
    )


def check_bodies(folder: str) -> Iterator[Check]:
    """Check every inline body against its hash; SQLite's own pages carry no checksum."""
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
    yield Check(
        "bodies",
        f"{len(changed)} are not what was written, the first is {changed[0]}" if changed else None,
        f"{count} in rows, all as they were written",
        "Read an earlier version, or put all back from a backup: fastio restore FILE",
    )


def check_integrity(file: str) -> Check:
    """Check the database file: its schema, its pages, its tables."""
    hint = (
        "Restore the newest backup: fastio restore FILE. Without one, move the folder away and "
        "recover what can be read: sqlite3 store.sqlite .recover"
    )
    try:
        sql = sqlite3.connect(as_uri(os.path.dirname(file)), uri=True)
        try:
            version = sql.execute("pragma user_version").fetchone()[0]
            answer = sql.execute("pragma integrity_check(1)").fetchone()[0]
            different = schema_difference(sql, version) if version <= SCHEMA_VERSION else None
        finally:
            sql.close()
    except sqlite3.Error as e:
        return Check("integrity", f"{file} is damaged: {e}", hint=hint)
    if version > SCHEMA_VERSION:
        return Check(
            "integrity",
            f"{file} was made by a newer fastio (schema {version})",
            hint="Upgrade fastio: pip install --upgrade fastio-durable",
        )
    if answer == "ok" and different:
        answer = different
    problem = f"{file} is damaged: {answer}" if answer != "ok" else None
    return Check("integrity", problem, "every page is sound", hint)


def sweep(store: Store, blobs: BlobStore) -> int:
    """Remove blobs and segments that nothing has referred to for a day; the blob bytes freed."""
    freed = blobs.sweep(store.read(_blobs_in_use))
    for workspace in store.read(lambda tx: [row["id"] for row in tx.workspaces.every()]):
        store.write(partial(_sweep_segments, workspace))
    return freed


def _free_space(folder: str) -> Check:
    free = shutil.disk_usage(folder).free
    return Check(
        "disk",
        f"only {free // 1024 // 1024} MiB are free" if free < FREE_BYTES_MIN else None,
        f"{free // 1024 // 1024:,} MiB free",
        "Free some disk space, then remove what nothing refers to: fastio doctor --sweep",
    )


def _blobs_in_use(tx: Tx) -> set[str]:
    return {row["blob"] for row in tx.objects.blobs_in_use()}


def _sha256(blobs: BlobStore, name: str) -> str:
    with blobs.open(name) as f:
        return hashlib.file_digest(f, "sha256").hexdigest()  # type: ignore[arg-type]


def _sweep_segments(workspace_id: int, tx: Tx) -> None:
    tx.workspaces.by_id(workspace_id)  # takes the row lock: its writers wait
    tx.objects.forget_unused_chains(workspace_id)
