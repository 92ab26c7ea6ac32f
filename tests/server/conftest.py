"""A server over a real socket, with an owner's token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.client.remote import Remote
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.remote import Running


@pytest.fixture
def limits() -> Limits:
    return Limits()


@pytest.fixture
def server(tmp_path: Path, limits: Limits) -> Iterator[Running]:
    store = SqliteStore(str(tmp_path / "store"))
    blobs, key_file = BlobStore(str(tmp_path / "store/blobs")), str(tmp_path / "secret.key")
    running = Running(Engine(store, blobs, limits, key_file=lambda: key_file))
    yield running
    running.stop()
    store.close()


@pytest.fixture
def token(server: Running) -> str:
    return server.token("ada")


@pytest.fixture
def http(server: Running, token: str) -> Iterator[httpx.Client]:
    """A client that speaks as ada, the owner."""
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def client(server: Running) -> Iterator[Any]:
    """Makes remote clients by their tokens."""
    clients = []

    def connect(token: str | None, retry_s: float = 2) -> Remote:
        clients.append(Remote(server.url, token, retry_s=retry_s))
        return clients[-1]

    yield connect
    for remote in clients:
        remote.close()


@pytest.fixture
def remote(client: Any, token: str) -> Any:
    """The owner's."""
    return client(token)
