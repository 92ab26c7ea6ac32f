"""Imports, from a real server into a real store: what arrives, under which name, as what."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import time
import zlib
from typing import Any

import brotli
import pytest
import zstandard

from fastio_cli.errors import FastioError
from fastio_cli.operations.imports import headers_of

from .importing import Importing
from .site import Handler, Site

SMALL = b"a,b\n1,2\n"
LARGE = random.Random(7).randbytes(1_200_000)


def test_a_file_arrives_whole_with_its_origin(importing: Importing, site: Site) -> None:
    site.file("/files/data.bin", LARGE)
    site.redirect("/go", "/files/data.bin?signature=secret")
    record = importing.run(site.url("/go"))
    assert record["state"] == "done"
    assert record["path"] == "data.bin"
    assert record["version"] == 1
    assert record["received_bytes"] == record["total_bytes"] == len(LARGE)
    assert record["sha256"] == hashlib.sha256(LARGE).hexdigest()
    assert record["final_url"] == site.url("/files/data.bin")
    assert record["source_etag"] == site.routes["/files/data.bin"].etag  # type: ignore[attr-defined]
    assert record["fetched_at"] is not None
    assert importing.bytes("data.bin") == LARGE
    assert importing.leftovers() == []
    event = importing.call("event.list", type="file.import")["items"][0]
    assert event["data"]["source_url"] == site.url("/go")
    assert event["data"]["final_url"] == site.url("/files/data.bin")
    assert event["data"]["etag"] == record["sha256"]
    assert event["actor"] == "ada"
    assert importing.call("import.list", path="data.bin")["items"][0]["id"] == record["id"]
    assert importing.call("audit.verify")["verified"]


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, 1_000_000])
def test_any_size(importing: Importing, site: Site, size: int) -> None:
    body = LARGE[:size]
    site.file("/f", body)
    record = importing.run(site.url("/f"), to="here.bin")
    assert record["state"] == "done", record
    assert importing.bytes("here.bin") == body


@pytest.mark.parametrize(
    ("path", "headers", "name"),
    [
        ("/a/report.pdf", {}, "report.pdf"),
        ("/a/b%20c.txt", {}, "b c.txt"),
        ("/", {}, "download.html"),
        ("/x", {"Content-Disposition": 'attachment; filename="given name.csv"'}, "given name.csv"),
        (
            "/x",
            {"Content-Disposition": "attachment; filename=\"a\"; filename*=UTF-8''%e2%82%ac.txt"},
            "€.txt",
        ),
        ("/x", {"Content-Disposition": 'attachment; filename="../../etc/passwd"'}, "passwd"),
        ("/x", {"Content-Disposition": 'attachment; filename="..\\\\..\\\\boot.ini"'}, "boot.ini"),
        ("/x", {"Content-Disposition": "attachment; filename*=UTF-8''a%00%0a%1b.txt"}, "a.txt"),
        ("/x", {"Content-Disposition": "attachment; filename*=UTF-8''%e2%80%aetxt.exe"}, "txt.exe"),
        ("/x", {"Content-Disposition": 'attachment; filename=".."'}, "x"),
        ("/x", {"Content-Disposition": 'attachment; filename="CON.txt"'}, "_CON.txt"),
        ("/x", {"Content-Disposition": "attachment; filename*=nonsense''%ff%fe"}, "ÿþ"),
        ("/x", {"Content-Disposition": ";;;\"=;filename"}, "x"),
        ("/..%2f..%2fetc%2fpasswd", {}, "passwd"),
        *(
            ("/x", {"Content-Disposition": f"attachment; filename={stated}"}, name)
            for stated, name in (
                ('"=?UTF-8?B?5pelLmRvY3g=?="', "日.docx"),
                ("=?utf-8?Q?b=C3=BCro.txt?=", "büro.txt"),
                ('"=?UTF-8?Q?a=20?= =?UTF-8?Q?b.txt?="', "a b.txt"),
                ('"=?no-such?B?eHg=?="', "=_no-such_B_eHg=_="),
                ('"=?UTF-8?B?Li4vLi4veA==?="', "x"),
                ('"%E6%97%A5.pdf"', "日.pdf"),
                ('"100%.pdf"', "100%.pdf"),
                ('"%E6%97.pdf"', "%E6%97.pdf"),
                ('"..%2f..%2fpasswd"', "passwd"),
            )
        ),
    ],
)  # fmt: skip
def test_names(
    importing: Importing, site: Site, path: str, headers: dict[str, str], name: str
) -> None:
    body = b"<!doctype html><p>hi" if name.endswith(".html") else b"x"
    stated = {"Content-Type": "text/html"} if name.endswith(".html") else {}
    site.routes[path] = lambda h: h.answer(200, body, **headers, **stated)
    assert importing.run(site.url(path))["path"] == name


def test_long_names_are_shortened_and_keep_their_extension(
    importing: Importing, site: Site
) -> None:
    site.file("/x", b"x", Content_Disposition=f'attachment; filename="{"ä" * 400}.pdf"')
    path = importing.run(site.url("/x"))["path"]
    assert path.endswith(".pdf")
    assert len(path.encode()) <= 200


def test_folders_names_and_paths(importing: Importing, site: Site) -> None:
    site.file("/a.csv", SMALL)
    site.file("/b.csv", SMALL + b"3,4\n")
    records = importing.run(site.url("/a.csv"), site.url("/b.csv"), to="in/")
    assert [r["path"] for r in records] == ["in/a.csv", "in/b.csv"]
    assert importing.run(site.url("/a.csv"), to="in/", name="c.csv")["path"] == "in/c.csv"
    assert importing.run(site.url("/a.csv"), to="exact/place.csv")["path"] == "exact/place.csv"


@pytest.mark.parametrize(
    ("body", "declared", "url", "expected"),
    [
        (b"%PDF-1.7 x", None, "/x", "application/pdf"),
        (b"%PDF-1.7 x", "application/octet-stream", "/x", "application/pdf"),
        (b"\x89PNG\r\n\x1a\n" + bytes(30), "text/plain", "/x", "image/png"),
        (SMALL, "text/csv; charset=utf-8", "/x", "text/csv"),
        (SMALL, "application/octet-stream", "/x.csv", "text/csv"),
        (SMALL, "text/plain", "/x", "text/plain"),
        (SMALL, "text/plain", "/gz", "text/plain"),
        (b"<html>hi", "application/octet-stream", "/x", "application/octet-stream"),
        (b"x", "no type at all", "/x", "application/octet-stream"),
    ],
)
def test_media_types(
    importing: Importing, site: Site, body: bytes, declared: str | None, url: str, expected: str
) -> None:
    site.file(url, body, **({"Content_Type": declared} if declared else {}))
    assert importing.run(site.url(url))["media_type"] == expected


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, br", "identity"])
def test_content_codings_are_undone(importing: Importing, site: Site, coding: str) -> None:
    coded = LARGE
    for name in coding.split(", "):
        coded = CODINGS[name](coded)
    site.routes["/x"] = lambda h: h.answer(200, coded, Content_Encoding=coding)
    record = importing.run(site.url("/x"))
    assert record["state"] == "done", record
    assert importing.bytes("x") == LARGE


@pytest.mark.parametrize(
    ("name", "declared", "coding", "kept"),
    [
        ("/a.tar.gz", "application/x-gzip", "gzip", True),
        ("/a.tgz", "application/octet-stream", "x-gzip", True),
        ("/a.csv.GZ", "text/csv", "gzip", True),
        ("/download", "application/gzip", "gzip", True),
        ("/logo.svgz", "image/svg+xml", "gzip", True),
        ("/a.zst", "application/octet-stream", "zstd", True),
        ("/a.csv", "text/csv", "gzip", False),
        ("/a.tar", "application/x-tar", "gzip", False),
        ("/a.tar.gz", "application/octet-stream", "br", False),
    ],
)
def test_a_coding_that_is_the_files_own_format_stays(
    importing: Importing, site: Site, name: str, declared: str, coding: str, kept: bool
) -> None:
    coded = CODINGS[coding.removeprefix("x-")](LARGE)
    published = hashlib.sha256(coded if kept else LARGE).hexdigest()
    site.file(name, coded, Content_Encoding=coding, Content_Type=declared)
    record = importing.run(site.url(name), sha256=published)
    assert record["state"] == "done", record["reason"]
    assert importing.bytes(name[1:]) == (coded if kept else LARGE)


def test_of_two_codings_the_files_own_stays(importing: Importing, site: Site) -> None:
    packed = CODINGS["gzip"](LARGE)
    coded = CODINGS["br"](packed)
    site.file("/a.tar.gz", coded, Content_Encoding="gzip, br")
    assert importing.run(site.url("/a.tar.gz"))["state"] == "done"
    assert importing.bytes("a.tar.gz") == packed


def test_a_packed_file_is_resumed_too(importing: Importing, site: Site) -> None:
    packed = CODINGS["gzip"](os.urandom(1_000_000))
    file = site.file("/a.tar.gz", packed, Content_Encoding="gzip")
    file.cut_every = 400_000
    assert importing.run(site.url("/a.tar.gz"))["state"] == "done"
    assert importing.bytes("a.tar.gz") == packed
    assert site.headers("range")[1:] == ["bytes=400000-", "bytes=800000-"]


def test_codings_that_are_broken_unknown_or_bombs(importing: Importing, site: Site) -> None:
    importing.settings(import_attempts_max="1")
    zeros = bytes(50_000_000)
    for coding in ("gzip", "br", "zstd"):
        bomb = CODINGS[coding](zeros)
        assert len(bomb) < 100_000
        site.routes["/bomb"] = lambda h, b=bomb, c=coding: h.answer(200, b, Content_Encoding=c)  # type: ignore[misc]
        record = importing.run(site.url("/bomb"), size_bytes_max=1_000_000)
        assert record["reason_code"] == "too_large"
        site.routes["/cut"] = lambda h, c=coding: h.answer(200, b"nonsense", Content_Encoding=c)  # type: ignore[misc]
        assert "coding is broken" in importing.run(site.url("/cut"))["reason"]
    site.routes["/odd"] = lambda h: h.answer(200, b"x", Content_Encoding="compress")
    assert "unknown" in importing.run(site.url("/odd"))["reason"]
    half = gzip.compress(LARGE)[:-100]
    site.routes["/half"] = lambda h: h.answer(200, half, Content_Encoding="gzip")
    assert "coding is broken" in importing.run(site.url("/half"))["reason"]
    assert importing.paths() == []
    assert importing.leftovers() == []


def _brotli(data: bytes) -> bytes:
    return bytes(brotli.compress(data, quality=4))


CODINGS: dict[str, Any] = {
    "gzip": lambda d: gzip.compress(d[: len(d) // 2]) + gzip.compress(d[len(d) // 2 :]),
    "deflate": zlib.compress,
    "br": _brotli,
    "zstd": lambda d: zstandard.ZstdCompressor().compress(d),
    "identity": lambda d: d,
}


def test_unchanged_sources_make_no_new_version(importing: Importing, site: Site) -> None:
    file = site.file("/a.csv", SMALL)
    assert importing.run(site.url("/a.csv"))["version"] == 1
    again = importing.run(site.url("/a.csv"))
    assert again["unchanged"]
    assert again["version"] == 1
    assert again["sha256"] == hashlib.sha256(SMALL).hexdigest()
    assert site.headers("if-none-match") == [None, file.etag]
    third = importing.run(site.url("/a.csv"))
    assert third["unchanged"]
    assert len(importing.call("object.history", path="a.csv")["items"]) == 1


def test_last_modified_alone_is_enough(importing: Importing, site: Site) -> None:
    stamp = "Sun, 01 Nov 2026 10:00:00 GMT"

    def route(h: Handler) -> None:
        if h.headers.get("if-modified-since") == stamp:
            h.answer(304)
        else:
            h.answer(200, SMALL, Last_Modified=stamp)

    site.routes["/a.csv"] = route
    importing.run(site.url("/a.csv"))
    assert importing.run(site.url("/a.csv"))["unchanged"]


def test_same_bytes_without_validators_make_no_new_version(
    importing: Importing, site: Site
) -> None:
    site.routes["/a.csv"] = lambda h: h.answer(200, SMALL)
    importing.run(site.url("/a.csv"))
    assert importing.run(site.url("/a.csv"))["unchanged"]
    site.routes["/a.csv"] = lambda h: h.answer(200, SMALL + b"3,4\n")
    changed = importing.run(site.url("/a.csv"))
    assert not changed["unchanged"]
    assert changed["version"] == 2


def test_what_was_changed_here_is_fetched_anew(importing: Importing, site: Site) -> None:
    site.file("/a.csv", SMALL)
    importing.run(site.url("/a.csv"))
    content = importing.engine.blobs.put_bytes(b"changed here")
    importing.call("file.put", path="a.csv", content=content)
    record = importing.run(site.url("/a.csv"))
    assert not record["unchanged"]
    assert record["version"] == 3
    importing.call("object.delete", path="a.csv")
    assert importing.run(site.url("/a.csv"))["version"] == 5
    assert site.headers("if-none-match") == [None, None, None]


def test_conflicts(importing: Importing, site: Site) -> None:
    site.file("/a.csv", SMALL)
    site.file("/other/a.csv", SMALL + b"3,4\n")
    importing.run(site.url("/a.csv"))
    assert importing.run(site.url("/other/a.csv"), on_conflict="version")["version"] == 2
    renamed = importing.run(site.url("/a.csv"), on_conflict="rename")
    assert renamed["path"] == "a (2).csv"
    assert importing.run(site.url("/a.csv"), on_conflict="rename")["path"] == "a (3).csv"
    refused = importing.run(site.url("/a.csv"), on_conflict="fail")
    assert refused["reason_code"] == "already_exists"
    before = len(site.requests)
    exact = importing.run(site.url("/a.csv"), to="a.csv", on_conflict="fail")
    assert exact["reason_code"] == "already_exists"
    assert len(site.requests) == before  # plain beforehand: nothing was fetched


def test_a_state_object_is_never_replaced(importing: Importing, site: Site) -> None:
    site.file("/plan.json", b"{}")
    importing.call("state.set", path="plan.json", value={"step": 1})
    record = importing.run(site.url("/plan.json"))
    assert record["reason_code"] == "invalid"
    assert importing.call("state.get", path="plan.json")["value"] == {"step": 1}


def test_a_lock_held_beforehand_saves_the_transfer(importing: Importing, site: Site) -> None:
    site.file("/a.csv", SMALL)
    token = importing.call("lock.acquire", path="x.csv", ttl_s=600)["token"]
    assert importing.run(site.url("/a.csv"), to="x.csv")["reason_code"] == "locked"
    assert site.requests == []
    stale = importing.run(site.url("/a.csv"), to="x.csv", lock_token="not-the-token")
    assert stale["reason_code"] == "lock_lost"
    assert importing.run(site.url("/a.csv"), to="x.csv", lock_token=token)["state"] == "done"


@pytest.mark.parametrize("size", [8, 1_200_000])
def test_what_could_not_be_written_is_kept_for_the_next_try(
    importing: Importing, site: Site, size: int
) -> None:
    tokens: list[str] = []
    file = site.file("/a.bin", LARGE[:size], Content_Type="image/png")
    file.before_body = lambda h: tokens.append(
        importing.call("lock.acquire", path="a.bin", ttl_s=600)["token"]
    )
    id = importing.queue(site.url("/a.bin"))[0]
    failed = importing.work(id)[0]
    assert failed["reason_code"] == "locked"
    assert failed["received_bytes"] == failed["total_bytes"] == size
    importing.call("import.retry", id=id)  # still locked: nothing is lost by trying
    assert importing.work(id)[0]["reason_code"] == "locked"
    fetched_at = importing.call("event.list", type="lock.acquire")["items"][0]["at"]
    importing.clock = lambda: time.time() + 300
    site.routes.clear()
    importing.call("import.retry", id=id, lock_token=tokens[0])
    done = importing.work(id)[0]
    assert done["state"] == "done", done["reason"]
    assert len(site.requests) == 1
    assert importing.bytes("a.bin") == LARGE[:size]
    assert done["media_type"] == "image/png"
    assert done["source_etag"] == file.etag
    assert done["final_url"] == site.url("/a.bin")
    assert fetched_at <= done["fetched_at"] < done["updated_at"]
    assert importing.engine.store.read(lambda tx: tx.imports.get(1, id))["fetched"] is None


@pytest.mark.parametrize("gone", ["swept", "old"])
def test_what_is_no_longer_kept_is_fetched_again(
    importing: Importing, site: Site, gone: str
) -> None:
    file = site.file("/a.bin", LARGE)
    file.before_body = lambda h: importing.call("lock.acquire", path="a.bin", ttl_s=1) and None
    id = importing.queue(site.url("/a.bin"))[0]
    assert importing.work(id)[0]["reason_code"] == "locked"
    if gone == "swept":
        os.unlink(importing.engine.blobs.path(hashlib.sha256(LARGE).hexdigest()))
    file.before_body = lambda h: None
    importing.clock = lambda: time.time() + (13 * 3600 if gone == "old" else 60)
    importing.call("import.retry", id=id)
    assert importing.work(id)[0]["state"] == "done"
    assert len(site.requests) == 2
    assert importing.bytes("a.bin") == LARGE


def test_a_conflict_keeps_the_bytes_too_and_a_quota_does_not(
    importing: Importing, site: Site
) -> None:
    importing.engine.limits.storage_bytes_max = 5000
    site.file("/a.bin", LARGE)
    id = importing.queue(site.url("/a.bin"))[0]
    assert importing.work(id)[0]["reason_code"] == "quota_exceeded"
    importing.engine.limits.storage_bytes_max = 10**9
    importing.call("import.retry", id=id)
    assert importing.work(id)[0]["state"] == "done"
    site.file("/b.bin", LARGE)
    importing.call("state.set", path="b.bin", value=1)
    id = importing.queue(site.url("/b.bin"))[0]
    assert importing.work(id)[0]["reason_code"] == "invalid"
    importing.call("object.delete", path="b.bin")
    importing.call("import.retry", id=id)
    assert importing.work(id)[0]["state"] == "done"
    assert [path for _, path, _, _ in site.requests] == ["/a.bin", "/a.bin", "/b.bin"]


SECRET = {"Authorization": "Bearer top-secret", "X-Key": "top-secret"}


def headers_kept(importing: Importing, id: int) -> Any:
    """What the store still knows of an import's headers; nothing of the log is secret."""
    assert "top-secret" not in str(importing.call("event.list")["items"])
    row = importing.engine.store.read(lambda tx: tx.imports.get(1, id))
    names = json.loads(row["headers"]) if row["headers"] else None
    assert "top-secret" not in str(dict(row))
    return headers_of(row, "", importing.engine.open_secret_box) or names


def test_headers_reach_the_source_alone_and_are_forgotten(importing: Importing, site: Site) -> None:
    other = Site()
    other.file("/f", b"x")
    site.redirect("/f", other.url("/f"))
    id = importing.queue(site.url("/f"), headers=SECRET)[0]
    assert headers_kept(importing, id) == SECRET
    importing.work(id)
    assert site.headers("authorization") == ["Bearer top-secret"]
    assert other.headers("authorization") == [None]
    other.close()
    assert headers_kept(importing, id) is None


def test_headers_of_what_failed_are_forgotten_and_asked_for(
    importing: Importing, site: Site
) -> None:
    id = importing.queue(site.url("/f"), headers=SECRET)[0]
    assert importing.work(id)[0]["state"] == "failed"
    assert headers_kept(importing, id) == {"Authorization": None, "X-Key": None}
    with pytest.raises(FastioError, match="Authorization, X-Key") as caught:
        importing.call("import.retry", id=id)
    assert caught.value.hint == f"Give them again: fastio import retry {id} --header-file FILE"
    site.file("/f", b"x")
    importing.call("import.retry", id=id, headers={"X-Key": "top-secret"})
    assert importing.work(id)[0]["state"] == "done"
    assert site.headers("x-key") == ["top-secret", "top-secret"]
    assert site.headers("authorization") == ["Bearer top-secret", None]


def test_headers_stay_between_attempts_and_end_with_a_cancel(
    importing: Importing, site: Site
) -> None:
    answers = iter([503, 503, 200])
    site.routes["/f"] = lambda h: h.answer(next(answers), b"x")
    assert importing.run(site.url("/f"), headers=SECRET)["state"] == "done"
    assert site.headers("x-key") == ["top-secret"] * 3
    id = importing.queue(site.url("/f"), headers=SECRET)[0]
    importing.call("import.cancel", id=id)
    assert headers_kept(importing, id) == {"Authorization": None, "X-Key": None}
    with pytest.raises(FastioError, match="forgot its headers"):
        importing.call("import.retry", id=id)
    assert importing.call("import.retry", id=id, headers={})["state"] == "queued"


def test_headers_are_not_needed_to_write_what_is_there(importing: Importing, site: Site) -> None:
    file = site.file("/a.bin", LARGE)
    file.before_body = lambda h: importing.call("lock.acquire", path="a.bin", ttl_s=1) and None
    id = importing.queue(site.url("/a.bin"), headers=SECRET)[0]
    assert importing.work(id)[0]["reason_code"] == "locked"
    importing.clock = lambda: time.time() + 60
    os.unlink(importing.engine.blobs.path(hashlib.sha256(LARGE).hexdigest()))
    importing.call("import.retry", id=id)
    assert "forgot its headers" in importing.work(id)[0]["reason"]  # they would be needed now
    importing.engine.blobs.put_bytes(LARGE)
    importing.call("import.retry", id=id)
    assert importing.work(id)[0]["state"] == "done"
    assert len(site.requests) == 1


def test_checksums(importing: Importing, site: Site) -> None:
    site.file("/a", SMALL)
    right = hashlib.sha256(SMALL).hexdigest()
    assert importing.run(site.url("/a"), sha256=right.upper())["state"] == "done"
    wrong = importing.run(site.url("/a"), sha256="0" * 64, to="b")
    assert wrong["state"] == "failed"
    assert right in wrong["reason"]
    assert importing.paths() == ["a"]


def test_many_run_in_parallel_but_bounded(importing: Importing, site: Site) -> None:
    import threading

    importing.settings(import_parallel="3")
    lock, together, most = threading.Lock(), [0], [0]
    all_three = threading.Barrier(3, timeout=30)

    def route(h: Handler) -> None:
        with lock:
            together[0] += 1
            most[0] = max(most[0], together[0])
        all_three.wait()  # three must be here at once, or it breaks
        with lock:
            together[0] -= 1
        h.answer(200, h.path.encode())

    urls = []
    for n in range(9):
        site.routes[f"/{n}.txt"] = route
        urls.append(site.url(f"/{n}.txt"))
    assert {r["state"] for r in importing.run(*urls)} == {"done"}
    assert most[0] == 3
