"""Events as they happen, and answers as they are made, by Server-Sent Events (WHATWG HTML, 9.2).

The id of every event is its ``seq``: a client that was cut off comes back with ``Last-Event-ID``
and goes on exactly there. An id without data makes no event and yet moves on where that is: past
what a filter left out. Every look at the log is an ordinary, authorised call, so a stream ends when
its token does.

An answer that comes in pieces is sent so to whoever accepts ``text/event-stream``: messages of the
type ``piece``, each a text in JSON, then one without a type, the record that others are answered
with; or one of the type ``error``, what is in a problem as everywhere.
"""

from __future__ import annotations

import asyncio
import json

from fastio_cli.errors import FastioError
from fastio_cli.json_text import compact
from fastio_cli.server.http import Disconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from fastio_cli.server.http import Headers, Receive, Request, Send

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


def is_accepted(request: Request) -> bool:
    """Whether the client can read a stream where others are given a record."""
    return "text/event-stream" in request.headers.get("accept", "")


async def answer(
    send: Send,
    receive: Receive,
    begin: Callable[[Callable[[str], None]], Awaitable[Any]],
    extra: Headers,
) -> None:
    """Send the pieces of a call's answer as they come, then its result.

    ``begin`` begins the call, given what hears the pieces, on whatever thread. What the call raises
    is raised while nothing was sent, else it is the last message.
    """
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[str | None] = asyncio.Queue()  # None when it is over
    leaving = asyncio.ensure_future(_left(receive))

    def hear(piece: str) -> None:
        if leaving.done():
            raise Disconnected()  # so that nothing more is made
        loop.call_soon_threadsafe(heard.put_nowait, piece)

    call = asyncio.ensure_future(begin(hear))
    begun = False
    try:
        for end in (call, leaving):
            end.add_done_callback(lambda _: heard.put_nowait(None))
        while (body := await _next_piece(heard)) is not None:
            if not begun:
                await _begin(send, extra)
                begun = True
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if not call.done():
            raise Disconnected()
        body = f"data: {compact(call.result())}\n\n".encode()
        if not begun:
            await _begin(send, extra)
    except FastioError as e:
        if not begun:
            raise
        body = _error(e)
    finally:
        call.cancel()
        leaving.cancel()
    await send({"type": "http.response.body", "body": body})


async def _next_piece(heard: asyncio.Queue[str | None]) -> bytes | None:
    """The next piece as a message, or a sign of life; None at the end."""
    try:
        piece = await asyncio.wait_for(heard.get(), HEARTBEAT_S)
    except TimeoutError:
        return b": still here\n\n"
    return None if piece is None else f"event: piece\ndata: {json.dumps(piece)}\n\n".encode()


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
    await _begin(send, extra)
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
        await send({"type": "http.response.body", "body": _error(e), "more_body": True})
    finally:
        leaving.cancel()
        await send({"type": "http.response.body", "body": b""})


async def _begin(send: Send, extra: Headers) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [*HEADERS, *extra]})


def _error(error: FastioError) -> bytes:
    return f"event: error\ndata: {json.dumps(error.as_dict())}\n\n".encode()


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
