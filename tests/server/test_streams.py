"""Events over SSE, waiting on the server, bytes up and down."""

from __future__ import annotations

import hashlib
import io
import itertools
import json
import os
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest

from fastio_cli.errors import FastioError
from tests.backends import Background, until
from tests.remote import Running

STREAM = "/v1/workspaces/default/events/stream"
MIB = 1024 * 1024


def read_events(http, count, last_event_id=None, **query):
    """The next events of a stream, and then the connection is cut."""
    headers = {"last-event-id": str(last_event_id)} if last_event_id is not None else {}
    events = []
    with http.stream("GET", STREAM, params=query, headers=headers) as response:
        assert response.status_code == 200, response.read()
        id = None
        for line in response.iter_lines():
            if line.startswith("id: "):
                id = int(line[4:])
            if line.startswith("data: "):
                event = json.loads(line[6:])
                assert event["seq"] == id
                events.append(event)
                if len(events) == count:
                    break
    return events


def test_no_event_is_lost_repeated_or_reordered_over_cut_connections(http, remote):
    for n in range(100):
        remote.call("state.set", {"path": f"{n % 7}.json", "value": n})
    seen = []
    for count in (1, 9, 40, 20, 30):
        last = seen[-1] if seen else 0
        seen += [event["seq"] for event in read_events(http, count, last)]
    assert seen == list(range(1, 101))


def test_a_stream_tells_what_happens_while_it_is_open(http, remote, server, token):
    reading = Background(lambda: read_events(http, 3, after=0, type="state.*"))
    for n in range(3):
        remote.call("lock.list")
        remote.call("state.set", {"path": "a.json", "value": n})
    assert [event["version"] for event in reading.result()] == [1, 2, 3]


def test_a_stream_needs_a_token_that_may_read(server, http):
    for headers, status in (({}, 401), ({"authorization": "Bearer fio_x"}, 401)):
        assert httpx.get(server.url + STREAM, headers=headers).status_code == status
    assert http.get("/v1/workspaces/absent/events/stream").status_code == 404


def test_a_stream_ends_when_its_token_does(server, remote, client):
    made = remote.call("token.create", {"member": "bob", "role": "viewer"})
    headers = {"authorization": f"Bearer {made['token']}"}
    with httpx.stream("GET", server.url + STREAM, headers=headers, timeout=30) as response:
        lines = response.iter_lines()
        assert next(lines) == ": hello"
        remote.call("token.revoke", {"id": made["id"]})
        rest = "\n".join(lines)
    assert "unauthenticated" in rest


def test_open_streams_and_waiters_do_not_hold_back_a_server_that_stops(server, token):
    """It would wait for ever for a request to finish."""
    patient = Running(server.engine, grace_s=None)
    headers = {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=patient.url, headers=headers, timeout=60) as http:
        wait = {"expression": "done", "timeout_s": 3600}
        path = "/v1/workspaces/default/state-wait/v.json"
        waiting = Background(lambda: http.post(path, json=wait))
        with http.stream("GET", STREAM) as stream:
            assert next(stream.iter_lines()) == ": hello"
            until(lambda: patient.app.executor.polls._polls)
            patient.stop()
        with pytest.raises(httpx.TransportError):
            waiting.result()


def test_waiters_for_a_lock_are_served_in_line_local_ones_too(server, remote, client):
    """Callers over the network and in the store's own process stand in one queue."""
    first = remote.call("lock.acquire", {"path": "v"})
    order = []

    def wait(call, name):
        lock = call("lock.acquire", {"path": "v", "wait_s": 30})
        order.append(name)
        call("lock.release", {"path": "v", "lock_token": lock["token"]})

    waiting = []
    for n in range(4):
        call = client(server.token(f"m{n}")).call if n % 2 else server.engine.call
        waiting.append(Background(lambda call=call, n=n: wait(call, n)))
        while remote.call("lock.show", {"path": "v"})["waiters"] <= n:
            pass
    remote.call("lock.release", {"path": "v", "lock_token": first["token"]})
    for waiter in waiting:
        waiter.result()
    assert order == [0, 1, 2, 3]


def test_waiting_calls_do_not_hold_up_others(server, remote, client, token):
    waiting = [
        Background(
            lambda: client(token).call(
                "state.wait", {"path": "v.json", "expression": "done", "timeout_s": 60}
            )
        )
        for _ in range(20)
    ]
    for n in range(20):
        remote.call("state.set", {"path": "n.json", "value": n})
    remote.call("state.set", {"path": "v.json", "value": {"done": True}})
    assert all(w.result()["value"] == {"done": True} for w in waiting)


def ids_without_data(http, **query):
    """The numbers that a stream tells without an event (WHATWG HTML, 9.2.6: none is dispatched)."""
    with http.stream("GET", STREAM, params=query) as response:
        id, data = "", False
        for line in response.iter_lines():
            if not line and not data:
                yield int(id)
            id = line[4:] if line.startswith("id: ") else id
            data = bool(line) and (data or line.startswith("data: "))


def test_a_stream_tells_how_far_it_looked(http, remote, monkeypatch):
    """Whoever comes back with it does not read again what a filter left out, nor loses anything."""
    monkeypatch.setattr("fastio_cli.server.events.HEARTBEAT_S", 0.01)
    for path in ("a", "b", "b"):
        remote.call("state.set", {"path": path, "value": 1})
    newest = remote.call("workspace.show")["seq"]
    assert next(ids_without_data(http)) == newest
    for path in ("a", "b", "c"):
        told = list(itertools.islice(ids_without_data(http, after=0, path=path), 3))
        assert told == [0, newest, newest], path


@pytest.mark.parametrize("size", [0, 10, 64 * 1024, 64 * 1024 + 1, 9 * MIB])
def test_bytes_go_up_and_down(remote, size):
    body = os.urandom(size)
    put = remote.call("file.put", {"path": "f.bin", "content": remote.upload(io.BytesIO(body))})
    assert put["etag"] == hashlib.sha256(body).hexdigest()
    download = remote.call("file.get", {"path": "f.bin"})
    assert download.record["version"] == 1
    assert b"".join(remote.chunks(download)) == body


def test_ranges(http, remote):
    body = os.urandom(200_000)
    remote.call("file.put", {"path": "f.bin", "content": remote.upload(io.BytesIO(body))})
    path = "/v1/workspaces/default/files/f.bin"
    part = http.get(path, headers={"range": "bytes=1000-1999"})
    assert part.status_code == 206
    assert part.headers["content-range"] == "bytes 1000-1999/200000"
    assert part.content == body[1000:2000]
    assert http.get(path, headers={"range": "bytes=199990-"}).content == body[-10:]
    assert http.get(path, headers={"range": "bytes=300000-"}).status_code == 416
    whole = http.get(path)
    assert whole.headers["accept-ranges"] == "bytes"
    assert http.get(path, headers={"if-none-match": whole.headers["etag"]}).status_code == 304
    assert whole.headers["content-disposition"] == "attachment"


def test_a_damaged_upload_is_refused(http):
    path = "/v1/workspaces/default/files/f.bin"
    digest = "sha-256=:" + "A" * 43 + "=:"
    response = http.put(path, content=b"bytes", headers={"content-digest": digest})
    assert response.status_code == 400
    assert http.get(path).status_code == 404


def test_an_upload_in_parts_goes_on_where_it_was(http):
    id = os.urandom(16).hex()
    body = os.urandom(300_000)
    parts = f"/v1/workspaces/default/uploads/{id}"
    sent = http.patch(parts, content=body[:100_000], headers={"upload-offset": "0"})
    assert sent.json() == {"offset": 100_000}
    wrong = http.patch(parts, content=body, headers={"upload-offset": "0"})
    assert wrong.status_code == 400
    assert wrong.json()["details"]["offset"] == 100_000
    assert http.get(parts).json() == {"offset": 100_000}
    http.patch(parts, content=body[100_000:], headers={"upload-offset": "100000"})
    path = "/v1/workspaces/default/files/f.bin"
    for _ in range(2):  # the second time as if the first answer had been lost
        put = http.put(path, headers={"upload-id": id, "idempotency-key": "k"})
        assert put.json()["version"] == 1
    assert http.get(path).content == body


class Part:
    """A part of an upload on a connection of its own, sent piece by piece."""

    def __init__(self, server, token, upload, offset, size):
        host, port = server.socket.getsockname()
        self._connection = HTTPConnection(host, port, timeout=30)
        self._connection.putrequest("PATCH", upload)
        for header in (
            ("authorization", f"Bearer {token}"),
            ("upload-offset", offset),
            ("content-length", size),
        ):
            self._connection.putheader(*map(str, header))
        self._connection.endheaders()

    def send(self, body):
        self._connection.send(body)

    def answer(self):
        with closing(self._connection), self._connection.getresponse() as response:
            return response.status, json.load(response)


def test_of_two_parts_at_the_same_time_one_is_refused(server, token, http):
    upload = f"/v1/workspaces/default/uploads/{os.urandom(16).hex()}"
    first = Part(server, token, upload, 0, 2 * MIB)
    first.send(b"a" * MIB)
    until(lambda: http.get(upload).json() == {"offset": MIB})
    second = Part(server, token, upload, MIB, 2 * MIB)
    second.send(b"b" * MIB)
    until(lambda: http.get(upload).json() == {"offset": 2 * MIB})
    first.send(b"x" * MIB)
    status, problem = first.answer()
    assert (status, problem["details"]) == (400, {"offset": 2 * MIB})
    second.send(b"b" * MIB)
    assert second.answer() == (200, {"offset": 3 * MIB})
    path = "/v1/workspaces/default/files/f.bin"
    http.put(path, headers={"upload-id": upload.rpartition("/")[2]}).raise_for_status()
    assert http.get(path).content == b"a" * MIB + b"b" * (2 * MIB)


def test_parts_count_for_the_storage_of_their_org(http, limits):
    limits.org_bytes_max = 3 * MIB
    statuses = []
    for _ in range(3):
        upload = f"/v1/workspaces/default/uploads/{os.urandom(16).hex()}"
        answer = http.patch(upload, content=b"a" * 2 * MIB, headers={"upload-offset": "0"})
        statuses.append((answer.status_code, http.get(upload).json()["offset"]))
    assert statuses[0] == (200, 2 * MIB)
    # Of the second as much is kept as there is room for, if it came in small pieces.
    assert {status for status, _ in statuses[1:]} <= {402, 413}
    assert sum(size for _, size in statuses) <= 3 * MIB
    kept = http.put("/v1/workspaces/default/files/small", content=b"x")
    assert kept.status_code == 200


def test_a_part_that_is_still_coming_does_not_change_the_file(server, token, http):
    upload = f"/v1/workspaces/default/uploads/{os.urandom(16).hex()}"
    part = Part(server, token, upload, 0, 2 * MIB)
    part.send(b"a" * MIB)
    until(lambda: http.get(upload).json() == {"offset": MIB})
    path = "/v1/workspaces/default/files/f.bin"
    http.put(path, headers={"upload-id": upload.rpartition("/")[2]}).raise_for_status()
    part.send(b"x" * MIB)
    status, problem = part.answer()
    assert status == 400
    assert "was finished" in problem["message"]
    assert http.get(path).content == b"a" * MIB


def test_nothing_is_taken_from_those_who_may_not_write(server, client):
    viewer = client(server.token("vic", "viewer"))
    with pytest.raises(FastioError) as caught:
        viewer.call("file.put", {"path": "f", "content": viewer.upload(io.BytesIO(b"x" * MIB))})
    assert caught.value.code == "forbidden"
    assert list(server.engine.blobs.names()) == []


@pytest.mark.parametrize("size", [100, 20 * MIB])
def test_a_file_may_be_closed_before_it_is_sent(remote, tmp_path, size):
    body = os.urandom(size)
    (tmp_path / "f").write_bytes(body)
    with open(tmp_path / "f", "rb") as f:
        content = remote.upload(f)
    remote.call("file.put", {"path": "f.bin", "content": content})
    content.stream.close()
    assert b"".join(remote.chunks(remote.call("file.get", {"path": "f.bin"}))) == body
