"""What is searched costs in proportion to what was written, whatever it looks like."""

from __future__ import annotations

import json
from html.parser import HTMLParser

import pytest

from fastio_cli.search import chunking, document_reader, extraction, sandbox
from fastio_cli.search.chunking import NAME_CHARACTERS_MAX, PASSAGES_MAX
from fastio_cli.search.document_change import analyze
from fastio_cli.search.extraction import IN_PLACE_BYTES_MAX, text_passages

MIB = 1024 * 1024
LONG = "word " * 40_000
REPEATING = {
    "a long heading": ("a.md", f"# {LONG}\n" + "A line of text.\n\n" * 5000),
    "headings below each other": (
        "a.md",
        "".join(f"{'#' * level} {LONG}\n" for level in range(1, 7)) + "text\n\n" * 5000,
    ),
    "a heading of marks": ("a.md", "# " * 500_000),
    "a definition": ("a.py", f"def {'x' * 200_000}():\n" + "    a = 1\n\n" * 5000),
    "a column": ("a.csv", f"{'x' * 120_000},b\n" + "1,2\n" * 5000),
    "a key": ("a.json", json.dumps({"k" * 100_000: list(range(50_000))})),
    "keys of records": ("a.jsonl", (json.dumps({"k" * 300: [1] * 50}) + "\n") * 500),
    "a path": (f"{'x' * 200}/{'y' * 200}/{'z' * 200}.txt", "a line of text\n\n" * 20_000),
}


def indexed_size(path: str, text: str) -> int:
    """What the index of an object holds, in characters."""
    passages, _ = analyze(path, "file", text.encode(), 0)
    return sum(len(p["body"]) + len(p["heading"]) + len(p["words"]) for p in passages)


@pytest.mark.parametrize(("path", "text"), REPEATING.values(), ids=REPEATING)
def test_an_index_is_no_larger_than_a_multiple_of_its_text(path, text):
    assert indexed_size(path, text) < 12 * len(text) + 2 * MIB
    found, _ = extraction.passages(path, "file", text.encode())
    assert max(len(p.heading) for p in found) <= NAME_CHARACTERS_MAX
    assert len(found) <= PASSAGES_MAX


def test_twice_the_text_is_twice_the_index():
    for path, line in (("a.md", "# a b\n"), ("a.csv", "1,2\n"), ("a.txt", "a\n\n")):
        once, twice = (indexed_size(path, line * n) for n in (20_000, 40_000))
        assert 1.8 < twice / once < 2.2


@pytest.mark.parametrize("text", ["a\n\n", "A: b\n", "# a\n", "def a\n", "a. b ", "x"])
def test_every_character_is_measured_a_few_times(text, monkeypatch):
    measured = []
    length = chunking.length
    monkeypatch.setattr(chunking, "length", lambda t: measured.append(len(t)) or length(t))
    whole = text * (300_000 // len(text))
    list(chunking.chunk_text(whole, markdown=text.startswith("#")))
    assert sum(measured) < 10 * len(whole)
    assert len(measured) < 6 * len(whole)


def test_search_answers_carry_no_megabytes(caller):
    heading = f"# heron {LONG[:20_000]}\n"
    caller.put("a.md", (heading + "The heron stands in the reeds.\n\n" * 500).encode())
    caller("state.set", path="b.json", value={"heron" * 4000: ["a heron"] * 200})
    found = caller("search.query", query="heron", limit=100)
    assert found["items"]
    assert len(json.dumps(found)) < 200_000
    pack = caller("search.context", query="heron", budget=1000)
    assert len(json.dumps(pack)) < 200_000


UNENDING = {
    "comments": "<!--",
    "tags": "<a ",
    "end tags": "</a",
    "instructions": "<?",
    "declarations": "<![CDATA[",
    "attributes": '<a href="',
    "a script": "</",
}


@pytest.mark.parametrize(("name", "mark"), UNENDING.items(), ids=UNENDING)
def test_a_page_without_end_is_gone_through_once(name, mark, monkeypatch):
    looked = []
    for method in ("parse_comment", "parse_starttag", "parse_endtag", "parse_pi"):
        original = getattr(HTMLParser, method)

        def look(self, i, *rest, original=original):
            looked.append(i)
            return original(self, i, *rest)

        monkeypatch.setattr(HTMLParser, method, look)
    before = "<p>The heron.</p>" + ("<script>" if name == "a script" else "")
    assert "The heron." in document_reader._html_text(before + mark * 300_000)
    assert len(looked) < 20


def test_a_page_that_is_whole_is_read_to_its_end():
    page = "<p>one</p>" * 20_000 + "<p>2 < 3 & 4 > 1</p><p>the end"
    text = document_reader._html_text(page)
    assert text.count("one") == 20_000
    assert "2 < 3 & 4 > 1" in " ".join(text.split())
    assert text.rstrip().endswith("the end")
    assert "heron" in document_reader._html_text("<p>heron</p><!-- never closed")


LARGE = {
    "csv": "name,price\n" + "Acme,40\n" * 40_000,
    "txt": "A line of a long text.\n\n" * 20_000,
    "md": "# Title\n\n" + "A line of a long text.\n\n" * 20_000,
    "jsonl": '{"name":"Acme"}\n' * 20_000,
    "json": json.dumps([{"name": "Acme", "price": n} for n in range(20_000)]),
    "py": "def f():\n    return 'ü😀'\n\n" * 10_000,
}


@pytest.mark.parametrize(("suffix", "text"), LARGE.items(), ids=LARGE)
def test_what_is_large_is_read_elsewhere_and_the_same(suffix, text, monkeypatch):
    data = text.encode()
    assert len(data) > IN_PLACE_BYTES_MAX

    def plain(passages):
        return [
            (p.text, p.heading, p.line, p.end_line, p.page, p.pointer)
            for p in passages
            if not isinstance(p, str)
        ]

    expected = plain(text_passages(suffix, "file", data))
    monkeypatch.setattr(extraction, "text_passages", None)  # in this process it would fail
    found, problem = extraction.passages(f"a.{suffix}", "file", data)
    assert (plain(found), problem) == (expected, None)


def test_a_large_text_that_takes_too_long_is_ended(monkeypatch):
    monkeypatch.setattr(sandbox, "WALL_S_MAX", 0.01)
    found, problem = extraction.passages("a.csv", "file", b"1,2\n" * 1_000_000)
    assert found == []
    assert "seconds" in problem


def test_bytes_that_are_no_text_start_no_process(monkeypatch):
    monkeypatch.setattr(sandbox, "passages", None)
    found, problem = extraction.passages("a.bin", "file", b"\0" * MIB)
    assert (found, problem) == ([], "It is not text, nor a document whose format is known.")
