"""Passages: they follow the structure of a text, cover all of it, and know their place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.search import chunking, extraction


def lines(passages):
    return [(p.line, p.end_line, p.heading) for p in passages]


def test_markdown_is_divided_at_its_headings():
    body = "# A\n\none\ntwo\n\n## B\n\nthree\n\n# C\n\nfour\n"
    found = list(chunking.chunk_text(body, markdown=True))
    assert lines(found) == [(1, 4, "A"), (6, 8, "A > B"), (10, 12, "C")]


def test_headings_in_code_are_none():
    body = "# A\n\n```\n# not a heading\n```\n"
    assert [p.heading for p in chunking.chunk_text(body, markdown=True)] == ["A"]


def test_each_turn_of_a_conversation_is_a_passage():
    body = "Ada: I am late.\nBob: We waited\nfor you.\nAda: Sorry!"
    assert lines(chunking.chunk_text(body)) == [(1, 1, ""), (2, 3, ""), (4, 4, "")]


def test_the_turns_of_a_log_are_put_together_behind_the_first():
    line = "line {} of the huge log: event x on host y"
    body = "\n".join(line.format(i) for i in range(1, 3001))
    found = list(chunking.chunk_text(body))
    alone, together = found[: chunking.TURN_PASSAGES_MAX], found[chunking.TURN_PASSAGES_MAX :]
    assert [(p.line, p.end_line) for p in alone] == [(i, i) for i in range(1, 2001)]
    assert len(together) < 100
    assert max(len(p.text) for p in together) <= chunking.TARGET_LENGTH
    assert "\n".join(p.text for p in found) == body
    # A log as large as an object may be is searched to its end.
    whole = "\n".join(line.format(i) for i in range(330_000))[: chunking.CHARACTERS_MAX]
    found, problem = extraction.passages("a.log", "file", whole.encode())
    assert (problem, len(found) < chunking.PASSAGES_MAX) == (None, True)


def test_definitions_are_the_headings_of_code():
    body = (
        "import os\n\nclass Reader:\n    def read(self):\n        pass\n\ndef main():\n    pass\n"
    )
    assert [p.heading for p in chunking.chunk_text(body)] == ["", "Reader", "main"]


def test_long_paragraphs_are_divided_evenly_at_sentences():
    body = " ".join(f"This is sentence number {i}." for i in range(200))
    found = list(chunking.chunk_text(body))
    sizes = [len(p.text) for p in found]
    assert max(sizes) <= chunking.PASSAGE_LENGTH_MAX + 100
    assert min(sizes) > chunking.TARGET_LENGTH // 2
    assert all(p.text.endswith(".") for p in found)
    assert " ".join(p.text for p in found) == body
    assert {p.line for p in found} == {1}


@pytest.mark.parametrize("body", ["a" * 100_000, "東" * 10_000, "😀" * 10_000])
def test_text_without_spaces_is_divided_too(body):
    found = list(chunking.chunk_text(body))
    assert "".join(p.text for p in found) == body
    assert max(chunking.length(p.text) for p in found) <= 2 * chunking.PASSAGE_LENGTH_MAX


def test_json_is_divided_into_subtrees_with_their_pointers():
    value = {"name": "x", "a/b": {"long": "word " * 300}, "rows": [{"k": "value " * 50}] * 3}
    found = list(chunking.chunk_json(value))
    pointers = [p.pointer for p in found]
    assert pointers[0] == "/name"
    assert "/a~1b" in pointers or "/a~1b/long" in pointers
    assert [p for p in pointers if p.startswith("/rows")] == ["/rows/0", "/rows/1", "/rows/2"]


def test_members_of_a_list_are_found_at_the_first_of_their_passage():
    entries = [f"entry {i}" for i in range(1500)]
    found = list(chunking.chunk_json({"log": entries, "rows": [{"n": i} for i in range(900)]}))
    for key, first in (("log", "entry {}"), ("rows", "rows.n: {}")):
        pointers = [p.pointer for p in found if p.pointer.startswith(f"/{key}/")]
        lines = [p.text.split("\n")[0] for p in found if p.pointer.startswith(f"/{key}/")]
        assert len(set(pointers)) == len(pointers) > 10
        numbers = [pointer.rpartition("/")[2] for pointer in pointers]
        assert [line.removeprefix("log: ") for line in lines] == [first.format(n) for n in numbers]


def test_small_members_of_an_object_are_found_at_the_object_and_say_their_names():
    found = list(chunking.chunk_json({"a": {f"key {i}": i for i in range(200)}}))
    assert len(found) > 1
    assert {p.pointer for p in found} == {"/a"}
    assert found[0].text.startswith("a.key 0: 0\n")


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
))  # fmt: skip
def test_every_word_of_a_json_value_is_in_a_passage(value):
    whole = " ".join(p.text for p in chunking.chunk_json(value))
    for line in chunking._flatten(value, ""):
        assert all(word in whole for word in line.split())


@given(st.text(max_size=3000))
def test_every_word_of_a_text_is_in_a_passage(body):
    whole = " ".join(p.text for p in chunking.chunk_text(body, markdown=True))
    assert "".join(body.split()) == "".join(whole.split())


def test_rows_of_a_table_carry_their_column_names():
    found, problem = extraction.passages("a.csv", "file", b"name,price\nAcme,40\nBolt,31\n")
    assert problem is None
    assert [p.text for p in found] == ["name: Acme\nprice: 40\nname: Bolt\nprice: 31"]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_row_stands_on_all_lines_of_its_cells(end):
    row = "The heron stands in the reeds,40"
    table = ["name,note,price", 'Acme,"first line', 'second line",40', "", row]
    found, problem = extraction.passages("a.csv", "file", end.join(table).encode())
    assert problem is None
    assert [(p.line, p.end_line, p.text) for p in found] == [
        (2, 3, "name: Acme\nnote: first line\nsecond line\nprice: 40"),
        (5, 5, "name: The heron stands in the reeds\nnote: 40"),
    ]


def test_lines_of_jsonl_are_passages_with_their_number():
    records = [{"text": f"the record with the number {i} is here"} for i in range(3)]
    data = "\n".join(map(json.dumps, records)).encode()
    found, _ = extraction.passages("a.jsonl", "file", data)
    assert [(p.line, p.end_line) for p in found] == [(1, 1), (2, 2), (3, 3)]


def test_a_text_that_is_too_long_is_read_as_far_as_allowed(monkeypatch):
    monkeypatch.setattr(chunking, "CHARACTERS_MAX", 1000)
    found, problem = extraction.passages("a.txt", "file", b"word " * 1000)
    assert sum(len(p.text) for p in found) <= 1000
    assert problem.startswith("Only the first")


def test_tables_may_be_divided_by_other_marks_and_hold_what_they_like():
    data = b"name;price;name\nAcme;40,5;A\nBolt;31;B;more\n"
    found, problem = extraction.passages("a.csv", "file", data)
    assert problem is None
    assert "\n".join(p.text for p in found).split("\n") == [
        "name: Acme",
        "price: 40,5",
        "column 3: A",
        "name: Bolt",
        "price: 31",
        "column 3: B",
        "column 4: more",
    ]
    # A field longer than the csv module takes costs its row, and nothing is said twice.
    found, _ = extraction.passages("a.csv", "file", b"name\nAcme\n" + b"y" * 200_000 + b"\nBolt\n")
    assert [p.text for p in found] == ["name: Acme\nname: Bolt"]


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("Le café était fermé".encode("cp1252"), "Le café était fermé"),
        ("\ufeffThe heron".encode(), "The heron"),
        ("The heron 東".encode("utf-16"), "The heron 東"),
        (b"heron \xed\xa0\x80 stands " + b"in the reeds " * 90, "stands"),
        ("Москва является столицей".encode("cp1251"), None),
        (bytes(range(256)) * 40, None),
        (bytes(range(1, 256)) * 40, None),
        (b"\x00heron", None),
    ],
)
def test_bytes_are_read_as_text_where_they_are_text(data, words):
    read = chunking.decode(data)
    assert (read is None) if words is None else (words in read)


@pytest.mark.parametrize(
    ("path", "data", "words"),
    [
        ("page", b"  <!DOCTYPE html><p>The <b>heron</b></p><script>no()</script>", "The heron"),
        (".env", b"<html><p>The heron</p>", "The heron"),
        ("a/b.c/README", b"<p>The heron", "<p>The heron"),
        ("page.txt", b"<html><p>The heron", "<html><p>The heron"),
    ],
)
def test_what_has_no_known_name_is_known_by_its_beginning(path, data, words):
    found, _ = extraction.passages(path, "file", data)
    assert " ".join(p.text for p in found).strip() == words


@pytest.mark.parametrize("depth", [150, 199, 950, 5000])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_json_of_any_depth_is_found(depth, suffix):
    data = b'{"a":' * depth + b'"heron"' + b"}" * depth
    found, _ = extraction.passages(f"x.{suffix}", "file", data)
    assert "heron" in " ".join(p.text for p in found)


def test_a_deep_value_is_read_once_and_not_at_every_level(monkeypatch):
    value = [{"text": f"this is the record with the number {i}"} for i in range(1000)]
    for _ in range(150):
        value = [value]
    measured = []
    length = chunking.length
    monkeypatch.setattr(chunking, "length", lambda line: measured.append(line) or length(line))
    assert len(list(chunking.chunk_json(value))) == 1000
    assert len(measured) < 20 * 1000


def test_long_keys_are_not_said_again_with_every_value():
    value = {"k" * 100_000: list(range(10_000))}
    found = list(chunking.chunk_json(value))
    assert sum(len(p.text) for p in found) < 1000 * 10_000
    assert {p.pointer for p in found} == {""}
    found = list(chunking.chunk_records([(1, 1, value)]))
    assert max(len(p.text) for p in found) <= 2 * chunking.PASSAGE_LENGTH_MAX
