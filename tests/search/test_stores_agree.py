"""Every store ranks alike, whichever way it holds words and vectors."""

from __future__ import annotations

import random

import numpy as np
import pytest

from fastio_cli.search import analysis, embedding, indexer, service
from fastio_cli.storage.postgres import search as postgres_search
from tests.backends import kind_of

VOCABULARY = [f"w{i}" for i in range(60)]
NEAR = 0.01  # of a score: as far as half precision may move it


class ByWords(embedding.Embedder):
    """An embedder whose vectors are the sums of one for each word."""

    name = "by words"

    def encode(self, texts, query=False):
        rows = np.array([self._sum(text) for text in texts], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)

    def _sum(self, text):
        found = list(analysis.index_terms(text)) or ["nothing"]
        return sum(np.random.default_rng(_seed(word)).normal(size=32) for word in found)


def _seed(word):
    return int.from_bytes(word.encode()[:6], "big")


def ranked(kind, folder, monkeypatch):
    """Paths and scores that a store gives to some questions."""
    backend = kind_of(kind)
    monkeypatch.setattr("fastio_cli.search.service.SearchService.embedder", lambda self: ByWords())
    engine = backend(folder).open()
    draw = random.Random(3)
    for i in range(120):
        value = " ".join(draw.choices(VOCABULARY, k=draw.randrange(3, 25)))
        engine.call("state.set", {"path": f"{i % 100}.json", "value": value})
        if i % 10 == 0:
            engine.call("search.query", {"query": "w1"})
    found = []
    for _ in range(12):
        query = " ".join(draw.sample(VOCABULARY, 3))
        for filters in ({}, {"path": "?.json"}):
            page = engine.call("search.query", {"query": query, "limit": 20, **filters})
            assert page["pending"] == 0
            found.append([(m["path"], m["score"]) for m in page["items"]])
    engine.store.close()
    return found


@pytest.mark.parametrize("vectors", ["exact", "pgvector", "blocks"])
def test_postgresql_ranks_as_the_embedded_store_does(tmp_path, monkeypatch, vectors):
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 16)
    if vectors == "pgvector":
        monkeypatch.setattr(service, "EXACT_KNN_PASSAGES_MAX", 0)
    if vectors == "blocks":
        monkeypatch.setattr(postgres_search, "create_vector_table", lambda raw: None)
    ours = ranked("sqlite", tmp_path / "sqlite", monkeypatch)
    theirs = ranked("postgres", tmp_path / "postgres", monkeypatch)
    for one, other in zip(ours, theirs, strict=True):
        assert [score for _, score in other] == pytest.approx([s for _, s in one], abs=NEAR)
        scores = dict(other)
        for path, score in one[:-1]:  # the last may have changed places with the next
            if score > one[-1][1] + NEAR:
                assert scores[path] == pytest.approx(score, abs=NEAR)
