"""BlobStore in the making: what is kept, what is dropped, and who may write."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from fastio_cli.blobs.content import INLINE_BYTES_MAX
from fastio_cli.blobs.local import BlobStore
from fastio_cli.blobs.null import NullBlobStore
from fastio_cli.errors import FastioError

BODY = os.urandom(3 * INLINE_BYTES_MAX)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(str(tmp_path / "blobs"))


def files(blobs: BlobStore) -> list[str]:
    found = [f for f in Path(blobs.folder).rglob("*") if f.is_file()]
    return sorted(f.name for f in found if f.parent.name != "claims")


def test_small_contents_never_touch_the_disk(blobs: BlobStore) -> None:
    staged = blobs.staged("1")
    staged.append(b"ab")
    staged.append(b"c")
    assert staged.sync() == 0
    content = staged.finish()
    assert content.body == b"abc"
    assert content.etag == hashlib.sha256(b"abc").hexdigest()
    assert files(blobs) == []


def test_large_contents_become_blobs(blobs: BlobStore) -> None:
    staged = blobs.staged("1")
    for start in range(0, len(BODY), 10_000):
        staged.append(BODY[start : start + 10_000])
    content = staged.finish()
    assert content.blob == hashlib.sha256(BODY).hexdigest()
    assert b"".join(blobs.read(content.blob, 0, len(BODY))) == BODY
    assert files(blobs) == [content.blob]


def test_another_writer_continues_after_the_synced_bytes(blobs: BlobStore) -> None:
    first = blobs.staged("1")
    first.append(BODY[:100_000])
    durable_bytes = first.sync()
    first.append(b"never synced")
    first.close()
    second = blobs.staged("1", durable_bytes)
    assert second.size_bytes == durable_bytes == 100_000
    assert second.head(5) == BODY[:5]
    second.append(BODY[durable_bytes:])
    assert second.finish().etag == hashlib.sha256(BODY).hexdigest()


@pytest.mark.parametrize("kept", [None, 50_000])
def test_what_is_not_there_begins_anew(blobs: BlobStore, kept: int | None) -> None:
    if kept is not None:  # the file is shorter than what was said to be durable
        Path(blobs.folder, "partial").mkdir(parents=True)
        Path(blobs.folder, "partial", "1").write_bytes(BODY[:kept])
        os.truncate(Path(blobs.folder, "partial", "1"), kept)
    staged = blobs.staged("1", 100_000)
    if kept is None:
        assert staged.size_bytes == 0
    staged.restart()
    staged.append(BODY)
    assert staged.finish().etag == hashlib.sha256(BODY).hexdigest()


def test_one_writer_at_a_time(blobs: BlobStore) -> None:
    first = blobs.staged("1")
    first.append(BODY)
    first.sync()
    with pytest.raises(FastioError, match="Another worker"):
        blobs.staged("1", 100_000)
    second = blobs.staged("1")
    with pytest.raises(FastioError, match="Another worker"):
        second.append(BODY)
    second.discard()  # what is not its own stays
    assert first.finish().etag == hashlib.sha256(BODY).hexdigest()


def test_nothing_is_left_behind(blobs: BlobStore) -> None:
    staged = blobs.staged("1")
    staged.append(BODY)
    staged.discard()
    assert files(blobs) == []
    again = blobs.staged("2")
    again.append(BODY)
    again.restart()
    assert again.size_bytes == 0
    assert again.sha256 == hashlib.sha256(b"").hexdigest()
    assert files(blobs) == []
    again.append(b"small")
    assert again.finish().body == b"small"
    assert blobs.staged_names() == []


def test_without_a_place_small_contents_pass_and_large_ones_are_refused() -> None:
    nowhere = NullBlobStore()
    staged = nowhere.staged("1", 100_000)
    assert staged.size_bytes == 0
    staged.append(b"small")
    assert staged.finish().body == b"small"
    with pytest.raises(FastioError, match="no place for large files"):
        nowhere.staged("1").append(BODY)
    assert nowhere.staged_names() == []
