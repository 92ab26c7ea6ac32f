"""Thousands of damaged HTTP messages: every answer is one, and nothing runs that was not asked."""

from __future__ import annotations

import json
import os
import socket
from contextlib import closing

import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.hostile.messages import Messages, answers_in, requests_in
from tests.remote import Running

COUNT = 10_000 if os.environ.get("FASTIO_HOSTILE_LONG") else 400
SEED = 9112
LAST = b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
OTHERS_5XX = (501, 503, 505)


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A server that gives up soon what never ends."""
    for name in ("HEAD_S", "IDLE_S"):
        monkeypatch.setattr(f"fastio_cli.server.protocol.{name}", 0.1)
    store = SqliteStore(str(tmp_path / "store"), durability="normal")
    running = Running(Engine(store, BlobStore(str(tmp_path / "store/blobs")), Limits()))
    yield running
    running.stop()
    store.close()


def exchange(server, packets):
    """All that is answered until the server closes the connection."""
    received = b""
    port = server.socket.getsockname()[1]
    with closing(socket.create_connection(("127.0.0.1", port), timeout=60)) as connection:
        try:
            for packet in packets:
                connection.sendall(packet)
            while part := connection.recv(1 << 16):
                received += part
        except (ConnectionResetError, BrokenPipeError):
            pass
    return received


def check_answers(data: bytes, received: bytes) -> None:
    """Each is well-formed, and a problem if it is none of success."""
    answers = answers_in(received)
    assert len(answers) <= data.count(b"HTTP/") + 2, received
    for answer in answers:
        assert answer.status < 500 or answer.status in OTHERS_5XX, received
        if answer.status >= 400:
            assert answer.fields[b"content-type"] == b"application/problem+json"
            assert json.loads(answer.body)["status"] == answer.status


def test_damaged_messages(server):
    messages = Messages(SEED, server.token("ada"))
    asked: set[str] = set()
    for _ in range(COUNT):
        data = messages.some() + LAST
        check_answers(data, exchange(server, messages.packets(data)))
        asked |= {target.decode("latin-1") for target in requests_in(data)}
    engine = server.engine
    ran = set()
    cursor = ""
    while cursor is not None:
        params = {"prefix": "", "limit": 1000, "cursor": cursor}
        page = engine.call("object.list", params, actor="ada")
        ran |= {item["path"] for item in page["items"]}
        cursor = page["next_cursor"]
    unasked = {path for path in ran if f"/v1/workspaces/default/state/{path}" not in asked}
    assert unasked == set()
    assert len(ran) > COUNT // 4  # many were as they should be
    assert exchange(server, [LAST]).startswith(b"HTTP/1.1 200 ")
    assert engine.call("audit.verify", actor="ada")["verified"]
