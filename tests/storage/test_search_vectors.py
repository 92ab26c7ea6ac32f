"""Vectors in PostgreSQL: compared exactly, by HNSW, or in blocks where pgvector is not there."""

from __future__ import annotations

import random
from array import array
from operator import mul

import psycopg
import pytest
from psycopg.rows import dict_row

from fastio_cli.search.indexer import INDEX_FORMAT
from fastio_cli.storage.postgres import search as postgres_search
from fastio_cli.storage.postgres.vectors import PgVectors
from tests.backends import kind_of
from tests.backends import open_engine as open_backend
from tests.requirements import lacking

DIMENSION = 16


def random_vectors(draw, count):
    """Unit vectors as scales and codes."""
    scales, codes = array("f"), array("b")
    for _ in range(count):
        row = [draw.gauss(0, 1) for _ in range(DIMENSION)]
        length = sum(x * x for x in row) ** 0.5
        largest = max(map(abs, row))
        scales.append(largest / length / 127)
        codes.extend(round(x / largest * 127) for x in row)
    return scales.tobytes(), codes.tobytes()


def unpacked(scales, codes):
    scale, code = array("f", scales), array("b", codes)
    return [[s * c for c in code[i * DIMENSION : (i + 1) * DIMENSION]] for i, s in enumerate(scale)]


@pytest.fixture
def engine(pg_url, open_engine):
    engine = open_engine(pg_url)
    if not engine.store.read(lambda tx: tx.search.vectors.supports_knn):
        lacking("this server has no pgvector")
    return engine


def fill(engine, workspace_id, count, draw):
    """Passages that are nothing but vectors; the vectors by id."""
    scales, codes = random_vectors(draw, count)

    def add(tx):
        tx.search.create(workspace_id, INDEX_FORMAT)
        for i in range(1, count + 1):
            row = {"line": None, "end_line": None, "page": None, "pointer": None, "heading": ""}
            path = f"{'few' if i % 50 == 0 else 'many'}/{i}"
            row |= {"body": "", "words": "", "token_count": 0}
            tx.search.add_passage(workspace_id, i, path, row)
            tx.search.save_object(
                workspace_id, path, version=1, kind="state", updated_at=0, passage_count=1,
                complete=True, problem=None,
            )  # fmt: skip
        tx.search.vectors.add(workspace_id, list(range(1, count + 1)), scales, codes, 1)
        index = dict(tx.search.index(workspace_id))
        tx.search.save(workspace_id, index | {"passage_count": count, "next_id": count + 1})

    engine.store.write(add)
    return dict(enumerate(unpacked(scales, codes), 1))


def nearest(engine, workspace_id, vector, filters, count):
    def read(tx):
        allowed = tx.search.filtered_ids(workspace_id, filters) if filters else None
        return tx.search.vectors.nearest(workspace_id, vector, allowed, 10, count)

    rows = engine.store.read(read)
    return [row["id"] for row in sorted(rows, key=lambda row: -row["cosine"])][:10]


def best(vectors, vector, allowed=lambda id: True):
    scores = {
        id: sum(a * b for a, b in zip(v, vector, strict=True))
        for id, v in vectors.items()
        if allowed(id)
    }
    return sorted(scores, key=lambda id: -scores[id])[:10]


def plan(engine, vector):
    """How the database finds the neighbours of a vector in workspace 1."""
    explained = []

    class Explaining:
        def __init__(self, tx):
            self._db = tx.search.vectors._db

        def one(self, sql, **params):
            return self._db.one(sql, **params)

        def run(self, sql, **params):
            self._db.run(sql, **params)

        def all(self, sql, **params):
            rows = self._db.all(f"explain {sql}", **params)
            explained.extend(row["QUERY PLAN"] for row in rows)
            return []

    def read(tx):
        vectors = tx.search.vectors
        PgVectors(Explaining(tx), "public").nearest(1, vector, None, 10, 10**6)
        return vectors.supports_knn

    engine.store.read(read)
    return "\n".join(explained)


def test_a_large_workspace_gets_an_index_of_its_own_and_finds_the_same(engine, monkeypatch):
    draw = random.Random(5)
    engine.call("workspace.create", {"name": "other"})
    vectors = fill(engine, 1, 3000, draw)
    fill(engine, 2, 3000, draw)
    queries = unpacked(*random_vectors(draw, 20))
    exact = [nearest(engine, 1, q, {}, 3000) for q in queries]
    for query, found in zip(queries, exact, strict=True):  # half precision swaps near ones
        assert len(set(found) & set(best(vectors, query))) >= 9
    monkeypatch.setattr(postgres_search, "EXACT_KNN_PASSAGES_MAX", 1000)
    engine.store.build_ann_index(1)
    engine.store.build_ann_index(1)  # once more changes nothing
    assert "passage_vectors_1" in plan(engine, queries[0])
    shared = 0
    for query, expected in zip(queries, exact, strict=True):
        shared += len(set(expected) & set(nearest(engine, 1, query, {}, 3000)))
    assert shared >= 0.97 * 200
    for query in queries:
        found = nearest(engine, 1, query, {"path": "few/*"}, 3000)
        assert len(set(found) & set(best(vectors, query, lambda id: id % 50 == 0))) >= 9
        found = nearest(engine, 1, query, {"path": "many/*"}, 3000)
        assert len(set(found) & set(best(vectors, query, lambda id: id % 50))) >= 9


def test_the_planner_is_told_of_tables_that_have_grown(engine):
    def known(tx):
        row = tx.objects._db.one(
            "select reltuples::bigint as n from pg_class where oid = 'passages'::regclass"
        )
        return row["n"]

    engine.call("workspace.create", {"name": "other"})
    fill(engine, 1, 900, random.Random(8))
    engine.store.build_ann_index(1)
    before = engine.store.read(known)
    fill(engine, 2, 1500, random.Random(9))
    engine.store.build_ann_index(2)
    assert before < 900
    assert engine.store.read(known) == 2400


def test_where_what_is_nearest_is_not_allowed_all_that_is_allowed_is_compared(engine, monkeypatch):
    vectors = fill(engine, 1, 3000, random.Random(6))
    monkeypatch.setattr(postgres_search, "EXACT_KNN_PASSAGES_MAX", 1000)
    engine.store.build_ann_index(1)
    query = vectors[1]
    near = set(sorted(vectors, key=lambda id: -sum(map(mul, vectors[id], query)))[:1500])
    far = sorted(vectors.keys() - near)
    rows = engine.store.read(lambda tx: tx.search.vectors.nearest(1, query, far, 10, 3000))
    assert len({row["id"] for row in rows} & set(best(vectors, query, lambda id: id in far))) >= 9


def test_vectors_are_read_in_blocks_as_they_were_added(engine):
    draw = random.Random(8)
    fill(engine, 1, 3000, draw)
    fill(engine, 2, 100, draw)
    scales, codes = random_vectors(random.Random(8), 3000)

    def blocks(tx):
        vectors = tx.search.vectors
        names = vectors.revisions(1)
        rows = vectors.blocks(1, [row["first_id"] for row in names])
        assert [(r["first_id"], r["revision"]) for r in rows] == [
            (r["first_id"], r["revision"]) for r in names
        ]
        return rows

    before = engine.store.read(blocks)
    assert array("q", b"".join(row["ids"] for row in before)).tolist() == list(range(1, 3001))
    assert b"".join(row["codes"] for row in before) == codes
    held = array("f", b"".join(row["scales"] for row in before))
    assert held.tolist() == pytest.approx(array("f", scales).tolist(), rel=1e-3)

    def replace(tx):
        """One goes, one comes: as many as before."""
        tx.search.vectors.delete(1, [1500], 2)
        tx.search.vectors.add(1, [3001], scales[:4], codes[:DIMENSION], 2)

    engine.store.write(replace)
    after = engine.store.read(blocks)
    is_same = [b["revision"] == a["revision"] for b, a in zip(before, after, strict=True)]
    assert is_same == [True, False, False]
    assert 1500 not in array("q", after[1]["ids"])
    assert array("q", after[2]["ids"])[-1] == 3001


def test_building_an_index_may_take_longer_than_a_transaction(pg_url):
    with psycopg.connect(pg_url, autocommit=True, row_factory=dict_row) as c:
        c.execute("set statement_timeout = '20ms'")
        with postgres_search._build_settings(c, 0):
            c.execute("select pg_sleep(0.05)")
        with pytest.raises(psycopg.errors.QueryCanceled):
            c.execute("select pg_sleep(0.05)")


def test_vectors_of_another_length_take_the_place_of_all_there_were(engine, monkeypatch):
    fill(engine, 1, 200, random.Random(1))
    monkeypatch.setattr(postgres_search, "EXACT_KNN_PASSAGES_MAX", 100)
    engine.store.build_ann_index(1)
    engine.store.write(lambda tx: tx.search.vectors.clear(1))
    scales, codes = array("f", [0.01]).tobytes(), bytes([100] * 5)
    engine.store.write(lambda tx: tx.search.vectors.add(1, [1], scales, codes, 2))
    (row,) = engine.store.read(lambda tx: tx.search.vectors.nearest(1, [0.5] * 5, None, 10, 1))
    assert row["id"] == 1


def test_an_index_whose_build_was_interrupted_is_built_again(engine, monkeypatch, pg_url):
    fill(engine, 1, 200, random.Random(1))
    monkeypatch.setattr(postgres_search, "EXACT_KNN_PASSAGES_MAX", 100)
    engine.store.build_ann_index(1)
    with psycopg.connect(pg_url) as c:
        c.execute(
            """update pg_index set indisvalid = false
            where indexrelid = 'passage_vectors_1'::regclass"""
        )
    assert not engine.store.read(lambda tx: tx.search.vectors._has_hnsw_index(1))
    engine.store.build_ann_index(1)
    assert engine.store.read(lambda tx: tx.search.vectors._has_hnsw_index(1))


def test_without_pgvector_vectors_are_kept_in_blocks(tmp_path, monkeypatch):
    backend = kind_of("postgres")
    monkeypatch.setattr(postgres_search, "create_vector_table", lambda raw: None)
    backend(tmp_path / "store")
    engine = open_backend(tmp_path / "store")
    try:
        assert not engine.store.read(lambda tx: tx.search.vectors.supports_knn)
        engine.store.build_ann_index(1)
        engine.call("state.set", {"path": "a.json", "value": "what the plan costs"})
        engine.call("state.set", {"path": "b.json", "value": "a heron in the reeds"})
        for _ in range(2):
            page = engine.call("search.query", {"query": "price", "mode": "semantic"})
            assert [m["path"] for m in page["items"]] == ["a.json", "b.json"]
            engine.call("object.delete", {"path": "b.json"})
            engine.call("state.set", {"path": "b.json", "value": "an otter"})
    finally:
        engine.store.close()
