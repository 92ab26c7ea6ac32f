"""Where a request begins and ends, and whom it is for: one reading, the one of RFC 9112."""

from __future__ import annotations

import json
import subprocess
from contextlib import closing

import pytest

from tests.requirements import need_program
from tests.server.test_hostile import FILE, STATE, connected, head, rest_of, status_of, still_serves

HELLO = b"hello"
SMUGGLED = b"PUT /v1/workspaces/default/state/smuggled HTTP/1.1\r\nHost: x\r\n"


def exchange(server, *packets: bytes) -> bytes:
    """All that the server answers to packets, each sent when the one before was read."""
    with closing(connected(server)) as connection:
        received = b""
        for packet in packets[:-1]:
            connection.sendall(packet)
            received += connection.recv(1) if packet.endswith(b"\r\n\r\n") else b""
        connection.sendall(packets[-1])
        return received + rest_of(connection)


def assert_refused(answer: bytes, status: int) -> None:
    """One answer, a problem, and the end of the connection."""
    assert answer.count(b"HTTP/1.1 %d" % status) == 1, answer
    assert status_of(answer) == status, answer
    lines, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in lines
    assert b"application/problem+json" in lines
    problem = json.loads(body)
    assert problem["status"] == status
    assert problem["detail"]


def smuggled(token: str) -> bytes:
    body = b'{"value": 1}'
    lines = f"Authorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    return SMUGGLED + lines.encode() + b"Content-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize("path", [FILE, STATE])
@pytest.mark.parametrize("protocol", ["h2c", "websocket", "anything"])
@pytest.mark.parametrize("packets", [1, 2])
def test_an_upgrade_with_a_body_is_refused_and_runs_nothing(
    server, token, http, path, protocol, packets
):
    body = smuggled(token)
    lines = ("Connection: Upgrade", f"Upgrade: {protocol}", f"Content-Length: {len(body)}")
    start = head(token, "PUT", path, *lines)
    answer = exchange(server, start + body) if packets == 1 else exchange(server, start, body)
    assert_refused(answer, 400)
    assert http.get(path).status_code == 404
    assert http.get("/v1/workspaces/default/state/smuggled").status_code == 404
    assert still_serves(server)


@pytest.mark.parametrize("packets", [1, 2])
def test_an_upgrade_with_a_chunked_body_is_refused(server, token, http, packets):
    lines = ("Connection: upgrade", "Upgrade: h2c", "Transfer-Encoding: chunked")
    start, body = head(token, "PUT", FILE, *lines), b"5\r\nhello\r\n0\r\n\r\n" + smuggled(token)
    assert_refused(exchange(server, *([start + body] if packets == 1 else [start, body])), 400)
    assert http.get(FILE).status_code == 404


def test_an_upgrade_without_a_body_is_answered_and_is_the_last(server, token, http):
    start = head(token, "GET", "/v1/whoami", "Connection: Upgrade", "Upgrade: h2c")
    answer = exchange(server, start + smuggled(token))
    assert status_of(answer) == 200
    assert answer.count(b"HTTP/1.1 200") == 1
    assert b"connection: close" in answer
    assert http.get("/v1/workspaces/default/state/smuggled").status_code == 404


def test_curl_loses_no_file_when_it_asks_for_http2(server, token, http, tmp_path):
    need_program("curl")
    file = tmp_path / "f"
    file.write_bytes(b"x" * 1600)
    url = f"{server.url}{FILE}"
    command = ["curl", "-sS", "-w", "%{http_code}", "-H", f"Authorization: Bearer {token}", url]
    done = subprocess.run(
        [*command, "--http2", "-T", str(file)], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("400")
    assert "--http1.1" in done.stdout
    assert http.get(FILE).status_code == 404
    subprocess.run([*command, "--http1.1", "-T", str(file)], capture_output=True, check=True)
    assert len(http.get(FILE).content) == 1600
    read = subprocess.run([*command, "--http2"], capture_output=True, text=True, check=True)
    assert read.stdout == "x" * 1600 + "200"


@pytest.mark.parametrize(
    ("start", "status"),
    [
        ("GET /healthz HTTP/1.1\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET /healthz HTTP/1.0\r\nHost: a\r\nHost: b\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a b\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: user@a\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a/b\r\n", 400),
        ("GET /healthz#part HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /openapi.json?a=b#part HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET http://a/healthz#part HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n", 501),
        ("GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: identity\r\n", 501),
        (
            "GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n"
            "Transfer-Encoding: chunked\r\n",
            501,
        ),
        ("GET /healthz HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", 400),
        ("GET /healthz HTTP/2.0\r\nHost: a\r\n", 505),
        ("GET /healthz HTTP/0.9\r\nHost: a\r\n", 505),
        ("CONNECT a:443 HTTP/1.1\r\nHost: a\r\n", 501),
    ],
)
def test_what_rfc_9112_calls_invalid_is_refused(server, start, status):
    assert_refused(exchange(server, start.encode() + b"\r\n" + HELLO), status)
    assert still_serves(server)


@pytest.mark.parametrize(
    "lines",
    [
        "GET /healthz HTTP/1.0\r\n",
        "GET /healthz HTTP/1.1\r\nHost:\r\n",
        "GET /healthz HTTP/1.1\r\nHost: [::1]:8787\r\n",
        "GET /healthz HTTP/1.1\r\nHost: fastio.example:80\r\n",
        "GET http://fastio.example/healthz HTTP/1.1\r\nHost: fastio.example\r\n",
        "GET /healthz HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n",
    ],
)
def test_what_is_valid_is_not(server, lines):
    end = b"Connection: close\r\n\r\n" + (b"0\r\n\r\n" if "Chunked" in lines else b"")
    assert status_of(exchange(server, lines.encode() + end)) == 200


def test_white_space_around_a_field_is_no_part_of_it(server, token):
    """RFC 9110 §5.5: the second request is a repetition of the first."""
    for key in ("one", "one \t"):
        fields = f"Idempotency-Key: {key}", "Content-Length: 5", "Connection: close"
        answer = exchange(server, head(token, "PUT", FILE, *fields) + HELLO)
        assert status_of(answer) == 200
        assert b'"version":1' in answer


def test_what_is_malformed_is_answered_in_its_turn(server, token, http):
    """A client must not take the refusal of its second request for an answer to the first."""
    first = head(token, "PUT", FILE, "Content-Length: 5") + HELLO
    answer = exchange(server, first + b"what is this\r\n\r\n")
    one, _, other = answer.partition(b"HTTP/1.1 400")
    assert status_of(one) == 200
    assert b'"version":1' in one
    assert_refused(b"HTTP/1.1 400" + other, 400)
    assert http.get(FILE).content == HELLO


def test_a_body_that_is_malformed_is_its_requests_fault(server, token, http):
    first = head(token, "GET", "/v1/whoami")
    second = head(token, "PUT", FILE, "Transfer-Encoding: chunked") + b"5\r\nhello\r\nzz\r\n"
    answer = exchange(server, first + second)
    one, _, other = answer.partition(b"HTTP/1.1 400")
    assert status_of(one) == 200
    assert_refused(b"HTTP/1.1 400" + other, 400)
    assert http.get(FILE).status_code == 404
