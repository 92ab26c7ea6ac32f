"""Clients that mean no good: slow ones, greedy ones, and those who write what HTTP is not."""

from __future__ import annotations

import gzip
import os
import socket
import zlib
from contextlib import ExitStack, closing

import brotli
import httpx
import pytest
import zstandard

from tests.backends import until
from tests.remote import Running
from tests.server.test_http import STATE, raw

MIB = 1024 * 1024
FILE = "/v1/workspaces/default/files/f.bin"


def connected(server):
    """A connection to the server."""
    s = socket.create_connection(("127.0.0.1", server.socket.getsockname()[1]))
    s.settimeout(20)
    return s


def rest_of(connection):
    """All that still comes, until the server closes."""
    received = b""
    try:
        while part := connection.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


def status_of(answer):
    return int(answer.split(b" ")[1])


def head(token, method, path, *lines):
    """A request's head, as it is."""
    fixed = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {token}"]
    return ("\r\n".join([*fixed, *lines]) + "\r\n\r\n").encode()


def still_serves(server):
    return httpx.get(f"{server.url}/readyz", timeout=30).status_code == 200


def open_connections(server):
    return len(server.server.server_state.connections)


@pytest.mark.parametrize("name", ["", "wrong"])
def test_nobody_sends_much_without_a_token(server, http, name):
    large = {"claim": "c" * 100, "name": "x" * 5000}
    headers = {"authorization": f"Bearer {name}"} if name else {}
    for body in (large, [[]] * 1_000_000):
        answer = httpx.post(f"{server.url}/v1/transfers-claim", json=body, headers=headers)
        assert answer.status_code in (401, 413), answer.text
    stream = (b'{"claim":"', *[b"x" * 1024] * 8)
    answer = httpx.post(f"{server.url}/v1/transfers-claim", content=iter(stream), headers=headers)
    assert answer.status_code in (401, 413)
    assert answer.json()["code"] in ("too_large", "unauthenticated")
    assert still_serves(server)


def test_many_heads_that_never_end_are_given_up_while_others_are_served(server, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.HEAD_S", 0.3)
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(connected(server))) for _ in range(100)]
        for number, connection in enumerate(slow):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nx-slow: " + b"y" * number)
        assert still_serves(server)
        for connection in slow:
            assert rest_of(connection) == b""
    assert still_serves(server)


def test_a_connection_on_which_nothing_is_asked_is_given_up(server, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.HEAD_S", 0.2)
    with closing(connected(server)) as connection:
        assert rest_of(connection) == b""


def test_a_second_head_on_a_connection_has_its_time_too(server, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.HEAD_S", 0.5)
    with closing(connected(server)) as connection:
        for _ in range(3):
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            while not connection.recv(65536).endswith(b"}"):
                pass
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: ")
        assert rest_of(connection) == b""


@pytest.mark.parametrize("path", [STATE, FILE])
def test_a_body_that_hardly_comes_is_cut_off(server, token, http, monkeypatch, path):
    """It never rests, so that only its rate can tell."""
    monkeypatch.setattr("fastio_cli.server.protocol.BODY_S", 0.3)
    monkeypatch.setattr("fastio_cli.server.protocol.BODY_BYTES_PER_S_MIN", 1e12)
    lines = ("Content-Type: application/json", "Content-Length: 16000000")
    with closing(connected(server)) as connection:
        connection.sendall(head(token, "PUT", path, *lines))
        connection.setblocking(False)
        answer = b""

        def answered():
            nonlocal answer
            try:
                answer += connection.recv(65536)
            except BlockingIOError:
                connection.send(b" ")
            return b"\r\n\r\n" in answer

        until(answered)
    assert status_of(answer) == 408
    assert http.get(path).status_code == 404
    assert list(server.engine.blobs.names()) == []


def test_an_answer_that_nobody_reads_is_given_up(server, token, http, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.WRITE_S", 0.3)
    http.put(FILE, content=os.urandom(32 * MIB)).raise_for_status()
    http.close()
    until(lambda: open_connections(server) == 0)
    with closing(connected(server)) as connection:
        connection.sendall(head(token, "GET", FILE))
        until(lambda: open_connections(server) == 1)
        # Further requests on it are no sign of reading.
        connection.sendall(head(token, "GET", FILE) * 3)
        until(lambda: open_connections(server) == 0)
        assert len(rest_of(connection)) < 32 * MIB
    assert still_serves(server)


def test_a_stream_that_nobody_reads_is_given_up(server, token, http, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.WRITE_S", 0.3)
    http.put(STATE, json={"value": 1}).raise_for_status()
    purpose = "x" * 1000
    for _ in range(50):
        lock = http.post("/v1/workspaces/default/locks/v", json={"purpose": purpose}).json()
        http.delete("/v1/workspaces/default/locks/v", headers={"lock-token": lock["token"]})
    http.close()
    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        connection.connect(("127.0.0.1", server.socket.getsockname()[1]))
        path = "/v1/workspaces/default/events/stream?after=0"
        connection.sendall(head(token, "GET", path))
        until(lambda: open_connections(server) == 1)
        with httpx.Client(base_url=server.url, headers=http.headers, timeout=30) as other:

            def cut_off():
                # More than the buffers of two sockets hold, sooner or later.
                changes = [{"op": "set", "path": f"p{n}", "value": n} for n in range(1000)]
                other.post("/v1/workspaces/default/transact", json={"changes": changes})
                return open_connections(server) == 1

            until(cut_off)
    assert still_serves(server)


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked, chunked",),
        ("Content-Length: -1",),
        ("Content-Length: 0x10",),
        ("Bad Header: 1",),
        ("x: a\x00b",),
        ("x: a\rb: c",),
        ("Content-Type: application/json", "Transfer-Encoding: chunked", "", "zz\r\n{}\r\n"),
    ],
)
def test_heads_that_can_be_read_in_two_ways_are_refused(server, token, http, lines):
    answer = raw(server, head(token, "PUT", STATE, *lines))
    assert answer == b"" or status_of(answer) == 400, answer
    assert http.get(STATE).status_code == 404
    assert still_serves(server)


@pytest.mark.parametrize(
    "bytes_sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",  # TLS to a plain port
        b"GET /healthz HTTP/9.9\r\nHost: x\r\n\r\n",
        b"\x00" * 1000,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
        b"G" * 100_000,
    ],
)
def test_what_is_not_http_is_refused(server, bytes_sent):
    answer = raw(server, bytes_sent + b"\r\n\r\n")
    assert answer == b"" or status_of(answer) in (400, 404, 405), answer
    assert still_serves(server)


def test_a_websocket_is_not_opened(server, token):
    lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
    answer = raw(server, head(token, "GET", "/v1/nothing", *lines, key))
    assert status_of(answer) == 404


def test_header_lines_do_not_come_back(server, token, http):
    """What a client stores or asks for never ends a header line of an answer."""
    evil = "text/html%0d%0aSet-Cookie:%20a=b"
    assert http.put(f"{FILE}?media_type={evil}", content=b"x").status_code == 400
    html = http.put(f"{FILE}?media_type=text/html", content=b"<script>")
    assert html.status_code == 200
    got = http.get(FILE)
    assert got.headers["content-disposition"] == "attachment"
    assert got.headers["content-security-policy"].startswith("sandbox")
    assert got.headers["x-content-type-options"] == "nosniff"
    path = "/v1/workspaces/default/files/%C3%BC%22%3B.html"
    http.put(path, content=b"x").raise_for_status()
    record = http.get(path).headers["fastio-record"]
    assert record.isascii()
    for key in ("a%0d%0ab", "%00"):
        answer = http.put(STATE, json={"value": 1}, headers={"idempotency-key": key})
        assert answer.status_code == 400
        assert "b" not in answer.headers


def test_a_token_sent_twice_counts_as_none(server, token):
    request = head(token, "GET", "/v1/whoami", f"Authorization: Bearer {token}")
    assert status_of(raw(server, request)) == 401


BOMB = b'{"value": "' + b"0" * (20 * MIB) + b'"}'
PACKED = {
    "gzip": gzip.compress(BOMB),
    "deflate": zlib.compress(BOMB),
    "br": brotli.compress(BOMB, quality=1),
    "zstd": zstandard.compress(BOMB),
}


@pytest.mark.parametrize("encoding", PACKED)
@pytest.mark.parametrize("path", [STATE, FILE])
def test_a_compressed_body_is_not_unpacked(http, path, encoding):
    headers = {"content-encoding": encoding, "content-type": "application/json"}
    answer = http.put(path, content=PACKED[encoding], headers=headers)
    assert answer.status_code == 400
    assert "compressed" in answer.json()["detail"]
    assert http.get(path).status_code == 404


def test_an_archive_is_bytes_like_any_other(http):
    http.put(FILE, content=PACKED["gzip"]).raise_for_status()
    assert http.get(FILE).content == PACKED["gzip"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"value": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"value": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}",
        b'{"value": ' + b"9" * 100_000 + b"}",
        b'{"value": 1e999}',
        b'{"value": "\\ud800"}',
        b"\xef\xbb\xbf{}",
        '{"value": 1}'.encode("utf-16"),
        b'{"value": 1}{"value": 2}',
    ],
)
def test_json_that_is_a_trap_is_refused(http, body):
    answer = http.put(STATE, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert http.get(STATE).status_code == 404


@pytest.mark.parametrize(
    "media_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "text/json",
        "application/json, text/plain",
        "*/*",
        "",
    ],
)
def test_only_json_is_json(http, media_type):
    answer = http.put(STATE, content=b'{"value": 1}', headers={"content-type": media_type})
    assert answer.status_code == 400
    assert http.get(STATE).status_code == 404


def test_a_body_beyond_the_limit_is_refused_before_it_comes(server, token):
    lines = ("Content-Type: application/json", "Content-Length: 99999999999")
    answer = raw(server, head(token, "PUT", STATE, *lines))
    assert status_of(answer) == 413


def test_a_body_without_a_length_is_stopped_at_the_limit(server, http, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.request_context.BODY_BYTES_MAX", MIB)

    def endless():
        for _ in range(1000):
            yield b" " * 65536

    headers = {"content-type": "application/json"}
    try:
        assert http.put(STATE, content=endless(), headers=headers).status_code == 413
    except httpx.TransportError:
        pass  # it went on sending, and the connection was closed under it
    assert still_serves(server)


def test_one_that_leaves_before_the_answer_is_done_wholly_or_not_at_all(server, token, http):
    http.put(STATE, json={"value": 0}).raise_for_status()
    path = "/v1/workspaces/default/state-increment/plan.json"
    for number in range(20):
        key = f"Idempotency-Key: k{number}"
        request = head(token, "POST", path, key, "Content-Length: 0")
        with closing(connected(server)) as connection:
            connection.sendall(request)
            if number % 2:
                connection.shutdown(socket.SHUT_WR)
                rest_of(connection)
        assert http.post(path, headers={"idempotency-key": f"k{number}"}).status_code == 200
    assert http.get(STATE).json()["value"] == 20


@pytest.mark.parametrize("path", [STATE, FILE])
@pytest.mark.parametrize("length", [100, 1_000_000])
def test_one_that_leaves_within_a_body_is_no_failure_of_the_server(
    server, token, caplog, path, length
):
    lines = ("Content-Type: application/json", f"Content-Length: {length}")
    with closing(connected(server)) as connection:
        connection.sendall(head(token, "PUT", path, *lines) + b"{")
        until(lambda: server.server.server_state.tasks)
    until(lambda: not open_connections(server) and not server.server.server_state.tasks)
    assert not caplog.records


def test_connections_beyond_the_limit_are_turned_away(server, token):
    limited = Running(server.engine, connections_max=10)
    try:
        with ExitStack() as stack:
            held = [stack.enter_context(closing(connected(limited))) for _ in range(10)]
            until(lambda: open_connections(limited) == 10)
            for _ in range(50):
                answer = raw(limited, b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
                assert answer == b"" or status_of(answer) == 503
            assert open_connections(limited) <= 11
            held.pop().close()
            held.pop().close()
            until(lambda: open_connections(limited) < 9)
            assert still_serves(limited)
    finally:
        limited.stop()


def test_hundreds_of_connections_are_served_at_once(server, token):
    request = head(token, "GET", "/v1/whoami")
    with ExitStack() as stack:
        many = [stack.enter_context(closing(connected(server))) for _ in range(400)]
        for connection in many:
            connection.sendall(request)
        answers = [connection.recv(65536) for connection in many]
    assert {status_of(answer) for answer in answers} == {200}


CHUNKED = ("Content-Type: application/json", "Transfer-Encoding: chunked")


@pytest.mark.parametrize("after", [b"0\r\nX: ", b"2;x="], ids=["trailers", "extensions"])
def test_endless_lines_around_a_body_are_cut_off(server, token, after):
    with connected(server) as s:
        s.sendall(head(token, "POST", "/v1/transfers-claim", *CHUNKED) + b"2\r\n{}\r\n" + after)
        sent = 0
        with pytest.raises(ConnectionError):  # noqa: PT012
            while sent < 64 * MIB:
                sent += s.send(b"y" * 65536)
        assert sent < 8 * MIB  # what fits into the buffers between
    assert still_serves(server)


def test_trailers_are_no_headers(server, token):
    body = b'9\r\n{"by": 1}\r\n0\r\nAuthorization: Bearer x\r\nIdempotency-Key: t\r\n\r\n'
    path = "/v1/workspaces/default/state-increment/h.json"
    with connected(server) as s:
        for _ in range(2):
            s.sendall(head(token, "POST", path, *CHUNKED) + body)
            assert status_of(s.recv(65536)) in (200, 404)


def test_a_head_that_comes_at_once_is_limited_too(server, token):
    with connected(server) as s:
        s.sendall(head(token, "GET", "/healthz", f"X-Long: {'y' * 100_000}"))
        assert status_of(rest_of(s)) == 400


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/v1/nothing", STATE])
def test_an_answer_to_head_has_no_body_and_its_length(server, http, token, path):
    http.put(STATE, json={"value": {"a": 1}})
    with connected(server) as s:
        s.sendall(head(token, "HEAD", path) + head(token, "GET", "/v1/whoami", "Connection: close"))
        answer = rest_of(s)
    first, _, second = answer.partition(b"\r\n\r\n")
    assert second.startswith(b"HTTP/1.1 200")
    length = len(http.get(path).content)
    assert f"content-length: {length}".encode() in first.lower()


def test_a_refused_upload_that_rests_is_closed(server, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.IDLE_S", 0.2)
    with connected(server) as s:
        s.sendall(head("no", "PUT", "/v1/workspaces/default/files/x", "Content-Length: 1000000"))
        answer = s.recv(65536)
        assert status_of(answer) == 401
        s.sendall(b"x")
        rest_of(s)
    assert still_serves(server)


def test_ranges_and_known_tags(http):
    etag = http.put(FILE, content=b"0123456789").headers["etag"]
    assert http.get(FILE, headers={"range": "BYTES=0-4"}).content == b"01234"
    for validator in (etag, '"9-bad"'):
        headers = {"range": "bytes=0-4", "if-range": validator}
        assert http.get(FILE, headers=headers).status_code == 200
    for known in (etag, f"W/{etag}", f'"a", {etag}', "*"):
        answer = http.get(FILE, headers={"if-none-match": known})
        assert (answer.status_code, answer.content) == (304, b"")
        assert "content-length" not in answer.headers
    assert http.get(FILE, headers={"if-none-match": '"a", "b"'}).status_code == 200


@pytest.mark.parametrize(
    "conditions",
    [
        [("if-none-match", '"1-abc"')],
        [("if-none-match", "W/*")],
        [("if-none-match", '*, "x"')],
        [("if-none-match", "*"), ("if-none-match", '"x"')],
        [("if-none-match", "*"), ("if-match", '"1-0000000000000000"')],
    ],
)
def test_a_condition_that_is_not_understood_changes_nothing(http, conditions):
    http.put(STATE, json={"value": 1}).raise_for_status()
    assert http.put(STATE, json={"value": 2}, headers=conditions).status_code == 400
    assert http.get(STATE).json()["value"] == 1


def test_if_none_match_keeps_what_is_there(http):
    for status in (200, 412):
        answer = http.put(STATE, json={"value": 1}, headers={"if-none-match": "*"})
        assert answer.status_code == status
