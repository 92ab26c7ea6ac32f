"""The index as a reader of the log: many at once, ended at any point, never half or twice."""

from __future__ import annotations

import io
import itertools
import sqlite3
import threading
from contextlib import closing

import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.search import analysis, document_change, embedding, extraction, indexer
from fastio_cli.search.indexer import Indexer
from fastio_cli.search.inverted_index import live_passages
from fastio_cli.storage.sqlite.connection import FILE
from fastio_cli.storage.sqlite.store import SqliteStore


@pytest.fixture
def engine(tmp_path):
    folder = str(tmp_path / "store")
    engine = Engine(SqliteStore(folder), BlobStore(f"{folder}/blobs"), Limits())
    yield engine
    engine.store.close()


def write(engine, path, value):
    engine.call("state.set", {"path": path, "value": value}, actor="ada")


def state(engine):
    """What is in the index: passages, their ids, the ids of vectors. Its words have to agree."""
    with closing(sqlite3.connect(engine.store.file)) as db:
        passages = db.execute("select path, body from passages order by path, id").fetchall()
        bodies = dict(db.execute("select id, body from passages order by id"))
        ids = list(bodies)
        terms, lengths = engine.store.read(terms_of)
        assert terms.keys() == bodies.keys()
        for id, found in terms.items():
            assert {word for word, body, _ in found if body} == set(
                analysis.index_terms(bodies[id])
            )
        counts = db.execute("select passage_count, token_count from search_indexes").fetchall()
        assert counts in ([], [(len(bodies), sum(lengths))])
        vectors = []
        for (held,) in db.execute("select ids from vector_blocks order by first_id"):
            vectors += list(memoryview(held).cast("q"))
        return passages, ids, vectors


def terms_of(tx):
    """The terms and lengths of all passages; each is either in the memtable or in one segment."""
    rows = tx.search.memtable(1, 2**16)
    for row in tx.search.segment_revisions(1):
        (segment,) = tx.search.segments(1, [row["first_id"]])
        rows += live_passages(segment, tx.search.segment_postings(1, row["first_id"]))
    terms = {row["id"]: list(analysis.term_frequencies(row["words"])) for row in rows}
    assert len(terms) == len(rows)
    return terms, [row["token_count"] for row in rows]


def long_text(word, count=40):
    return [
        {"text": f"{word} number {i} stands here among the others of its kind"}
        for i in range(count)
    ]


class Dies(Exception):
    pass


class Dying:
    """A store whose process dies after so many writes: the rest of the work never happens."""

    def __init__(self, store, writes):
        self.store = store
        self.left = writes
        self.read = store.read

    def write(self, work):
        if self.left == 0:
            raise Dies
        self.left -= 1
        return self.store.write(work)


@pytest.mark.parametrize("later", ["otter", "heron"], ids=["other text", "more of it"])
def test_ended_after_any_transaction_it_goes_on_without_loss_or_repetition(
    engine, monkeypatch, later
):
    monkeypatch.setattr(indexer, "LOCK_S_MAX", 0)  # every step does as little as it can
    monkeypatch.setattr(indexer, "EMBED_PASSAGES", 4)
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 4)
    local = embedding.MiniLMEmbedder()
    write(engine, "a.json", long_text("heron", 6))
    write(engine, "b.json", "a badger")
    Indexer(engine.store, engine.blobs, 1).update()
    Indexer(engine.store, engine.blobs, 1).embed(local)
    write(engine, "a.json", long_text(later, 12))
    engine.call("object.delete", {"path": "b.json"}, actor="ada")
    for _ in range(200):
        dying = Indexer(Dying(engine.store, 1), engine.blobs, 1)
        try:
            dying.update()
            dying.embed(local)
            break
        except Dies:
            state(engine)
    passages, ids, vectors = state(engine)
    assert [path for path, _ in passages] == ["a.json"] * len(passages)
    assert sum(body.count(later) for _, body in passages) == 12
    assert vectors == ids


def test_many_index_at_once_and_each_passage_is_there_once(engine, tmp_path, monkeypatch):
    monkeypatch.setattr(indexer, "BATCH_EVENTS_MAX", 7)
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 16)
    for i in range(60):
        write(engine, f"{i % 40}.json", f"the heron with the number {i}")
    errors = []

    def work():
        store = SqliteStore(engine.store.folder)
        try:
            Indexer(store, engine.blobs, 1).update()
        except Exception as e:
            errors.append(e)
        finally:
            store.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    passages, _, _ = state(engine)
    assert [path for path, _ in passages] == sorted(f"{i}.json" for i in range(40))
    expected = {f"{i % 40}.json": i for i in range(60)}
    assert dict(passages) == {p: f"the heron with the number {i}" for p, i in expected.items()}


def test_vectors_leave_with_their_passages(engine):
    local = embedding.MiniLMEmbedder()
    for i in range(10):
        write(engine, f"{i}.json", f"the heron with the number {i}")
    reader = Indexer(engine.store, engine.blobs, 1)
    reader.update()
    assert reader.embed(local) == 0
    for i in (0, 4, 9):
        engine.call("object.delete", {"path": f"{i}.json"}, actor="ada")
    write(engine, "5.json", "something else")
    reader.update()
    passages, ids, vectors = state(engine)
    assert len(passages) == 7
    assert set(vectors) < set(ids)
    assert len(set(ids) - set(vectors)) == 1
    reader.embed(local)
    assert state(engine)[2] == state(engine)[1]


def test_what_stays_of_an_object_keeps_its_vectors(engine):
    local = embedding.MiniLMEmbedder()
    reader = Indexer(engine.store, engine.blobs, 1)

    def indexed():
        reader.update()
        _, ids, vectors = state(engine)
        pending = len(set(ids) - set(vectors))
        reader.embed(local)
        assert state(engine)[2] == state(engine)[1]
        return pending, ids

    def texts():
        return [body for _, body in state(engine)[0]]

    write(engine, "a.json", long_text("heron"))
    count = indexed()[0]
    assert count > 5
    for i in range(3):  # nothing else was written: all of it stays in one row
        engine.call("state.append", {"path": "a.json", "value": {"text": f"otter number {i}"}})
        pending, ids = indexed()
        assert pending <= 2
        assert texts()[-1].endswith(f"otter number {i}")
    before, ids_before = texts(), ids
    write(engine, "b.json", "a badger")
    indexed()
    engine.call("state.append", {"path": "a.json", "value": {"text": "an owl"}})
    assert indexed()[0] <= 2
    write(engine, "a.json", [{"text": "a wren"}, *long_text("heron")])
    assert indexed()[0] >= count  # from the first that has changed on
    write(engine, "a.json", long_text("heron"))
    indexed()
    for i in range(3):
        engine.call("state.append", {"path": "a.json", "value": {"text": f"otter number {i}"}})
    indexed()
    assert texts()[: len(before)] == before
    assert not set(state(engine)[1][1:]) & set(ids_before)  # no number is ever given again
    write(engine, "a.json", long_text("heron", 20))  # the end alone went
    assert indexed()[0] <= 1


def test_words_of_what_stays_follow_a_new_neighbour(engine, monkeypatch):
    """Also where the last passage that stays is in a segment, which is immutable."""
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 8)
    reader = Indexer(engine.store, engine.blobs, 1)
    for count in range(2, 40):
        write(engine, "a.json", long_text("heron", count))
        reader.update()
        state(engine)
        terms, _ = engine.store.read(terms_of)
        rows = reader.store.read(lambda tx: tx.search.stored_passages(1, "a.json"))
        for row, after in itertools.pairwise(rows):
            told = {word for word, _, _ in terms[row["id"]]}
            assert (
                set(analysis.index_terms(after["body"][: document_change.ADJACENT_CHARACTERS]))
                <= told
            )
    fresh = state(engine)[0]
    reader.clear()
    reader.update()
    assert state(engine)[0] == fresh


def test_documents_that_take_long_are_entered_one_by_one(engine, monkeypatch):
    monkeypatch.setattr(indexer, "ANALYSIS_S_MAX", -1)
    for i in range(4):
        write(engine, f"{i}.json", f"the heron with the number {i}")
    with pytest.raises(Dies):
        Indexer(Dying(engine.store, 4), engine.blobs, 1).update()
    assert len(state(engine)[0]) == 3  # the first write only begins an index


def test_an_object_that_takes_many_steps_is_read_once(engine, monkeypatch):
    monkeypatch.setattr(indexer, "LOCK_S_MAX", 0)
    read = []
    passages = extraction.passages
    monkeypatch.setattr(
        extraction, "passages", lambda path, *rest: read.append(path) or passages(path, *rest)
    )
    for path in ("a.json", "b.json"):
        write(engine, path, long_text("heron", 30))
    Indexer(engine.store, engine.blobs, 1).update()
    assert len(state(engine)[0]) == 60
    assert read == ["a.json", "b.json"]


def test_a_removal_that_was_cut_off_leaves_no_half_of_an_index(engine, monkeypatch):
    monkeypatch.setattr(indexer, "LOCK_S_MAX", 0)
    for i in range(5):
        write(engine, f"{i}.json", f"the heron with the number {i}")
    reader = Indexer(engine.store, engine.blobs, 1)
    reader.update()
    with pytest.raises(Dies):
        Indexer(Dying(engine.store, 3), engine.blobs, 1).clear()
    reader.update()
    assert len(state(engine)[0]) == 5


def test_writing_opens_no_model_and_no_index(engine):
    write(engine, "a.json", "the heron")
    with closing(sqlite3.connect(f"{engine.store.folder}/{FILE}")) as db:
        assert db.execute("select count(*) from search_indexes").fetchone() == (0,)
    assert engine._search is None


def test_clearing_leaves_nothing_behind(engine, monkeypatch):
    monkeypatch.setattr(indexer, "LOCK_S_MAX", 0)
    for i in range(5):
        write(engine, f"{i}.json", long_text(f"heron{i}", 10))
    reader = Indexer(engine.store, engine.blobs, 1)
    reader.update()
    reader.embed(embedding.MiniLMEmbedder())
    reader.clear()
    assert state(engine) == ([], [], [])


def test_a_clearing_that_was_ended_is_finished_and_everything_comes_back(engine, monkeypatch):
    monkeypatch.setattr(indexer, "LOCK_S_MAX", 0)
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 4)
    for i in range(12):
        write(engine, f"{i}.json", f"the heron with the number {i}")
    Indexer(engine.store, engine.blobs, 1).update()
    before = state(engine)[0]
    with pytest.raises(Dies):
        Indexer(Dying(engine.store, 3), engine.blobs, 1).clear()
    assert len(state_of_passages(engine)) == 12  # words went first: alone they would find nothing
    Indexer(engine.store, engine.blobs, 1).update()
    assert state(engine)[0] == before


def state_of_passages(engine):
    with closing(sqlite3.connect(engine.store.file)) as db:
        return db.execute("select path, body from passages order by path, id").fetchall()


def test_segments_are_flushed_and_compacted(engine, monkeypatch):
    monkeypatch.setattr(indexer, "SEGMENT_PASSAGES", 8)
    for i in range(20):
        write(engine, f"{i:02}.json", f"the heron with the number {i}")
    reader = Indexer(engine.store, engine.blobs, 1)
    reader.update()
    assert segments(engine) == [(8, 8), (8, 8)]
    engine.call("object.delete", {"path": "03.json"}, actor="ada")
    reader.update()
    assert segments(engine) == [(8, 7), (8, 8)]
    for i in range(8):
        if i != 3:
            write(engine, f"{i:02}.json", "an otter")
    reader.update()
    state(engine)
    assert segments(engine)[0] == (8, 8)  # the sparse segment was compacted
    assert sum(alive for _, alive in segments(engine)) <= 19
    found = engine.call("search.query", {"query": "number", "mode": "lexical", "limit": 50})
    assert sorted(m["path"] for m in found["items"]) == [f"{i:02}.json" for i in range(8, 20)]


def segments(engine):
    rows = engine.store.read(lambda tx: tx.search.segments_between(1, 0, 2**40))
    return [(row["passage_count"], row["alive_count"]) for row in rows]


def put(engine, path, data):
    content = engine.upload(io.BytesIO(data))
    engine.call("file.put", {"path": path, "content": content}, actor="ada")


@pytest.mark.parametrize(
    ("path", "data", "is_whole"),
    [
        ("disk.img", b"\0" + b"x" * (3 * 2**20), False),
        ("book.txt", b"heron\n\n" * 2**19, True),
        ("utf-16.txt", "heron\n\n".encode("utf-16") * 2**18, True),
        ("table.xlsx", b"PK\3\4\0" + b"x" * (3 * 2**20), True),  # a parser is to say what it is
    ],
)
def test_of_a_large_file_that_is_no_text_only_the_beginning_is_read(
    engine, monkeypatch, path, data, is_whole
):
    put(engine, path, data)
    read = []
    chunks = engine.blobs.read
    monkeypatch.setattr(
        engine.blobs, "read", lambda *args: (read.append(len(c)) or c for c in chunks(*args))
    )
    Indexer(engine.store, engine.blobs, 1).update()
    assert sum(read) == (len(data) if is_whole else indexer.HEAD_BYTES)
