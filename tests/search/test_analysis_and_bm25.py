"""Words and stems against SQLite's own tokenizer, and scores against the formula of BM25."""

from __future__ import annotations

import math
import random
import sqlite3
from collections import Counter
from contextlib import closing
from importlib.resources import files

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastio_cli.search import analysis, document_change, indexer, inverted_index
from fastio_cli.search.indexer import Indexer
from fastio_cli.search.inverted_index import InvertedIndex
from tests.backends import kind_of

ENGLISH = (files("fastio_cli.search") / "vocabulary.txt").read_text().split()
SENTENCES = [
    "Agreed: the ponies' owners were hopping, controlling and agreeing relationally.",
    "Ein schöner Tag in Zürich; Ångström, déjà vu, naïveté",
    "parse_http_header x86_64 v1.2.3 don't C++ foo@example.org",
    "Москва является столицей Йода",
    "e\u0301tude caf\u00e9 cafe\u0301s",
]


def tokens_of_sqlite(texts):
    """The words of each text as SQLite's full text has them."""
    found = [[] for _ in texts]
    with closing(sqlite3.connect(":memory:")) as db:
        options = "tokenize='porter unicode61 remove_diacritics 2'"
        db.execute(f"create virtual table texts using fts5(body, {options})")
        db.execute("create virtual table tokens using fts5vocab(texts, 'instance')")
        db.executemany("insert into texts (rowid, body) values (?, ?)", enumerate(texts))
        for doc, term in db.execute("select doc, term from tokens order by doc, offset"):
            found[doc].append(term)
    return found


def test_the_stems_of_english_words_are_those_of_sqlite():
    plain = [word for word in ENGLISH if word.isascii() and word.isalpha()]
    assert len(plain) > 20_000
    expected = tokens_of_sqlite(plain)
    assert [(w, [analysis.stem(w)]) for w in plain] == list(zip(plain, expected, strict=True))


@pytest.mark.parametrize("text", SENTENCES)
def test_the_words_of_a_text_are_those_of_sqlite(text):
    assert list(analysis.index_terms(text)) == tokens_of_sqlite([text])[0]


def test_scripts_without_spaces_are_found_by_characters_and_pairs():
    assert list(analysis.index_terms("v2東京都")) == ["v2", "東", "京", "都", "東京", "京都"]
    assert list(analysis.query_tokens("v2東京都 京")) == ["v2", "東京", "京都", "京"]


def test_pictographs_are_words_whatever_varies_them():
    text = "Done\U0001f389\U0001f389 caf\u00e9 \u2b50 \u2764\ufe0f \U0001f44d\U0001f3fd"
    found = ["\U0001f389", "\U0001f389", "caf\u00e9", "\u2b50", "\u2764", "\U0001f44d"]
    assert list(analysis.query_tokens(text)) == [
        "done",
        *(analysis.strip_accents(word) for word in found),
    ]
    assert analysis.highlight_ranges(text, {"\U0001f389", "\U0001f44d"}) == [[4, 6], [17, 18]]


@given(st.text(), st.text())
def test_encoded_term_frequencies_are_decoded(body, context):
    text, length = analysis.analyze_document(body, context)
    found = {
        word: (in_body, in_context) for word, in_body, in_context in analysis.term_frequencies(text)
    }
    expected = Counter(analysis.index_terms(body)), Counter(analysis.index_terms(context))
    assert length == sum(expected[0].values()) + sum(expected[1].values())
    assert found == {
        word: tuple(min(analysis.TERM_FREQUENCY_MAX, counts[word]) for counts in expected)
        for word in expected[0].keys() | expected[1].keys()
    }


@example("京\u0301京", "京京")  # an accent between two characters that are looked for together
@given(
    st.text(alphabet="ab e\u0301東京🎉 -", max_size=30), st.text(alphabet="ab東京🎉 ", max_size=6)
)
def test_highlights_match_terms_of_the_query(text, query):
    stems = set(map(analysis.stem, analysis.query_tokens(query)))
    ranges = analysis.highlight_ranges(text, stems)
    assert ranges == sorted(ranges)
    for start, end in ranges:
        assert 0 <= start < end <= len(text)
        assert stems & set(analysis.index_terms(text[start:end]))
    assert bool(ranges) == bool(stems & set(analysis.index_terms(text)))


VOCABULARY = [f"w{i}" for i in range(40)]


@pytest.fixture(params=["sqlite", "postgres"])
def engine(request, tmp_path):
    engine = kind_of(request.param)(tmp_path / "store").open()
    yield engine
    engine.store.close()


def bm25(texts, query):
    """The formula, written down: k1 = 1.2, b = 0.75, paths of texts by their scores."""
    bags = {path: Counter(analysis.index_terms(text)) for path, text in texts.items()}
    contexts = {
        path: Counter(analysis.index_terms(context)) for path, context in context_of(texts).items()
    }
    lengths = {p: sum(bags[p].values()) + sum(contexts[p].values()) for p in texts}
    mean = sum(lengths.values()) / len(texts)
    scores = Counter()
    for word in query:
        having = [p for p in texts if bags[p][word] or contexts[p][word]]
        weight = math.log(1 + (len(texts) - len(having) + 0.5) / (len(having) + 0.5))
        for path in having:
            times = bags[path][word] + 0.25 * contexts[path][word]
            norm = 1.2 * (0.25 + 0.75 * lengths[path] / mean)
            scores[path] += weight * times * 2.2 / (times + norm)
    return scores


def context_of(texts):
    return {path: f"{path.split('.')[0]} txt" for path in texts}


@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_the_formula_whatever_came_and_went(engine, monkeypatch, seed):
    """In the memtable or in segments, by numpy or without, after rewriting and deleting."""
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 8)
    monkeypatch.setattr(document_change.time, "strftime", lambda *_: "")
    draw = random.Random(seed)
    texts = {}
    for _ in range(6):
        for _ in range(12):
            path = f"{draw.randrange(40)}.txt"
            texts[path] = " ".join(draw.choices(VOCABULARY, k=draw.randrange(1, 30)))
            engine.call("state.set", {"path": path, "value": texts[path]})
        for path in draw.sample(sorted(texts), 4):
            engine.call("object.delete", {"path": path})
            del texts[path]
        Indexer(engine.store, engine.blobs, 1).update()
        query = draw.sample(VOCABULARY, 3)
        expected = bm25(texts, query)
        for by_arrays in (True, False):
            found = engine.store.read(lambda tx, b=by_arrays, q=query: scores(tx, q, b))
            assert found == pytest.approx(expected)


def scores(tx, query, by_arrays):
    """Scores by path, with numpy or without."""
    index = InvertedIndex(tx, 1, tx.search.index(1), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inverted_index, "is_numpy_loaded", lambda: by_arrays)
        ids, found = index.search(tx, 1, query, 0.25, None, 1000)
    assert found == sorted(found, reverse=True)
    paths = {row["id"]: row["path"] for row in tx.search.passages(1, ids)}
    return {paths[id]: score for id, score in zip(ids, found, strict=True)}


def test_scores_depend_on_nothing_that_is_in_other_workspaces(engine):
    def search():
        return engine.call("search.query", {"query": "heron w1", "mode": "lexical"})["items"]

    for i in range(5):
        engine.call("state.set", {"path": f"{i}.json", "value": f"the heron number {i} w{i}"})
    before = search()
    engine.call("workspace.create", {"name": "other"})
    for i in range(30):
        value = "heron " * (i + 1)
        engine.call("state.set", {"path": f"{i}.json", "value": value}, workspace="other")
    assert engine.call("search.query", {"query": "heron"}, workspace="other")["items"]
    assert search() == before
