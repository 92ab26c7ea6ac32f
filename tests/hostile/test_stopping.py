"""A server that is told to stop does so, whatever goes on; what it acknowledged is kept."""

from __future__ import annotations

import socket
from contextlib import ExitStack, closing

import pytest

from tests.backends import Background
from tests.engines import open_engine
from tests.hostile.process import Attacked

SLOW = "[@,@]" + "|[@,@]" * 30 + "|to_string(@)"
BASE = "/v1/workspaces/default"


@pytest.fixture
def silent():
    """A service that takes connections and never answers; and how many it has."""
    with socket.create_server(("127.0.0.1", 0), backlog=100) as listening:
        yield listening


def asked(listening: socket.socket) -> socket.socket:
    """The next client of a service."""
    listening.settimeout(60)
    return listening.accept()[0]


def test_it_ends_while_models_helpers_uploads_and_waits_are_under_way(tmp_path, silent):
    url = f"http://127.0.0.1:{silent.getsockname()[1]}"
    server = Attacked(
        tmp_path,
        environ={
            "FASTIO_CHAT_URL": url,
            "FASTIO_CHAT_MODEL": "any",
            "FASTIO_EGRESS_ALLOW": "127.0.0.1",
        },
    )
    with ExitStack() as stack:
        ada = stack.enter_context(server.member(""))
        kept = ada.put(f"{BASE}/files/a.md", content=b"The price of a crate is 45 euros.")
        assert kept.status_code == 200
        ada.put(f"{BASE}/state/v", json={"value": [1]}).raise_for_status()
        asks = {"question": "What is the price of a crate?"}
        slow = [
            lambda: ada.post(f"{BASE}/ask", json=asks),
            lambda: ada.get(f"{BASE}/state/v", params={"query": SLOW}),
            lambda: ada.post(f"{BASE}/state-wait/w", json={"expression": "x", "timeout_s": 600}),
        ]
        for call in slow:
            Background(call)
        upload = stack.enter_context(closing(server.connection()))
        line = f"PUT {BASE}/files/b HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n"
        secret = ada.headers["authorization"]
        upload.sendall(f"{line}Authorization: {secret}\r\n\r\n".encode() + b"x" * 100_000)
        stack.enter_context(closing(asked(silent)))
        ada.put(f"{BASE}/state/last", json={"value": 1}).raise_for_status()
        assert server.stop() == 0, server.log()
    assert "Traceback" not in server.log()
    engine = open_engine(server.folder)
    try:
        assert engine.call("audit.verify", actor="ada")["verified"]
        names = [item["path"] for item in engine.call("object.list", actor="ada")["items"]]
        assert names == ["a.md", "last", "v"]
    finally:
        engine.close()
