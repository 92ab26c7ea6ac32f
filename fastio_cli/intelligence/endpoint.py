"""OpenAI-compatible endpoints: one request, with timeouts and few, patient retries."""

from __future__ import annotations

import json
import time

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

CONNECT_S_MAX = 5.0
SILENCE_S_MAX = 60.0  # between two pieces of an answer
TOTAL_S_MAX = 180.0
ANSWER_BYTES_MAX = 64 * 1024 * 1024
TRIES = 3
RETRIED = (408, 429, 500, 502, 503, 504)


def post(url: str, path: str, body: dict[str, Any], key: str | None) -> Any:
    """Post JSON and read JSON. Raises ``unavailable`` when there is no usable answer."""
    data = b"".join(_request(url, path, body, key))
    try:
        return json.loads(data)
    except ValueError:
        raise _unavailable(url, "it did not answer with JSON") from None


def stream_text(url: str, body: dict[str, Any], key: str | None) -> Iterator[str]:
    """The pieces of a chat completion as they come (server-sent events, WHATWG HTML §9.2)."""
    waiting = b""
    for data in _request(url, "chat/completions", {**body, "stream": True}, key):
        *lines, waiting = (waiting + data).split(b"\n")
        for line in lines:
            if not line.startswith(b"data:") or line[5:].strip() == b"[DONE]":
                continue
            try:
                choices = json.loads(line[5:]).get("choices") or [{}]
                piece = (choices[0].get("delta") or {}).get("content")
            except (ValueError, AttributeError, TypeError):
                raise _unavailable(url, "its stream could not be read") from None
            if isinstance(piece, str):
                yield piece


def _request(url: str, path: str, body: dict[str, Any], key: str | None) -> Iterator[bytes]:
    """The bytes of the answer. Only what failed before any byte came is tried again."""
    import httpx

    from fastio_cli.transfer.guard import client_to

    headers = {"Authorization": f"Bearer {key}"} if key else {}
    bounds = {"read_s": SILENCE_S_MAX, "connect_s": CONNECT_S_MAX}
    target = f"{url.rstrip('/')}/{path}"
    deadline = time.monotonic() + TOTAL_S_MAX
    with client_to(url, headers=headers, **bounds) as client:
        for attempt in range(1, TRIES + 1):
            try:
                with client.stream("POST", target, json=body) as response:
                    if response.status_code in RETRIED and attempt < TRIES:
                        _pause(response.headers.get("retry-after"), attempt, deadline)
                        continue
                    if response.status_code != 200:
                        raise _unavailable(url, f"it answered {response.status_code}")
                    yield from _bounded(response.iter_bytes(), url, deadline)
                    return
            except httpx.ConnectError as e:
                if attempt == TRIES:
                    raise _unavailable(url, f"{e}") from None
                _pause(None, attempt, deadline)
            except (httpx.HTTPError, httpx.InvalidURL) as e:
                raise _unavailable(url, str(e) or type(e).__name__) from None


def _bounded(chunks: Iterator[bytes], url: str, deadline: float) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > ANSWER_BYTES_MAX:
            raise _unavailable(url, "its answer is too large")
        if time.monotonic() > deadline:
            raise _unavailable(url, f"it took longer than {TOTAL_S_MAX:g} seconds")
        yield chunk


def _pause(retry_after: str | None, attempt: int, deadline: float) -> None:
    import random

    stated = float(retry_after) if retry_after and retry_after.isdecimal() else 0.0
    pause = max(stated, random.uniform(0, 0.5 * 2**attempt))
    time.sleep(max(0.0, min(pause, 10.0, deadline - time.monotonic())))


def _unavailable(url: str, why: str) -> FastioError:
    return FastioError(
        "unavailable",
        f"The endpoint {url} could not be used: {why}.",
        "Check the settings: fastio config list",
    )
