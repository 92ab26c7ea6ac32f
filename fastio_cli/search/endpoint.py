"""Requests to OpenAI-compatible endpoints, with timeouts and a few retries."""

from __future__ import annotations

import re
import time

from fastio_cli.egress.headers import header_value
from fastio_cli.errors import FastioError
from fastio_cli.json_text import foreign
from fastio_cli.retry import Retries, RetryPolicy, parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

    import httpx

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 60.0  # between two chunks of a response
TOTAL_TIMEOUT_S = 180.0
RESPONSE_BYTES_MAX = 64 * 1024 * 1024
REASON_BYTES_MAX = 64 * 1024
REASON_CHARACTERS_MAX = 300
RETRY = RetryPolicy(1.0, 10.0, deadline_s=30.0, attempts_max=3)
RETRIED_STATUSES = (408, 429, 500, 502, 503, 504)
PERMANENT_STATUSES = (400, 401, 403, 404)  # a repetition of the request gets the same


def post(url: str, path: str, body: Mapping[str, object], key: str | None) -> Any:
    """Post JSON and read JSON. Raises ``unavailable`` if there is no usable response."""
    data = b"".join(_request(url, path, body, key))
    try:
        return foreign(data)
    except ValueError:
        raise _unavailable(url, "it did not answer with JSON") from None


def stream_text(url: str, body: Mapping[str, object], key: str | None) -> Iterator[str]:
    """The chunks of a chat completion as they come (server-sent events, WHATWG HTML §9.2).

    An endpoint that does not stream sends the whole as one chunk. Raises ``unavailable`` for what
    is no completion, and at the end of one that is incomplete.
    """
    body_lines: list[bytes] = []  # of a response that is not streamed
    is_stream = is_complete = False
    for line in _lines(_request(url, "chat/completions", {**body, "stream": True}, key)):
        if not line.startswith(b"data:"):
            body_lines += [] if is_stream else [line]
            continue
        is_stream = True
        if line[5:].strip() == b"[DONE]":
            return
        text, is_last = _parse_completion(url, line[5:])
        is_complete = is_complete or is_last
        yield text
    if not is_stream:
        text, is_complete = _parse_completion(url, b"\n".join(body_lines))
        yield text
    if not is_complete:
        raise _unavailable(url, "its answer broke off")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    begun: list[bytes] = []  # the chunks of a line that has not ended
    for chunk in chunks:
        first, *lines = chunk.split(b"\n")
        begun.append(first)
        if lines:
            yield b"".join(begun)
            yield from lines[:-1]
            begun = [lines[-1]]
    yield b"".join(begun)


def _parse_completion(url: str, data: bytes) -> tuple[str, bool]:
    """The text of a completion or of a chunk of one, and whether it is the last."""
    try:
        completion: Any = foreign(data)
        error = completion.get("error")
        choice = (completion.get("choices") or [{}])[0]
        text = (choice.get("delta") or choice.get("message") or {}).get("content")
    except (ValueError, AttributeError, TypeError, KeyError, IndexError):
        raise _unavailable(url, "it did not answer with a chat completion") from None
    if error:
        raise _unavailable(url, f"its answer broke off{_reason(data)}")
    is_last = bool(choice.get("finish_reason")) or "message" in choice
    return _replace_surrogates(text) if isinstance(text, str) else "", is_last


def _replace_surrogates(text: str) -> str:
    """A text without lone surrogates, which JSON can express and no store can hold."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _request(url: str, path: str, body: Mapping[str, object], key: str | None) -> Iterator[bytes]:
    """The bytes of the response. A request is retried only if it failed before the first byte."""
    import httpx

    from fastio_cli.egress.client import client_for

    headers = {"Authorization": "Bearer " + header_value(key, "The endpoint's key")} if key else {}
    timeouts = {"read_s": READ_TIMEOUT_S, "connect_s": CONNECT_TIMEOUT_S}
    target = f"{url.rstrip('/')}/{path}"
    deadline = time.monotonic() + TOTAL_TIMEOUT_S
    attempts = Retries(RETRY, total_s=TOTAL_TIMEOUT_S)
    with client_for(url, headers=headers, **timeouts) as client:
        while True:
            began = False
            try:
                with client.stream("POST", target, json=body) as response:
                    if response.status_code == 200:
                        for chunk in _limit(response.iter_bytes(), url, deadline):
                            began = True
                            yield chunk
                        return
                    failure = _refusal(url, response)
                    if response.status_code not in RETRIED_STATUSES:
                        raise failure
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError) as e:
                failure = _unavailable(url, str(e) or type(e).__name__)
                if began:
                    raise failure from None
            except (httpx.HTTPError, httpx.InvalidURL) as e:
                raise _unavailable(url, str(e) or type(e).__name__) from None
            attempts.wait_or_raise(failure)


def _refusal(url: str, response: httpx.Response) -> FastioError:
    """The error of a response without a result."""
    status = response.status_code
    reason = _reason(next(response.iter_bytes(REASON_BYTES_MAX), b""))
    is_transient = status not in PERMANENT_STATUSES
    error = _unavailable(url, f"it answered {status}{reason}", transient=is_transient)
    retry_after_s = parse_retry_after(response.headers.get("retry-after"))
    if retry_after_s is not None:
        error.details["retry_after_s"] = retry_after_s
    return error


def _reason(body: bytes) -> str:
    """The message of an error in the format of OpenAI, preceded by a colon."""
    try:
        answer: Any = foreign(body)
        message = answer["error"]["message"]
    except (ValueError, KeyError, TypeError):
        return ""
    if not isinstance(message, str):
        return ""
    return f": {_replace_surrogates(message[:REASON_CHARACTERS_MAX])}"


def _limit(chunks: Iterator[bytes], url: str, deadline: float) -> Iterator[bytes]:
    """The chunks of a response, up to the limits of its size and time."""
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > RESPONSE_BYTES_MAX:
            raise _unavailable(url, "its answer is too large")
        if time.monotonic() > deadline:
            raise _unavailable(url, f"it took longer than {TOTAL_TIMEOUT_S:g} seconds")
        yield chunk


def _unavailable(url: str, why: str, *, transient: bool = True) -> FastioError:
    """The error of an endpoint; ``transient`` unless the same request would fail again."""
    return FastioError(
        "unavailable",
        f"The endpoint {url} could not be used: {why}.",
        "Check the settings: fastio config show",
        **({} if transient else {"transient": False}),
    )
