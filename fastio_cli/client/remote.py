"""The operations of a server: the same calls as the engine's, over HTTP.

It knows no operation: method, path and the place of each parameter follow from the catalogue. Every
mutating call carries an idempotency key, so that a call whose answer was lost can be repeated and
still takes effect once.

**Waiting** is a long poll: the server holds the request, so that remote waiters for a lock queue
together with local ones, and an expression is evaluated where the data is. A request is held for at
most :data:`HOLD_S`; then, or when its connection was cut, the same call is made again with the time
that is left, and its idempotency key keeps its place in the queue. Only the bytes of files
(``uploads``, ``downloads``) and the stream of events (``streams``) are not calls.
"""

from __future__ import annotations

import os
import time

import httpx

from fastio_cli.client.downloads import RemoteDownload, open_download, read_chunks
from fastio_cli.client.requests import RemoteCall, RequestParts
from fastio_cli.client.responses import (
    ANSWER_S,
    read_record,
    transient,
    unreachable,
    was_connected,
)
from fastio_cli.client.sse import is_stream
from fastio_cli.client.streams import EventStream, read_streamed_answer
from fastio_cli.client.transport import CONNECT_S, UPTIME_MIN_S, Transport, time_limits
from fastio_cli.client.uploads import RESENT_BYTES_MAX, Body, body_of, upload_ahead
from fastio_cli.engine.client import Client, PreparedCall
from fastio_cli.errors import FastioError
from fastio_cli.identity import digest_of
from fastio_cli.operations import find
from fastio_cli.operations.types import NAME_RULE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO

    from fastio_cli import model

RETRY_S = 30.0
HOLD_S = 50.0  # proxies and load balancers end a silent request after 60 (nginx, AWS)
ANSWER_MIN_S = 0.1


class Remote(Client):
    """A server's operations.

    Parameters: ``url`` of the server; ``token`` to authenticate with; ``retry_s`` how long to retry
    while the server is unavailable; ``ca_file`` with additional certificate authorities; ``note``
    to tell a user that a retry takes longer. Raises ``unavailable`` when the server cannot be
    reached for that long.
    """

    def __init__(
        self,
        url: str,
        token: str | None,
        *,
        retry_s: float = RETRY_S,
        ca_file: str | None = None,
        note: Callable[[str], None] | None = None,
    ) -> None:
        if token is not None:
            digest_of(token)  # raises for a mistyped one, without a round trip
        self._transport = Transport(url, token, retry_s, ca_file, note)
        self.url = self._transport.url

    def prepare(
        self,
        name: str,
        params: dict[str, object],
        workspace: str,
        actor: str,
        idempotency_key: str | None = None,
    ) -> RemoteCall:
        """Check a call's parameters here, without a round trip."""
        operation = find(name)
        operation.decode(params)
        NAME_RULE.check(workspace, "workspace")
        if operation.effect != "write":
            if idempotency_key is not None:
                raise FastioError("invalid", f"{name} changes nothing and takes no key.")
        elif idempotency_key is None:
            idempotency_key = f"auto-{os.urandom(16).hex()}"
        rules = operation.rules
        given = {k: v for k, v in params.items() if v is not None or not rules[k].optional}
        return RemoteCall(operation, given, workspace, idempotency_key)

    def run(self, call: PreparedCall) -> Any:
        """Send a prepared call, again and again until it is answered."""
        assert isinstance(call, RemoteCall)
        body = call.body
        if body is not None and body.size_bytes > RESENT_BYTES_MAX:
            upload_ahead(self._transport, call.workspace, body)
        left_s = wait_s = call.wait_s
        total_s = call.deadline_s or self._transport.retry_s + wait_s + ANSWER_S
        attempts = self._transport.retries(total_s)
        until = time.monotonic() + wait_s
        while True:
            answer_s = min(ANSWER_S, max(ANSWER_MIN_S, attempts.left_s))
            is_held = answer_s + left_s > HOLD_S
            started = time.monotonic()
            try:
                return self._send(call, left_s, HOLD_S if is_held else answer_s + left_s)
            except httpx.ReadTimeout as e:
                failure = None if is_held else unreachable(self.url, e)
            except httpx.RequestError as e:
                failure = unreachable(self.url, e)
                if was_connected(e) and time.monotonic() - started > UPTIME_MIN_S:
                    attempts.reset()
            except FastioError as e:
                failure = transient(e)
            if failure is not None:
                attempts.wait_or_raise(failure)
            else:
                attempts.reset()
            left_s = max(0.0, until - time.monotonic()) if wait_s else 0.0

    def call_many(self, calls: Sequence[PreparedCall]) -> list[object]:
        """Run several calls one after another."""
        outcomes: list[object] = []
        for call in calls:
            try:
                outcomes.append(self.run(call))
            except FastioError as e:
                outcomes.append(e)
        return outcomes

    def upload(self, stream: BinaryIO) -> Body:
        """The bytes of a stream as the ``content`` parameter of a file operation.

        They are hashed now and sent with the call.
        """
        return body_of(stream)

    def chunks(self, download: RemoteDownload) -> Iterator[bytes]:
        """The bytes of a download, resumed when the connection is cut."""
        return read_chunks(self._transport, download, self.run)

    def close(self) -> None:
        self._transport.close()

    def _events(
        self, workspace: str, after: int, deadline: float | None, filters: dict[str, str]
    ) -> Iterator[model.Event]:
        NAME_RULE.check(workspace, "workspace")
        events = EventStream(self._transport, workspace, after, deadline, filters)
        yield from events
        # A slow connection may not have delivered what happened before the deadline.
        yield from super()._events(workspace, events.seq, deadline, filters)

    def _send(self, call: RemoteCall, wait_s: float, answer_s: float) -> object:
        """One attempt: the record, or the download."""
        parts = RequestParts(call, wait_s)
        response = self._transport.request(
            parts.method,
            self.url + parts.path,
            headers=parts.headers,
            content=parts.content,
            timeout=time_limits(answer_s, min(CONNECT_S, answer_s)),
        )
        if response.is_success and is_stream(response) and call.on_chunk is not None:
            return read_streamed_answer(call, response, self.url)
        if call.operation.response != "bytes" or not response.is_success:
            return read_record(response, self.url)
        return open_download(call, response, self.url)
