"""The server dies at any moment: clients try again, and every effect happens exactly once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading

import httpx
import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.client.remote import Remote
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.backends import Background, until
from tests.engines import made_store
from tests.ports import free_port

CLIENTS = 6
INCREMENTS = 40
KILLS = 4


class ServerProcess:
    """``fastio serve`` as a process that can be killed and started again on the same port."""

    def __init__(self, folder: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._environment = {
            **os.environ,
            "FASTIO_STORE": made_store(folder),
            "FASTIO_RATE_PER_S": "1000000",
            "XDG_CONFIG_HOME": folder,
        }
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "fastio_cli", "serve", "--port", str(self.port), "-q"],
            env=self._environment,
            stderr=subprocess.DEVNULL,
        )
        until(self._is_ready)

    def stop(self, number: int = signal.SIGTERM) -> int:
        self._process.send_signal(number)
        return self._process.wait(30)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, "the server ended"
        try:
            return httpx.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def engine(folder):
    store = SqliteStore(folder)
    yield Engine(store, BlobStore(f"{folder}/blobs"), Limits())
    store.close()


@pytest.fixture
def process(folder, engine):
    server = ServerProcess(folder)
    yield server
    server.stop()


def test_every_increment_happens_exactly_once(process, engine):
    engine.call("state.set", {"path": "n.json", "value": 0})
    tokens = [
        engine.call("token.create", {"member": f"m{n}", "role": "editor"})["token"]
        for n in range(CLIENTS)
    ]
    answers: list[int] = []
    failures: list[BaseException] = []

    def work(token: str) -> None:
        remote = Remote(process.url, token, retry_s=120)
        try:
            for _ in range(INCREMENTS):
                answers.append(remote.call("state.increment", {"path": "n.json"})["value"])
        except BaseException as e:
            failures.append(e)
        finally:
            remote.close()

    threads = [threading.Thread(target=work, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    total = CLIENTS * INCREMENTS
    for kill in range(1, KILLS + 1):
        until(lambda kill=kill: len(answers) >= total * kill // (KILLS + 1) or failures)
        process.stop(signal.SIGKILL)
        process.start()
    for thread in threads:
        thread.join(120)
    assert not failures
    # Each value was answered to somebody once: none was lost, none counted twice.
    assert sorted(answers) == list(range(1, total + 1))
    assert engine.call("state.get", {"path": "n.json"})["value"] == total
    assert engine.call("audit.verify")["verified"]


def test_it_stops_gracefully(process, engine):
    token = engine.call("token.create", {"member": "m", "role": "editor"})["token"]
    remote = Remote(process.url, token, retry_s=1)
    remote.call("state.set", {"path": "a.json", "value": 1})
    assert process.stop() == 0
    with pytest.raises(FastioError) as caught:
        remote.call("state.get", {"path": "a.json"})
    remote.close()
    assert caught.value.code == "unavailable"
    process.start()


def test_an_upload_that_a_stop_cuts_off_is_told_to_come_again(process, engine):
    token = engine.call("token.create", {"member": "m", "role": "editor"})["token"]
    head = (
        "PUT /v1/workspaces/default/files/f.bin HTTP/1.1\r\nHost: x\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(("127.0.0.1", process.port)) as s:
        s.settimeout(30)
        s.sendall(head.encode())
        assert s.recv(65536).startswith(b"HTTP/1.1 100 ")
        s.sendall(b"x" * 1000)
        assert process.stop() == 0
        answer = s.recv(65536)
    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in answer.lower()
    assert b'"code":"unavailable"' in answer
    process.start()


def test_open_streams_and_waiters_come_back_to_the_next_server(process, engine):
    token = engine.call("token.create", {"member": "m", "role": "editor"})["token"]
    held = engine.call("lock.acquire", {"path": "v"})
    headers = {"authorization": f"Bearer {token}"}
    remote = Remote(process.url, token, retry_s=60)
    waiting = Background(lambda: remote.call("lock.acquire", {"path": "v", "wait_s": 120}))
    until(lambda: engine.call("lock.show", {"path": "v"})["waiters"] == 1)
    url = f"{process.url}/v1/workspaces/default/events/stream"
    with httpx.stream("GET", url, headers=headers, timeout=60) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": hello"
        assert process.stop() == 0
        with pytest.raises(httpx.RemoteProtocolError):
            list(lines)
    process.start()
    engine.call("lock.release", {"path": "v", "lock_token": held["token"]})
    assert waiting.result()["holder"] == "m"
    remote.close()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--host", "0.0.0.0"], "in the clear"),
        (["--host", "0.0.0.0", "--behind-proxy", "1"], "no token"),
        (["--tls-key", "x"], "belong together"),
        (["--tls-key", "x", "--tls-certificate", "absent"], "absent is no file"),
        (["--port", "99999"], "--port is from 1 to 65535"),
        (["--port", "0"], "--port is from 1 to 65535"),
        (["--workers", "0"], "--workers is from 1"),
    ],
)
def test_what_it_does_not_bind_to(tmp_path, flags, message):
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "fastio_cli",
            "serve",
            "--store",
            made_store(tmp_path / "s"),
            *flags,
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert message in done.stderr
