"""``fastio serve --workers N``: whichever process is asked, it speaks for all of them."""

from __future__ import annotations

import os
import re
import signal
from contextlib import ExitStack, suppress
from pathlib import Path

import httpx
import pytest

from tests.backends import until
from tests.client.serving import Serving

SHOW = "/v1/workspaces/default"


@pytest.fixture
def serving(tmp_path):
    serving = Serving(tmp_path / "store", "--workers", "2")
    yield serving
    serving.stop()


@pytest.fixture
def connect(serving):
    """Opens connections of their own to the server."""
    headers = {"authorization": f"Bearer {serving.token('ada')}"}
    with ExitStack() as stack:
        yield lambda: stack.enter_context(
            httpx.Client(base_url=f"http://127.0.0.1:{serving.port}", headers=headers, timeout=30)
        )


def process_of(response: httpx.Response) -> str:
    """What the ids of one process's requests begin with."""
    return response.headers["x-request-id"][:24]


def one_of_each(connect) -> tuple[list[httpx.Client], int]:
    """A connection to each of the two processes, and how many requests that took."""
    found: dict[str, httpx.Client] = {}
    count = 0

    def both() -> bool:
        nonlocal count
        client = connect()
        with suppress(httpx.TransportError):  # of a process that has just died
            response = client.get(SHOW).raise_for_status()
            count += 1
            found.setdefault(process_of(response), client)
        return len(found) == 2

    until(both)
    return list(found.values()), count


def metric(client: httpx.Client, name: str) -> float:
    found = re.search(rf"^{re.escape(name)} (\S+)$", client.get("/metrics").text, re.M)
    assert found is not None, name
    return float(found[1])


def tells(client: httpx.Client, name: str, value: float) -> None:
    """It does soon: a request is counted just after it was answered."""
    until(lambda: metric(client, name) == value)


def workers(serving: Serving) -> list[int]:
    parent = serving._process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return [int(c) for c in children if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def test_every_process_tells_what_all_have_counted(serving, connect):
    clients, count = one_of_each(connect)
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client.stream("GET", f"{SHOW}/events/stream"))
        for client in (connect(), connect(), connect(), connect()):
            shows = 'operation="workspace.show"'
            tells(client, f'fastio_requests_total{{{shows},status="200"}}', count)
            tells(client, f"fastio_request_seconds_count{{{shows}}}", count)
            tells(client, f'fastio_request_seconds_bucket{{le="+Inf",{shows}}}', count)
            tells(client, "fastio_event_streams", 2)


def test_of_a_process_that_was_killed_only_the_requests_count(serving, connect):
    clients, count = one_of_each(connect)
    with ExitStack() as stack:
        for client in clients:
            stack.enter_context(client.stream("GET", f"{SHOW}/events/stream"))
        killed = workers(serving)
        assert len(killed) == 2
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        until(lambda: len(set(workers(serving)) - set(killed)) == 2)
        clients, more = one_of_each(connect)
        for client in clients:
            shows = 'fastio_requests_total{operation="workspace.show",status="200"}'
            tells(client, shows, count + more)
            tells(client, "fastio_event_streams", 0)
