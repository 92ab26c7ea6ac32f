"""Events as they happen, and answers as they are made, by Server-Sent Events (WHATWG HTML, 9.2).

The id of every event is its ``seq``: a client that was cut off comes back with ``Last-Event-ID``
and goes on exactly there. An id without data makes no event and yet moves on where that is: past
what a filter left out. It is the heartbeat as well. Every look at the log is an ordinary,
authorised call, so a stream ends when its token does.

An answer that comes in chunks is sent so to a client that accepts ``text/event-stream``: messages
of the type ``piece``, each a text in JSON, then one without a type, the record that others are
answered with; or one of the type ``error``, what is in a problem as everywhere.
"""

from __future__ import annotations

import asyncio
import json

from fastio_cli.errors import FastioError
from fastio_cli.json_text import record_text
from fastio_cli.server.http import internal, query_of
from fastio_cli.server.request_context import Disconnected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable

    from fastio_cli import model
    from fastio_cli.server.request_context import RequestContext
    from fastio_cli.server.responses import Headers

HEARTBEAT_S = 15.0
PAGE = 200
FILTERS = ("type", "path", "by")
HEADERS: Headers = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]


def asked_by(ctx: RequestContext) -> tuple[int | None, dict[str, str]]:
    """The event to go on after (None: from now on), and the filters. Raises ``invalid``."""
    query = dict(query_of(ctx.query))
    after = query.pop("after", None)
    if unknown := set(query) - set(FILTERS):
        raise FastioError("invalid", f"A stream has no parameter {unknown.pop()!r}.")
    after = ctx.headers.get("last-event-id", after)
    if after is None:
        return None, query
    if not after.isascii() or not after.isdecimal() or len(after) > 16:
        raise FastioError("invalid", "after and Last-Event-ID are numbers of events.")
    return int(after), query


def is_accepted(ctx: RequestContext) -> bool:
    """Whether the client can read a stream where others are given a record."""
    return "text/event-stream" in ctx.headers.get("accept", "")


async def stream(
    ctx: RequestContext, page_after: Callable[[int], Awaitable[model.EventList]], cursor: int
) -> None:
    """Send every page of events after ``cursor`` until the client leaves.

    ``page_after`` waits up to :data:`HEARTBEAT_S` for a page, which may then be empty.
    """
    await _send(ctx, _pages(page_after, cursor))


async def tell(
    ctx: RequestContext, begin: Callable[[Callable[[str], None]], Awaitable[object]]
) -> None:
    """Send the chunks of a call's answer as they come, then its result.

    ``begin`` begins the call, given the function that takes the chunks, on any thread. What the
    call raises is raised while nothing was sent, else it is the last message.
    """
    messages = _chunks(ctx, begin)
    first = asyncio.ensure_future(anext(messages))
    leaving = asyncio.ensure_future(ctx.disconnected())
    try:
        await asyncio.wait((first, leaving), return_when=asyncio.FIRST_COMPLETED)
        if not first.done():
            raise Disconnected()
        leaving.cancel()  # the connection is watched while messages are sent
        await _send(ctx, _followed(first.result(), messages))
    finally:
        first.cancel()
        leaving.cancel()
        await messages.aclose()


async def _send(ctx: RequestContext, messages: AsyncGenerator[bytes, None]) -> None:
    """Send messages until they end or the client leaves.

    With one further task to notice that: ``EventSourceResponse`` of sse-starlette has three in a
    task group, which together take 43 MB for 1,000 idle streams.
    """
    await ctx.begin(200, HEADERS)
    sending = asyncio.current_task()
    leaving = asyncio.ensure_future(ctx.disconnected())
    if sending is not None:
        leaving.add_done_callback(lambda done: done.cancelled() or sending.cancel())
    try:
        async for body in messages:
            await ctx.send({"type": "http.response.body", "body": body, "more_body": True})
        await ctx.send({"type": "http.response.body", "body": b""})
    except asyncio.CancelledError:
        if not leaving.done():  # the server ends
            raise
    finally:
        leaving.cancel()
        await messages.aclose()


async def _pages(
    page_after: Callable[[int], Awaitable[model.EventList]], cursor: int
) -> AsyncGenerator[bytes, None]:
    yield _message(comment="hello", id=str(cursor))
    try:
        while True:
            page = await page_after(cursor)
            cursor = int(page["next_cursor"] or 0)
            yield _encoded(page["items"], cursor)
    except FastioError as e:
        yield _message(event="error", data=json.dumps(e.as_dict()))


async def _chunks(
    ctx: RequestContext,
    begin: Callable[[Callable[[str], None]], Awaitable[object]],
) -> AsyncGenerator[bytes, None]:
    """What a call tells while it is done, or a sign of life, and then its outcome."""
    loop = asyncio.get_running_loop()
    heard: asyncio.Queue[str | None] = asyncio.Queue()  # None when it is over
    has_left = False
    told = False

    def hear(chunk: str) -> None:
        if has_left:
            raise Disconnected()  # so that nothing more is made
        loop.call_soon_threadsafe(heard.put_nowait, chunk)

    call = asyncio.ensure_future(begin(hear))
    call.add_done_callback(lambda _: heard.put_nowait(None))
    try:
        while (message := await _next_chunk(heard)) is not None:
            yield message
            told = True
        yield _message(data=record_text(call.result()).decode())
    except Exception as e:
        if not told:
            raise
        error = e if isinstance(e, FastioError) else internal(e, ctx.id)
        yield _message(event="error", data=json.dumps(error.as_dict()))
    finally:
        has_left = True
        call.cancel()


async def _next_chunk(heard: asyncio.Queue[str | None]) -> bytes | None:
    """The next chunk as a message, or a sign of life; None at the end."""
    try:
        chunk = await asyncio.wait_for(heard.get(), HEARTBEAT_S)
    except TimeoutError:
        return _message(comment="still here")
    return None if chunk is None else _message(event="piece", data=json.dumps(chunk))


async def _followed(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    yield first
    async for message in rest:
        yield message


def _encoded(events: list[model.Event], cursor: int) -> bytes:
    """A page's events, and how far it looked; that alone is a sign of life."""
    messages = [
        _message(id=str(event["seq"]), data=json.dumps(event, separators=(",", ":")))
        for event in events
    ]
    if not events or events[-1]["seq"] != cursor:
        messages.append(_message(id=str(cursor)))
    return b"".join(messages)


def _message(**fields: str) -> bytes:
    """A message of one line a field; a comment has no name."""
    lines = [f"{'' if name == 'comment' else name}: {text}\n" for name, text in fields.items()]
    return "".join([*lines, "\n"]).encode()
