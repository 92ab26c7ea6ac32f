"""HTTP and the engine's terms: what a request asks for, and how an outcome is answered.

Headers: ``If-Match`` and ``If-None-Match: *`` are ``if_version`` (RFC 9110), ``Lock-Token`` is
``lock_token``, ``Idempotency-Key`` the key, ``Range`` an offset and a length. Secrets come in
headers or bodies, never in a URL, which ends up in logs.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from urllib.parse import unquote, unquote_plus

from fastio_cli.errors import FastioError
from fastio_cli.json_text import SIZE_BYTES_MAX, decode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, MutableMapping
    from typing import Any

    from fastio_cli.operations.operation import Operation

    Message = MutableMapping[str, Any]
    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Headers = list[tuple[bytes, bytes]]
    # Sends status, headers and body of an answer at once; False if that cannot be done now.
    SendWhole = Callable[[int, Headers, bytes], bool]

# A body is an object around the parameters, the largest and deepest value among them.
ENVELOPE_BYTES = 64 * 1024
ENVELOPE_DEPTH = 1
BODY_BYTES_MAX = SIZE_BYTES_MAX + ENVELOPE_BYTES
WHOLE = "fastio.whole"  # the extension of ASGI that answers in one piece: protocol.py
LATE = "fastio.late"  # set in the scope of a request whose body stopped coming, or hardly comes
SMALL_BYTES_MAX = 64 * 1024
BODYLESS = ("GET", "HEAD", "DELETE")
IN_HEADERS = {"lock_token": "lock-token"}
ETAG = re.compile(r'"([0-9]{1,16})(?:-[0-9a-f]{1,64})?"')
RANGE = re.compile(r"bytes=([0-9]{1,16})-([0-9]{0,16})")
MEDIA_TYPE = re.compile(r"[\w.+-]+/[\w.+-]+(; ?[\w.+-]+=[\w.+-]+)*", re.ASCII)
JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")
NO_SNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")


class Disconnected(FastioError):
    """The client went away: nobody reads an answer. (One that were raised again and again would
    keep the frames of every time.)"""

    def __init__(self) -> None:
        super().__init__("interrupted", "The client went away.")


class Request:
    """One request: its parts in plain Python, its body not yet read."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.raw_path: str = scope["raw_path"].partition(b"?")[0].decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.client: str = scope["client"][0] if scope.get("client") else ""
        fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in scope["headers"]]
        self.headers: dict[str, str] = dict(fields)
        if len(self.headers) < len(fields):
            counts = Counter(name for name, _ in fields)
            # Sent twice, so neither counts.
            self.headers.update({name: "\0" for name in SINGLE if counts[name] > 1})
        # The token of the Authorization header (RFC 6750).
        scheme, _, token = self.headers.get("authorization", "").partition(" ")
        self.token = token.strip() if scheme.lower() == "bearer" else None
        self.scope = scope
        self._receive = receive

    @property
    def is_small(self) -> bool:
        """Whether its body is small, by what it says."""
        if self.method in BODYLESS:
            return True
        length = self.headers.get("content-length", "")
        return length.isdecimal() and int(length) <= SMALL_BYTES_MAX

    async def body(self, size_bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """The whole body. Raises ``too_large``, ``timeout`` when it stops coming."""
        self.refuse_encoding()
        length = self.headers.get("content-length", "")
        if length.isdecimal() and int(length) > size_bytes_max:
            raise too_large(size_bytes_max)
        parts, size, more = [], 0, True
        while more:
            part, more = await self._part()
            size += len(part)
            if size > size_bytes_max:
                raise too_large(size_bytes_max)
            parts.append(part)
        return b"".join(parts)

    async def parts(self) -> Any:
        """The body as it comes. Raises ``timeout`` when it stops coming, or hardly comes."""
        more = True
        while more:
            part, more = await self._part()
            if part:
                yield part

    async def _part(self) -> tuple[bytes, bool]:
        """Some of the body, and whether there is more."""
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected()
        if LATE in self.scope:
            raise FastioError("timeout", "The request's body stopped coming.")
        return message.get("body", b""), message.get("more_body", False)

    def refuse_encoding(self) -> None:
        """A compressed body is refused: what it would unpack to is not known."""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise FastioError("invalid", "A request's body must not be compressed.")


SINGLE = (
    "authorization",
    "idempotency-key",
    "lock-token",
    "if-match",
    "if-none-match",
    "content-type",
    "range",
)


def too_large(size_bytes_max: int) -> FastioError:
    return FastioError(
        "too_large",
        f"The request's body is larger than {size_bytes_max:,} bytes.",
        "Store large content as a file: fastio file put FILE",
    )


def params_of(
    operation: Operation, request: Request, in_path: dict[str, str], body: bytes
) -> dict[str, Any]:
    """The parameters of a call, each from the one place where it may stand."""
    params = _body_params(request, body) if body else {}
    if request.query:
        for name, text in query_of(request.query):
            if name in SECRETS:
                raise FastioError("invalid", f"{name} is a secret and must not stand in a URL.")
            rule = operation.rules.get(name)
            _add(params, name, rule.read(text, name) if rule is not None else text)
    for name, text in in_path.items():
        _add(params, name, operation.rules[name].read(text, name))
    for name, value in _header_params(operation, request):
        _add(params, name, value)
    return params


def query_of(query: bytes) -> list[tuple[str, str]]:
    """The fields of a query string. Raises ``invalid`` when it is not UTF-8."""
    fields = []
    try:
        for field in query.decode("ascii").split("&"):
            name, _, value = field.partition("=")
            if field:
                fields.append(
                    (unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict"))
                )
    except UnicodeDecodeError:
        raise FastioError("invalid", "The URL is not valid UTF-8.") from None
    return fields


SECRETS = ("lock_token", "to_lock_token", "claim")


def _body_params(request: Request, body: bytes) -> dict[str, Any]:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise FastioError("invalid", "The body must be JSON, as Content-Type: application/json.")
    params = decode(body, "body", ENVELOPE_BYTES, ENVELOPE_DEPTH)
    if not isinstance(params, dict):
        raise FastioError("invalid", "The body must be a JSON object with the parameters.")
    return params


def _add(params: dict[str, Any], name: str, value: Any) -> None:
    if name in params:
        raise FastioError("invalid", f"{name} is given twice.")
    params[name] = value


def _header_params(operation: Operation, request: Request) -> Iterator[tuple[str, Any]]:
    headers = request.headers
    for name, header in IN_HEADERS.items():
        if header in headers:
            if name not in operation.rules:
                raise FastioError("invalid", f"{operation.name} takes no {header} header.")
            yield name, text_of(headers[header])
    if "if_version" in operation.rules:
        unless = headers.get("if-none-match")
        if unless is not None and (unless.strip() != "*" or "if-match" in headers):
            # What cannot be heeded must not be overheard: the change is not to happen.
            raise FastioError("invalid", "A change takes If-None-Match alone, and only as *.")
        if "if-match" in headers:
            match = ETAG.fullmatch(headers["if-match"].strip())
            if match is None:
                raise FastioError("invalid", "If-Match must be one ETag that fastio gave out.")
            yield "if_version", int(match[1])
        elif unless is not None:
            yield "if_version", 0


def text_of(header: str) -> str:
    """A text in a header: percent-encoded where it is not plain ASCII."""
    return unquote(header, errors="replace") if "%" in header else header


def etag_of(record: Any) -> str | None:
    """The ETag of what was read or written: its version, and the beginning of its hash."""
    if isinstance(record, dict) and "etag" in record and "version" in record:
        return f'"{record["version"]}-{record["etag"][:16]}"'
    return None


def is_known(request: Request, etag: str | None) -> bool:
    """Whether a reader has what has this ETag already (RFC 9110 §13.1.2: compared weakly)."""
    if etag is None or request.method not in ("GET", "HEAD"):
        return False
    known = [tag.strip() for tag in request.headers.get("if-none-match", "").split(",")]
    return known == ["*"] or etag in (tag.removeprefix("W/") for tag in known)


def range_of(request: Request) -> tuple[int, int | None] | None:
    """Offset and length of a single byte range; others are ignored, as RFC 9110 allows.

    So is one with ``If-Range``: what it is to be a part of is not known yet.
    """
    if request.method != "GET" or "if-range" in request.headers:
        return None
    match = RANGE.fullmatch(request.headers.get("range", "").strip().lower())
    if match is None:
        return None
    start, end = int(match[1]), match[2]
    if not end:
        return start, None
    return None if int(end) < start else (start, int(end) - start + 1)


def problem(error: FastioError, request_id: str) -> tuple[int, Headers, bytes]:
    """An error as problem details (RFC 9457), with everything a program finds locally too."""
    status = error.kind.http
    headers: Headers = [PROBLEM, NO_STORE]
    allow = error.details.get("allow")
    if isinstance(allow, str):  # the one thing that HTTP has a status for and others have not
        status = 405
        headers.append((b"allow", allow.encode()))
    retry_after = error.details.get("retry_after_s")
    if isinstance(retry_after, int | float):
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after))).encode()))
    elif error.code == "unavailable":
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="fastio"'))
    body = {
        "type": f"urn:fastio:error:{error.code}",
        "title": error.code.replace("_", " "),
        "status": status,
        "detail": error.message,
        "instance": f"urn:fastio:request:{request_id}",
        **error.as_dict(),
    }
    return status, headers, json.dumps(body, separators=(",", ":")).encode()


async def respond(scope: Scope, send: Send, status: int, headers: Headers, body: bytes) -> None:
    """Send a whole response."""
    whole = scope.get("extensions", {}).get(WHOLE)
    if whole is None or not whole(status, headers, body):
        if status != 304:
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})
