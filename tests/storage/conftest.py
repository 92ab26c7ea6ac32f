"""A PostgreSQL database for each test that asks for one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from tests import postgres
from tests.requirements import lacking


@pytest.fixture
def pg_url() -> str:
    """A fresh database on the shared server."""
    url = postgres.server_url()
    if url is None:
        lacking("no PostgreSQL server was found")
    return postgres.new_database(url)


@pytest.fixture
def own_server(pg_url: str) -> Iterator[Callable[..., postgres.Server]]:
    """Starts servers that the test alone uses; ``settings`` go into their configuration."""
    if not postgres.binaries():
        lacking("no programs of a PostgreSQL server were found")
    servers = []

    def start(**settings: object) -> postgres.Server:
        server = postgres.Server(postgres.binaries()[0], **settings)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.remove()


@pytest.fixture
def open_engine(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """Opens engines on PostgreSQL stores."""
    from fastio_cli.storage.postgres.store import PostgresStore

    opened = []

    def open(url: str, **options: Any) -> Engine:
        store = PostgresStore(url, **options)
        opened.append(store)
        return Engine(store, BlobStore(tempfile.mkdtemp(dir=tmp_path)), Limits())

    yield open
    for store in opened:
        store.close()
