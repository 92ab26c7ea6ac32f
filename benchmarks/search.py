"""How well search finds: on retrieval sets, against its parts alone, and what each part adds.

Run with the Python of the environment that fastio is installed in, with the extra ``search``:
.venv/bin/python benchmarks/search.py --data FOLDER. The folder holds ``locomo*.json.gz`` (a list of
conversations with turns and questions) and any other ``*.json.gz`` with ``corpus``, ``queries`` and
``qrels``. ``--coverage`` measures what a search finds while a part of the vectors are missing, as
right after a bulk import. ``--keep FOLDER`` keeps the indexed stores for the next run.
``--postgres`` ranks with a PostgreSQL store, with pgvector or with ``--postgres blocks`` without.
"""

from __future__ import annotations

import argparse
import glob
import gzip
import json
import math
import os
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness import prepare

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits, SearchSettings
from fastio_cli.engine.engine import Engine
from fastio_cli.search import analysis, ranking
from fastio_cli.search.inverted_index import InvertedIndex
from fastio_cli.search.service import PreparedQuery, SearchService
from fastio_cli.storage.contract import Store
from fastio_cli.storage.sqlite.store import SqliteStore
from fastio_cli.storage.tx import Tx

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.search.inverted_index import Matches

RRF_K = 60
DEPTH = 200


class Collection:
    """Items to find (an item is a line of a file or a whole file), and questions about them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.files: dict[str, str] = {}
        self.texts: dict[str, str] = {}
        self.item_of: dict[tuple[str, int | None], str] = {}
        self.questions: list[tuple[str, dict[str, float]]] = []

    def add_document(self, id: str, text: str) -> None:
        path = f"documents/{id}.txt"
        self.files[path] = text
        self.texts[id] = text
        self.item_of[path, None] = id

    def add_conversation(self, id: str, turns: dict[str, Any]) -> None:
        """A file a session: its date as the heading, then a line a turn."""
        sessions: dict[str, list[tuple[str, str]]] = {}
        for turn, said in turns.items():
            sessions.setdefault(said["date"], []).append((turn, said["text"]))
        for number, (date, said) in enumerate(sessions.items(), 1):
            path = f"conversations/{id}/session-{number}.md"
            lines = [f"# {date}", ""]
            for turn, text in said:
                lines.append(" ".join(text.split()))
                self.texts[f"{id}/{turn}"] = text
                self.item_of[path, len(lines)] = f"{id}/{turn}"
            self.files[path] = "\n".join(lines)


class Searcher:
    """A workspace that holds a collection, its index complete."""

    def __init__(
        self,
        collection: Collection,
        folder: str,
        open_store: Callable[[str], Store],
        model: str | None = None,
    ) -> None:
        self.collection = collection
        blobs = BlobStore(os.path.join(folder, "blobs"))
        self.store = open_store(folder)
        settings = SearchSettings(embedding_model=model)
        self.engine = Engine(self.store, blobs, Limits(), lambda: settings)
        self.search: SearchService = self.engine.search
        calls = [
            self.engine.prepare(
                "file.put",
                {"path": path, "content": blobs.put_bytes(text.encode())},
                "default",
                "benchmark",
            )
            for path, text in collection.files.items()
        ]
        if self.engine.call("workspace.show")["object_count"] < len(calls):
            for start in range(0, len(calls), 500):
                self.engine.call_many(calls[start : start + 500])
        while self.engine.call("index.update")["pending"]:
            pass
        self.id = self.store.read(lambda tx: tx.workspaces.by_name("default")["id"])
        self.items = self._items()
        self.vectors = self._embedded([q for q, _ in collection.questions])
        self._plain = plain_fts(collection.texts)
        self._inverted_index: InvertedIndex | None = None

    def lexical(self, tx: Tx, query: str, weight: float) -> Matches:
        terms = analysis.analyze_query(query)
        if self._inverted_index is None:
            self._inverted_index = InvertedIndex(tx, self.id, tx.search.index(self.id), None)
        return self._inverted_index.search(tx, self.id, terms, weight, None, ranking.CANDIDATES_MAX)

    def nearest(self, tx: Tx, query: str) -> tuple[Any, Any]:
        index = tx.search.index(self.id)
        return self.search.cosines(tx.search.vectors, self.id, index, self.vectors[query])

    def prepared(self, query: str) -> PreparedQuery:
        return PreparedQuery(self.vectors[query], self.search.embedder().name)

    def plain(self, query: str) -> list[str]:
        """FTS5 over whole items, nothing else: the baseline."""
        expression = " OR ".join(f'"{word}"' for word in analysis.keywords(query))
        if not expression:
            return []
        rows = self._plain.execute(
            "select id from items where items match ? order by rank limit ?", (expression, DEPTH)
        )
        return [row[0] for row in rows]

    def ranking(self, ids: list[int]) -> list[str]:
        """Passages as items, each where its best passage stands."""
        return list(dict.fromkeys(self.items[id] for id in ids if id in self.items))

    def _items(self) -> dict[int, str]:
        def read(tx: Tx) -> dict[int, str]:
            items = {}
            for row in tx.search._db.all("select id, path, line from passages"):
                item = self.collection.item_of.get((row["path"], None))
                item = item or self.collection.item_of.get((row["path"], row["line"]))
                if item is not None:
                    items[row["id"]] = item
            return items

        return self.store.read(read)

    def _embedded(self, queries: list[str]) -> dict[str, Any]:
        embedder = self.search.embedder()
        vectors = {}
        for start in range(0, len(queries), 64):
            batch = queries[start : start + 64]
            vectors.update(zip(batch, embedder.encode(batch), strict=True))
        return vectors


Variant = Callable[[Searcher, Tx, str], list[str]]


def full(s: Searcher, tx: Tx, query: str) -> list[str]:
    index = tx.search.index(s.id)
    found = s.search.rank(tx, s.id, index, query, s.prepared(query), {})
    return s.ranking([c.id for c in found])


def meaning_alone(s: Searcher, tx: Tx, query: str) -> list[str]:
    ids, cosines = s.nearest(tx, query)
    return s.ranking(ids[(-cosines).argsort()[:DEPTH]].tolist())


def reciprocal(s: Searcher, tx: Tx, query: str) -> list[str]:
    scores: dict[str, float] = {}
    for ranked in (s.plain(query), meaning_alone(s, tx, query)):
        for place, item in enumerate(ranked, 1):
            scores[item] = scores.get(item, 0) + 1 / (RRF_K + place)
    return sorted(scores, key=lambda item: -scores[item])


def lexical(s: Searcher, tx: Tx, query: str) -> list[str]:
    return s.ranking(s.lexical(tx, query, ranking.CONTEXT_WEIGHT)[0])


def without_context(s: Searcher, tx: Tx, query: str) -> list[str]:
    matches = s.lexical(tx, query, 0)
    return s.ranking([c.id for c in ranking.fuse(matches, *s.nearest(tx, query))])


def without_neighbours(s: Searcher, tx: Tx, query: str) -> list[str]:
    with changed("ADJACENT_WEIGHT", 0.0):
        return full(s, tx, query)


def without_weight(s: Searcher, tx: Tx, query: str) -> list[str]:
    with changed("SEMANTIC_WEIGHT", 1.0):
        return full(s, tx, query)


@contextmanager
def changed(name: str, value: float) -> Iterator[None]:
    before = getattr(ranking, name)
    setattr(ranking, name, value)
    try:
        yield
    finally:
        setattr(ranking, name, before)


def plain_fused(s: Searcher, tx: Tx, query: str) -> list[str]:
    """Context in the words, ranks instead of scores."""
    scores: dict[str, float] = {}
    for ranked in (lexical(s, tx, query), meaning_alone(s, tx, query)):
        for place, item in enumerate(ranked, 1):
            scores[item] = scores.get(item, 0) + 1 / (RRF_K + place)
    return sorted(scores, key=lambda item: -scores[item])


VARIANTS: dict[str, Variant] = {
    "FTS5 alone": lambda s, tx, query: s.plain(query),
    "the model alone": meaning_alone,
    "FTS5 + model, RRF": reciprocal,
    "fastio": full,
    "- meaning (lexical mode)": lexical,
    "- context column": without_context,
    "- neighbours": without_neighbours,
    "- semantic weight": without_weight,
    "- scores (RRF of both)": plain_fused,
}


def covered(share: float, is_spread: bool) -> Variant:
    """As ``full`` while only a share of the passages have vectors: the first, or every n-th."""

    def variant(s: Searcher, tx: Tx, query: str) -> list[str]:
        ids, cosines = s.nearest(tx, query)
        count = round(len(ids) * share)
        kept = slice(count)
        if is_spread:
            kept = [i for i in range(len(ids)) if int((i + 1) * share) > int(i * share)]
        matches = s.lexical(tx, query, ranking.CONTEXT_WEIGHT)
        return s.ranking([c.id for c in ranking.fuse(matches, ids[kept], cosines[kept])])

    return variant


COVERAGE: dict[str, Variant] = {
    "FTS5 alone": VARIANTS["FTS5 alone"],
    "words alone (lexical mode)": lexical,
    **{
        f"{share:.0%} of the vectors{', spread' if is_spread else ''}": covered(share, is_spread)
        for share in (0, 0.1, 0.25, 0.5, 0.75, 0.9, 1)
        for is_spread in (False, True)
        if not (is_spread and share in (0, 1))
    },
}


def plain_fts(texts: dict[str, str]) -> sqlite3.Connection:
    sql = sqlite3.connect(":memory:")
    sql.execute("create virtual table items using fts5(id unindexed, body, tokenize='porter')")
    sql.executemany("insert into items values (?, ?)", texts.items())
    return sql


def collections(folder: str) -> Iterator[list[Collection]]:
    """The sets of a folder; a set may be several collections whose figures are averaged."""
    for file in sorted(glob.glob(os.path.join(folder, "*.json.gz"))):
        name = os.path.basename(file).removesuffix(".json.gz")
        with gzip.open(file) as f:
            data = json.load(f)
        if isinstance(data, list):
            yield [conversation(c, f"{name} {c['id']}") for c in data]
            yield [pooled(data, f"{name} pooled")]
        else:
            yield [documents(data, name)]


def conversation(data: dict[str, Any], name: str) -> Collection:
    collection = Collection(name)
    collection.add_conversation(data["id"], data["turns"])
    collection.questions = list(questions(data))
    return collection


def pooled(data: list[dict[str, Any]], name: str) -> Collection:
    collection = Collection(name)
    for c in data:
        collection.add_conversation(c["id"], c["turns"])
        collection.questions += questions(c)
    return collection


def questions(data: dict[str, Any]) -> Iterator[tuple[str, dict[str, float]]]:
    for qa in data["qa"]:
        evidence = [turn for turn in qa["ev"] if turn in data["turns"]]
        if qa["cat"] in (1, 2, 3, 4) and evidence:
            yield qa["q"], {f"{data['id']}/{turn}": 1 for turn in evidence}


def documents(data: dict[str, Any], name: str) -> Collection:
    collection = Collection(name)
    for id, text in data["corpus"].items():
        collection.add_document(id, text)
    for id, query in data["queries"].items():
        relevant = {d: float(r) for d, r in data["qrels"].get(id, {}).items() if r > 0}
        if relevant:
            collection.questions.append((query, relevant))
    return collection


def figures(ranking: list[str], relevant: dict[str, float]) -> list[float]:
    """nDCG@10, Recall@5, Recall@10 and the reciprocal rank of the first relevant item."""
    gains = sorted(relevant.values(), reverse=True)[:10]
    ideal = sum(gain / math.log2(i + 2) for i, gain in enumerate(gains))
    gained = sum(relevant.get(d, 0) / math.log2(i + 2) for i, d in enumerate(ranking[:10]))
    first = next((1 / (i + 1) for i, d in enumerate(ranking) if d in relevant), 0.0)
    recall = [len(relevant.keys() & ranking[:n]) / len(relevant) for n in (5, 10)]
    return [gained / ideal, *recall, first]


def measured(searchers: list[Searcher], variant: Variant) -> list[float]:
    rows = []
    for s in searchers:
        for query, relevant in s.collection.questions:
            ranking = s.store.read(lambda tx, s=s, query=query: variant(s, tx, query))
            rows.append(figures(ranking, relevant))
    return [sum(column) / len(rows) for column in zip(*rows, strict=True)]


def postgres(vectors: str) -> Callable[[str], Store]:
    """Opens stores of a server of their own, each a namespace in it."""
    from fastio_cli.storage.postgres import search as postgres_search
    from fastio_cli.storage.postgres.store import PostgresStore
    from tests.postgres import new_namespace, server_url

    if vectors == "blocks":
        postgres_search.create_vector_table = lambda raw: None
    return lambda folder: PostgresStore(new_namespace(server_url() or ""))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True, help="the folder of the retrieval sets")
    parser.add_argument("--keep", help="keep the indexed stores in this folder")
    parser.add_argument("--only", default="", help="only sets whose name holds this")
    parser.add_argument("--model", help="an embedding model other than all-MiniLM-L6-v2")
    parser.add_argument(
        "--coverage", action="store_true", help="while only a part of the vectors are there"
    )
    parser.add_argument("--postgres", choices=["pgvector", "blocks"], help="rank with PostgreSQL")
    options = parser.parse_args()
    prepare()
    open_store = postgres(options.postgres) if options.postgres else SqliteStore
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or temporary
        for group in collections(options.data):
            if options.only not in group[0].name:
                continue
            searchers = [
                Searcher(
                    c, os.path.join(folder, c.name.replace(" ", "-")), open_store, options.model
                )
                for c in group
            ]
            count = sum(len(s.collection.questions) for s in searchers)
            print(
                f"\n{group[0].name}{f' and {len(group) - 1} more' if len(group) > 1 else ''}: "
                f"{count} questions, {sum(len(s.items) for s in searchers)} passages"
            )
            print(f"{'':28}nDCG@10  R@5   R@10   MRR")
            for name, variant in (COVERAGE if options.coverage else VARIANTS).items():
                line = "  ".join(f"{value:.3f}" for value in measured(searchers, variant))
                print(f"{name:28}{line}", flush=True)


if __name__ == "__main__":
    main()
