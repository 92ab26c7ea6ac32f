"""Events as they happen, over Server-Sent Events (WHATWG HTML, section 9.2).

The id of every event is its ``seq``: a client that was cut off comes back with ``Last-Event-ID``
and goes on exactly there. An id without data makes no event and yet moves on where that is: past
what a filter left out. Every look at the log is an ordinary, authorised call, so a stream ends when
its token does.
"""

from __future__ import annotations

import asyncio
import json

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from fastio_cli.server.http import Headers, Receive, Send

HEARTBEAT_S = 15.0
PAGE = 200
HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def start_of(query: dict[str, str], last_event_id: str | None) -> int | None:
    """The event to go on after; None for "from now on". Raises ``invalid``."""
    text = last_event_id if last_event_id is not None else query.get("after")
    if text is None:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 15:
        raise FastioError("invalid", "after and Last-Event-ID are numbers of events.")
    return int(text)


async def stream(
    send: Send,
    receive: Receive,
    page_after: Callable[[int], Awaitable[Any]],
    cursor: int,
    extra: Headers,
) -> None:
    """Send every page of events after ``cursor`` until the client leaves.

    ``page_after`` waits up to :data:`HEARTBEAT_S` for a page, which may then be empty.
    """
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *extra]})
    await send(
        {"type": "http.response.body", "body": b": hello\n" + _passed(cursor), "more_body": True}
    )
    leaving = asyncio.ensure_future(_left(receive))
    try:
        while not leaving.done():
            page = asyncio.ensure_future(page_after(cursor))
            await asyncio.wait((page, leaving), return_when=asyncio.FIRST_COMPLETED)
            if not page.done():
                page.cancel()
                return
            body = _encoded(page.result())
            cursor = int(page.result()["next_cursor"])
            await send({"type": "http.response.body", "body": body, "more_body": True})
    except FastioError as e:
        body = f"event: error\ndata: {json.dumps(e.as_dict())}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    finally:
        leaving.cancel()
        await send({"type": "http.response.body", "body": b""})


def _encoded(page: Any) -> bytes:
    """A page's events, and how far it looked; that alone is a sign of life."""
    events, cursor = page["items"], int(page["next_cursor"])
    body = b"".join(
        f"id: {event['seq']}\ndata: {json.dumps(event, separators=(',', ':'))}\n\n".encode()
        for event in events
    )
    return body if events and events[-1]["seq"] == cursor else body + _passed(cursor)


def _passed(cursor: int) -> bytes:
    return f"id: {cursor}\n\n".encode()


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
