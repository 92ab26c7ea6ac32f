"""Large files over a line that breaks: every byte arrives, and few travel twice."""

from __future__ import annotations

import hashlib
import io
import json
import os
import queue

import pexpect
import pytest

from fastio_cli.client.uploads import RESENT_BYTES_MAX
from fastio_cli.errors import FastioError
from tests.client.scripted import page, reply
from tests.client.serving import command

MIB = 1024 * 1024
RECORD = '{"path": "f", "version": 1, "size_bytes": 99}'
CUTS = (2 * MIB, 3 * MIB, 300, 5 * MIB)


@pytest.fixture
def body():
    return os.urandom(RESENT_BYTES_MAX + 12 * MIB)


def test_an_upload_goes_on_where_it_was_cut(server, line, body):
    broken, remote = line(up=CUTS)
    put = remote.call("file.put", {"path": "f", "content": remote.upload(io.BytesIO(body))})
    assert put["etag"] == hashlib.sha256(body).hexdigest()
    assert put["version"] == 1
    assert broken.connections >= len(CUTS) + 1
    assert broken.sent_up < len(body) * 1.3 + len(CUTS) * MIB
    stored = server.engine.call("file.get", {"path": "f"})
    assert b"".join(server.engine.chunks(stored)) == body


def test_a_download_goes_on_where_it_was_cut(server, line, body):
    engine = server.engine
    engine.call("file.put", {"path": "f", "content": engine.upload(io.BytesIO(body))})
    broken, remote = line(down=CUTS)
    download = remote.call("file.get", {"path": "f"})
    got = b""
    for chunk in remote.chunks(download):
        if not got:  # a newer version does not get into the older one's bytes
            engine.call("file.put", {"path": "f", "content": engine.upload(io.BytesIO(b"new"))})
        got += chunk
    assert got == body
    assert broken.connections >= len(CUTS)


def test_a_part_of_a_file_goes_on_where_it_was_cut(server, line, body):
    engine = server.engine
    engine.call("file.put", {"path": "f", "content": engine.upload(io.BytesIO(body))})
    _, remote = line(down=CUTS)
    part = {"path": "f", "offset": MIB, "length": 9 * MIB}
    got = b"".join(remote.chunks(remote.call("file.get", part)))
    assert got == body[MIB : 10 * MIB]


def test_progress_is_a_sign_of_life(scripted, clock):
    """A file that takes far longer than a server may be away arrives, cut after cut."""
    etag = RECORD
    parts = [
        lambda line: (
            line.sendall(
                f"HTTP/1.1 200 OK\r\nfastio-record: {etag}\r\ncontent-length: 99\r\n\r\nx".encode()
            )
            or line.shutdown(2)
        )
    ] * 500
    last = reply(200, b"end", fastio_record=etag)
    _, remote = scripted(*parts, last, retry_s=1)
    got = b"".join(remote.chunks(remote.call("file.get", {"path": "f"})))
    assert got == b"x" * 500 + b"end"
    assert sum(clock.pauses) > 10


def test_cuts_without_progress_come_to_an_end(scripted, clock):
    head = f"HTTP/1.1 200 OK\r\nfastio-record: {RECORD}\r\ncontent-length: 99\r\n\r\n".encode()
    _, remote = scripted(lambda line: line.sendall(head) or line.shutdown(2), retry_s=5)
    with pytest.raises(FastioError) as caught:
        list(remote.chunks(remote.call("file.get", {"path": "f"})))
    assert caught.value.code == "unavailable"
    assert sum(clock.pauses) <= 5


@pytest.mark.parametrize(
    "record", ["{}", RECORD.replace("1", '"1"'), RECORD.replace("path", "p"), "[1]", "x", ""]
)
def test_a_record_that_no_server_gives_is_refused(scripted, record):
    """Before a byte is taken: the rest of a cut download could not be asked for."""
    head = f"HTTP/1.1 200 OK\r\nfastio-record: {record}\r\ncontent-length: 99\r\n\r\nx".encode()
    _, remote = scripted(lambda line: line.sendall(head) or line.shutdown(2), retry_s=5)
    with pytest.raises(FastioError) as caught:
        list(remote.chunks(remote.call("file.get", {"path": "f"})))
    assert caught.value.code == "invalid"


def test_damaged_bytes_are_not_passed_off_as_the_file(scripted):
    digest = f"sha-256=:{'A' * 43}=:"
    answer = reply(200, b"junk", fastio_record=RECORD, repr_digest=digest)
    _, remote = scripted(answer)
    with pytest.raises(FastioError) as caught:
        list(remote.chunks(remote.call("file.get", {"path": "f"})))
    assert caught.value.code == "unavailable"


def test_an_upload_in_parts_is_answered_by_somebody_else(scripted, clock, body):
    server, remote = scripted(page(200))
    with pytest.raises(FastioError) as caught:
        remote.call("file.put", {"path": "f", "content": remote.upload(io.BytesIO(body))})
    assert caught.value.code == "invalid"
    assert len(server.requests) == 1


@pytest.mark.parametrize("answer", [{}, [], {"offset": "7"}, {"offset": -1}, {"offset": 10**12}])
def test_an_offset_that_no_server_states_is_refused(scripted, clock, body, answer):
    """After a failure the server is asked how far it came."""
    _, remote = scripted(reply(503, b"{}"), reply(200, json.dumps(answer).encode()))
    with pytest.raises(FastioError) as caught:
        remote.call("file.put", {"path": "f", "content": remote.upload(io.BytesIO(body))})
    assert caught.value.code == "invalid"


def test_a_download_that_takes_longer_is_shown_at_a_terminal(home, scripted):
    """A byte comes whenever a tenth of a second went by without a bar; then the rest."""
    piece, pieces = b"x" * 1000, queue.Queue()
    size = 1000 * len(piece)
    shown = {"path": "f", "version": 1, "size_bytes": size, "media_type": "text/plain"}
    head = (
        "HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\n"
        f"content-length: {size}\r\nfastio-record: {json.dumps(shown)}\r\n\r\n"
    )

    def trickle(line):
        line.sendall(head.encode())
        while part := pieces.get():
            line.sendall(part)

    server, _ = scripted(trickle)
    program, *args = command("file", "get", "f", "-o", "out", "--store", server.url)
    sent = 0
    with pexpect.spawn(program, args, encoding="utf-8", timeout=60) as terminal:
        while terminal.expect(["Receiving.*MB", pexpect.TIMEOUT], timeout=0.1):
            pieces.put(piece)
            sent += len(piece)
        pieces.put(b"x" * (size - sent))
        terminal.expect("f → out")
        terminal.expect(pexpect.EOF)
    assert (home / "out").read_bytes() == b"x" * size


def test_a_download_that_is_quick_is_not_shown(home, server, body):
    engine = server.engine
    engine.call("file.put", {"path": "f", "content": engine.upload(io.BytesIO(body))})
    args = ("file", "get", "f", "-o", "out", "--store", server.url)
    program, *args = command(*args, "--offset", "1000", "--length", "2000")
    environ = {**os.environ, "FASTIO_TOKEN": server.token("ada")}
    with pexpect.spawn(program, args, env=environ, encoding="utf-8", timeout=60) as terminal:
        terminal.expect("f → out")
        assert "Receiving" not in terminal.before
    assert (home / "out").read_bytes() == body[1000:3000]
