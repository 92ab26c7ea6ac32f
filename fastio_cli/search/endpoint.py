"""OpenAI-compatible endpoints: one request, with timeouts and few retries."""

from __future__ import annotations

import json
import re
import time

from fastio_cli.errors import FastioError
from fastio_cli.retry import Retries, RetryPolicy, parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    import httpx

CONNECT_S_MAX = 5.0
SILENCE_S_MAX = 60.0  # between two pieces of an answer
TOTAL_S_MAX = 180.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
REASON_BYTES_MAX = 64 * 1024
REASON_CHARACTERS_MAX = 300
RETRY = RetryPolicy(1.0, 10.0, deadline_s=30.0, attempts_max=3)
RETRIED = (408, 429, 500, 502, 503, 504)
LASTING = (400, 401, 403, 404)  # the same request would be answered so again


def post(url: str, path: str, body: dict[str, Any], key: str | None) -> Any:
    """Post JSON and read JSON. Raises ``unavailable`` when there is no usable answer."""
    data = b"".join(_request(url, path, body, key))
    try:
        return json.loads(data)
    except ValueError:
        raise _unavailable(url, "it did not answer with JSON") from None


def stream_text(url: str, body: dict[str, Any], key: str | None) -> Iterator[str]:
    """The pieces of a chat completion as they come (server-sent events, WHATWG HTML §9.2).

    An endpoint that does not stream gives the whole as one piece. Raises ``unavailable`` for what
    is no completion, and at the end of one that broke off: nobody can tell what it lacks.
    """
    plain: list[bytes] = []  # of an answer that is not streamed
    is_stream = is_complete = False
    for line in _lines(_request(url, "chat/completions", {**body, "stream": True}, key)):
        if not line.startswith(b"data:"):
            plain += [] if is_stream else [line]
            continue
        is_stream = True
        if line[5:].strip() == b"[DONE]":
            return
        piece, is_last = _completion(url, line[5:])
        is_complete = is_complete or is_last
        yield piece
    if not is_stream:
        piece, is_complete = _completion(url, b"\n".join(plain))
        yield piece
    if not is_complete:
        raise _unavailable(url, "its answer broke off")


def _lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    waiting = b""
    for chunk in chunks:
        *lines, waiting = (waiting + chunk).split(b"\n")
        yield from lines
    yield waiting


def _completion(url: str, data: bytes) -> tuple[str, bool]:
    """What a completion or a piece of one says, and whether nothing comes after it."""
    try:
        completion = json.loads(data)
        error = completion.get("error")
        choice = (completion.get("choices") or [{}])[0]
        text = (choice.get("delta") or choice.get("message") or {}).get("content")
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        raise _unavailable(url, "it did not answer with a chat completion") from None
    if error:
        raise _unavailable(url, f"its answer broke off{_reason(data)}")
    is_last = bool(choice.get("finish_reason")) or "message" in choice
    return _readable(text) if isinstance(text, str) else "", is_last


def _readable(text: str) -> str:
    """A text without halves of surrogate pairs, which JSON can state and nothing can store."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def _request(url: str, path: str, body: dict[str, Any], key: str | None) -> Iterator[bytes]:
    """The bytes of the answer. Only what failed before any byte came is tried again."""
    import httpx

    from fastio_cli.egress.client import client_to

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    bounds = {"read_s": SILENCE_S_MAX, "connect_s": CONNECT_S_MAX}
    target = f"{url.rstrip('/')}/{path}"
    deadline = time.monotonic() + TOTAL_S_MAX
    attempts = Retries(RETRY, total_s=TOTAL_S_MAX)
    with client_to(url, headers=headers, **bounds) as client:
        while True:
            began = False
            try:
                with client.stream("POST", target, json=body) as response:
                    if response.status_code == 200:
                        for chunk in _bounded(response.iter_bytes(), url, deadline):
                            began = True
                            yield chunk
                        return
                    failure = _refusal(url, response)
                    if response.status_code not in RETRIED:
                        raise failure
            except (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError) as e:
                failure = _unavailable(url, str(e) or type(e).__name__)
                if began:
                    raise failure from None
            except (httpx.HTTPError, httpx.InvalidURL) as e:
                raise _unavailable(url, str(e) or type(e).__name__) from None
            attempts.wait_or_raise(failure)


def _refusal(url: str, response: httpx.Response) -> FastioError:
    """The error that an answer without a result tells."""
    status = response.status_code
    reason = _reason(next(response.iter_bytes(REASON_BYTES_MAX), b""))
    error = _unavailable(url, f"it answered {status}{reason}", transient=status not in LASTING)
    retry_after_s = parse_retry_after(response.headers.get("retry-after"))
    if retry_after_s is not None:
        error.details["retry_after_s"] = retry_after_s
    return error


def _reason(body: bytes) -> str:
    """What an endpoint says is wrong, if it says so as OpenAI's does."""
    try:
        message = json.loads(body)["error"]["message"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ""
    return f": {_readable(message[:REASON_CHARACTERS_MAX])}" if isinstance(message, str) else ""


def _bounded(chunks: Iterator[bytes], url: str, deadline: float) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise _unavailable(url, "its answer is too large")
        if time.monotonic() > deadline:
            raise _unavailable(url, f"it took longer than {TOTAL_S_MAX:g} seconds")
        yield chunk


def _unavailable(url: str, why: str, *, transient: bool = True) -> FastioError:
    """The error of an endpoint; ``transient`` unless the same request would fail again."""
    return FastioError(
        "unavailable",
        f"The endpoint {url} could not be used: {why}.",
        "Check the settings: fastio config show",
        **({} if transient else {"transient": False}),
    )
