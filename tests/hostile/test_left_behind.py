"""What a request leaves behind is counted, or removed at once."""

from __future__ import annotations

import io
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from fastio_cli.client.remote import Remote
from fastio_cli.errors import FastioError
from fastio_cli.storage.recount import check_counters
from tests.backends import Caller, kind_of
from tests.remote import Running

LARGE = 100_000  # of a value, in bytes


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request, tmp_path):
    backend = kind_of(request.param).made(tmp_path / "store")
    yield backend
    backend.give_back()


@pytest.fixture
def engine(backend):
    engine = backend.open()
    yield engine
    engine.store.close()


def kept(engine):
    """The answers that are kept, as they are kept."""
    rows = []

    def read(tx):
        for row in tx._db.all("select key, result from requests"):
            rows.append(row["result"])

    engine.store.read(read)
    return rows


def test_a_large_answer_is_kept_by_reference(backend, engine):
    caller = Caller(backend, engine)
    value = {"a": "x" * LARGE, "b": ["ü", None, 1.5]}
    caller("state.set", path="large", value=value)
    calls = [("state.init", {"path": "large", "value": 1})]
    changes = [{"op": "init", "path": "large", "value": 1}, {"op": "set", "path": "n", "value": 1}]
    calls.append(("state.transact", {"changes": changes}))
    calls.append(("state.init", {"path": "new", "value": value}))
    for number, (operation, params) in enumerate(calls):
        first = caller(operation, key=f"k{number}", **params)
        caller("state.set", path="large", value=value)  # another version
        assert caller(operation, key=f"k{number}", **params) == first
    assert max(len(text) for text in kept(engine)) < 2000


def test_a_reference_to_what_is_no_longer_kept_says_so(backend, engine):
    caller = Caller(backend, engine)
    engine.limits.versions_max = 1
    caller("state.set", path="large", value="x" * LARGE)
    caller("state.init", path="large", value=1, key="k")
    for _ in range(40):
        caller("state.set", path="large", value=1)
    caller.refused("not_found", "state.init", path="large", value=1, key="k")


def test_small_answers_are_kept_as_they_are(backend, engine):
    caller = Caller(backend, engine)
    caller("state.set", path="n", value={"a": 1})
    first = caller("state.init", path="n", value=0, key="k")
    caller("state.set", path="n", value={"a": 2})
    assert caller("state.init", path="n", value=0, key="k") == first
    assert any('"a":1' in text for text in kept(engine))


def test_the_search_index_counts_for_its_org(backend, engine):
    caller = Caller(backend, engine)

    def index_bytes():
        usage = caller("org.usage")
        assert [c.message for c in check_counters(engine.store) if not c.ok] == []
        held = sum(caller("workspace.show", workspace=w)["size_bytes"] for w in ("default", "two"))
        assert usage["size_bytes"] == usage["index_bytes"] + held
        return usage["index_bytes"]

    caller("workspace.create", name="two")
    assert index_bytes() == 0
    text = "\n\n".join(f"# Part {n}\n\n{'some words of it ' * 40}" for n in range(20))
    caller.put("a.md", text.encode())
    caller("index.update")
    one = index_bytes()
    assert one > len(text)
    caller.put("b.md", text.encode(), workspace="two")
    caller("index.update", workspace="two")
    assert index_bytes() == 2 * one
    caller("object.delete", path="a.md")
    caller("index.update")
    assert index_bytes() == one
    caller("index.clear", workspace="two")
    caller("index.rebuild", workspace="two")
    caller("index.update", workspace="two")
    assert index_bytes() == one


@pytest.fixture
def server(engine):
    running = Running(engine)
    yield running
    running.stop()


@pytest.fixture
def http(server):
    headers = {"authorization": f"Bearer {server.token('ada')}"}
    with httpx.Client(base_url=server.url, headers=headers, timeout=30) as client:
        yield client


FILES = "/v1/workspaces/default/files"
BODY = b"some bytes " * 10_000  # more than a row holds


def stored(engine):
    """What is stored beside the database: blobs, and what is on its way to be one."""
    folder = Path(engine.blobs.folder)
    found = [p for p in folder.rglob("*") if p.is_file() and p.parent.name != "claims"]
    return sorted(str(p.relative_to(folder)) for p in found)


def chunks(body):
    yield body


REFUSALS = {
    "version_conflict": {"headers": {"if-match": '"3"'}},
    "locked": {"path": "locked"},
    "invalid": {"path": "state"},
    "digest": {"headers": {"content-digest": "sha-256=:" + "A" * 43 + "=:"}},
    "quota_exceeded": {"path": "large"},
}


@pytest.mark.parametrize("is_chunked", [False, True], ids=["with its length", "in chunks"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_upload_leaves_nothing(backend, engine, http, refusal, is_chunked):
    engine.call("state.set", {"path": "state", "value": 1})
    engine.call("lock.acquire", {"path": "locked"}, actor="bob")
    if refusal == "quota_exceeded":
        engine.limits.org_bytes_max = len(BODY) // 2
    before = engine.call("workspace.show")
    path, headers = REFUSALS[refusal].get("path", "f"), REFUSALS[refusal].get("headers", {})
    for method, url in (("PUT", FILES), ("POST", f"{FILES}-append")):
        content = chunks(BODY) if is_chunked else BODY
        answer = http.request(method, f"{url}/{path}", content=content, headers=headers)
        code = "invalid" if refusal == "digest" else refusal
        assert answer.json()["code"] == code, answer.text
    assert stored(engine) == []
    assert engine.call("workspace.show") == before


def test_what_is_plain_is_refused_before_the_bytes_come(server, engine):
    engine.limits.org_bytes_max = 1_000_000
    token = server.token("ada")
    for size, extra in ((500_000_000, ""), (500_000, 'If-Match: "3"\r\n')):
        with socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2]))) as s:
            head = f"PUT {FILES}/f HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n{extra}"
            s.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
            s.settimeout(30)
            assert s.recv(100).split()[1] == (b"412" if extra else b"402")


def test_what_outgrows_the_room_is_refused_while_it_comes(engine, http):
    """However much follows: it has not said how much."""
    engine.limits.org_bytes_max = 1_000_000
    sizes = []

    def much():
        folder = Path(engine.blobs.folder, "tmp")
        for _ in range(300):
            files = [*folder.iterdir()] if folder.exists() else []
            with suppress(FileNotFoundError):  # it was just removed
                sizes.append(sum(file.stat().st_size for file in files))
            yield b"x" * 100_000

    answer = http.put(f"{FILES}/f", content=much())
    assert answer.json()["code"] == "quota_exceeded"
    assert 0 < max(sizes) <= engine.limits.org_bytes_max
    assert stored(engine) == []


def test_what_was_done_is_not_refused_when_it_is_repeated(http):
    headers = {"idempotency-key": "k", "if-none-match": "*"}
    first = http.put(f"{FILES}/f", content=BODY, headers=headers)
    assert first.status_code == 200
    assert http.put(f"{FILES}/f", content=BODY, headers=headers).json() == first.json()


def test_parts_of_a_refused_upload_count_and_may_be_used_again(engine, http):
    id = "0123456789abcdef" * 2
    lock = engine.call("lock.acquire", {"path": "f"}, actor="bob")
    part = http.patch(
        f"/v1/workspaces/default/uploads/{id}", content=BODY, headers={"upload-offset": "0"}
    )
    assert part.status_code == 200
    headers = {"upload-id": id}
    refusal = http.put(f"{FILES}/f", headers=headers)
    assert refusal.json()["code"] == "locked"
    wrong = {**headers, "content-digest": "sha-256=:" + "A" * 43 + "=:"}
    assert http.put(f"{FILES}/g", headers=wrong).json()["code"] == "invalid"
    assert list(engine.blobs.names()) == []
    assert len(stored(engine)) == 1
    engine.limits.org_bytes_max = len(BODY) + 10
    other = http.patch(
        f"/v1/workspaces/default/uploads/{id[::-1]}", content=BODY, headers={"upload-offset": "0"}
    )
    assert other.json()["code"] in ("quota_exceeded", "too_large")
    engine.limits.org_bytes_max = 10**9
    engine.call("lock.release", {"path": "f", "lock_token": lock["token"]}, actor="bob")
    assert http.put(f"{FILES}/f", headers=headers).status_code == 200
    assert http.get(f"{FILES}/f").content == BODY


def test_bytes_that_others_refer_to_stay(backend, engine):
    caller = Caller(backend, engine)
    caller.put("a", BODY)
    caller.append("b", BODY)
    caller.append("b", BODY)
    for path in ("c", "d"):
        caller.refused(
            "version_conflict", "file.put", path=path, content=caller.upload(BODY), if_version=7
        )
    assert caller.read("a") == BODY
    assert caller.read("b") == BODY + BODY


def test_bytes_that_others_are_storing_stay(backend, engine):
    caller = Caller(backend, engine)
    theirs, ours = caller.upload(BODY), caller.upload(BODY)
    caller.refused("version_conflict", "file.put", path="f", content=ours, if_version=7)
    caller("file.put", path="f", content=theirs)
    assert caller.read("f") == BODY
    contents = [caller.upload(BODY + b"x") for _ in range(3)]
    for content in contents:
        assert len([*engine.blobs.names()]) == 2
        caller.refused("version_conflict", "file.put", path="f", content=content, if_version=7)
    assert len([*engine.blobs.names()]) == 1  # the last one removed it
    caller.refused("invalid", "file.put", path="g", content=contents[0])


def test_refused_and_accepted_at_the_same_time(backend, engine):
    """In as many threads and stores as there are callers, over the same bytes again and again."""
    rounds, callers = 15, 4
    barrier = threading.Barrier(callers)

    def work(number):
        own = Caller(backend, backend.open())
        for n in range(rounds):
            body = BODY + str(n).encode()
            barrier.wait(60)
            is_refused = (n + number) % 2
            with suppress(FastioError):
                params = {"if_version": 7} if is_refused else {}
                own("file.put", path=f"{number}/{n}", content=own.upload(body), **params)
        own.engine.store.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    caller = Caller(backend, engine)
    paths = [item["path"] for item in caller("object.list", limit=1000)["items"]]
    assert len(paths) == rounds * callers / 2
    for path in paths:
        assert caller.read(path) == BODY + path.rpartition("/")[2].encode()


def test_who_died_claims_nothing(backend, engine):
    script = (
        "import io, os, sys; from tests.engines import open_engine;"
        "engine = open_engine(sys.argv[1]);"
        "content = engine.upload(io.BytesIO(sys.stdin.buffer.read())); os._exit(9)"
    )
    command = [sys.executable, "-c", script, backend.folder]
    assert subprocess.run(command, input=BODY, timeout=60).returncode == 9
    assert len(stored(engine)) == 1
    caller = Caller(backend, engine)
    caller.refused(
        "version_conflict", "file.put", path="f", content=caller.upload(BODY), if_version=7
    )
    assert stored(engine) == []


@pytest.mark.parametrize("size", [100_000, 4_000_000, 20_000_000])
def test_a_client_hears_why_its_upload_is_refused(server, size):
    """However much of it is still on its way when the answer comes."""
    remote = Remote(server.url, server.token("ada"), retry_s=5)
    try:
        content = remote.upload(io.BytesIO(b"x" * size))
        with pytest.raises(FastioError) as caught:
            remote.call("file.put", {"path": "f", "content": content, "if_version": 7})
        assert caught.value.code == "version_conflict"
    finally:
        remote.close()
