"""Blobs: bytes by their hash, whole or not there at all."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import subprocess
import sys
import threading

import pytest

from fastio_cli.blobs.content import CHUNK_BYTES, INLINE_BYTES_MAX
from fastio_cli.blobs.local import CLAIMS_FOLDER, BlobStore
from fastio_cli.errors import FastioError

LARGE = 10**9


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(str(tmp_path / "blobs"))


def files(blobs):
    """All files but the claims of who is still storing."""
    found = [os.path.join(folder, n) for folder, _, names in os.walk(blobs.folder) for n in names]
    return sorted(file for file in found if CLAIMS_FOLDER not in file.split(os.sep))


@pytest.mark.parametrize("size", [0, 1, INLINE_BYTES_MAX])
def test_small_bytes_travel_in_their_row(blobs, size):
    content = blobs.put(io.BytesIO(b"x" * size), LARGE)
    assert content.body == b"x" * size
    assert (content.blob, content.chain) == (None, None)
    assert files(blobs) == []


@pytest.mark.parametrize(
    "size", [INLINE_BYTES_MAX + 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES]
)
def test_large_bytes_are_files_by_their_hash(blobs, size):
    body = os.urandom(size)
    content = blobs.put(io.BytesIO(body), LARGE)
    name = hashlib.sha256(body).hexdigest()
    assert (content.blob, content.etag, content.size_bytes) == (name, name, size)
    assert files(blobs) == [blobs.path(name)]
    assert list(blobs.names()) == [name]
    assert b"".join(blobs.read(name, 0, size)) == body
    assert b"".join(blobs.read(name, 7, size - 7)) == body[7:-7]
    assert os.stat(os.path.dirname(blobs.path(name))).st_mode & 0o077 == 0


def test_keep_does_the_same_for_bytes_in_memory(blobs):
    assert blobs.put_bytes(b"small").body == b"small"
    assert blobs.put_bytes(b"x" * 100_000).blob == hashlib.sha256(b"x" * 100_000).hexdigest()


def test_a_stream_that_comes_in_drops(blobs):
    class Drops(io.RawIOBase):
        def __init__(self, body):
            self.body = io.BytesIO(body)

        def readable(self):
            return True

        def readinto(self, buffer):
            piece = self.body.read(min(len(buffer), 1000))
            buffer[: len(piece)] = piece
            return len(piece)

    body = os.urandom(200_000)
    content = blobs.put(Drops(body), LARGE)
    assert content.blob == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("size", [11, INLINE_BYTES_MAX + 1, 3 * CHUNK_BYTES])
def test_too_large_leaves_nothing(blobs, size):
    with pytest.raises(FastioError) as caught:
        blobs.put(io.BytesIO(b"x" * size), size - 1)
    assert caught.value.code == "too_large"
    assert files(blobs) == []


def test_a_stream_that_breaks_leaves_nothing(blobs):
    class Breaks(io.BytesIO):
        def readinto(self, buffer):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        blobs.put(Breaks(b"x" * 100_000), LARGE)
    assert files(blobs) == []


def test_a_disk_that_is_full_leaves_nothing(tmp_path):
    program = """
import io, sys
from fastio_cli.blobs.local import CLAIMS_FOLDER, BlobStore
from fastio_cli.errors import FastioError
try:
    BlobStore(sys.argv[1]).put(io.BytesIO(b"x" * 1_000_000), 10**9)
except FastioError as e:
    print(e.code)
"""

    def limit():
        import signal

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)],
        preexec_fn=limit,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.strip() == "unavailable", done.stderr
    assert files(BlobStore(str(tmp_path))) == []


def test_a_folder_that_cannot_be(tmp_path):
    (tmp_path / "blobs").write_text("in the way")
    with pytest.raises(FastioError) as caught:
        BlobStore(str(tmp_path / "blobs")).put(io.BytesIO(b"x" * 100_000), LARGE)
    assert caught.value.code == "unavailable"
    assert os.strerror(errno.ENOTDIR) in caught.value.message


@pytest.mark.parametrize("damage", ["missing", "short"])
def test_bytes_that_were_lost_are_told(blobs, damage):
    name = blobs.put(io.BytesIO(b"x" * 100_000), LARGE).blob
    if damage == "missing":
        os.unlink(blobs.path(name))
    else:
        os.truncate(blobs.path(name), 50_000)
    with pytest.raises(FastioError) as caught:
        list(blobs.read(name, 0, 100_000))
    assert caught.value.code == "unavailable"
    assert "doctor" in caught.value.hint


def test_the_same_bytes_at_the_same_time(blobs):
    body = os.urandom(300_000)
    threads = [
        threading.Thread(target=lambda: blobs.put(io.BytesIO(body), LARGE)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files(blobs) == [blobs.path(hashlib.sha256(body).hexdigest())]


def test_the_same_bytes_again_renew_their_age(blobs):
    name = blobs.put(io.BytesIO(b"x" * 100_000), LARGE).blob
    os.utime(blobs.path(name), (0, 0))
    blobs.put(io.BytesIO(b"x" * 100_000), LARGE)
    assert os.stat(blobs.path(name)).st_mtime > 10**9


class Meanwhile(io.RawIOBase):
    """A part of whose second piece something else happens first."""

    def __init__(self, pieces, happens):
        self.pieces = iter([*pieces, b""])
        self.happens = [lambda: None, happens]

    def readinto(self, buffer):
        if self.happens:
            self.happens.pop(0)()
        piece = next(self.pieces)
        buffer[: len(piece)] = piece
        return len(piece)


def test_parts_that_come_twice_at_the_same_time(blobs):
    """Whoever was cut off is still sending what had come, while the rest is sent again."""
    body, upload = os.urandom(3000), "0" * 32

    def the_rest_comes():
        assert blobs.part_size(upload) == 1000
        assert blobs.add_part(upload, 1000, io.BytesIO(body[1000:]), LARGE) == 3000

    with pytest.raises(FastioError) as caught:
        blobs.add_part(upload, 0, Meanwhile([body[:1000], b"x" * 1000], the_rest_comes), LARGE)
    assert (caught.value.code, caught.value.details) == ("invalid", {"offset": 3000})
    assert blobs.finish_parts(upload).etag == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("again", [False, True])
def test_a_part_that_comes_after_the_end(blobs, again):
    """What was finished is a blob, which may be another's too: nobody changes it."""
    body, upload, content = b"a" * 1000, "0" * 32, None

    def it_is_finished():
        nonlocal content
        content = blobs.finish_parts(upload)
        if again:
            blobs.add_part(upload, 0, io.BytesIO(body), LARGE)

    with pytest.raises(FastioError, match="was finished") as caught:
        blobs.add_part(upload, 0, Meanwhile([body, b"x" * 1000], it_is_finished), LARGE)
    assert caught.value.code == "invalid"
    assert b"".join(blobs.read(content.blob, 0, 1000)) == body
