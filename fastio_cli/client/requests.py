"""A prepared call as an HTTP request, derived from the catalogue."""

from __future__ import annotations

import base64
import json
from urllib.parse import quote, urlencode

from fastio_cli.client.sse import EVENTS
from fastio_cli.client.uploads import RESENT_BYTES_MAX, Body
from fastio_cli.engine.client import PreparedCall
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.operations.operation import Operation

BODYLESS_METHODS = ("GET", "DELETE")
# What a header may hold as it is; everything else is percent-encoded.
HEADER_CHARACTERS = "".join(map(chr, range(0x21, 0x7F))).replace("%", "")


class RemoteCall(PreparedCall):
    """A call on a server; ``key`` is its idempotency key."""

    def __init__(
        self, operation: Operation, params: dict[str, object], workspace: str, key: str | None
    ) -> None:
        super().__init__(operation, params, workspace)
        self.key = key
        self.has_streamed = False  # a chunk of its answer was passed on already

    @property
    def body(self) -> Body | None:
        """The bytes that the call uploads."""
        return next((v for v in self.params.values() if isinstance(v, Body)), None)

    @property
    def may_stream(self) -> bool:
        """Whether the answer may be streamed. An answer that was cut off is sent whole again."""
        streams = self.operation.response == "chunks" and self.on_chunk is not None
        return streams and not self.has_streamed


class RequestParts:
    """Path with query, headers and content of a request."""

    def __init__(self, call: RemoteCall, wait_s: float) -> None:
        operation, body = call.operation, call.body
        params = dict(call.params)
        if operation.wait_param is not None and wait_s != call.wait_s:
            params[operation.wait_param] = round(wait_s, 3)
        self.method = operation.method
        self.path = expand_route(operation, params, call.workspace)
        self.headers = _call_headers(call)
        self.content: bytes | None = None
        params.pop(operation.upload_param or "", None)
        if body is not None:
            self._set_body(body)
        if self.method in BODYLESS_METHODS or body is not None:
            self._set_query(params)
        else:
            self.headers["content-type"] = "application/json"
            self.content = _encode(params)

    def _set_body(self, body: Body) -> None:
        self.headers["content-digest"] = digest_header(body.etag)
        if body.size_bytes > RESENT_BYTES_MAX:  # its bytes were uploaded before
            self.headers["upload-id"] = body.upload_id
            self.content = b""
        else:
            self.content = b"".join(body.read_from(0))

    def _set_query(self, params: dict[str, object]) -> None:
        if (token := params.pop("lock_token", None)) is not None:
            self.headers["lock-token"] = quote(str(token), safe=HEADER_CHARACTERS)
        if params:
            self.path += "?" + urlencode({name: _text(value) for name, value in params.items()})


def digest_header(sha256: str) -> str:
    """A SHA-256 as the fields ``Content-Digest`` and ``Repr-Digest`` hold it (RFC 9530)."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(sha256)).decode()}:"


def expand_route(operation: Operation, params: dict[str, object], workspace: str) -> str:
    """The operation's route with its parameters, which are removed from ``params``."""
    segments = []
    for segment in operation.route.split("/"):
        if segment.startswith("{"):
            name = segment.strip("{}").partition(":")[0]
            value = workspace if name == "workspace" else _text(params.pop(name))
            segment = quote(value, safe="/" if segment.endswith(":path}") else "")
        segments.append(segment)
    return "/".join(segments)


def _call_headers(call: RemoteCall) -> dict[str, str]:
    headers = {}
    if call.may_stream:
        headers["accept"] = f"{EVENTS}, application/json"
    if call.key is not None:
        headers["idempotency-key"] = quote(call.key, safe=HEADER_CHARACTERS)
    return headers


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _encode(params: dict[str, object]) -> bytes:
    try:
        text = json.dumps(params, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except ValueError as e:
        raise FastioError("invalid", f"The call cannot be written as JSON: {e}.") from None
