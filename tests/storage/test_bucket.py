"""Blobs in a bucket: put once, whole or not at all, found damaged, swept without loss."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import obstore
import pytest

from fastio_cli.blobs import bucket
from fastio_cli.blobs.bucket import SINGLE_BYTES_MAX, BucketBlobStore
from fastio_cli.blobs.content import INLINE_BYTES_MAX
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.storage import doctor, open_blobs
from fastio_cli.storage.copy import Endpoint, copy_store
from fastio_cli.storage.postgres.store import PostgresStore
from tests import s3
from tests.backends import BACKENDS
from tests.imports.importing import Importing
from tests.imports.site import Site
from tests.remote import ActingRemote, Running
from tests.requirements import lacking

LARGE = 10**9
BODY = os.urandom(300_000)
NAME = hashlib.sha256(BODY).hexdigest()
_running: list[s3.S3Server] = []


@pytest.fixture
def server(monkeypatch):
    """The S3 server, and an environment that leads to it."""
    if s3.program() is None:
        lacking("no S3 server was found")
    if not _running:
        _running.append(s3.S3Server())
    for name, value in _running[0].environment().items():
        monkeypatch.setenv(name, value)
    return _running[0]


@pytest.fixture
def prefix():
    return os.urandom(6).hex()


@pytest.fixture
def url(server, prefix):
    return f"s3://{s3.BUCKET}/{prefix}"


@pytest.fixture
def blobs(url, tmp_path):
    return BucketBlobStore(url, str(tmp_path / "staging"))


@pytest.fixture
def objects(server, prefix):
    """The bucket as it is, past the product."""
    return server.client(prefix)


@pytest.fixture
def engine(blobs, pg_url, open_engine):
    return Engine(open_engine(pg_url).store, blobs, Limits())


def put(blobs, body=BODY):
    return blobs.put(io.BytesIO(body), LARGE)


def paths(objects):
    return sorted(meta["path"] for meta in obstore.list(objects).collect())


def staged(blobs):
    return [f for f in Path(blobs.folder).rglob("*") if f.is_file() and f.parent.name != "claims"]


def refused(code, work):
    with pytest.raises(FastioError) as caught:
        work()
    error = caught.value
    assert error.code == code, error.message
    assert error.hint
    assert s3.SECRET not in f"{error.message} {error.hint} {error.details}"
    return error


@pytest.mark.parametrize("size", [INLINE_BYTES_MAX + 1, 1_000_000, SINGLE_BYTES_MAX + 1])
def test_large_bytes_are_objects_by_their_hash(blobs, objects, size):
    body = os.urandom(size)
    name = hashlib.sha256(body).hexdigest()
    content = put(blobs, body)
    assert (content.blob, content.etag, content.size_bytes) == (name, name, size)
    assert paths(objects) == sorted([f"{name[:2]}/{name}", "create-only"])
    assert list(blobs.names()) == [name]
    assert blobs.has(name, size)
    assert not blobs.has(name, size + 1)
    assert b"".join(blobs.read(name, 0, size)) == body
    assert b"".join(blobs.read(name, 7, size - 7)) == body[7:-7]
    assert b"".join(blobs.read(name, 9, 9)) == b""
    with blobs.open(name) as f:
        assert f.read(11) == body[:11]
        assert f.read() == body[11:]
    assert staged(blobs) == []


def test_small_bytes_need_no_bucket(tmp_path):
    blobs = BucketBlobStore("s3://nowhere", str(tmp_path))
    assert put(blobs, b"x" * INLINE_BYTES_MAX).body is not None


def test_the_same_bytes_at_the_same_time(blobs, objects):
    threads = [threading.Thread(target=put, args=(blobs,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(blobs.names()) == [NAME]
    assert staged(blobs) == []


def test_too_large_leaves_nothing(blobs, objects):
    refused("too_large", lambda: blobs.put(io.BytesIO(BODY), len(BODY) - 1))
    assert set(paths(objects)) <= {"create-only"}  # what says how the bucket is used
    assert staged(blobs) == []


def test_a_staged_file_that_was_changed_is_detected(blobs, objects, tmp_path):
    for size in (100_000, SINGLE_BYTES_MAX + 5):
        file = tmp_path / "file"
        file.write_bytes(b"x" * size)
        error = refused("unavailable", lambda f=file: blobs.commit(str(f), NAME, 1))
        assert "damaged" in error.message
        assert list(blobs.names()) == []


def test_an_upload_comes_in_parts(blobs):
    blobs.add_part("u", 0, io.BytesIO(BODY[:100_000]), LARGE)
    blobs.add_part("u", 100_000, io.BytesIO(BODY[100_000:]), LARGE)
    assert blobs.finish_parts("u").blob == NAME
    assert b"".join(blobs.read(NAME, 0, len(BODY))) == BODY
    assert blobs.finish_parts("u").blob == NAME, "the answer was lost, and it is asked again"


@pytest.mark.parametrize("damage", ["missing", "shorter", "damaged"])
def test_bytes_that_were_lost_are_told(blobs, objects, damage):
    put(blobs)
    key = f"{NAME[:2]}/{NAME}"
    if damage == "missing":
        obstore.delete(objects, key)
    else:
        lost = BODY[:-1] if damage == "shorter" else b"x" + BODY[1:]
        obstore.put(objects, key, lost)
    got = []

    def read():
        for chunk in blobs.read(NAME, 0, len(BODY)):
            got.append(chunk)

    assert refused("unavailable", read).message.endswith(".")
    assert sum(map(len, got)) < len(BODY), "nobody was given all of it"


def test_a_sweep_takes_back_what_was_used_after_all(blobs, objects, monkeypatch):
    other = put(blobs, BODY + b"other").blob
    put(blobs)
    assert blobs.sweep(set()) == 0, "both are young"
    monkeypatch.setattr(bucket, "GRACE_S", -1.0)
    assert blobs.sweep(set()) == 0
    assert paths(objects) == sorted(["create-only", f"unused/{NAME}", f"unused/{other}"])
    assert b"".join(blobs.read(NAME, 0, len(BODY))) == BODY
    assert set(blobs.names()) == {NAME, other}
    assert blobs.sweep({NAME}) == len(BODY) + 5
    assert paths(objects) == sorted(["create-only", f"{NAME[:2]}/{NAME}"])
    assert blobs.sweep({NAME}) == 0
    assert b"".join(blobs.read(NAME, 0, len(BODY))) == BODY


def test_old_bytes_that_are_put_again_are_young(blobs, objects, monkeypatch):
    put(blobs)
    before = obstore.head(objects, f"{NAME[:2]}/{NAME}")
    put(blobs)
    assert obstore.head(objects, f"{NAME[:2]}/{NAME}") == before
    monkeypatch.setattr(bucket, "RENEW_S", -1.0)
    renewed = []
    monkeypatch.setattr(blobs, "_put", lambda key, body: renewed.append(key))
    put(blobs)
    assert renewed == [f"{NAME[:2]}/{NAME}"]


def test_files_of_every_kind(engine, blobs):
    def call(name, **params):
        return engine.call(name, params, actor="ada")

    def read(**params):
        return b"".join(engine.chunks(call("file.get", **params)))

    call("file.put", path="a.bin", content=put(blobs))
    assert read(path="a.bin") == BODY
    assert read(path="a.bin", offset=100_000, length=70_000) == BODY[100_000:170_000]
    for n in range(3):
        call("file.append", path="log.bin", content=put(blobs, BODY + bytes([n])))
    whole = b"".join(BODY + bytes([n]) for n in range(3))
    assert read(path="log.bin") == whole
    assert read(path="log.bin", offset=250_000, length=400_000) == whole[250_000:650_000]
    assert read(path="log.bin", version=2) == whole[: 2 * len(BODY) + 2]
    checks = list(doctor.check_blobs(engine.store, blobs, "hint"))
    assert checks[0].ok, checks[0].message


def test_a_sweep_keeps_what_the_store_uses(engine, blobs, monkeypatch):
    engine.call("file.put", {"path": "a.bin", "content": put(blobs)})
    put(blobs, BODY + b"unused")
    monkeypatch.setattr(bucket, "GRACE_S", -1.0)
    assert doctor.sweep(engine.store, blobs) == 0
    assert doctor.sweep(engine.store, blobs) == len(BODY) + 6
    assert list(blobs.names()) == [NAME]


def test_through_a_server(engine, blobs):
    remote = ActingRemote(Running(engine))
    try:
        content = remote.upload(io.BytesIO(BODY))
        remote.call("file.put", {"path": "a.bin", "content": content}, actor="ada")
        download = remote.call("file.get", {"path": "a.bin"}, actor="ada")
        assert b"".join(remote.chunks(download)) == BODY
        assert list(blobs.names()) == [NAME]
    finally:
        remote.close()


def test_an_import(engine, blobs, tmp_path):
    site = Site()
    importing = Importing(tmp_path / "importing")
    importing.engine.store.close()
    importing.engine = engine
    site.file("/f.bin", BODY)
    try:
        assert importing.run(site.url("/f.bin"))["state"] == "done"
    finally:
        site.close()
    assert importing.bytes("f.bin") == BODY
    assert list(blobs.names()) == [NAME]


def test_a_store_is_copied_out_and_in(engine, blobs, tmp_path, url, pg_url):
    engine.call("file.put", {"path": "a.bin", "content": put(blobs)})
    engine.call("file.append", {"path": "a.bin", "content": put(blobs, BODY + b"2")})
    folder = BACKENDS["sqlite"](tmp_path / "folder").open()
    back = BACKENDS["postgres"](tmp_path / "back").open()
    back.blobs = BucketBlobStore(f"{url}/back", str(tmp_path / "staging2"))
    for source, target in ((engine, folder), (folder, back)):
        places = [Endpoint(e.store, e.blobs) for e in (source, target)]
        copy_store(*places, lambda done, total: None)
    got = back.call("file.get", {"path": "a.bin"})
    assert b"".join(back.chunks(got)) == BODY + BODY + b"2"
    assert len(list(back.blobs.names())) == 2
    for opened in (folder, back):
        opened.store.close()


def test_the_command_line(url, pg_url, tmp_path):
    (tmp_path / "big.bin").write_bytes(BODY)

    def fastio(*words, **environ):
        command = [sys.executable, "-m", "fastio_cli", *words]
        settings = {"FASTIO_STORE": pg_url, "HOME": str(tmp_path), **environ}
        environ = {**os.environ, **settings}
        return subprocess.run(command, capture_output=True, cwd=tmp_path, env=environ)

    assert fastio("init").returncode == 0
    assert fastio("file", "put", "big.bin").returncode == 2, "no place is set"
    assert fastio("config", "set", "blobs", url).returncode == 0
    assert fastio("file", "put", "big.bin").returncode == 0
    assert fastio("file", "get", "big.bin").stdout == BODY
    swept = fastio("doctor", "--sweep")
    assert swept.returncode == 0
    checks = [item["check"] for item in json.loads(swept.stdout)["items"]]
    assert checks[:5] == ["installation", "store", "schema", "blobs", "log of default"]
    assert checks[5:] == ["recount", "counters", "sweep"]
    shown = fastio("config", "show")
    assert url.encode() in shown.stdout
    for output in (swept, shown):
        assert s3.SECRET.encode() not in output.stdout + output.stderr
    denied = fastio("file", "get", "big.bin", AWS_SECRET_ACCESS_KEY="wrong")
    assert denied.returncode == 4
    assert b"wrong" not in denied.stderr
    lost = fastio("doctor", FASTIO_BLOBS=url + "/elsewhere")
    assert lost.returncode == 1
    assert b"config set blobs" in lost.stdout


@pytest.mark.parametrize(
    "url",
    [
        "s3://",
        "s3:///x",
        f"s3://key:{s3.SECRET}@bucket/x",
        "s3://a/b?c=d",
        "ftp://a/b",
        "s3://a/../b c",
    ],
)
def test_what_names_no_bucket(url):
    refused("invalid", lambda: open_blobs("postgresql://host/db", url))


def test_without_credentials_nobody_is_asked(tmp_path, monkeypatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID", raising=False)
    error = refused("unauthenticated", lambda: put(BucketBlobStore("s3://bucket", str(tmp_path))))
    assert "AWS_ACCESS_KEY_ID" in error.hint


def test_wrong_credentials(blobs, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", s3.SECRET + "x")
    refused("forbidden", lambda: put(blobs))


@pytest.fixture
def fake(server, monkeypatch):
    """A server that is no good, in the place of the real one."""
    site = Site()
    monkeypatch.setenv("AWS_ENDPOINT", site.url("").rstrip("/"))
    monkeypatch.setattr(bucket, "RETRIES_MAX", 0)
    yield site
    site.close()


def test_a_server_that_ignores_conditions_is_refused(fake, tmp_path):
    fake.routes["/bucket/create-only"] = lambda h: h.answer(200, ETag='"e"')
    blobs = BucketBlobStore("s3://bucket", str(tmp_path))
    for _ in range(2):
        error = refused("invalid", lambda: put(blobs))
        assert "If-None-Match" in error.hint
    assert {path for _, path, _, _ in fake.requests} == {"/bucket/create-only"}


@pytest.mark.parametrize(
    ("status", "code"), [(404, "invalid"), (403, "forbidden"), (500, "unavailable")]
)
def test_a_server_that_refuses(fake, tmp_path, status, code):
    fake.routes["/bucket/create-only"] = lambda h: h.answer(status)
    refused(code, lambda: put(BucketBlobStore("s3://bucket", str(tmp_path))))


def test_a_server_that_is_not_there(server, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setattr(bucket, "RETRIES_MAX", 0)
    refused("unavailable", lambda: put(BucketBlobStore("s3://bucket", str(tmp_path))))


MEMORY = """
import io, re, sys
from fastio_cli.blobs.bucket import BucketBlobStore

class Zeros(io.RawIOBase):
    left = int(sys.argv[3])
    def readable(self):
        return True
    def readinto(self, buffer):
        count = min(len(buffer), self.left)
        buffer[:count] = bytes(count)
        self.left -= count
        return count

blobs = BucketBlobStore(sys.argv[1], sys.argv[2])
content = blobs.put(Zeros(), 10**10)
assert sum(len(c) for c in blobs.read(content.blob, 0, content.size_bytes)) == int(sys.argv[3])
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def test_memory_stays_small(url, tmp_path):
    def kilobytes(size):
        command = [sys.executable, "-c", MEMORY, url, str(tmp_path), str(size)]
        return int(subprocess.run(command, capture_output=True, check=True).stdout)

    more = kilobytes(200 * 1024 * 1024) - kilobytes(100_000)
    assert more < 64 * 1024, more


def test_a_server_is_not_started_on_a_bucket_that_is_no_good(fake, pg_url, tmp_path):
    environ = {**os.environ, "HOME": str(tmp_path), "FASTIO_BLOBS": "s3://bucket"}
    command = [sys.executable, "-m", "fastio_cli", "serve", "--store", pg_url, "--port", "1"]
    PostgresStore(pg_url).close()
    fake.routes["/bucket/create-only"] = lambda h: h.answer(403)
    done = subprocess.run(command, capture_output=True, env=environ, cwd=tmp_path, timeout=60)
    assert done.returncode == 4
    assert b"refused the credentials" in done.stderr
