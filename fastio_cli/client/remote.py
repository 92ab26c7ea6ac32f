"""The operations on a server: the same calls as the engine's, over HTTP.

It knows no operation: method, path and the place of each parameter follow from the catalogue. Every
mutating call carries an idempotency key, so a call whose answer was lost is made again and still
takes effect once.

**Waiting** is done at the server, by the call itself: there the waiters for a lock stand in one
line with those of the store's own machine, and an expression is looked at where the data is. A
stream of events would need a second connection for the calls, and every release of a lock would set
off a call from every waiter. A request is held for at most :data:`HOLD_S`; then, or when it was
cut, the same call is made again with the time that is left. Its idempotency key keeps its place in
the line. Only the bytes of files and the stream of events are no calls (``watch``: Server-Sent
Events, resumed by ``Last-Event-ID``).
"""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from urllib.parse import quote, urlencode

import httpx

from fastio_cli.blobs.local import CHUNK_BYTES, Content
from fastio_cli.client.sse import EVENTS, cut_at, is_stream, messages
from fastio_cli.client.transport import (
    ANSWER_S,
    CONNECT_S,
    UPTIME_MIN_S,
    error_of,
    json_of,
    open_client,
    retries,
    server_url,
    unexpected_response,
    unreachable,
    was_connected,
    within,
)
from fastio_cli.engine.client import Client, PreparedCall
from fastio_cli.errors import FastioError
from fastio_cli.identity import digest_of
from fastio_cli.operations import find
from fastio_cli.operations.types import NAME_RULE, is_number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import Any, BinaryIO

    from fastio_cli import model
    from fastio_cli.client.sse import Message
    from fastio_cli.operations.operation import Operation

RETRY_S = 30.0
HOLD_S = 50.0  # proxies and load balancers let a silent request live for 60 (nginx, AWS)
SILENCE_S = 40.0  # a stream's heartbeat comes every 15
WHOLE_BYTES_MAX = 8 * 1024 * 1024  # what is sent again from its beginning after a cut
SPOOLED_BYTES_MAX = 16 * 1024 * 1024
BODYLESS = ("GET", "DELETE")
PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


class RemoteCall(PreparedCall):
    """A call on a server; ``key`` is its idempotency key."""

    def __init__(
        self, operation: Operation, params: dict[str, Any], workspace: str, key: str | None
    ) -> None:
        super().__init__(operation, params, workspace)
        self.key = key
        self.told = False  # a piece of its answer, to whoever listens


class Body(Content):
    """Bytes to be uploaded with a call; they can be read again from any offset."""

    __slots__ = ("stream", "upload_id")

    def __init__(self, etag: str, size_bytes: int, stream: BinaryIO) -> None:
        super().__init__(etag, size_bytes)
        self.stream = stream
        self.upload_id = os.urandom(16).hex()

    def read_from(self, offset: int) -> Iterator[bytes]:
        self.stream.seek(offset)
        while chunk := self.stream.read(CHUNK_BYTES):
            yield chunk


class RemoteDownload:
    """The answer of ``file.get``: the object's record, and the bytes still on their way."""

    def __init__(self, call: RemoteCall, response: httpx.Response, record: Any) -> None:
        self.call = call
        self.response = response
        self.record = record
        self.start = int(call.params.get("offset") or 0)


class Remote(Client):
    """A server's operations.

    Parameters: ``url`` of the server, ``token`` to be let in with, ``retry_s`` how long a server
    that is away is tried again, ``ca_file`` with certificate authorities to trust besides the
    public ones, ``note`` to tell a person that it takes longer. Raises ``unavailable`` when the
    server cannot be reached for that long.
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
        self.url = server_url(url)
        self._retry_s = retry_s
        self._note = note
        if token is not None:
            digest_of(token)  # a mistyped one does not have to travel
        self._client = open_client(self.url, token, ca_file)

    def prepare(
        self,
        name: str,
        params: dict[str, Any],
        workspace: str,
        actor: str,
        idempotency_key: str | None = None,
    ) -> RemoteCall:
        """Check a call's parameters here, where a mistake costs no round trip."""
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
        """Send a prepared call until it is answered."""
        assert isinstance(call, RemoteCall)
        body = next((v for v in call.params.values() if isinstance(v, Body)), None)
        if body is not None and body.size_bytes > WHOLE_BYTES_MAX:
            self._upload_parts(call, body)
        left = wait_s = call.wait_s
        in_all_s = call.deadline_s or self._retry_s + wait_s + ANSWER_S
        attempts = retries(self._retry_s, in_all_s, self._note)
        until = time.monotonic() + wait_s
        while True:
            answer_s = min(ANSWER_S, max(0.1, attempts.left_s))
            held = answer_s + left > HOLD_S
            started = time.monotonic()
            try:
                return self._send(call, body, left, HOLD_S if held else answer_s + left)
            except httpx.ReadTimeout as e:
                failure = None if held else unreachable(self.url, e)
            except httpx.RequestError as e:
                failure = unreachable(self.url, e)
                if was_connected(e) and time.monotonic() - started > UPTIME_MIN_S:
                    attempts.reset()
            except FastioError as e:
                failure = _transient(e)
            if failure is not None:
                attempts.wait_or_raise(failure)
            else:
                attempts.reset()
            left = max(0.0, until - time.monotonic()) if wait_s else 0.0

    def call_many(self, calls: Sequence[PreparedCall]) -> list[Any]:
        """Do several calls one after another."""
        outcomes: list[Any] = []
        for call in calls:
            try:
                outcomes.append(self.run(call))
            except FastioError as e:
                outcomes.append(e)
        return outcomes

    def upload(self, stream: BinaryIO) -> Body:
        """The bytes of a stream as the ``content`` parameter of a file operation.

        They are hashed now and sent with the call; what cannot be read twice is kept in a temporary
        file until then.
        """
        import hashlib

        again: Any = _own(stream)
        if again is None:
            import tempfile

            again = tempfile.SpooledTemporaryFile(SPOOLED_BYTES_MAX)  # noqa: SIM115
        digest, size, spooled = hashlib.sha256(), 0, not stream.seekable()
        while chunk := stream.read(CHUNK_BYTES):
            digest.update(chunk)
            size += len(chunk)
            if spooled:
                again.write(chunk)
        return Body(digest.hexdigest(), size, again)

    def chunks(self, download: RemoteDownload) -> Iterator[bytes]:
        """The bytes of a download; goes on where it was when the connection is cut.

        Raises ``unavailable`` when the bytes of a whole file are not those it should have.
        """
        import hashlib

        digest, position = hashlib.sha256(), download.start
        response, attempts = download.response, retries(self._retry_s, note=self._note)
        try:
            while True:
                try:
                    for chunk in response.iter_bytes():
                        digest.update(chunk)
                        position += len(chunk)
                        yield chunk
                        attempts.reset()
                    break
                except httpx.RequestError as e:
                    response.close()
                    attempts.wait_or_raise(unreachable(self.url, e))
                    response = self.run(self._rest_of(download, position)).response
        finally:
            response.close()
        stated = download.response.headers.get("repr-digest", "")
        whole = not download.start and "length" not in download.call.params
        if whole and stated and stated != digest_header(digest.hexdigest()):
            raise FastioError("unavailable", "The bytes that arrived are damaged.", "Try again.")

    def close(self) -> None:
        self._client.close()

    def _events(
        self, workspace: str, after: int, deadline: float | None, filters: dict[str, str]
    ) -> Iterator[model.Event]:
        """Read the server's stream, on and on over cut connections."""
        NAME_RULE.check(workspace, "workspace")
        url = f"{self.url}/v1/workspaces/{workspace}/events/stream"
        attempts = retries(self._retry_s, note=self._note)
        while deadline is None or time.monotonic() < deadline:
            started = time.monotonic()
            try:
                headers = {"last-event-id": str(after)}
                for seq, event in self._stream(url, headers, filters, deadline):
                    known, after = after, max(after, seq)
                    if event is not None and seq > known:
                        attempts.reset()
                        yield event
                failure = FastioError("unavailable", f"{url} ended.")
            except httpx.RequestError as e:
                if deadline is not None and time.monotonic() >= deadline:
                    break
                failure = unreachable(self.url, e)
                if not was_connected(e):
                    started = time.monotonic()
            except FastioError as e:
                failure = _transient(e)
            if time.monotonic() - started > UPTIME_MIN_S:
                attempts.reset()
            attempts.wait_or_raise(failure, deadline)
        # What had happened by then is told, however slow the connection was.
        yield from super()._events(workspace, after, deadline, filters)

    def _stream(
        self, url: str, headers: dict[str, str], filters: dict[str, str], deadline: float | None
    ) -> Iterator[tuple[int, model.Event | None]]:
        """What one connection gives: number and event, or a number alone as a sign of life."""
        connect_s = CONNECT_S if deadline is None else deadline - time.monotonic()
        timeout = within(SILENCE_S, max(0.001, min(CONNECT_S, connect_s)))
        request = self._client.build_request(
            "GET", url, headers=headers, params=filters, timeout=timeout
        )
        response = self._client.send(request, stream=True)
        if not is_stream(response):
            json_of(response, self.url)
            raise unexpected_response(response, self.url)
        with closing(response), cut_at(deadline, response):
            for message, value in self._messages(response):
                yield int(message.id) if is_number(message.id) else 0, value

    def _messages(self, response: httpx.Response) -> Iterator[tuple[Message, Any]]:
        """The messages of a stream, each with its value. Raises the error that one tells."""
        for message in messages(response.iter_bytes()):
            try:
                value = json.loads(message.data) if message.data else None
            except ValueError:
                raise unexpected_response(response, self.url) from None
            if message.type == "error":
                raise error_of(value) or unexpected_response(response, self.url)
            yield message, value

    def _heard(self, call: RemoteCall, response: httpx.Response) -> Any:
        """The result of a call whose answer comes in pieces, after them."""
        assert call.on_chunk is not None
        with closing(response):
            for message, value in self._messages(response):
                if message.type == "piece":
                    call.told = True
                    call.on_chunk(str(value))
                elif value is not None:
                    return value
        raise FastioError("unavailable", f"{self.url} did not finish its answer.")

    def _rest_of(self, download: RemoteDownload, position: int) -> RemoteCall:
        """The same download from a position on, of the same version."""
        call = download.call
        params = {**call.params, "offset": position, "version": download.record["version"]}
        if (length := call.params.get("length")) is not None:
            params["length"] = max(0, download.start + length - position)
        return RemoteCall(call.operation, params, call.workspace, None)

    def _upload_parts(self, call: RemoteCall, body: Body) -> None:
        """Send the bytes ahead of the call, each time from where the server has them."""
        url = f"{self.url}/v1/workspaces/{call.workspace}/uploads/{body.upload_id}"
        attempts = retries(self._retry_s, note=self._note)
        offset: int | None = 0
        there = 0
        while True:
            try:
                if offset is None:
                    offset = int(self._json("GET", url)["offset"])
                if offset > there:
                    there = offset
                    attempts.reset()
                if offset < body.size_bytes:
                    headers = {"upload-offset": str(offset)}
                    self._json("PATCH", url, headers=headers, content=body.read_from(offset))
                return
            except httpx.RequestError as e:
                failure = unreachable(self.url, e)
            except FastioError as e:
                # The cut part was still being written when we asked how much of it there is.
                failure = e if "offset" in e.details else _transient(e)
            offset = None
            attempts.wait_or_raise(failure)

    def _json(self, method: str, url: str, **options: Any) -> Any:
        request = self._client.build_request(method, url, **options)
        return json_of(self._client.send(request, stream=True), self.url)

    def _send(self, call: RemoteCall, body: Body | None, wait_s: float, answer_s: float) -> Any:
        """One try: the record, or the download."""
        request = self._request(call, body, wait_s, answer_s)
        response = self._client.send(request, stream=True)
        if response.is_success and is_stream(response) and call.on_chunk is not None:
            return self._heard(call, response)
        if call.operation.response != "bytes" or not response.is_success:
            return json_of(response, self.url)
        try:
            record = json.loads(response.headers["fastio-record"])
        except (KeyError, ValueError):
            response.close()
            raise unexpected_response(response, self.url) from None
        return RemoteDownload(call, response, record)

    def _request(
        self, call: RemoteCall, body: Body | None, wait_s: float, answer_s: float
    ) -> httpx.Request:
        operation = call.operation
        params = dict(call.params)
        if operation.wait_param is not None and wait_s != call.wait_s:
            params[operation.wait_param] = round(wait_s, 3)
        url = self.url + _path(operation, params, call.workspace)
        headers, content = {}, None
        if operation.response == "chunks" and call.on_chunk is not None and not call.told:
            headers["accept"] = f"{EVENTS}, application/json"  # told once; cut off, it comes whole
        if call.key is not None:
            headers["idempotency-key"] = quote(call.key, safe=PLAIN)
        params.pop(operation.upload_param or "", None)
        if body is not None:
            content = self._content(body, headers)
        if operation.method in BODYLESS or body is not None:
            if (token := params.pop("lock_token", None)) is not None:
                headers["lock-token"] = quote(token, safe=PLAIN)
            if params:
                url += "?" + urlencode({name: _text(value) for name, value in params.items()})
        else:
            headers["content-type"] = "application/json"
            content = _encoded(params)
        timeout = within(answer_s, min(CONNECT_S, answer_s))
        return self._client.build_request(
            operation.method, url, headers=headers, content=content, timeout=timeout
        )

    def _content(self, body: Body, headers: dict[str, str]) -> Any:
        headers["content-digest"] = digest_header(body.etag)
        if body.size_bytes > WHOLE_BYTES_MAX:
            headers["upload-id"] = body.upload_id
            return b""
        return b"".join(body.read_from(0))


def _transient(error: FastioError) -> FastioError:
    """An answer that another try may change; raises every other one."""
    if error.code not in ("rate_limited", "unavailable"):
        raise error
    return error


def _own(stream: BinaryIO) -> Any:
    """A handle on the same bytes that stays open when the caller closes his; None if they can be
    read only once."""
    if not stream.seekable():
        return None
    try:
        return open(os.dup(stream.fileno()), "rb")
    except OSError:  # bytes in memory
        return stream


def digest_header(sha256: str) -> str:
    """A SHA-256 as the fields ``Content-Digest`` and ``Repr-Digest`` hold it (RFC 9530)."""
    import base64

    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def _path(operation: Operation, params: dict[str, Any], workspace: str) -> str:
    """The operation's route with its values; takes them out of the parameters."""
    segments = []
    for segment in operation.route.split("/"):
        if segment.startswith("{"):
            name = segment.strip("{}").partition(":")[0]
            value = workspace if name == "workspace" else _text(params.pop(name))
            segment = quote(value, safe="/" if segment.endswith(":path}") else "")
        segments.append(segment)
    return "/".join(segments)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _encoded(params: dict[str, Any]) -> bytes:
    try:
        text = json.dumps(params, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except ValueError as e:
        raise FastioError("invalid", f"The call cannot be written as JSON: {e}.") from None
