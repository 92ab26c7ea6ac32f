"""What is large is read and analysed for the index in a process of its own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.search import document_change, extraction
from fastio_cli.server import compute
from fastio_cli.server.compute import INDEXING_BYTES_MIN, IndexingHelper

LARGE = b"A heron stands in the reeds and waits.\n" * 2000


@pytest.fixture
def helper() -> Iterator[IndexingHelper]:
    helper = IndexingHelper()
    yield helper
    helper.close()


def dies(path: str, kind: str, data: bytes, updated_at: int) -> object:
    """As ``analyze``, but its process is killed: once if the path is that of a file to write."""
    if len(data) >= INDEXING_BYTES_MIN and not os.path.exists(path):
        if os.path.isdir(os.path.dirname(path)):
            Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return document_change.analyze(path, kind, data, updated_at)


@pytest.mark.parametrize("name", ["a.md", "a.json", "a.csv", "a.html", "a.bin"])
def test_what_is_found_is_the_same_there_and_here(helper: IndexingHelper, name: str) -> None:
    data = b'["' + LARGE.replace(b"\n", b'","') + b'"]' if name == "a.json" else LARGE
    if name == "a.bin":
        data = bytes(range(256)) * 200
    assert len(data) >= INDEXING_BYTES_MIN
    assert helper(name, "file", data, 0) == document_change.analyze(name, "file", data, 0)


def test_only_what_is_large_is_handed_over(helper: IndexingHelper) -> None:
    helper("a.md", "file", b"x" * (INDEXING_BYTES_MIN - 1), 0)
    assert helper._helper._process is None
    helper("a.md", "file", b"x" * INDEXING_BYTES_MIN, 0)
    assert helper._helper._process is not None


def test_the_server_does_not_read_large_objects_itself(server, http, monkeypatch) -> None:
    """In this process it would fail."""
    here = extraction.passages

    def only_small(path: str, kind: str, data: bytes) -> object:
        assert len(data) < INDEXING_BYTES_MIN
        return here(path, kind, data)

    monkeypatch.setattr(extraction, "passages", only_small)
    base = "/v1/workspaces/default"
    http.put(f"{base}/files/large.md", content=LARGE).raise_for_status()
    http.put(f"{base}/files/small.md", content=b"A heron flies.").raise_for_status()
    found = server.engine.call("search.query", {"query": "heron", "mode": "lexical", "limit": 50})
    assert {hit["path"] for hit in found["items"]} == {"large.md", "small.md"}


def test_a_helper_that_is_killed_is_tried_again(
    helper: IndexingHelper, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compute, "analyze", dies)
    passages, problem = helper(str(tmp_path / "mark"), "file", LARGE, 0)
    assert (len(passages) > 1, problem) == (True, None)
    with pytest.raises(FastioError) as caught:
        helper("no/such/folder", "file", LARGE, 0)
    assert caught.value.code == "too_large"


def test_what_kills_its_helper_is_a_problem_of_the_object(server, http, monkeypatch) -> None:
    """The objects after it are found all the same."""
    monkeypatch.setattr(compute, "analyze", dies)
    base = "/v1/workspaces/default"
    http.put(f"{base}/files/a.md", content=LARGE).raise_for_status()
    http.put(f"{base}/files/b.md", content=b"A heron flies.").raise_for_status()
    found = server.engine.call("search.query", {"query": "heron", "mode": "lexical"})
    assert [hit["path"] for hit in found["items"]] == ["b.md"]
    (problem,) = server.engine.call("index.status")["problems"]
    assert (problem["path"], problem["version"]) == ("a.md", 1)
    assert "more time or memory" in problem["problem"]


def test_closing_ends_what_is_under_way(helper: IndexingHelper) -> None:
    errors: list[str] = []

    def work() -> None:
        try:
            while True:
                helper("a.md", "file", LARGE, 0)
        except FastioError as e:
            errors.append(e.code)

    thread = threading.Thread(target=work)
    thread.start()
    while helper._helper._process is None:
        pass
    helper.close()
    thread.join()
    assert errors == ["unavailable"]
    assert helper._helper._process.poll() is not None
