"""Engines on the stores of tests. The processes of tests start by importing it: it stays light."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.contract import Store
from fastio_cli.storage.sqlite.store import SqliteStore

URL_FILE = "url"  # in the folder of a store that is a database


def made_store(folder: object) -> str:
    """The name of a folder with a store that is made there, as ``fastio init`` does."""
    SqliteStore(str(folder)).close()
    return str(folder)


def open_engine(
    folder: object, clock: Callable[[], float] | None = None, limits: Limits | None = None
) -> Engine:
    """An engine on the store of either kind that a folder holds."""
    url = Path(str(folder)) / URL_FILE
    store: Store
    if url.exists():
        from fastio_cli.storage.postgres.store import PostgresStore

        store = PostgresStore(url.read_text(), clock=clock)
    else:
        store = SqliteStore(str(folder), clock=clock or time.time)
    key_file = f"{folder}/secret.key"
    return Engine(
        store, BlobStore(f"{folder}/blobs"), limits or Limits(), key_file=lambda: key_file
    )
