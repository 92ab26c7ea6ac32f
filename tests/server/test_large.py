"""Large documents and users' programs: not in the event loop, and not in its process at all.

What is counted is the work and where it is done, not the time that it takes.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time

import pytest

from fastio_cli import json_text
from fastio_cli.errors import FastioError
from fastio_cli.operations import documents
from fastio_cli.operations.documents import LARGE_BYTES
from fastio_cli.server import compute
from fastio_cli.server.compute import Helper, HelperPool
from fastio_cli.server.executor import INLINE_BYTES_MAX
from fastio_cli.server.request_context import SMALL_BYTES_MAX

BASE = "/v1/workspaces/default"
PATH = f"{BASE}/state/large.json"
ROWS = [{"id": n, "title": "A finding worth keeping", "tags": ["a", "b"]} for n in range(16_000)]
LARGE = {"n": 0, "rows": ROWS}
assert len(json.dumps(LARGE)) > 4 * LARGE_BYTES

REQUESTS = {
    "get": ("GET", "/state/large.json", None),
    "at": ("GET", "/state/large.json?at=/rows/7", None),
    "query": ("GET", "/state/large.json?query=length(rows)", None),
    "version": ("GET", "/state/large.json?version=1&at=/n", None),
    "put": ("PUT", "/state/large.json", {"value": LARGE}),
    "set at": ("PUT", "/state/large.json", {"value": 5, "at": "/n"}),
    "init": ("POST", "/state-init/large.json", {"value": {}}),
    "init anew": ("POST", "/state-init/new.json", {"value": LARGE}),
    "increment": ("POST", "/state-increment/large.json", {"at": "/n"}),
    "append": ("POST", "/state-append/large.json", {"at": "/rows", "value": 1}),
    "merge": ("PATCH", "/state/large.json", {"patch": {"n": 1}}),
    "merge much": ("PATCH", "/state/small.json", {"patch": LARGE}),
    "json patch": (
        "PATCH",
        "/state/large.json",
        {"format": "json-patch", "patch": [{"op": "remove", "path": "/rows/0"}]},
    ),
    "schema": ("PUT", "/state/large.json", {"value": LARGE, "schema": {"type": "object"}}),
    "transact": (
        "POST",
        "/transact",
        {"changes": [{"op": "set", "path": f"{n}.json", "value": LARGE} for n in range(2)]},
    ),
    "wait": ("POST", "/state-wait/large.json", {"expression": "n == `0`", "timeout_s": 30}),
    "copy": ("POST", "/objects-copy/large.json", {"to": "copy.json"}),
}


@pytest.fixture
def http(http):
    """A client of a server with a large object and a small one, which is not indexed."""
    http.post(f"{BASE}/intelligence", json={"enabled": False}).raise_for_status()
    http.put(PATH, json={"value": LARGE}).raise_for_status()
    http.put(f"{BASE}/state/small.json", json={"value": {}}).raise_for_status()
    return http


@pytest.fixture
def texts(server, http, monkeypatch):
    """How large the JSON texts were that this process read or wrote: in the loop, and elsewhere."""
    sizes: dict[bool, list[int]] = {True: [0], False: [0]}

    def note(text):
        sizes[threading.current_thread() is server._thread].append(len(text))
        return text

    parsed, compact = json_text._parsed, json_text.compact
    monkeypatch.setattr(json_text, "_parsed", lambda by, text: parsed(by, note(text)))
    monkeypatch.setattr(json_text, "compact", lambda value: note(compact(value)))
    return sizes


@pytest.mark.parametrize("name", REQUESTS)
def test_large_documents_are_not_worked_on_by_the_server_itself(http, texts, name):
    method, path, body = REQUESTS[name]
    http.request(method, f"{BASE}{path}", json=body).raise_for_status()
    assert max(texts[True]) <= SMALL_BYTES_MAX
    assert max(texts[False]) < LARGE_BYTES


def test_and_are_read_and_changed_all_the_same(http):
    assert http.get(PATH).json()["value"] == LARGE
    assert http.get(f"{PATH}?at=/rows/7/id").json()["value"] == 7
    assert http.get(f"{PATH}?query=length(rows)").json()["value"] == len(ROWS)
    total = http.post(f"{BASE}/state-increment/large.json", json={"at": "/n", "by": 3}).json()
    assert total["value"] == 3
    http.patch(PATH, json={"patch": {"rows": None}}).raise_for_status()
    assert http.get(PATH).json()["value"] == {"n": 3}
    missing = http.get(f"{PATH}?at=/rows/0")
    assert (missing.status_code, missing.json()["details"]["pointer"]) == (404, "/rows/0")


def test_a_large_request_that_is_repeated_is_done_once(http):
    for value, status in ((LARGE, 200), (LARGE, 200), ([LARGE], 400)):
        body = {"changes": [{"op": "set", "path": "once.json", "value": value}]}
        headers = {"idempotency-key": "once"}
        assert http.post(f"{BASE}/transact", json=body, headers=headers).status_code == status
    assert http.get(f"{BASE}/state/once.json").json()["version"] == 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"value": ' + "[" * 300 + "]" * 300 + " " * 70_000 + "}", "invalid"),
        ('{"value": {"a": 1, "a": 2}' + " " * 300_000 + "}", "invalid"),
        ('{"value": NaN' + " " * 300_000 + "}", "invalid"),
        ("[1" + " " * 300_000 + "]", "invalid"),
        ('{"value": "' + "x" * (16 * 1024 * 1024) + '"}', "too_large"),
    ],
)
def test_a_large_body_is_as_strict_as_a_small_one(http, text, code):
    headers = {"content-type": "application/json"}
    answer = http.put(PATH, content=text, headers=headers)
    assert answer.json()["code"] == code
    assert http.get(f"{PATH}?at=/n").json()["version"] == 1


def test_a_whole_object_is_sent_as_it_is_stored(server, http, texts):
    """Neither parsed nor written again, by nobody."""
    answer = http.get(PATH)
    assert json.dumps(LARGE, separators=(",", ":")) in answer.text
    assert max(texts[True] + texts[False]) < 1024


@pytest.mark.parametrize("size_bytes", [INLINE_BYTES_MAX - 100, INLINE_BYTES_MAX + 100])
def test_the_loop_works_on_small_objects_alone(server, http, texts, size_bytes):
    http.put(f"{BASE}/state/a.json", json={"value": {"n": 0, "x": "x" * size_bytes}})
    for sizes in texts.values():
        sizes[:] = [0]
    http.post(f"{BASE}/state-increment/a.json", json={"at": "/n"}).raise_for_status()
    assert (max(texts[True]) > 1024) is (size_bytes < INLINE_BYTES_MAX)
    assert (max(texts[False]) > 1024) is (size_bytes > INLINE_BYTES_MAX)


def test_what_users_wrote_runs_in_a_helper_however_small(server, http, monkeypatch):
    """In this process it would fail."""
    for function in ("query", "holds", "check_schema"):
        assert getattr(documents, function) in documents.PROGRAMS
    for module in ("query.search", "pointer.apply_patch", "schema.check"):
        monkeypatch.setattr(f"fastio_cli.operations.{module}", None)
    small = f"{BASE}/state/small.json"
    schema = {"type": "object"}
    http.put(small, json={"value": {"a": [1]}, "schema": schema}).raise_for_status()
    assert http.get(f"{small}?query=a").json()["value"] == [1]
    patch = [{"op": "add", "path": "/a/-", "value": 2}]
    http.patch(small, json={"format": "json-patch", "patch": patch}).raise_for_status()
    http.put(small, json={"value": 3, "at": "/a/0"}).raise_for_status()
    wait = {"expression": "a[0] == `3`", "timeout_s": 30}
    assert http.post(f"{BASE}/state-wait/small.json", json=wait).json()["value"] == {"a": [3, 2]}
    broken = http.put(small, json={"value": 3})
    assert (broken.status_code, broken.json()["code"]) == (422, "schema_violation")


@pytest.fixture
def helper():
    helper = Helper()
    yield helper
    helper.close()


def test_a_helper_that_was_killed_is_replaced(helper):
    assert helper.call(len, (b"abc",)) == 3
    os.kill(helper._process.pid, signal.SIGKILL)
    assert helper.call(len, (b"abc",)) == 3


def test_a_helper_that_dies_before_it_is_written_to_is_replaced(helper, monkeypatch):
    assert helper.call(len, (b"abc",)) == 3
    process = helper._process
    process.kill()
    process.wait()
    looks = iter([None])  # it seems to be alive still
    monkeypatch.setattr(process, "poll", lambda: next(looks, process.returncode))
    assert helper.call(len, (b"abc",)) == 3


def test_a_call_of_a_helper_that_dies_is_made_once_more(helper, tmp_path):
    mark = str(tmp_path / "mark")
    once = f"os.mkdir({mark!r}) or os.kill(os.getpid(), 9)"
    dies_at_first = f"(lambda os: 7 if os.path.exists({mark!r}) else {once})(__import__('os'))"
    assert helper.call(eval, (dies_at_first,)) == 7
    with pytest.raises(FastioError) as caught:
        helper.call(eval, ("(lambda os: os.kill(os.getpid(), 9))(__import__('os'))",))
    assert caught.value.code == "too_large"


def test_what_takes_too_long_is_ended(monkeypatch, helper):
    monkeypatch.setattr(helper, "_call_s_max", 0.5)
    with pytest.raises(FastioError) as caught:
        helper.call(time.sleep, (600,))
    assert caught.value.code == "too_large"


def test_what_computes_too_long_is_ended(monkeypatch, helper):
    monkeypatch.setattr(helper, "_cpu_s_max", 0.2)
    expression = "[@,@]" + "|[@,@]" * 24 + "|to_string(@)"
    with pytest.raises(FastioError) as caught:
        helper.call(documents.query, (b"[1]", None, expression, "a.json"))
    assert caught.value.code == "too_large"
    assert helper.call(len, (b"abc",)) == 3


def test_an_error_in_a_helper_is_the_same_here(helper):
    with pytest.raises(FastioError) as there:
        helper.call(documents.select, (b"{}", "/a b", "c d.json"))
    with pytest.raises(FastioError) as here:
        documents.select(b"{}", "/a b", "c d.json")
    assert there.value.as_dict() == here.value.as_dict()


def test_who_would_wait_too_long_for_a_helper_is_told_so(monkeypatch):
    monkeypatch.setattr(compute, "QUEUE_S_MAX", 0.01)
    pool = HelperPool(1)
    held = pool._idle.pop()
    pool._places.take("another")
    with pytest.raises(FastioError) as caught:
        pool(documents.holds, b"null", "@")
    assert caught.value.code == "unavailable"
    pool._places.give_back("another")
    pool._idle.append(held)
    assert pool(documents.holds, b"null", "@") is False
    pool.close()
