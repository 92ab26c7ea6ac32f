"""The operations on a server: the same calls as the engine's, over HTTP.

It knows no operation: method, path and the place of each parameter follow from the catalogue. Every
mutating call carries an idempotency key, so a call whose answer was lost is made again and still
takes effect once.
"""

from __future__ import annotations

import json
import os
import random
import time
from urllib.parse import quote, urlencode

import httpx

from fastio_cli import __version__
from fastio_cli.blobs import CHUNK_BYTES, Content
from fastio_cli.errors import KINDS, FastioError
from fastio_cli.operations import find
from fastio_cli.operations.params import NAME_RULE, UploadRule

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO, TypeVar

    from fastio_cli.operations.operation import Operation

    T = TypeVar("T")

CONNECT_S = 10.0
ANSWER_S = 30.0
RETRY_S = 30.0
BACKOFF_S = 0.1
BACKOFF_MAX_S = 5.0
WHOLE_BYTES_MAX = 8 * 1024 * 1024  # what is sent again from its beginning after a cut
SPOOLED_BYTES_MAX = 16 * 1024 * 1024
BODYLESS = ("GET", "DELETE")
PLAIN = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


class RemoteCall:
    """One call, ready to be sent any number of times."""

    def __init__(
        self, operation: Operation, params: dict[str, Any], workspace: str, key: str | None
    ) -> None:
        self.operation = operation
        self.params = params
        self.workspace = workspace
        self.key = key

    @property
    def wait_s(self) -> float:
        """How long the server may take to answer because it waits as it was asked to."""
        value = self.params.get("wait_s") or self.params.get("timeout_s") or 0
        if "timeout_s" in self.operation.defaults and "timeout_s" not in self.params:
            value = self.operation.defaults["timeout_s"]
        return float(value)


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

    def __init__(self, call: RemoteCall, response: httpx.Response) -> None:
        self.call = call
        self.response = response
        self.record: Any = json.loads(response.headers["fastio-record"])
        self.start = int(call.params.get("offset") or 0)


class Remote:
    """A server's operations; the same methods as :class:`fastio_cli.engine.Engine`.

    Parameters: ``url`` of the server, ``token`` to be let in with, ``retry_s`` how long a server
    that is away is tried again. Raises ``unavailable`` when it cannot be reached for that long.
    """

    def __init__(self, url: str, token: str | None, *, retry_s: float = RETRY_S) -> None:
        self.url = url.rstrip("/")
        self._retry_s = retry_s
        headers = {"user-agent": f"fastio/{__version__}", "accept-encoding": "identity"}
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        try:
            self._client = httpx.Client(
                headers=headers,
                timeout=httpx.Timeout(ANSWER_S, connect=CONNECT_S),
                # Certificates are loaded only where they are used; redirects are not followed.
                verify=self.url.startswith("https://"),
            )
        except (httpx.InvalidURL, ValueError, OSError) as e:
            raise FastioError("invalid", f"A proxy or certificate setting is wrong: {e}.") from None

    def call(
        self,
        name: str,
        params: dict[str, Any] | None = None,
        *,
        workspace: str = "default",
        actor: str = "",
        idempotency_key: str | None = None,
    ) -> Any:
        """Do one operation, as ``Engine.call`` does; who acts is said by the token."""
        return self.run(self.prepare(name, params or {}, workspace, actor, idempotency_key))

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

    def run(self, call: RemoteCall) -> Any:
        """Send a prepared call until it is answered."""
        body = next((v for v in call.params.values() if isinstance(v, Body)), None)
        if body is not None and body.size_bytes > WHOLE_BYTES_MAX:
            self._upload_parts(call, body)
        response = self._retried(lambda: self._send(call, body), call.wait_s)
        if "fastio-record" in response.headers:
            return RemoteDownload(call, response)
        return _json_of(response, self.url)

    def call_many(self, calls: list[RemoteCall]) -> list[Any]:
        """Do several calls one after another; each fails alone: results or exceptions, in order."""
        outcomes: list[Any] = []
        for call in calls:
            try:
                outcomes.append(self.run(call))
            except FastioError as e:
                outcomes.append(e)
        return outcomes

    def may_wait(self, call: RemoteCall) -> bool:
        """Whether the call asks to wait for something to happen."""
        return call.wait_s > 0

    def upload(self, stream: BinaryIO) -> Body:
        """The bytes of a stream as the ``content`` parameter of a file operation.

        They are hashed now and sent with the call; what cannot be read twice is kept in a temporary
        file until then.
        """
        import hashlib
        import tempfile

        again: Any = _own(stream)
        if again is None:
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
        from functools import partial

        digest, position = hashlib.sha256(), download.start
        response = download.response
        while True:
            try:
                for chunk in response.iter_raw():
                    digest.update(chunk)
                    position += len(chunk)
                    yield chunk
                break
            except httpx.TransportError:
                response.close()
                rest = self._rest_of(download, position)
                response = self._retried(partial(self._send, rest, None), 0)
        response.close()
        stated = download.response.headers.get("repr-digest", "")
        whole = not download.start and "length" not in download.call.params
        if whole and stated and stated != digest_header(digest.hexdigest()):
            raise FastioError("unavailable", "The bytes that arrived are damaged.", "Try again.")

    def close(self) -> None:
        self._client.close()

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
        sent = 0

        def send() -> httpx.Response:
            nonlocal sent
            if sent:
                sent = _json_of(self._client.get(url), self.url)["offset"]
            offset, sent = sent, sent or 1
            return self._client.patch(
                url, headers={"upload-offset": str(offset)}, content=body.read_from(offset)
            )

        self._retried(send, 0)

    def _send(self, call: RemoteCall, body: Body | None) -> httpx.Response:
        request = self._request(call, body)
        return self._client.send(request, stream=call.operation.gives_bytes)

    def _request(self, call: RemoteCall, body: Body | None) -> httpx.Request:
        operation = call.operation
        params = dict(call.params)
        url = self.url + _path(operation, params, call.workspace)
        headers, content = {}, None
        if call.key is not None:
            headers["idempotency-key"] = quote(call.key, safe=PLAIN)
        for name, rule in operation.rules.items():
            if isinstance(rule, UploadRule):
                params.pop(name, None)
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
        timeout = httpx.Timeout(ANSWER_S + call.wait_s, connect=CONNECT_S)
        try:
            return self._client.build_request(
                operation.method, url, headers=headers, content=content, timeout=timeout
            )
        except httpx.InvalidURL as e:
            raise FastioError("invalid", f"{self.url} is not a server's URL: {e}.") from None

    def _content(self, body: Body, headers: dict[str, str]) -> Any:
        headers["content-digest"] = digest_header(body.etag)
        if body.size_bytes > WHOLE_BYTES_MAX:
            headers["upload-id"] = body.upload_id
            return b""
        return b"".join(body.read_from(0))

    def _retried(self, send: Callable[[], httpx.Response], wait_s: float) -> httpx.Response:
        """Send until there is an answer that another try would not change, or time is up."""
        deadline = time.monotonic() + self._retry_s + wait_s
        backoff_s = BACKOFF_S
        while True:
            try:
                return _checked(send(), self.url)
            except (httpx.InvalidURL, httpx.UnsupportedProtocol) as e:
                raise FastioError("invalid", f"{self.url} is not a server's URL: {e}.") from None
            except httpx.TransportError as e:
                failure = _unreachable(self.url, e)
            except FastioError as e:
                if e.code not in ("rate_limited", "unavailable"):
                    raise
                failure = e
            # Full jitter: many clients that failed together do not come back together.
            pause_s = random.uniform(0, backoff_s)
            retry_after = failure.details.get("retry_after_s")
            if isinstance(retry_after, int | float):
                pause_s += retry_after
            if time.monotonic() + pause_s >= deadline or "certificate" in failure.details:
                raise failure
            time.sleep(pause_s)
            backoff_s = min(backoff_s * 2, BACKOFF_MAX_S)


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


def _checked(response: httpx.Response, url: str) -> httpx.Response:
    """The response, or the error it tells."""
    if response.is_success:
        return response
    try:
        response.read()
        problem = response.json() if "json" in response.headers.get("content-type", "") else None
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or problem.get("code") not in KINDS:
        raise _strange(response, url)
    error = FastioError(problem["code"], problem["message"], problem["hint"])
    error.details = problem.get("details") or {}
    retry_after = response.headers.get("retry-after", "")
    if retry_after.isdecimal() and "retry_after_s" not in error.details and error.kind.http != 423:
        error.details = {**error.details, "retry_after_s": int(retry_after)}
    raise error


def _json_of(response: httpx.Response, url: str) -> Any:
    if "json" not in response.headers.get("content-type", ""):
        raise _strange(response, url)
    return response.json()


def _strange(response: httpx.Response, url: str) -> FastioError:
    """An answer that no fastio server gives: a proxy's error page, a captive portal."""
    media_type = response.headers.get("content-type", "no type").partition(";")[0]
    busy = response.status_code in (429, 502, 503, 504)
    return FastioError(
        "unavailable" if busy else "invalid",
        f"{url} did not answer as a fastio server does: HTTP {response.status_code}, {media_type}.",
        "Check the address, and whether a proxy or a login page of the network is in between.",
        status=response.status_code,
    )


def _unreachable(url: str, error: httpx.TransportError) -> FastioError:
    reason = str(error) or type(error).__name__
    failure = FastioError(
        "unavailable", f"{url} cannot be reached: {reason}.", "Is the server up? fastio serve"
    )
    if "CERTIFICATE" in reason:
        failure.hint = "For a certificate of your own: export SSL_CERT_FILE=ca.pem"
        failure.details = {"certificate": False}
    return failure
