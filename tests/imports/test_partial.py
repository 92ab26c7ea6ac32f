"""Blobs in the making: what is kept, what is dropped, and who may write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fastio_cli.blobs.local import INLINE_BYTES_MAX, Blobs
from fastio_cli.blobs.none import NoBlobs
from fastio_cli.errors import FastioError

BODY = os.urandom(3 * INLINE_BYTES_MAX)


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(str(tmp_path / "blobs"))


def files(blobs: Blobs) -> list[str]:
    return sorted(f.name for f in Path(blobs.folder).rglob("*") if f.is_file())


def test_small_contents_never_touch_the_disk(blobs: Blobs) -> None:
    partial = blobs.partial("1")
    partial.append(b"ab")
    partial.append(b"c")
    assert partial.sync() == 0
    content = partial.finish()
    assert content.body == b"abc"
    assert content.etag == hashlib.sha256(b"abc").hexdigest()
    assert files(blobs) == []


def test_large_contents_become_blobs(blobs: Blobs) -> None:
    partial = blobs.partial("1")
    for start in range(0, len(BODY), 10_000):
        partial.append(BODY[start : start + 10_000])
    content = partial.finish()
    assert content.blob == hashlib.sha256(BODY).hexdigest()
    assert b"".join(blobs.read(content.blob, 0, len(BODY))) == BODY
    assert files(blobs) == [content.blob]


def test_another_writer_goes_on_after_what_is_safe(blobs: Blobs) -> None:
    first = blobs.partial("1")
    first.append(BODY[:100_000])
    safe = first.sync()
    first.append(b"never synced")
    first.close()
    second = blobs.partial("1", safe)
    assert second.size_bytes == safe == 100_000
    assert second.head(5) == BODY[:5]
    second.append(BODY[safe:])
    assert second.finish().etag == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("kept", [None, 50_000])
def test_what_is_not_there_begins_anew(blobs: Blobs, kept: int | None) -> None:
    if kept is not None:  # the file is shorter than what was said to be safe
        Path(blobs.folder, "partial").mkdir(parents=True)
        Path(blobs.folder, "partial", "1").write_bytes(BODY[:kept])
        os.truncate(Path(blobs.folder, "partial", "1"), kept)
    partial = blobs.partial("1", 100_000)
    if kept is None:
        assert partial.size_bytes == 0
    partial.restart()
    partial.append(BODY)
    assert partial.finish().etag == hashlib.sha256(BODY).hexdigest()


def test_one_writer_at_a_time(blobs: Blobs) -> None:
    first = blobs.partial("1")
    first.append(BODY)
    first.sync()
    with pytest.raises(FastioError, match="Another worker"):
        blobs.partial("1", 100_000)
    second = blobs.partial("1")
    with pytest.raises(FastioError, match="Another worker"):
        second.append(BODY)
    second.discard()  # what is not its own stays
    assert first.finish().etag == hashlib.sha256(BODY).hexdigest()


def test_nothing_is_left_behind(blobs: Blobs) -> None:
    partial = blobs.partial("1")
    partial.append(BODY)
    partial.discard()
    assert files(blobs) == []
    again = blobs.partial("2")
    again.append(BODY)
    again.restart()
    assert again.size_bytes == 0
    assert again.sha256 == hashlib.sha256(b"").hexdigest()
    assert files(blobs) == []
    again.append(b"small")
    assert again.finish().body == b"small"
    assert blobs.partials() == []


def test_without_a_place_small_contents_pass_and_large_ones_are_refused() -> None:
    nowhere = NoBlobs()
    partial = nowhere.partial("1", 100_000)
    assert partial.size_bytes == 0
    partial.append(b"small")
    assert partial.finish().body == b"small"
    with pytest.raises(FastioError, match="no place for large files"):
        nowhere.partial("1").append(BODY)
    assert nowhere.partials() == []
