"""Answers that a server streams as Server-Sent Events: events to watch, chunks of an answer."""

from __future__ import annotations

import time
from contextlib import closing
from typing import cast

import httpx

from fastio_cli.client.responses import (
    parse_json,
    parse_problem,
    read_json,
    transient,
    unexpected_response,
    unreachable,
    was_connected,
)
from fastio_cli.client.sse import cut_at, is_stream, messages
from fastio_cli.client.transport import CONNECT_S, UPTIME_MIN_S, time_limits
from fastio_cli.errors import FastioError
from fastio_cli.operations.types import is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fastio_cli import model
    from fastio_cli.client.requests import RemoteCall
    from fastio_cli.client.sse import Message
    from fastio_cli.client.transport import Transport

SILENCE_S = 40.0  # a stream's heartbeat comes every 15
CHUNK = "piece"  # the type of messages with a chunk of an answer


class EventStream:
    """The events of a workspace after ``seq``, over any number of connections.

    Ends at ``deadline`` (a ``time.monotonic()``). ``seq`` is the number of the newest event seen.
    """

    def __init__(
        self,
        transport: Transport,
        workspace: str,
        seq: int,
        deadline: float | None,
        filters: dict[str, str],
    ) -> None:
        self.seq = seq
        self._transport = transport
        self._url = f"{transport.url}/v1/workspaces/{workspace}/events/stream"
        self._deadline = deadline
        self._filters = filters

    def __iter__(self) -> Iterator[model.Event]:
        attempts = self._transport.retries()
        while not self._is_over():
            started = time.monotonic()
            try:
                for event in self._new_events():
                    attempts.reset()
                    yield event
                failure = FastioError("unavailable", f"{self._url} ended.")
            except httpx.RequestError as e:
                if self._is_over():
                    return
                failure = unreachable(self._transport.url, e)
                if not was_connected(e):
                    started = time.monotonic()
            except FastioError as e:
                failure = transient(e)
            if time.monotonic() - started > UPTIME_MIN_S:
                attempts.reset()
            attempts.wait_or_raise(failure, self._deadline)

    def _is_over(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline

    def _new_events(self) -> Iterator[model.Event]:
        """The events of one connection that were not seen before."""
        with closing(self._connect()) as response, cut_at(self._deadline, response):
            for message, event in _values(response, self._transport.url):
                seq = int(message.id) if is_number(message.id) else 0
                is_new = seq > self.seq
                self.seq = max(self.seq, seq)  # also of messages without an event
                if not isinstance(event, dict | None):
                    raise unexpected_response(response, self._transport.url)
                if event is not None and is_new:
                    yield cast("model.Event", event)

    def _connect(self) -> httpx.Response:
        deadline = self._deadline
        connect_s = CONNECT_S if deadline is None else deadline - time.monotonic()
        response = self._transport.request(
            "GET",
            self._url,
            headers={"last-event-id": str(self.seq)},
            params=self._filters,
            timeout=time_limits(SILENCE_S, max(0.001, min(CONNECT_S, connect_s))),
        )
        if not is_stream(response):
            read_json(response, self._transport.url)
            raise unexpected_response(response, self._transport.url)
        return response


def read_streamed_answer(call: RemoteCall, response: httpx.Response, url: str) -> object:
    """Pass the chunks of an answer on to the call; the record that ends it."""
    assert call.on_chunk is not None
    with closing(response):
        for message, value in _values(response, url):
            if message.type == CHUNK:
                call.has_streamed = True
                call.on_chunk(str(value))
            elif value is not None:
                return value
    raise FastioError("unavailable", f"{url} did not finish its answer.")


def _values(response: httpx.Response, url: str) -> Iterator[tuple[Message, Any]]:
    """The messages of a stream, each with its JSON value. Raises the error that one holds."""
    for message in messages(response.iter_bytes()):
        value = parse_json(message.data, response, url) if message.data else None
        if message.type == "error":
            raise parse_problem(value) or unexpected_response(response, url)
        yield message, value
