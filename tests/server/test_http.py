"""The protocol: headers, conditions, problem details, hostile requests."""

from __future__ import annotations

import gzip
import io
import json
import socket

import httpx
import pytest

from fastio_cli.errors import FastioError
from fastio_cli.identity import new_token
from fastio_cli.server.access_log import AccessLog
from fastio_cli.server.rate_limit import RateLimit
from tests.remote import Running

STATE = "/v1/workspaces/default/state/plan.json"


def raw(server, data: bytes, timeout_s: float = 20) -> bytes:
    """What the server answers to these bytes, until it closes or falls silent."""
    answer = b""
    with socket.create_connection(("127.0.0.1", server.socket.getsockname()[1])) as s:
        s.settimeout(timeout_s)
        s.sendall(data)
        try:
            while part := s.recv(65536):
                answer += part
                if b"\r\n\r\n" in answer:
                    break
        except ConnectionResetError:
            pass
    return answer


def test_etags_and_conditions(http):
    first = http.put(STATE, json={"value": {"step": 1}}, headers={"if-none-match": "*"})
    assert first.status_code == 200
    assert http.put(STATE, json={"value": 2}, headers={"if-none-match": "*"}).status_code == 412
    got = http.get(STATE)
    assert got.headers["etag"] == first.headers["etag"]
    again = http.get(STATE, headers={"if-none-match": got.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    second = http.put(STATE, json={"value": 2}, headers={"if-match": got.headers["etag"]})
    assert second.status_code == 200
    stale = http.put(STATE, json={"value": 3}, headers={"if-match": got.headers["etag"]})
    assert stale.status_code == 412
    assert stale.json()["details"]["current_version"] == 2
    assert http.put(STATE, json={"value": 3}, headers={"if-match": "abc"}).status_code == 400


def test_locked_says_who_why_and_when(http):
    http.put(STATE, json={"value": 1})
    lock = http.post("/v1/workspaces/default/locks/plan.json", json={"purpose": "drafting"}).json()
    refused = http.put(STATE, json={"value": 2})
    assert refused.status_code == 423
    assert refused.headers["content-type"] == "application/problem+json"
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    problem = refused.json()
    assert problem["status"] == 423
    details = problem["details"]
    assert (details["holder"], details["purpose"]) == ("ada", "drafting")
    assert details["queue_position"] == 1
    assert details["expires_at"] == lock["expires_at"]
    held = http.put(STATE, json={"value": 2}, headers={"lock-token": lock["token"]})
    assert held.status_code == 200


def test_a_key_makes_a_repetition_harmless(http):
    http.put(STATE, json={"value": 0})
    path = "/v1/workspaces/default/state-increment/plan.json"
    answers = [
        http.post(path, json={}, headers={"idempotency-key": "k 1"}).json() for _ in range(3)
    ]
    assert answers == [answers[0]] * 3
    assert http.get(STATE).json()["value"] == 1
    other = http.post(path, json={"by": 2}, headers={"idempotency-key": "k 1"})
    assert other.status_code == 400


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (b"{", {"content-type": "application/json"}),
        (b"[]", {"content-type": "application/json"}),
        (b'{"value": NaN}', {"content-type": "application/json"}),
        (b'{"value": 1, "value": 2}', {"content-type": "application/json"}),
        (b'{"value": "\xff"}', {"content-type": "application/json"}),
        (b'{"value": 1, "more": 1}', {"content-type": "application/json"}),
        (b'{"value": 1, "path": "x"}', {"content-type": "application/json"}),
        (b'{"value": 1}', {"content-type": "text/plain"}),
        (b'{"value": 1}', {}),
        (
            gzip.compress(b'{"value": 1}', mtime=0),
            {"content-type": "application/json", "content-encoding": "gzip"},
        ),
    ],
)
def test_bodies_that_are_refused(http, content, headers):
    response = http.put(STATE, content=content, headers=headers)
    assert response.status_code == 400
    assert response.json()["code"] == "invalid"
    assert http.get(STATE).status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/v1/workspaces/default/state/a%2F..%2Fb",
        "/v1/workspaces/default/state/%2e%2e/b",
        "/v1/workspaces/default/state/a%00b",
        "/v1/workspaces/default/state/a%0d%0ax-evil:1",
        "/v1/workspaces/default/state/%ff%fe",
        "/v1/workspaces/default/state//b",
        "/v1/workspaces/de%2Ffault/state/b",
        "/v1/workspaces/..%2f..%2fetc/state/b",
        "/v1/nothing/here",
        "/v1/workspaces/default/state/b?lock_token=x",
        "/v1/workspaces/default/state/b?at=%ff",
        "/v1/workspaces/default/state/b?version=1&version=2",
        "/v1/workspaces/default/state/b?version=one",
        "/v1/workspaces/default/state/b?other=1",
        "/v1/workspaces/default/events/stream?after=x",
        "/v1/workspaces/default/uploads/..%2fx",
    ],
)
def test_paths_that_are_refused(server, token, path):
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    answer = raw(server, request.encode())
    status = int(answer.split(b" ")[1])
    assert status in (400, 404), answer
    assert b"x-evil" not in answer.partition(b"\r\n\r\n")[0]


def test_unicode_paths_come_back(http):
    path = "/v1/workspaces/default/state/%C3%BC/%E6%97%A5%E6%9C%AC.json"
    assert http.put(path, json={"value": 1}).json()["path"] == "ü/日本.json"


def test_oversized_heads_are_cut_off(server):
    head = b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + b"x: " + b"y" * 200_000
    answer = raw(server, head)
    assert answer == b"" or b" 400 " in answer.partition(b"\r\n")[0]


def test_a_head_that_never_ends_is_given_up(server, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.HEAD_S", 0.2)
    assert raw(server, b"GET /healthz HTTP/1.1\r\nHost: x\r\nx: ") == b""


def test_a_body_that_stops_coming_is_given_up(server, token, monkeypatch):
    monkeypatch.setattr("fastio_cli.server.protocol.IDLE_S", 0.2)
    head = f"PUT {STATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    assert b" 408 " in raw(server, head.encode()).partition(b"\r\n")[0]


def test_a_half_closed_connection_changes_nothing(server, token, http):
    head = f"PUT {STATE} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
    head += "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
    with socket.create_connection(("127.0.0.1", server.socket.getsockname()[1])) as s:
        s.sendall(head.encode())
        s.shutdown(socket.SHUT_WR)
    assert http.get(STATE).status_code == 404


def test_health_and_readiness_need_no_token(server):
    for path in ("/healthz", "/readyz"):
        answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b" 200 " in answer.partition(b"\r\n")[0]


def test_metrics_are_not_for_the_members_of_any_org(server):
    made = server.engine.call("org.create", {"name": "acme"}, actor="bob")
    headers = {"authorization": f"Bearer {made['token']}"}
    assert httpx.get(f"{server.url}/metrics", headers=headers).status_code == 403


@pytest.mark.parametrize(("scope", "status"), [("server.metrics", 200), ("state.*", 403)])
def test_a_token_with_scopes_reads_the_metrics_only_if_it_is_for_them(server, scope, status):
    params = {"member": "prometheus", "role": "viewer", "scopes": [scope]}
    made = server.engine.call("token.create", params, actor="ada")
    headers = {"authorization": f"Bearer {made['token']}"}
    assert httpx.get(f"{server.url}/metrics", headers=headers).status_code == status


def test_metrics_need_a_token(http, server):
    http.get(STATE)
    assert 'operation="state.get"' in http.get("/metrics").text
    answer = raw(server, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
    assert b" 401 " in answer.partition(b"\r\n")[0]


def test_too_many_requests(server, http, monkeypatch):
    monkeypatch.setattr(server.app.pipeline, "rate_limit", RateLimit(1))
    answers = [http.get("/v1/workspaces") for _ in range(4)]
    assert [a.status_code for a in answers[:2]] == [200, 200]
    assert answers[-1].status_code == 429
    assert int(answers[-1].headers["retry-after"]) >= 1


def test_made_up_tokens_have_no_share_of_their_own(server, http, monkeypatch):
    http.get("/v1/workspaces")
    monkeypatch.setattr(server.app.pipeline, "rate_limit", RateLimit(1))
    made_up = [{"authorization": f"Bearer {new_token()}"} for _ in range(50)]
    statuses = [http.get("/v1/workspaces", headers=headers).status_code for headers in made_up]
    assert statuses[:2] == [401, 401]
    assert 429 in statuses
    assert http.get("/v1/workspaces").status_code == 200  # who has one is not touched by it


def test_the_log_tells_no_secret(server, token):
    log = io.StringIO()
    logged = Running(server.engine, access_log=AccessLog(log))
    headers = {"authorization": f"Bearer {token}", "idempotency-key": "key-secret"}
    with httpx.Client(base_url=logged.url, headers=headers) as http:
        lock = http.post("/v1/workspaces/default/locks/hidden/path", json={}).json()
        held = {"lock-token": lock["token"], "idempotency-key": "key-secret-2"}
        http.delete("/v1/workspaces/default/locks/hidden/path", headers=held)
        http.get(f"/v1/whoami?token={token}")
        http.get(f"/v1/workspaces/default/state/x?lock_token={lock['token']}")
        http.get(f"/{token}")
        http.post("/v1/transfers-claim", json={"claim": "claim-secret", "name": "eve"})
        other = {"idempotency-key": "key-secret-3"}
        http.put(STATE, json={"value": "body-secret"}, headers=other)
    logged.stop()
    lines = [json.loads(line) for line in log.getvalue().splitlines()]
    assert [line["status"] for line in lines] == [200, 200, 400, 400, 404, 404, 200]
    assert {line["actor"] for line in lines} == {"ada", None}
    assert all(line["ms"] >= 0 and line["id"] for line in lines)
    for secret in (token, lock["token"], "secret", "hidden"):
        assert secret not in log.getvalue()


def test_a_store_that_is_away_makes_it_unready(server, http, monkeypatch):
    def away(work):
        raise FastioError("unavailable", "The disk is gone.")

    monkeypatch.setattr(server.engine.store, "read", away)
    answer = http.get("/readyz")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert http.get("/healthz").status_code == 200


def test_the_openapi_document_states_every_operation(http):
    from fastio_cli.operations import every

    document = http.get("/openapi.json").json()
    stated = {
        described["operationId"]
        for path in document["paths"].values()
        for verb, described in path.items()
        if verb != "parameters"
    }
    assert {operation.name for operation in every()} <= stated
    text = json.dumps(document)
    names = document["components"]["schemas"]
    for reference in text.split('"$ref": "#/components/schemas/')[1:]:
        assert reference.partition('"')[0] in names
