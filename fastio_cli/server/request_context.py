"""One request: its parts in plain Python, who sent it, its answer, and what the log says of it."""

from __future__ import annotations

import time
from collections import Counter

from fastio_cli.engine.engine import new_id
from fastio_cli.errors import FastioError
from fastio_cli.json_text import SIZE_BYTES_MAX
from fastio_cli.server.responses import BODYLESS, ENVELOPE_BYTES, NO_SNIFF, problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from starlette.types import Receive, Scope, Send

    from fastio_cli.server.responses import Headers

BODY_BYTES_MAX = SIZE_BYTES_MAX + ENVELOPE_BYTES
SMALL_BYTES_MAX = 64 * 1024
BODY_FAILURE = "fastio.body_failure"  # in the scope of a request: why its body will not come
TASK = "fastio.task"  # in the scope of a request: what is to be cancelled when its client leaves
HAS_LEFT = "fastio.has_left"  # in the scope of a request whose client has left
LONG_POLL = "fastio.long_poll"  # in the scope of a request that waits, and will ask again
SINGLE = (
    "authorization",
    "idempotency-key",
    "lock-token",
    "if-match",
    "if-none-match",
    "content-type",
    "range",
)


class Disconnected(FastioError):
    """The client went away: nobody reads an answer. (One that were raised again and again would
    keep the frames of every time.)"""

    def __init__(self) -> None:
        super().__init__("interrupted", "The client went away.")


class RequestContext:
    """One request on its way through a surface of the server.

    The pipeline fills in ``actor``; an endpoint ``operation`` and ``workspace``, for the log.
    ``status`` is 0 until an answer has begun.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.id = new_id()
        self.started = time.perf_counter()
        self.method: str = scope["method"]
        self.raw_path: str = scope["raw_path"].decode("latin-1")
        self.query: bytes = scope["query_string"]
        self.client: str = scope["client"][0] if scope.get("client") else ""
        self.headers = _single(scope["headers"])
        self.token = _bearer_token(self.headers.get("authorization"))
        self.operation = self.workspace = self.actor = ""
        self.status = 0

    @property
    def is_small(self) -> bool:
        """Whether its body is small, by what it says."""
        if self.method in BODYLESS:
            return True
        length = self.headers.get("content-length", "")
        return length.isdecimal() and int(length) <= SMALL_BYTES_MAX

    @property
    def body_bytes_max(self) -> int:
        """How large its body may be, by what it says."""
        length = self.headers.get("content-length", "")
        return min(int(length), BODY_BYTES_MAX) if length.isdecimal() else BODY_BYTES_MAX

    async def body(self, size_bytes_max: int = BODY_BYTES_MAX) -> bytes:
        """The whole body. Raises ``too_large``, ``timeout`` when it stops coming, ``invalid`` when
        it is not well-formed."""
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

    async def parts(self) -> AsyncGenerator[bytes, None]:
        """The body as it comes. Raises ``timeout`` when it stops coming, or hardly comes."""
        more = True
        while more:
            part, more = await self._part()
            if part:
                yield part

    def refuse_encoding(self) -> None:
        """A compressed body is refused: what it would unpack to is not known."""
        if self.headers.get("content-encoding", "identity") != "identity":
            raise FastioError("invalid", "A request's body must not be compressed.")

    async def disconnected(self) -> None:
        """Return when the client has gone away."""
        while (await self.receive())["type"] != "http.disconnect":
            pass

    @property
    def own_headers(self) -> Headers:
        """What every answer has."""
        return [(b"x-request-id", self.id.encode()), NO_SNIFF]

    async def begin(self, status: int, headers: Headers) -> None:
        """Send the head of an answer."""
        headers = [*headers, *self.own_headers]
        if b"\n" in b"".join([value for _, value in headers]):
            raise ValueError("a header holds a line break")
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def respond(self, status: int, headers: Headers, body: bytes) -> None:
        """Send a whole answer."""
        if status != 304:  # which has no content, and no length of one (RFC 9110 §8.6)
            headers = [*headers, (b"content-length", b"%d" % len(body))]
        await self.begin(status, headers)
        await self.send({"type": "http.response.body", "body": body})

    async def refuse(self, error: FastioError, status: int | None = None) -> None:
        """Send an error, unless an answer had begun or nobody reads it.

        ``status`` replaces the one of its code where HTTP has one that fastio has not.
        """
        if not self.status and not isinstance(error, Disconnected):
            await self.respond(*problem(error, self.id, status))

    async def _part(self) -> tuple[bytes, bool]:
        """Some of the body, and whether there is more."""
        message = await self.receive()
        if message["type"] == "http.disconnect":
            raise Disconnected()
        failure = self.scope.get(BODY_FAILURE)
        if failure is not None:
            raise failure
        return message.get("body", b""), message.get("more_body", False)


def _single(fields: list[tuple[bytes, bytes]]) -> dict[str, str]:
    """The fields of a head by name; of one that may come once only and came twice, neither."""
    texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in fields]
    headers = dict(texts)
    if len(headers) < len(texts):
        counts = Counter(name for name, _ in texts)
        headers.update({name: "\0" for name in SINGLE if counts[name] > 1})
    return headers


def _bearer_token(authorization: str | None) -> str | None:
    """The token of an Authorization header (RFC 6750)."""
    if authorization is None:
        return None
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def too_large(size_bytes_max: int) -> FastioError:
    return FastioError(
        "too_large",
        f"The request's body is larger than {size_bytes_max:,} bytes.",
        "Store large content as a file: fastio file put FILE",
    )
