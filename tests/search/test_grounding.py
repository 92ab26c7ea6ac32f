"""Answers grounded in passages: by examples, and by any text in any chunks."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.search.grounding import NO_SOURCE, NOT_FOUND, CitationGrounder

PASSAGES = [
    "Acme asks 40 euros for a crate. Bolt is cheapest at 31 euros.",
    "Anna joins the company in May.\nSie leitet die Größe der Lieferung.",
]


def ground(answer: str, pieces: int = 1) -> tuple[str, list[int], bool, list[str]]:
    released: list[str] = []
    grounder = CitationGrounder(PASSAGES, released.append)
    for start in range(0, len(answer), pieces):
        if not grounder.feed(answer[start : start + pieces]):
            break
    return *grounder.finish(), released


@pytest.mark.parametrize(
    ("answer", "shown", "cited"),
    [
        ("It is so [1].", "It is so [1].", [1]),
        ("It is so. [2][1] And so [2].", "It is so [2][1]. And so [2].", [1, 2]),
        ("It is so. [2]", "It is so [2].", [2]),
        ("- Acme: 40 [1]\n- Anna: May [2]", "- Acme: 40 [1]\n- Anna: May [2]", [1, 2]),
        ("Dr. No asks 40 euros [1].", "Dr. No asks 40 euros [1].", [1]),
        ("These are the prices:\n- Acme 40 [1]", "These are the prices:\n- Acme 40 [1]", [1]),
        ("Made up by me [9]. So it is [1].", "Made up by me. [no source] So it is [1].", [1]),
        ("It is so [1, 2]. And so【1】.", "It is so [1][2]. And so[1].", [1, 2]),
        ("It is so. [1-2] And so. 【2】", "It is so [1][2]. And so [2].", [1, 2]),
        ("It is so [2, 7]. And so [1][2].", "It is so [2]. And so [1][2].", [1, 2]),
        ("So it is [1]. " * 3, "So it is [1].", [1]),
        ("安娜五月加入公司。[2] 完全如此。", "安娜五月加入公司 [2]。 完全如此。 [no source]", [2]),
    ],
)
def test_each_sentence_is_cited_or_marked(answer, shown, cited):
    for pieces in (1, 3, 1000):
        assert ground(answer, pieces)[:3] == (shown, cited, True)


@pytest.mark.parametrize(
    "answer",
    [
        "Nothing says so at all.",
        "Made up [9]. And more of it [0].",
        "Sorry: not found in the workspace.",
        "Bolt is cheapest at 13 euros.",  # no passage has this figure
        "Tungsten boils at 5,555 degrees.",
        "",
        "[3]",
    ],
)
def test_an_answer_without_any_source_is_none(answer):
    assert ground(answer) == (NOT_FOUND, [], False, [])


def test_a_sentence_that_a_passage_says_is_given_its_citation():
    text, cited, found, _ = ground("The cheapest is Bolt at 31 euros. Anna joins in May!")
    assert (text, cited, found) == (
        "The cheapest is Bolt at 31 euros [1]. Anna joins in May [2]!",
        [1, 2],
        True,
    )


def test_what_is_shown_begins_with_a_source_and_is_the_answer():
    text, _, _, released = ground(
        "I think so myself. Bolt asks 31 euros [1]. That is all of it.", 2
    )
    assert released[0] == f"I think so myself. {NO_SOURCE} "
    assert "".join(released) == text


def test_a_model_that_goes_in_circles_is_left():
    grounder = CitationGrounder(PASSAGES)
    fed = [grounder.feed("Bolt asks 31 euros [1]. ") for _ in range(10)]
    assert fed[:3] == [True, True, True]
    assert not all(fed)


@given(st.text(max_size=300) | st.lists(
    st.sampled_from(
        ["Bolt ", "31 ", "[1]", "[7]", "[1, 7]", "【2】", ". ", "!\n", "x y z ", "。", ": ", " "]
    ),
    max_size=40,
).map("".join), st.integers(1, 9))  # fmt: skip
def test_no_sentence_of_any_answer_is_without_a_source_or_a_mark(answer, pieces):
    text, cited, found, released = ground(answer, pieces)
    if not found:
        assert (text, cited, released) == (NOT_FOUND, [], [])
        return
    numbers = {int(n) for n in re.findall(r"\[(\d{1,3})\]", text)}
    assert set(cited) <= numbers
    assert numbers <= {1, 2}
    assert "".join(released).strip() == text
