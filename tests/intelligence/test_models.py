"""The embedding model, its tokenizer, the ranking, and the token budget."""

from __future__ import annotations

import numpy as np
import pytest

from fastio_cli.intelligence import embed, minilm, pack, rank
from fastio_cli.intelligence.service import Found


@pytest.fixture(scope="module")
def local() -> embed.Local:
    return embed.Local()


def test_tokens_are_those_of_the_model():
    encode = embed.tokenizer().encode
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
    plain = minilm.MiniLM(local._path)
    tokens = [embed.tokenizer().encode(text, 256) for text in texts]
    together = plain.encode(tokens)
    alone = np.concatenate([plain.encode([t]) for t in tokens])
    assert np.abs(together - alone).max() < 1e-4


def test_packed_vectors_keep_the_cosine(local):
    vectors = local.encode(["The price is twelve euros.", "A heron stands in the reeds."])
    scales, codes = local.pack(["The price is twelve euros.", "A heron stands in the reeds."])
    restored = (
        np.frombuffer(codes, np.int8).reshape(2, -1) * np.frombuffer(scales, np.float32)[:, None]
    )
    assert (restored * vectors).sum(1) == pytest.approx([1, 1], abs=0.002)


def test_stop_words_are_dropped_unless_nothing_else_is_there():
    assert rank.terms("What did we decide about the pricing?") == ["decide", "pricing"]
    assert rank.terms("to be or not to be") == ["to", "be", "or", "not"]
    assert rank.terms("東京都") == ["東 京", "京 都"]
    assert len(rank.terms(" ".join(f"w{i}" for i in range(500)))) == rank.TERMS_MAX


def test_the_better_neighbour_is_the_one_beside_in_the_same_object():
    ids = np.array([10, 11, 12, 14, 20, 21])
    scores = np.array([1.0, 5.0, 2.0, 9.0, 3.0, 4.0])
    assert rank.better_neighbours(ids, scores).tolist() == [1, 2, 1, 3, 5, 4]


def found(path: str, text: str) -> Found:
    row = {
        "path": path,
        "version": 1,
        "line": 1,
        "end_line": 2,
        "page": None,
        "body": text,
        "id": 1,
    }
    return Found(row, rank.Candidate(1, 0.0, None))


@pytest.mark.parametrize("count", [pack.Counter(), len])
@pytest.mark.parametrize("budget", [64, 100, 500])
def test_a_pack_is_never_over_its_budget(count, budget):
    passages = [found(f"{i}.md", f"note {i}: {'some words here ' * i}") for i in range(30)]
    for summary in (None, ("s.json", "x " * 5000), ("s.json", "長" * 5000)):
        packed = pack.pack(summary, passages, budget, count)
        assert packed.tokens == count(packed.text) <= budget


def test_a_pack_holds_each_passage_once():
    packed = pack.pack(None, [found("a.md", "the same"), found("b.md", "the same")], 500, len)
    assert [f.best["path"] for f in packed.used] == ["a.md"]
