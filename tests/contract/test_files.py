"""Files: bytes written whole or appended to, read whole or in part."""

from __future__ import annotations

import hashlib
import os

import pytest

KIB = 1024
SIZES = [0, 1, 64 * KIB - 1, 64 * KIB, 64 * KIB + 1, 3 * KIB * KIB + 7]


def content(size: int, seed: int = 0) -> bytes:
    return hashlib.shake_256(seed.to_bytes(4, "big")).digest(size)


@pytest.mark.parametrize("size", SIZES)
def test_put_and_get(caller, size):
    body = content(size)
    put = caller.put("a/report.pdf", body)
    assert put["size_bytes"] == size
    assert put["etag"] == hashlib.sha256(body).hexdigest()
    assert put["kind"] == "file"
    assert caller.read("a/report.pdf") == body
    assert caller("file.get", path="a/report.pdf").record["media_type"] == "application/pdf"


@pytest.mark.parametrize("size", SIZES)
def test_ranges(caller, size):
    body = content(size)
    caller.put("f", body)
    caller.append("log", body[: size // 2])
    caller.append("log", body[size // 2 :])
    points = {0, 1, size // 2 - 1, size // 2, size // 2 + 1, size - 1, size, size + 5}
    for offset in (p for p in points if p >= 0):
        for length in (None, 0, 1, size // 2, size, 10 * size + 1):
            end = None if length is None else offset + length
            for path in ("f", "log"):
                assert caller.read(path, offset=offset, length=length) == body[offset:end]
    for bad in (-1, 2**53, True, 1.5):
        caller.refused("invalid", "file.get", path="f", offset=bad)
        caller.refused("invalid", "file.get", path="f", length=bad)


@pytest.mark.parametrize(
    ("path", "media_type"),
    [
        ("notes.md", "text/markdown"),
        ("RUN.JSONL", "application/jsonl"),
        ("a.b/no-extension", "application/octet-stream"),
        ("x.unknown", "application/octet-stream"),
    ],
)
def test_the_media_type_follows_the_name(caller, path, media_type):
    assert caller.put(path, b"x")["media_type"] == media_type
    assert caller.put(path, b"x", media_type="text/x-mine")["media_type"] == "text/x-mine"
    assert caller.append(path, b"x")["media_type"] == "text/x-mine"


def test_append(caller):
    pieces = [content(size, size) for size in (5, 0, 100 * KIB, 1, 0, 70 * KIB)]
    for number, piece in enumerate(pieces, 1):
        put = caller.append("run.jsonl", piece)
        assert put["version"] == number
        assert put["size_bytes"] == len(b"".join(pieces[:number]))
        assert caller.read("run.jsonl") == b"".join(pieces[:number])
    for number in range(1, len(pieces) + 1):
        assert caller.read("run.jsonl", version=number) == b"".join(pieces[:number])
    types = {e["type"] for e in caller.events()}
    assert types == {"file.append"}


@pytest.mark.parametrize("size", SIZES)
def test_append_to_a_file_that_was_put(caller, size):
    body = content(size)
    caller.put("f", body)
    caller.append("f", b"more")
    assert caller.read("f") == body + b"more"
    assert caller.read("f", version=1) == body


def test_appends_have_different_etags(caller):
    etags = {caller.append("f", b"same")["etag"] for _ in range(5)}
    assert len(etags) == 5


def test_a_copy_and_its_original_grow_apart(caller):
    caller.append("a", b"1")
    caller.append("a", b"2")
    caller("object.copy", path="a", to="b")
    caller.append("a", b"3a")
    caller.append("b", b"3b")
    caller.append("a", b"4a")
    caller.append("b", b"4b")
    assert caller.read("a") == b"123a4a"
    assert caller.read("b") == b"123b4b"
    assert caller.read("a", version=2) == caller.read("b", version=1) == b"12"


def test_a_restored_version_grows_on_its_own(caller):
    for piece in (b"1", b"2", b"3"):
        caller.append("a", piece)
    caller("object.restore", path="a", version=1)
    caller.append("a", b"x")
    assert caller.read("a") == b"1x"
    assert caller.read("a", version=3) == b"123"
    caller("object.restore", path="a", version=3)
    caller.append("a", b"4")
    assert caller.read("a") == b"1234"
    assert caller.read("a", version=5) == b"1x"


def test_copies_of_an_empty_file_grow_apart(caller):
    caller.append("a", b"")
    caller.append("a", b"")
    caller("object.copy", path="a", to="b")
    caller.append("a", b"A")
    caller.append("b", b"B")
    assert (caller.read("a"), caller.read("b")) == (b"A", b"B")


def test_a_moved_log_goes_on(caller):
    caller.append("a", b"1")
    caller.append("a", b"2")
    caller("object.move", path="a", to="b")
    caller.append("b", b"3")
    caller.append("a", b"new")
    assert caller.read("b") == b"123"
    assert caller.read("a") == b"new"


def test_many_appends_are_read_in_order(caller):
    # More segments than are read at a time.
    expected = b""
    for n in range(600):
        piece = f"{n}\n".encode()
        caller.append("run.jsonl", piece)
        expected += piece
    assert caller.read("run.jsonl") == expected
    assert caller.read("run.jsonl", offset=1000, length=777) == expected[1000:1777]


def test_appending_costs_what_is_appended(caller):
    caller.put("f", content(200 * KIB))
    before = caller("workspace.show")["size_bytes"]
    for _ in range(10):
        caller.append("f", b"12345")
    assert caller("workspace.show")["size_bytes"] == before + 50


def test_preconditions(caller):
    caller.refused(
        "version_conflict", "file.put", path="f", content=caller.upload(b""), if_version=1
    )
    caller.put("f", b"1", if_version=0)
    caller.append("f", b"2", if_version=1)
    for operation in ("file.put", "file.append"):
        caller.refused(
            "version_conflict", operation, path="f", content=caller.upload(b"x"), if_version=1
        )
    assert caller.read("f") == b"12"


def test_a_state_object_is_read_as_bytes_but_never_written(caller):
    caller("state.set", path="v.json", value={"a": "ü"})
    assert caller.read("v.json") == '{"a":"ü"}'.encode()
    for operation in ("file.put", "file.append"):
        caller.refused("invalid", operation, path="v.json", content=caller.upload(b"x"))


@pytest.mark.parametrize("body", ["text", b"bytes", None, 5, {"etag": "x"}])
def test_content_comes_as_an_upload(caller, body):
    for operation in ("file.put", "file.append"):
        caller.refused("invalid", operation, path="f", content=body)


def test_equal_bytes_are_stored_once(caller):
    body = os.urandom(100 * KIB)
    caller.put("a", body)
    caller.put("b", body)
    caller("object.copy", path="a", to="c")
    caller("object.delete", path="a")
    assert caller.read("b") == caller.read("c") == body


def test_an_old_download_survives_a_new_version(caller):
    caller.put("f", content(300 * KIB))
    download = caller("file.get", path="f")
    caller.put("f", b"new")
    assert b"".join(caller.engine.chunks(download)) == content(300 * KIB)


@pytest.mark.parametrize("size", [0, 1, 70_000])
@pytest.mark.parametrize("end", [b"", b"\n"])
def test_an_appended_line_is_a_line_of_its_own(caller, size, end):
    first = b"x" * size + end
    caller.put("f", first)
    expected = first + (b"\n" if size and not end else b"")
    for piece, added in ((b"a\n", b"a\n"), (b"b", b"b"), (b"c", b"\nc"), (b"", b"")):
        put = caller.append("f", piece, own_line=True)
        expected += added
        assert put["size_bytes"] == len(expected)
        assert caller.read("f") == expected
    caller.append("f", b"d", own_line=False)
    caller.append("f", b"e")
    assert caller.read("f") == expected + b"de"
    assert caller("workspace.show")["size_bytes"] == len(expected) + 2


def test_the_first_line_of_a_file_needs_no_newline_before_it(caller):
    caller.append("new", b"a", own_line=True)
    assert caller.read("new") == b"a"


def test_a_line_appended_to_a_copy_leaves_the_original(caller):
    caller.append("a", b"1")
    caller.append("a", b"2")
    caller("object.copy", path="a", to="b")
    caller.append("a", b"3", own_line=True)
    caller.append("b", b"4", own_line=True)
    assert (caller.read("a"), caller.read("b")) == (b"12\n3", b"12\n4")
