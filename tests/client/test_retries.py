"""What is tried again and what is not: DESIGN §4, against a server that misbehaves."""

from __future__ import annotations

import pickle
import socket
from email.utils import formatdate

import pytest

from fastio_cli import retry
from fastio_cli.client.remote import Remote
from fastio_cli.errors import FastioError
from tests.client.conftest import TOKEN
from tests.client.scripted import cut, half, page, problem, record, reply

SET = ("state.set", {"path": "a.json", "value": 1})
GET = ("state.get", {"path": "a.json"})
DONE = record({"version": 1})

TRANSIENT_STATUSES = {
    "429": problem(429, "rate_limited", retry_after="2"),
    "503": problem(503, "unavailable"),
    "429 of a proxy": page(429),
    "502 of a proxy": page(502),
    "503 of a proxy": page(503, retry_after="2"),
    "504 of a proxy": page(504),
    "408 of a proxy": page(408),
    "no answer": cut,
    "half an answer": half,
    "no HTTP": lambda line: line.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
}
FINAL = [
    (400, "invalid"),
    (401, "unauthenticated"),
    (402, "quota_exceeded"),
    (403, "forbidden"),
    (404, "not_found"),
    (408, "timeout"),
    (409, "already_exists"),
    (412, "version_conflict"),
    (412, "lock_lost"),
    (413, "too_large"),
    (422, "schema_violation"),
    (423, "locked"),
    (500, "internal"),
]


def refused(remote, call=SET) -> FastioError:
    with pytest.raises(FastioError) as caught:
        remote.call(*call)
    assert caught.value.message
    assert caught.value.hint
    return caught.value


@pytest.mark.parametrize("failure", TRANSIENT_STATUSES.values(), ids=TRANSIENT_STATUSES)
def test_what_passes_is_tried_again_with_the_same_key(scripted, clock, failure):
    server, remote = scripted(failure, failure, DONE)
    assert remote.call(*SET) == {"version": 1}
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert len(keys) == 3
    assert len(set(keys)) == 1
    assert [request.body for request in server.requests] == [server.requests[0].body] * 3


NO_ANSWERS = {
    "an array": (200, b"[]"),
    "nothing": (200, b"null"),
    "JSON too deep to read": (200, b"[" * 100_000),
    "a problem too deep to read": (400, b"[" * 100_000),
    "a problem that is a number": (400, b"5"),
    "a code that is no name": (400, b'{"code": []}'),
    "a code that nobody knows": (400, b'{"code": "worse", "details": {}}'),
    "an integer too long to read": (200, b"9" * 5000),
}


@pytest.mark.parametrize(("status", "body"), NO_ANSWERS.values(), ids=NO_ANSWERS)
@pytest.mark.parametrize("call", [SET, GET], ids=["set", "get"])
def test_what_no_fastio_server_answers_is_said_to_be_that(scripted, status, body, call):
    server, remote = scripted(reply(status, body))
    error = refused(remote, call)
    assert error.code == "invalid"
    assert "did not answer as a fastio server does" in error.message
    assert len(server.requests) == 1


@pytest.mark.parametrize("header", ["5", "[]", "[" * 10_000, "x"])
def test_a_download_without_its_record_is_no_download(scripted, header):
    _, remote = scripted(reply(200, b"abc", "text/plain", fastio_record=header))
    assert refused(remote, ("file.get", {"path": "a"})).code == "invalid"


@pytest.mark.parametrize("asked_s", ["1" + "0" * 400, "-1", "NaN", "1e999", "true", '"soon"', "{}"])
def test_a_pause_that_makes_no_sense_is_bounded(scripted, clock, asked_s):
    body = f'{{"code": "unavailable", "details": {{"retry_after_s": {asked_s}}}}}'
    server, remote = scripted(reply(503, body.encode()))
    assert refused(remote).code == "unavailable"
    assert len(server.requests) >= 1


def test_details_may_have_any_name(scripted):
    details = {"code": 1, "message": 2, "hint": 3, "self": 4, "details": 5}
    _, remote = scripted(problem(404, "not_found", details))
    error = refused(remote)
    assert error.details == details
    assert pickle.loads(pickle.dumps(error)).as_dict() == error.as_dict()


def test_every_change_has_a_key_of_its_own_and_a_read_has_none(scripted):
    server, remote = scripted(DONE)
    for call in (SET, SET, GET):
        remote.call(*call)
    keys = [request.headers["idempotency-key"] for request in server.requests]
    assert keys[0]
    assert keys[0] != keys[1]
    assert keys[2] is None
    remote.call(*SET, idempotency_key="mine")
    assert server.requests[3].headers["idempotency-key"] == "mine"
    assert server.connections == 1


@pytest.mark.parametrize(("status", "code"), FINAL)
def test_what_would_fail_again_is_not_tried_again(scripted, clock, status, code):
    server, remote = scripted(problem(status, code, {"path": "a.json"}, retry_after="7"))
    error = refused(remote)
    assert error.code == code
    assert error.details == {"path": "a.json"}
    assert len(server.requests) == 1
    assert clock.pauses == []


def test_pauses_grow_to_a_limit_and_end_at_the_deadline(scripted, clock):
    server, remote = scripted(problem(503, "unavailable"), retry_s=30)
    assert refused(remote).code == "unavailable"
    assert [round(pause, 3) for pause in clock.pauses] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5]
    assert len(server.requests) == len(clock.pauses) + 1


def test_pauses_are_full_jitter(scripted, clock, monkeypatch):
    drawn = []

    class Random:
        def uniform(self, low, high):
            drawn.append((low, high))
            return low

    monkeypatch.setattr(retry, "random", Random())
    _, remote = scripted(*[cut] * 4, DONE)
    remote.call(*SET)
    assert drawn == [(0, 0.1), (0, 0.2), (0, 0.4), (0, 0.8)]
    assert clock.pauses == [0, 0, 0, 0]


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_what_the_server_says_of_when_is_kept_to(scripted, clock, form):
    when = "7" if form == "seconds" else formatdate(clock.now + 7, usegmt=True)
    _, remote = scripted(problem(429, "rate_limited", retry_after=when), DONE)
    remote.call(*SET)
    assert clock.pauses == [pytest.approx(7.1)]


def test_a_pause_beyond_the_deadline_is_not_made(scripted, clock):
    server, remote = scripted(problem(503, "unavailable", retry_after="60"), retry_s=30)
    assert refused(remote).details["retry_after_s"] == 60
    assert clock.pauses == []
    assert len(server.requests) == 1


def test_a_refused_connection_is_tried_again(clock):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    remote = Remote(url, TOKEN, retry_s=1)
    error = refused(remote)
    remote.close()
    assert error.code == "unavailable"
    assert url in error.message
    assert url in error.hint
    assert sum(clock.pauses) <= 1
    assert len(clock.pauses) == 3


def test_a_server_that_never_answers(scripted, monkeypatch):
    """A time limit as long as the patience is no reason to try once only."""
    monkeypatch.setattr("fastio_cli.client.remote.ANSWER_S", 0.2)
    server, remote = scripted(lambda line: None, retry_s=0.2)
    error = refused(remote)
    assert error.code == "unavailable"
    assert "timed out" in error.message
    assert len(server.requests) == 2


def test_somebody_who_looks_on_is_told_once(scripted, clock):
    notes: list[str] = []
    server, remote = scripted(cut, note=notes.append, retry_s=30)
    refused(remote)
    assert len(notes) == 1
    assert server.url in notes[0]
    server.answers = [cut, DONE]
    remote.call(*SET)
    assert len(notes) == 1  # that was short enough to say nothing


STRANGE = {
    "a captive portal": page(200),
    "a redirection": page(302, location="https://portal.example/login"),
    "another server": page(404),
    "a proxy that wants a password": page(407),
    "JSON that is none": reply(200, b'{"a": '),
    "JSON that is not UTF-8": reply(200, b'"\xff"'),
    "a problem of another kind": reply(500, b'{"error": "x"}'),
    "a problem that is a list": reply(400, b"[]"),
    "no media type": lambda line: line.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"),
}


@pytest.mark.parametrize("answer", STRANGE.values(), ids=STRANGE)
@pytest.mark.parametrize("call", [SET, ("file.get", {"path": "a"})], ids=["record", "bytes"])
def test_answers_of_others_are_recognized(scripted, clock, answer, call):
    server, remote = scripted(answer)
    error = refused(remote, call)
    assert error.code == "invalid"
    assert f"{server.url} did not answer as a fastio server does" in error.message
    assert len(server.requests) == 1


def test_where_a_redirection_leads_is_said(scripted):
    _, remote = scripted(page(302, location="https://portal.example/login"))
    assert "HTTP 302, on to https://portal.example/login" in refused(remote).message


def test_a_problem_that_lacks_parts(scripted):
    _, remote = scripted(reply(404, b'{"code": "not_found", "details": [1]}'))
    error = refused(remote)
    assert error.code == "not_found"
    assert error.details == {}


def test_an_answer_has_a_largest_size(scripted, monkeypatch):
    monkeypatch.setattr("fastio_cli.client.responses.ANSWER_BYTES_MAX", 1000)
    _, remote = scripted(record("x" * 2000))
    assert refused(remote).code == "invalid"


def test_an_answer_has_a_least_speed(scripted, clock):
    def drip(line):
        line.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
        for _ in range(5):
            clock.now += 10
            line.sendall(b" ")

    server, remote = scripted(drip, retry_s=1)
    assert refused(remote).code == "unavailable"
    assert len(server.requests) == 1


def test_an_encoding_that_is_none(scripted, clock):
    _, remote = scripted(reply(200, b"junk", content_encoding="gzip"), retry_s=1)
    assert refused(remote).code == "unavailable"


def test_a_token_that_was_mistyped_does_not_travel(scripted):
    server, _ = scripted(DONE)
    for token in ("fio_x", "ü", TOKEN[:-1] + "!"):
        with pytest.raises(FastioError) as caught:
            Remote(server.url, token)
        assert caught.value.code == "unauthenticated"
    assert server.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host",
        "https://",
        "host",
        "https://ann:secret@host",
        "https://host?x",
        "https://host:port",
        "http://[::1",
    ],
)
def test_what_is_not_a_servers_url(url):
    with pytest.raises(FastioError) as caught:
        Remote(url, None)
    assert caught.value.code == "invalid"
    assert "secret" not in caught.value.message + caught.value.hint


def test_a_path_in_front_is_kept(scripted):
    server, _ = scripted(DONE)
    remote = Remote(server.url + "/team/", TOKEN)
    remote.call(*GET)
    remote.close()
    assert server.requests[0].target.startswith("/team/v1/workspaces/")
