"""Passages: they follow the structure of a text, cover all of it, and know their place."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.intelligence import extract, text


def lines(passages):
    return [(p.line, p.end_line, p.heading) for p in passages]


def test_markdown_is_divided_at_its_headings():
    body = "# A\n\none\ntwo\n\n## B\n\nthree\n\n# C\n\nfour\n"
    found = list(text.prose(body, markdown=True))
    assert lines(found) == [(1, 4, "A"), (6, 8, "A > B"), (10, 12, "C")]


def test_headings_in_code_are_none():
    body = "# A\n\n```\n# not a heading\n```\n"
    assert [p.heading for p in text.prose(body, markdown=True)] == ["A"]


def test_each_turn_of_a_conversation_is_a_passage():
    body = "Ada: I am late.\nBob: We waited\nfor you.\nAda: Sorry!"
    assert lines(text.prose(body)) == [(1, 1, ""), (2, 3, ""), (4, 4, "")]


def test_definitions_are_the_headings_of_code():
    body = (
        "import os\n\nclass Reader:\n    def read(self):\n        pass\n\ndef main():\n    pass\n"
    )
    assert [p.heading for p in text.prose(body)] == ["", "Reader", "main"]


def test_long_paragraphs_are_divided_evenly_at_sentences():
    body = " ".join(f"This is sentence number {i}." for i in range(200))
    found = list(text.prose(body))
    sizes = [len(p.text) for p in found]
    assert max(sizes) <= text.CHARACTERS_WHOLE + 100
    assert min(sizes) > text.CHARACTERS_AIM // 2
    assert all(p.text.endswith(".") for p in found)
    assert " ".join(p.text for p in found) == body
    assert {p.line for p in found} == {1}


@pytest.mark.parametrize("body", ["a" * 100_000, "東" * 10_000, "😀" * 10_000])
def test_text_without_spaces_is_divided_too(body):
    found = list(text.prose(body))
    assert "".join(p.text for p in found) == body
    assert max(text.cost(p.text) for p in found) <= 2 * text.CHARACTERS_WHOLE


def test_json_is_divided_into_subtrees_with_their_pointers():
    value = {"name": "x", "a/b": {"long": "word " * 300}, "rows": [{"k": "value " * 50}] * 3}
    found = list(text.document(value))
    pointers = [p.pointer for p in found]
    assert pointers[0] == "/name"
    assert "/a~1b" in pointers or "/a~1b/long" in pointers
    assert [p for p in pointers if p.startswith("/rows")] == ["/rows/0", "/rows/1", "/rows/2"]


@given(st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=9), inner),
))  # fmt: skip
def test_every_word_of_a_json_value_is_in_a_passage(value):
    whole = " ".join(p.text for p in text.document(value))
    for line in text._lines(value, ""):
        assert all(word in whole for word in line.split())


@given(st.text(max_size=3000))
def test_every_word_of_a_text_is_in_a_passage(body):
    whole = " ".join(p.text for p in text.prose(body, markdown=True))
    assert "".join(body.split()) == "".join(whole.split())


def test_rows_of_a_table_carry_their_column_names():
    found, problem = extract.passages("a.csv", "file", b"name,price\nAcme,40\nBolt,31\n")
    assert problem is None
    assert [p.text for p in found] == ["name: Acme\nprice: 40\nname: Bolt\nprice: 31"]


def test_lines_of_jsonl_are_passages_with_their_number():
    records = [{"text": f"the record with the number {i} is here"} for i in range(3)]
    data = "\n".join(map(json.dumps, records)).encode()
    found, _ = extract.passages("a.jsonl", "file", data)
    assert [(p.line, p.end_line) for p in found] == [(1, 1), (2, 2), (3, 3)]


def test_a_text_that_is_too_long_is_read_as_far_as_allowed(monkeypatch):
    monkeypatch.setattr(text, "CHARACTERS_MAX", 1000)
    found, problem = extract.passages("a.txt", "file", b"word " * 1000)
    assert sum(len(p.text) for p in found) <= 1000
    assert problem.startswith("Only the first")
