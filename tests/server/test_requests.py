"""Small requests, in the event loop or on threads: same answers, in their order, to the end."""

from __future__ import annotations

import re
from contextlib import closing

import httpx
import pytest

from fastio_cli.server.rate_limit import RateLimit
from tests.backends import Background, until
from tests.remote import Running
from tests.server.test_hostile import connected, head, rest_of

BASE = "/v1/workspaces/default"
STATE = f"{BASE}/state/plan.json"
CLOSE = "Connection: close"


@pytest.fixture
def inline(server, monkeypatch):
    """The operations that were done in the event loop."""
    done = []
    run = server.app.executor._run

    def noted(call):
        if call.inline_bytes_max is not None:
            done.append(call.operation.name)
        return run(call)

    monkeypatch.setattr(server.app.executor, "_run", noted)
    return done


@pytest.fixture
def http(http):
    """A client whose token has been seen."""
    http.put(STATE, json={"value": {"n": 1}}).raise_for_status()
    return http


def essence(answer):
    """An answer without what is never twice the same."""
    headers = {k: v for k, v in answer.headers.items() if k not in ("date", "x-request-id")}
    body = re.sub(r"urn:fastio:request:\w+", "", answer.text)
    return answer.status_code, headers, body


REQUESTS = {
    "read": ("GET", "/state/plan.json", {}, None),
    "part": ("GET", "/state/plan.json?at=/n", {}, None),
    "known": ("GET", "/state/plan.json", {"if-none-match": '"1-'}, None),
    "query": ("GET", "/state/plan.json?query=n", {}, None),
    "missing": ("GET", "/state/other.json", {}, None),
    "write": ("PUT", "/state/plan.json", {}, b'{"value": {"n": 2}}'),
    "patch": ("PATCH", "/state/plan.json", {}, b'{"patch": {"m": {"k": 1}, "n": null}}'),
    "conflict": ("PUT", "/state/plan.json", {"if-match": '"9-ab"'}, b'{"value": 1}'),
    "wrong value": ("POST", "/state-increment/plan.json", {}, b'{"by": "x"}'),
    "wrong body": ("POST", "/state-increment/plan.json", {}, b"[1"),
    "wrong parameter": ("GET", "/state/plan.json?nothing=1", {}, None),
    "wrong path": ("GET", "/state/a%2F..%2Fb", {}, None),
    "wrong type": ("PUT", "/state/plan.json", {"content-type": "text/plain"}, b'{"value": 1}'),
    "compressed": ("PUT", "/state/plan.json", {"content-encoding": "gzip"}, b'{"value": 1}'),
    "elsewhere": ("GET", "/nothing/at/all", {}, None),
    "locked": ("PUT", "/state/held.json", {}, b'{"value": 1}'),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_loop_and_threads_give_the_same_answer(server, token, monkeypatch, name):
    server.engine.call("lock.acquire", {"path": "held.json", "ttl_s": 3600}, actor="bob")
    method, path, headers, body = REQUESTS[name]
    headers = {"authorization": f"Bearer {token}", "content-type": "application/json", **headers}
    answers = []
    with httpx.Client(base_url=server.url) as client:
        for _ in range(2):
            server.engine.call("state.set", {"path": "plan.json", "value": {"n": 1}})
            if "if-none-match" in headers:
                headers["if-none-match"] = client.get(STATE, headers=headers).headers["etag"]
            answers.append(client.request(method, f"{BASE}{path}", headers=headers, content=body))
            monkeypatch.setattr(server.app.executor, "_inline", None)
    in_loop, on_thread = (essence(answer) for answer in answers)
    for part in ("etag", "content-length"):
        in_loop[1].pop(part, None)
        on_thread[1].pop(part, None)
    assert (in_loop[0], in_loop[1]) == (on_thread[0], on_thread[1])
    neutral = re.compile(r"\d+|[0-9a-f]{64}")
    assert neutral.sub("0", in_loop[2]) == neutral.sub("0", on_thread[2])


def test_a_merge_patch_is_done_in_the_loop_and_a_json_patch_is_not(http, inline):
    """The operations of a JSON Patch may copy what they have copied: they are a program."""
    program = [{"op": "add", "path": "/m", "value": 2}]
    for body in ({"patch": program, "format": "json-patch"}, {"patch": {"n": 2}}):
        http.patch(STATE, json=body).raise_for_status()
        http.patch(STATE, json=body).raise_for_status()
    http.patch(STATE, json={"patch": {"n": 3}, "format": "merge"}).raise_for_status()
    assert inline == ["state.patch"] * 3
    assert http.get(STATE).json()["value"] == {"n": 3, "m": 2}


def test_the_usual_requests_are_done_in_the_loop(http, inline):
    http.get(STATE).raise_for_status()
    http.head(STATE).raise_for_status()
    http.post(f"{BASE}/state-increment/plan.json", json={"at": "/n"}).raise_for_status()
    lock = http.post(f"{BASE}/locks/plan.json", json={}).json()
    http.delete(f"{BASE}/locks/plan.json", headers={"lock-token": lock["token"]})
    assert http.get(f"{BASE}/state/none.json").status_code == 404
    assert inline == [
        "state.get",
        "state.get",
        "state.increment",
        "lock.acquire",
        "lock.release",
        "state.get",
    ]


def test_others_are_not(http, inline):
    http.get(f"{BASE}/state/plan.json?query=n").raise_for_status()
    http.get(f"{BASE}/objects").raise_for_status()
    http.put(
        STATE, content=iter([b'{"value":', b" 1}"]), headers={"content-type": "application/json"}
    )
    http.put(STATE, json={"value": "x" * 100_000}).raise_for_status()
    http.get(f"{BASE}/objects", headers={"authorization": "Bearer x"})
    assert inline == []


def test_answers_come_in_the_order_of_their_requests(server, http, token, inline):
    """Requests for the loop and for threads in one packet."""
    increment = f"{BASE}/state-increment/plan.json"
    body = b'{"at": "/n"}'
    write = head(token, "POST", increment, "Content-Type: application/json", "Content-Length: 12")
    listing = head(token, "GET", f"{BASE}/objects")
    packet = (write + body + head(token, "GET", STATE) + listing) * 3
    with closing(connected(server)) as connection:
        connection.sendall(packet + head(token, "GET", STATE, CLOSE))
        answers = rest_of(connection)
    assert answers.count(b"HTTP/1.1 200") == 10
    numbers = [int(n) for n in re.findall(rb'"value":(?:\{"n":)?(\d+)', answers)]
    assert numbers == [2, 2, 3, 3, 4, 4, 4]
    assert inline[0] == "state.increment"


def test_a_server_that_stops_answers_first(server, token):
    """A call waits for the writer; the server is told to stop; the call is answered."""
    patient = Running(server.engine, grace_s=None)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=patient.url, headers=headers, timeout=30) as http:
        http.put(STATE, json={"value": 0}).raise_for_status()
        stopping = []

        def hold(tx):
            posting.append(Background(lambda: http.post(f"{BASE}/state-increment/plan.json")))
            until(lambda: len(patient.app.executor.queue))
            stopping.append(Background(patient.stop))
            connections = patient.server.server_state.connections
            until(lambda: not any(c.cycle.keep_alive for c in connections))

        posting = []
        server.engine.store.write(hold)
        answer = posting[0].result()
        assert (answer.status_code, answer.json()["value"]) == (200, 1)
        assert answer.headers["connection"] == "close"
        stopping[0].result()


def test_a_small_body_that_stops_coming_is_given_up(server, token, http, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.IDLE_S", 0.2)
    lines = ("Content-Type: application/json", "Content-Length: 20", CLOSE)
    with closing(connected(server)) as connection:
        connection.sendall(head(token, "PUT", STATE, *lines) + b'{"value"')
        answer = rest_of(connection)
    assert answer.startswith(b"HTTP/1.1 408")
    assert http.get(STATE).json()["value"] == {"n": 1}


def test_wrong_requests_count_against_the_rate_too(server, http, monkeypatch):
    monkeypatch.setattr(server.app.pipeline, "rate_limit", RateLimit(1))
    answers = [http.get(f"{STATE}?nothing=1").status_code for _ in range(4)]
    assert answers[:2] == [400, 400]
    assert 429 in answers


def test_a_connection_at_rest_is_closed(server, token, http, monkeypatch):
    monkeypatch.setattr(server.server.config, "timeout_keep_alive", 0.2)
    with closing(connected(server)) as connection:
        connection.sendall(head(token, "GET", STATE))
        answer = rest_of(connection)  # returns when the server has closed
    assert answer.startswith(b"HTTP/1.1 200")


def test_an_answer_that_cannot_be_sent_is_an_error_of_its_own(http, monkeypatch):
    from fastio_cli.server import catalogue

    monkeypatch.setattr(catalogue, "etag_of", lambda _: "a\r\nb: c")
    answer = http.get(STATE)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "b" not in answer.headers
