"""How fast search is: queries cold and warm, indexing, how it holds writers up, what HNSW finds.

Run with the Python of the environment that fastio is installed in, with the extras ``search`` and
``test``: .venv/bin/python benchmarks/search_speed.py. Passages are made up, and so are most of the
vectors: what is measured does not depend on what they say. Warm queries have budgets in
milliseconds, for a quiet machine; the CPU time of the process that asks is noted beside them.
"""

from __future__ import annotations

import gc
import json
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from harness import FASTIO, Budget, arguments, run, run_parts, seconds_of

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.search.document_change import DocumentChange, analyze
from fastio_cli.search.index_transaction import IndexTransaction
from fastio_cli.search.indexer import BATCH_EVENTS_MAX, INDEX_FORMAT, LOCK_S_MAX, Indexer
from fastio_cli.storage.contract import Store
from fastio_cli.storage.sqlite.store import SqliteStore
from fastio_cli.storage.tx import Tx

QUERY = "what did word17 decide about word4711?"
NOUNS = [f"word{i}" for i in range(5000)]
CENTRES = 1000
WORDS = 30
HOLD_LIMIT_MS = 50
MODEL_ALONE = """
import numpy
from fastio_cli.search.embedding import MiniLMEmbedder
MiniLMEmbedder().encode(["what did we decide about pricing?"])
"""


def postgres_store(folder: str) -> Store:
    from fastio_cli.storage.postgres.store import PostgresStore
    from tests.postgres import new_namespace, server_url

    return PostgresStore(new_namespace(server_url() or ""))


STORES: dict[str, Callable[[str], Store]] = {"sqlite": SqliteStore, "postgres": postgres_store}


class Filled:
    """A store with an index of small state objects, and vectors that gather around centres.

    The objects themselves are not in the store: their changes are applied as the indexer does.
    """

    def __init__(self, kind: str, folder: str, count: int) -> None:
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here
        self.store = STORES[kind](folder)
        blobs = BlobStore(os.path.join(folder, "blobs"))
        self.engine = Engine(self.store, blobs, Limits())
        self.held_ms: list[float] = []
        self._draw = random.Random(7)
        self._indexer = Indexer(self, blobs, 1)
        self.store.write(lambda tx: tx.search.create(1, INDEX_FORMAT))
        started = time.process_time()
        for start in range(0, count, BATCH_EVENTS_MAX):
            changes = [self._change(i) for i in range(start, min(start + BATCH_EVENTS_MAX, count))]
            while changes:
                changes = changes[self.write(partial(self._enter, changes=changes)) :]
            while self._indexer._maintain():
                pass
        self.cpu_seconds = time.process_time() - started
        self._embed()
        self.store.build_ann_index(1)

    def read(self, work: Callable[[Tx], Any]) -> Any:
        return self.store.read(work)

    def write(self, work: Callable[[Tx], Any]) -> Any:
        """A write of the store that notes how long it held other writers up."""

        def timed(tx: Tx) -> Any:
            started = time.thread_time()
            try:
                return work(tx)
            finally:
                self.held_ms.append((time.thread_time() - started) * 1000)

        return self.store.write(timed)

    def query(self, number: int, **params: Any) -> Any:
        return self.engine.call("search.query", {"query": f"{QUERY} word{number}", **params})

    @staticmethod
    def memory_mib() -> float:
        """The most that this process had since the store before was closed."""
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024

    def _change(self, number: int) -> DocumentChange:
        head = {"kind": "state", "version": 1, "updated_at": 0}
        text = " ".join(self._draw.choices(NOUNS, k=WORDS))
        change = DocumentChange(
            f"{number % 50}/{number}.json", head, None, json.dumps(text).encode()
        )
        change.analyze(analyze)
        return change

    def _enter(self, tx: Tx, changes: list[DocumentChange]) -> int:
        """Apply as many changes as there is time for; how many."""
        transaction = IndexTransaction.begin(tx, 1)
        assert transaction is not None
        deadline = time.monotonic() + LOCK_S_MAX
        entered = 0
        for change in changes:
            entered += 1
            if not transaction.apply(change, deadline):
                break
        transaction.save()
        return entered

    def _embed(self) -> None:
        embedder = self.engine.search.embedder()
        assert embedder is not None
        noise = np.random.default_rng(7)
        self.centres = noise.normal(size=(CENTRES, 384))

        def add(tx: Tx) -> bool:
            transaction = IndexTransaction.begin(tx, 1)
            assert transaction is not None
            ids = [row["id"] for row in tx.search.unembedded_passages(1, 1024)]
            if not ids:
                return False
            rows = self.centres[noise.integers(CENTRES, size=len(ids))] + noise.normal(
                size=(len(ids), 384)
            )
            rows /= np.linalg.norm(rows, axis=1, keepdims=True)
            largest = np.abs(rows).max(1, keepdims=True)
            codes = np.rint(rows / largest * 127).astype(np.int8).tobytes()
            scales = (largest[:, 0] / 127).astype(np.float32).tobytes()
            tx.search.vectors.add(1, ids, scales, codes, transaction.revision)
            transaction.index |= {"embedded_id": ids[-1], "model": embedder.name}
            transaction.save()
            return True

        while self.store.write(add):
            pass


def cold(folder: str, quick: bool) -> Iterator[Budget]:
    """Whole processes on 10,000 passages of the embedded store."""
    Filled("sqlite", folder, 10_000)
    python = [sys.executable, "-c"]
    query = [FASTIO, "query", QUERY, "--store", folder]
    commands = {
        "pass": [*python, "pass"],
        "model": [*python, MODEL_ALONE],
        "hybrid": query,
        "lexical": [*query, "--mode", "lexical"],
        "context": [FASTIO, "context", QUERY, "--store", folder],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(5 if quick else 15):
        for name, argv in commands.items():
            times[name].append(run(argv, folder).seconds)
    median = {name: statistics.median(values) for name, values in times.items()}
    yield Budget(
        "cold query, 10,000 passages / model alone", median["hybrid"] / median["model"], 1.5
    )
    yield Budget("cold lexical query / python -c pass", median["lexical"] / median["pass"], 8)
    yield Budget("cold context pack / cold query", median["context"] / median["hybrid"], 1.3)


def warm(folder: str, quick: bool) -> Iterator[Budget]:
    """Queries in a process that has asked before, as a server's."""
    sizes = {10_000: 10.0, 100_000: 40.0}
    if not quick:
        sizes[1_000_000] = 400.0
    for kind in STORES:
        for count, limit_ms in sizes.items():
            filled = Filled(kind, os.path.join(folder, f"{kind}-{count}"), count)
            yield from _held(filled, kind, count)
            for number in range(5):
                filled.query(number)
            started = time.process_time()
            median_s = statistics.median(timed_queries(filled, 40))
            note = f"{(time.process_time() - started) / 40 * 1000:.1f} ms CPU of its process"
            name = f"{kind}: warm query, {count:,} passages, median"
            yield Budget(name, median_s * 1000, limit_ms, "ms", note=note)
            if kind == "postgres" and count > 20_000:
                yield from _recall(filled)
            filled.store.close()


def timed_queries(filled: Filled, count: int) -> list[float]:
    return [seconds_of(partial(filled.query, number)) for number in range(count)]


def _held(filled: Filled, kind: str, count: int) -> Iterator[Budget]:
    name = f"{kind}: longest hold while indexing {count:,}, CPU"
    note = f"{count / filled.cpu_seconds:,.0f} objects for a second of CPU"
    yield Budget(name, max(filled.held_ms), HOLD_LIMIT_MS, "ms", note=note)
    memory = Filled.memory_mib()
    yield Budget(f"{kind}: memory, {count:,} passages", memory, 400 + count / 1000, "MiB")


def _recall(filled: Filled) -> Iterator[Budget]:
    """What HNSW finds of the ten nearest, of all and of a filter that lets 2 % through; for
    questions that lie where passages do."""
    noise = np.random.default_rng(11)
    vectors = filled.centres[noise.integers(CENTRES, size=50)] + noise.normal(size=(50, 384))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    for name, filters in (("all", {}), ("2 %", {"path": "7/*"})):
        shares = []
        for vector in vectors.tolist():
            found, exact = filled.store.read(partial(_both_ways, vector=vector, filters=filters))
            best = {row["id"] for row in exact}
            nearest = sorted(found, key=lambda row: -row["cosine"])[:10]
            shares.append(len(best & {row["id"] for row in nearest}) / len(best))
        yield Budget(f"postgres: recall of HNSW, {name}", statistics.mean(shares), 0.97, "", True)


def _both_ways(tx: Tx, vector: list[float], filters: dict[str, object]) -> tuple[Any, Any]:
    allowed = tx.search.filtered_ids(1, filters) if filters else None
    vectors = tx.search.vectors
    assert vectors.supports_knn
    return vectors.nearest(1, vector, allowed, 10, 10**6), vectors.cosines(1, vector, allowed, 10)


def indexing(folder: str, quick: bool) -> Iterator[Budget]:
    """Everything, from objects to vectors, against the model alone over the same texts."""
    draw = random.Random(3)
    texts = [" ".join(draw.choices(NOUNS, k=60)) for _ in range(256 if quick else 1024)]
    for kind in STORES:
        store = STORES[kind](os.path.join(folder, kind))
        engine = Engine(store, BlobStore(os.path.join(folder, kind, "blobs")), Limits())
        for i, text in enumerate(texts):
            engine.call("state.set", {"path": f"{i}.json", "value": text})
        embedder = engine.search.embedder()
        assert embedder is not None
        embedder.encode(texts[:32])
        started = time.process_time()
        for start in range(0, len(texts), 32):
            embedder.encode(texts[start : start + 32])
        raw = time.process_time() - started
        started = time.process_time()
        indexer = Indexer(store, engine.blobs, 1)
        indexer.update()
        indexer.embed(embedder)
        whole = time.process_time() - started
        name = f"{kind}: indexing speed / the model's alone, CPU"
        yield Budget(name, raw / whole, 0.5, "x", True)
        store.close()


if __name__ == "__main__":
    raise SystemExit(
        run_parts(
            arguments(__doc__ or "").parse_args(),
            {"cold": cold, "warm": warm, "indexing": indexing},
        )
    )
