"""Rows behind one contract (``contract.py``): SQLite in a folder, or PostgreSQL behind a URL."""

from __future__ import annotations

import os

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.storage.absent import IfAbsent
    from fastio_cli.storage.contract import Store


def open_store(target: str, *, durability: str = "full", if_absent: IfAbsent = "refuse") -> Store:
    """The store that a folder or a ``postgresql://`` URL names.

    ``if_absent`` says what is done where there is none (``absent.py``); a database cannot wait for
    the first write: it is refused, or made. Raises ``invalid`` for a URL that names no store,
    ``unavailable`` when it cannot be opened.
    """
    scheme, is_url, _ = target.partition("://")
    if not is_url:
        from fastio_cli.storage.sqlite.store import SqliteStore

        return SqliteStore(target, durability=durability, if_absent=if_absent)
    if scheme not in ("postgresql", "postgres"):
        raise FastioError(
            "invalid",
            f"There is no store of the kind {scheme}://.",
            "Use a folder, or postgresql://USER@HOST/DATABASE.",
        )
    try:
        from fastio_cli.storage.postgres.store import PostgresStore
    except ImportError:
        raise FastioError(
            "unavailable",
            "Support for PostgreSQL is not installed.",
            "Install it: pip install 'fastio-durable[postgres]'",
        ) from None
    return PostgresStore(target, durability=durability, make=if_absent == "make")


def open_blobs(target: str, place: str | None) -> BlobStore:
    """Where the store that ``target`` names keeps large bodies.

    A folder holds its own; a database's are at ``place``, a folder or a bucket. Raises ``invalid``
    for a URL that names no bucket.
    """
    from fastio_cli.blobs.local import BlobStore

    if "://" not in target:
        return BlobStore(os.path.join(target, "blobs"))
    if place is None:
        from fastio_cli.blobs.null import NullBlobStore

        return NullBlobStore()
    if "://" not in place:
        return BlobStore(os.path.realpath(place))  # where the user says, which may be a link
    import hashlib

    from fastio_cli.blobs.bucket import BucketBlobStore
    from fastio_cli.config.files import user_folder

    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    return BucketBlobStore(place, os.path.join(user_folder("data"), "spool", name))
