"""Clients on loopback, of servers that work and of some that do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from fastio_cli import retry
from fastio_cli.client import remote, responses, streams
from fastio_cli.client.remote import Remote
from fastio_cli.identity import new_token
from tests.client.line import Line
from tests.client.scripted import HandClock, Scripted
from tests.remote import Running
from tests.server.conftest import limits, server  # noqa: F401

TOKEN = new_token()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> HandClock:
    """The client's time; its pauses are as long as they may be."""
    clock = HandClock()
    for module in (remote, responses, streams, retry):
        monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(retry, "random", SimpleNamespace(uniform=lambda low, high: high))
    return clock


@pytest.fixture
def scripted() -> Iterator[Any]:
    """Makes servers that answer as they are told to, with their client."""
    made: list[Any] = []

    def make(*answers: Any, **options: Any) -> tuple[Scripted, Remote]:
        listening = Scripted(*answers)
        client = Remote(listening.url, TOKEN, **options)
        made.extend((client, listening))
        return listening, client

    yield make
    for thing in made:
        thing.close()


@pytest.fixture
def line(server: Running) -> Iterator[Any]:  # noqa: F811
    """Makes breaking lines to the server, with a client at the end."""
    made: list[Any] = []

    def make(
        down: tuple[int, ...] = (), up: tuple[int, ...] = (), **options: Any
    ) -> tuple[Line, Remote]:
        line = Line(int(server.url.rpartition(":")[2]), down, up)
        client = Remote(line.url, server.token("ada"), **options)
        made.extend((client, line))
        return line, client

    yield make
    for thing in made:
        thing.close()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home to run commands in."""
    for name in list(os.environ):
        if name.startswith(("FASTIO_", "XDG_", "SSL_")) or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(folder)
    return folder
