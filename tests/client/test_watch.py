"""Watching events over a stream: none lost, repeated or reordered, whatever the line does."""

from __future__ import annotations

import itertools
import time

import pytest

from fastio_cli.client.sse import messages
from fastio_cli.client.streams import SILENCE_S
from fastio_cli.errors import FastioError
from tests.backends import Background, until
from tests.client.scripted import cut, page, problem, reply

EVENTS = 60


def write(engine, count, path="a.json"):
    for n in range(count):
        engine.call("state.set", {"path": path, "value": n})


def take(events, count):
    return [event["seq"] for event in itertools.islice(events, count)]


def test_over_cut_lines(server, line):
    write(server.engine, EVENTS)
    budgets = (700, 1, 2500, 900, 3001, 800, 5000)  # in a header, a message, between two
    broken, remote = line(down=budgets)
    assert take(remote.watch("default", after=0), EVENTS) == list(range(1, EVENTS + 1))
    assert broken.connections == len(budgets) + 1


def test_while_it_is_written_and_the_line_breaks(server, line):
    broken, remote = line()
    seen = []

    def watch():
        for event in remote.watch("default", after=0):
            seen.append(event["seq"])
            if len(seen) == EVENTS:
                return

    watching = Background(watch)
    for n in range(1, EVENTS + 1):
        write(server.engine, 1)
        if n % 10 == 0:
            until(lambda n=n: len(seen) >= n - 5)
            broken.cut()
    watching.result()
    assert seen == list(range(1, EVENTS + 1))


def test_it_begins_now_and_stays_there_when_cut(server, line):
    """What happens while the first connection is away is not lost, though none was seen yet."""
    write(server.engine, 3)
    broken, remote = line(down=(2**30, 350))
    events = remote.watch("default", timeout_s=600)
    watching = Background(lambda: take(events, 2))
    until(lambda: broken.connections >= 1)
    until(lambda: server.app.metrics.streams._value.get() == 1)
    broken.cut()
    write(server.engine, 2)
    assert watching.result() == [4, 5]


def test_filters(server, line):
    for path in ("a", "b", "a/b"):
        write(server.engine, 2, path)
    _, remote = line(down=(600, 900))
    assert take(remote.watch("default", after=0, path="a/*"), 2) == [5, 6]
    assert take(remote.watch("default", after=0, type="state.*", path="b"), 2) == [3, 4]


def test_it_ends_in_time_though_nothing_comes(server, line):
    _, remote = line()
    begun = time.monotonic()
    assert list(remote.watch("default", timeout_s=0.2)) == []
    assert 0.2 <= time.monotonic() - begun < SILENCE_S


def test_what_had_happened_when_time_is_up_is_told(server, line):
    write(server.engine, 3)
    _, remote = line()
    assert take(remote.watch("default", after=0, timeout_s=0), 9) == [1, 2, 3]


def test_a_silent_line_is_given_up(server, line, monkeypatch):
    monkeypatch.setattr("fastio_cli.client.streams.SILENCE_S", 0.1)
    broken, remote = line()
    watching = Background(lambda: take(remote.watch("default", after=0), 1))
    until(lambda: broken.connections >= 3)
    write(server.engine, 1)
    assert watching.result() == [1]


def test_its_token_ends(server, line):
    _, remote = line()
    ids = [t["id"] for t in server.engine.call("token.list")["items"]]
    watching = Background(lambda: take(remote.watch("default", after=0, type="x"), 1))
    until(lambda: server.app.metrics.streams._value.get() == 1)
    for id in ids:
        server.engine.call("token.revoke", {"id": id})
    with pytest.raises(FastioError) as caught:
        watching.result()
    assert caught.value.code == "unauthenticated"


def test_a_workspace_that_is_not_there(server, line):
    _, remote = line()
    with pytest.raises(FastioError) as caught:
        next(remote.watch("nobody", after=0))
    assert caught.value.code == "not_found"


def stream(text):
    return reply(200, text.encode(), "text/event-stream")


MESSAGE = 'id: 1\ndata: {"seq":1}\n\n'
TRANSIENT_STATUSES = {
    "503": problem(503, "unavailable"),
    "429": problem(429, "rate_limited"),
    "502 of a proxy": page(502),
    "cut": cut,
    "an empty stream": stream(""),
    "an error that passes": stream('event: error\ndata: {"code":"unavailable"}\n\n'),
}


@pytest.mark.parametrize("failure", TRANSIENT_STATUSES.values(), ids=TRANSIENT_STATUSES)
def test_what_passes_is_tried_again(scripted, clock, failure):
    server, remote = scripted(failure, failure, stream(MESSAGE), failure)
    events = remote.watch("default", after=0)
    assert next(events)["seq"] == 1
    assert [r.headers["last-event-id"] for r in server.requests] == ["0", "0", "0"]
    assert clock.pauses == [0.1, 0.2]
    with pytest.raises(FastioError) as caught:
        next(events)
    assert caught.value.code in ("unavailable", "rate_limited")
    assert server.requests[-1].headers["last-event-id"] == "1"
    assert sum(clock.pauses[2:]) <= 30


@pytest.mark.parametrize(
    "answer",
    [page(200), page(302), page(404), reply(200, b"{}"), stream("data: junk\n\n")],
    ids=["portal", "redirection", "another server", "a record", "junk"],
)
def test_what_is_no_stream(scripted, clock, answer):
    server, remote = scripted(answer)
    with pytest.raises(FastioError) as caught:
        next(remote.watch("default", after=0))
    assert "did not answer as a fastio server does" in caught.value.message
    assert len(server.requests) == 1


def test_a_number_without_an_event_moves_on(scripted, clock):
    """A server that has passed over many events which a filter leaves out can say so."""
    server, remote = scripted(stream(": hello\n\nid: 70\n\n"), stream("id: 71\ndata: {}\n\n"))
    assert next(remote.watch("default", after=5)) == {}
    assert server.requests[1].headers["last-event-id"] == "70"


def test_an_event_that_comes_again_is_told_once(scripted, clock):
    again = "".join(f'id: {n}\ndata: {{"seq": {n}}}\n\n' for n in (1, 2, 2, 1, 3))
    _, remote = scripted(stream(again), stream(again.replace("3", "4")))
    assert take(remote.watch("default", after=0), 4) == [1, 2, 3, 4]


STREAM = (
    b": hello\n\nid: 1\nevent: x\ndata: a\ndata:b\n\nid:2\r\ndata: \xc3\xa9\r\n\r\n"
    b"retry: 5\n\nnonsense\ndata\n\ndata: unfinished\n"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_messages_in_any_pieces(size):
    pieces = [STREAM[i : i + size] for i in range(0, len(STREAM), size)]
    assert [(m.id, m.type, m.data) for m in messages(pieces)] == [
        ("", "", ""),
        ("1", "x", "a\nb"),
        ("2", "", "é"),
        ("2", "", ""),
        ("2", "", ""),
    ]


@pytest.mark.parametrize(
    "stream",
    [
        [b"data: " + b"x" * 200],
        [b"data: " + b"x" * 50] * 4,
        [b"x"] * 200,
        [b"data: x\n"] * 200,
        [b":\n" * 200],
        [b"id: 1\n\n" * 50, b"nonsense\n" * 50],
    ],
)
def test_a_message_has_a_largest_size(monkeypatch, stream):
    """In one line or in many, in one piece or in many."""
    monkeypatch.setattr("fastio_cli.client.sse.MESSAGE_BYTES_MAX", 100)
    with pytest.raises(FastioError, match="endless"):
        list(messages(stream))


def test_a_stream_has_no_largest_size(monkeypatch):
    monkeypatch.setattr("fastio_cli.client.sse.MESSAGE_BYTES_MAX", 100)
    assert len(list(messages([b"data: " + b"x" * 50 + b"\n\n"] * 200))) == 200
