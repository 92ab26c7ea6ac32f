"""Objects of buckets, read by the clouds' own protocol from a loopback server."""

from __future__ import annotations

import random
from typing import Any

import pytest

from .importing import Importing
from .site import Site

BODY = random.Random(5).randbytes(400_000)
MODIFIED = {"Last_Modified": "Sun, 01 Nov 2026 10:00:00 GMT"}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, site: Site) -> None:
    for name in ("AZURE_STORAGE_ACCOUNT_NAME", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT", site.url("").rstrip("/"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")


def test_an_object_arrives_signed_and_typed(importing: Importing, site: Site) -> None:
    site.file("/bucket/in/report.pdf", BODY, Content_Type="application/pdf", **MODIFIED)
    record = importing.run("s3://bucket/in/report.pdf")
    assert record["state"] == "done", record["reason"]
    assert record["path"] == "report.pdf"
    assert record["media_type"] == "application/pdf"
    assert record["final_url"] == "s3://bucket/in/report.pdf"
    assert importing.bytes("report.pdf") == BODY
    assert str(site.headers("authorization")[0]).startswith("AWS4-HMAC-SHA256 Credential=key/")
    again = importing.run("s3://bucket/in/report.pdf")
    assert again["unchanged"]


def test_it_is_resumed(importing: Importing, site: Site) -> None:
    site.file("/bucket/f.bin", BODY, **MODIFIED).cut_every = 150_000
    record = importing.run("s3://bucket/f.bin")
    assert record["state"] == "done", record["reason"]
    assert importing.bytes("f.bin") == BODY
    assert site.headers("range")[0] is None
    assert str(site.headers("range")[-1]).startswith("bytes=")


@pytest.mark.parametrize(
    ("status", "code"), [(404, "not_found"), (403, "forbidden"), (500, "unavailable")]
)
def test_refusals(importing: Importing, site: Site, status: int, code: str) -> None:
    importing.settings(import_attempts_max="1")
    site.routes["/bucket/f"] = lambda h: h.answer(status)
    assert importing.run("s3://bucket/f")["reason_code"] == code


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/", "s3:///key", "s3://a b/key"])
def test_what_names_no_object(importing: Importing, url: str) -> None:
    assert importing.run(url)["reason_code"] == "invalid"


@pytest.mark.parametrize("url", ["s3://bucket/key", "gs://bucket/key", "az://container/key"])
def test_without_credentials_nobody_is_asked(
    importing: Importing, site: Site, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    record: Any = importing.run(url)
    assert record["reason_code"] == "unauthenticated"
    assert site.requests == []
