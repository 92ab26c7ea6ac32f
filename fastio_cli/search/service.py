"""Search as operations use it: preparing a query, ranking, and what is made of the hits.

What is slow (indexing, the embedding model, the network) is in :meth:`SearchService.prepare` and
:meth:`SearchService.update`, which run outside any transaction; ranking runs on one snapshot.
"""

from __future__ import annotations

import time

from fastio_cli.errors import FastioError
from fastio_cli.search import analysis, ranking
from fastio_cli.search.document_change import analyze
from fastio_cli.search.hits import SearchHit
from fastio_cli.search.index_cache import IndexCache
from fastio_cli.search.indexer import Indexer, is_embedded, is_up_to_date
from fastio_cli.storage.repositories.vectors import EXACT_KNN_PASSAGES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.config.settings import SearchSettings
    from fastio_cli.search.answering import GroundedAnswer, History
    from fastio_cli.search.context_pack import ContextPack, TokenCounter
    from fastio_cli.search.document_change import Analyze
    from fastio_cli.search.embedding import Embedder
    from fastio_cli.search.inverted_index import Matches
    from fastio_cli.search.ranking import Candidate
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.postgres.vectors import PgVectors
    from fastio_cli.storage.repositories.search import Vectors
    from fastio_cli.storage.search_rows import HitRow, IndexRow
    from fastio_cli.storage.tx import Tx

    Vector = NDArray[np.float32]
    # Ids, ascending, and the cosine of each.
    Neighbours = tuple[NDArray[np.int64], NDArray[np.float32]]

COPIED = "The store cannot be written, so its index was completed for this search alone."
EMBED_S_MAX = 1.0  # how long a query waits for vectors of what was just written


class PreparedQuery:
    """What a query needs that was computed outside its transaction.

    Without a ``vector`` it is searched by words alone, and ``note`` says why if that was not asked
    for. ``pending`` is the number of passages that have no vector yet.
    """

    def __init__(
        self,
        vector: Vector | None = None,
        model: str | None = None,
        pending: int = 0,
        note: str | None = None,
    ) -> None:
        self.vector = vector
        self.model = model
        self.pending = pending
        self.note = note


class SearchService:
    """Search in the workspaces of a store, with one embedding model and one cache of indexes."""

    def __init__(self, blobs: BlobStore, settings: SearchSettings) -> None:
        self.settings = settings
        #: Reads and analyses an object; a server has it done in another process.
        self.analyze: Analyze = analyze
        self._blobs = blobs
        self._embedder: Embedder | None = None
        self._is_opened = False
        self._token_counter: TokenCounter | None = None
        self._cache = IndexCache()

    # Preparing queries

    def try_prepare(
        self, index: IndexRow | None, seq: int, query: str, mode: str
    ) -> PreparedQuery | None:
        """Prepare a query within its transaction, if that takes only milliseconds: the index is up
        to date and the model is loaded. Otherwise None."""
        if not is_up_to_date(index, seq):
            return None
        if mode == "lexical":
            return PreparedQuery()
        embedder = self._embedder
        if embedder is None or not embedder.is_loaded or not is_embedded(index, embedder.name):
            return None
        return PreparedQuery(embedder.encode([query], query=True)[0], embedder.name)

    def prepare(
        self,
        store: Store,
        workspace_id: int,
        index: IndexRow | None,
        seq: int,
        query: str,
        mode: str,
    ) -> PreparedQuery:
        """Bring the index up to date, its vectors as far as a second allows, and embed the query.

        ``index`` is the index's row and ``seq`` the workspace's last event when the query came:
        what was done by then is not looked at again. If the model is not installed, or its endpoint
        does not answer, the query is searched by words alone; in mode ``semantic`` that raises
        ``unavailable``. Where the store cannot be written, the index is used as it stands.
        """
        indexer = Indexer(store, self._blobs, workspace_id, self.analyze)
        if mode == "lexical":
            note = self._update(indexer, index, seq)
            return PreparedQuery(note=note or (COPIED if store.is_copy else None))
        try:
            embedder = self.embedder()
            if embedder is None:
                from fastio_cli.search.embedding import model_missing

                raise model_missing(self.settings)
            vector = embedder.encode([query], query=True)[0]
            pending = 0
            if not (is_up_to_date(index, seq) and is_embedded(index, embedder.name)):
                indexer.update()
                pending = indexer.embed(embedder, time.monotonic() + EMBED_S_MAX)
        except FastioError as e:
            if e.code not in ("unavailable", "forbidden") or mode == "semantic":
                raise
            stale = self._update(indexer, index, seq) or ""
            note = f"Searched by words only: {e.message} {stale or e.hint}"
            return PreparedQuery(note=note)
        return PreparedQuery(vector, embedder.name, pending, COPIED if store.is_copy else None)

    def _update(self, indexer: Indexer, index: IndexRow | None, seq: int) -> str | None:
        """Bring an index up to date; if the store cannot be written, what that leaves out."""
        if is_up_to_date(index, seq):
            return None
        try:
            indexer.update()
        except FastioError as e:
            if e.code != "forbidden":
                raise
            missing = seq - (index["seq"] if index is not None else 0)
            return f"The store cannot be written: its last {missing:,} events are not searched."
        return None

    # Maintaining indexes

    def update(self, store: Store, workspace_id: int, seconds: float) -> None:
        """Index for a while."""
        deadline = time.monotonic() + seconds
        indexer = Indexer(store, self._blobs, workspace_id, self.analyze)
        embedder = self.embedder()
        if indexer.update(deadline) and embedder is not None:
            indexer.embed(embedder, deadline)

    def build_ann_index(self, store: Store, workspace_id: int) -> None:
        """Have the store build its approximate index once all passages have vectors."""
        index = store.read(lambda tx: tx.search.index(workspace_id))
        if index is not None and index["embedded_id"] >= index["next_id"] - 1:
            store.build_ann_index(workspace_id)

    def clear(self, store: Store, workspace_id: int) -> None:
        """Drop the index of a workspace."""
        Indexer(store, self._blobs, workspace_id).clear()

    def disable(self, store: Store, workspace_id: int) -> None:
        """Stop indexing a workspace, then drop its index."""
        store.write(lambda tx: tx.search.invalidate(workspace_id, False))
        self.clear(store, workspace_id)

    # Models

    def embedder(self) -> Embedder | None:
        """The embedding model, None if it is not installed."""
        if not self._is_opened:
            from fastio_cli.search.embedding import open_embedder

            self._embedder = open_embedder(self.settings)
            self._is_opened = True
        return self._embedder

    def warm(self) -> bool:
        """Load the model before the first query needs it. False if there is none."""
        embedder = self.embedder()
        if embedder is not None and not self.settings.embedding_url:
            embedder.encode(["warm"])
        return embedder is not None

    @property
    def token_counter(self) -> TokenCounter:
        """Counts the tokens of context packs."""
        if self._token_counter is None:
            from fastio_cli.search.context_pack import TokenCounter

            self._token_counter = TokenCounter()
        return self._token_counter

    # Searching

    def query_terms(self, query: str) -> list[str]:
        """The terms that a query is searched by."""
        return analysis.analyze_query(query)

    def rank(
        self,
        tx: Tx,
        workspace_id: int,
        index: IndexRow | None,
        query: str,
        prepared: PreparedQuery,
        filters: dict[str, object],
        *,
        lexical: bool = True,
    ) -> list[Candidate]:
        """The passages that answer best, best first. ``index`` is the index's row."""
        if index is None:
            return []
        allowed = tx.search.filtered_ids(workspace_id, filters) if filters else None
        matches: Matches = ([], [])
        if lexical and (terms := analysis.analyze_query(query)):
            inverted_index = self._cache.inverted_index(tx, workspace_id, index)
            matches = inverted_index.search(
                tx, workspace_id, terms, ranking.CONTEXT_WEIGHT, allowed, ranking.CANDIDATES_MAX
            )
        if prepared.vector is None or index["model"] != prepared.model:
            return ranking.rank_lexical(matches)
        vectors = tx.search.vectors
        if vectors.supports_knn and index["passage_count"] > EXACT_KNN_PASSAGES_MAX:
            count = index["passage_count"]
            neighbours = _knn_in_database(
                vectors, workspace_id, count, prepared.vector, allowed, matches[0]
            )
        else:
            cosines = self.cosines(vectors, workspace_id, index, prepared.vector)
            neighbours = _only_allowed(cosines, allowed)
        return ranking.fuse(matches, *neighbours)

    def cosines(
        self, vectors: Vectors, workspace_id: int, index: IndexRow, vector: Vector
    ) -> Neighbours:
        """The cosines of all passages, computed in memory."""
        cache = self._cache.vectors(vectors, workspace_id, index)
        if cache.dimension not in (None, len(vector)):
            raise FastioError("internal", "The index has vectors of another dimension.")
        return cache.ids, cache.cosines(vector)

    def hits(
        self,
        tx: Tx,
        workspace_id: int,
        candidates: list[Candidate],
        limit: int,
        *,
        merge: bool = True,
    ) -> list[SearchHit]:
        """The hits of the best candidates; ``merge`` makes adjacent passages one hit."""
        hits: list[SearchHit] = []
        hit_of: dict[int, SearchHit] = {}
        step = 2 * limit if merge else limit
        for start in range(0, len(candidates), step):
            some = candidates[start : start + step]
            rows = {r["id"]: r for r in tx.search.passages(workspace_id, [c.id for c in some])}
            hits = _add_hits(hits, hit_of, some, rows, merge)
            if len(hits) >= limit:
                break
        return hits[:limit]

    def rescore_across(self, hits: list[SearchHit], terms: set[str]) -> None:
        """Give hits of several workspaces, for a query with these terms, scores that compare."""
        counts = [len(hit.matched_terms(terms)) for hit in hits]
        ranking.rescore_across([hit.candidate for hit in hits], counts)

    def filter_relevant(self, hits: list[SearchHit]) -> list[SearchHit]:
        """The hits that match a term of the query, or come near it in meaning."""
        embedder = self.embedder()
        cosine_min = embedder.relevant_min if embedder is not None else None
        return [
            hit
            for hit in hits
            if hit.candidate.bm25 is not None
            or cosine_min is None
            or (hit.candidate.cosine or 0) >= cosine_min
        ]

    def explain(
        self, query: str, prepared: PreparedQuery, filters: dict[str, object], candidates: int
    ) -> dict[str, object]:
        """How a query was ranked."""
        return {
            "terms": analysis.keywords(query),
            "context_weight": ranking.CONTEXT_WEIGHT,
            "semantic_weight": ranking.SEMANTIC_WEIGHT,
            "neighbour_weight": ranking.ADJACENT_WEIGHT,
            "fusion": "sum of standardised BM25 and cosine",
            "model": prepared.model,
            "filters": filters,
            "candidates": candidates,
        }

    # Answers and context packs

    def contextual_query(self, question: str, history: History) -> str:
        """What to search for when a question follows others."""
        from fastio_cli.search import answering

        return answering.contextual_query(question, history)

    def deduplicate(self, hits: list[SearchHit]) -> list[SearchHit]:
        """The first of all hits that have the same text."""
        from fastio_cli.search import answering

        return answering.deduplicate(hits)

    def answer(
        self,
        question: str,
        hits: list[SearchHit],
        history: History,
        on_chunk: Callable[[str], None] | None,
    ) -> GroundedAnswer:
        """Answer a question from these hits; ``on_chunk`` gets a model's sentences as they
        come."""
        from fastio_cli.search import answering

        if self.settings.chat_url:
            return answering.generate(question, hits, history, self.settings, on_chunk)
        query = answering.contextual_query(question, history)
        return answering.extract(query, hits, self.embedder())

    def pack(
        self, summary: tuple[str, str] | None, hits: list[SearchHit], budget: int
    ) -> ContextPack:
        """A context pack of these hits."""
        from fastio_cli.search.context_pack import pack

        return pack(summary, hits, budget, self.token_counter)


def _knn_in_database(
    vectors: PgVectors,
    workspace_id: int,
    count: int,
    vector: Vector,
    allowed: Sequence[int] | None,
    matched_ids: list[int],
) -> Neighbours:
    """The nearest neighbours and the lexical matches, with the cosines that the database finds."""
    import numpy as np

    query = vector.tolist()
    rows = vectors.nearest(workspace_id, query, allowed, ranking.CANDIDATES_MAX, count)
    cosines = {row["id"]: row["cosine"] for row in rows}
    if missing := [id for id in matched_ids if id not in cosines]:
        rows = vectors.cosines(workspace_id, query, missing)
        cosines.update((row["id"], row["cosine"]) for row in rows)
    ids = np.array(sorted(cosines), np.int64)
    return ids, np.array([cosines[id] for id in ids.tolist()], np.float32)


def _only_allowed(neighbours: Neighbours, allowed: Sequence[int] | None) -> Neighbours:
    import numpy as np

    if allowed is None:
        return neighbours
    ids, cosines = neighbours
    is_allowed = np.isin(ids, np.array(allowed, np.int64))
    return ids[is_allowed], cosines[is_allowed]


def _add_hits(
    hits: list[SearchHit],
    hit_of: dict[int, SearchHit],
    candidates: list[Candidate],
    rows: dict[int, HitRow],
    merge: bool,
) -> list[SearchHit]:
    """Hits with those of further candidates, which score lower; ``hit_of`` has them by passage."""
    for candidate in candidates:
        row = rows.get(candidate.id)
        if row is None:
            continue
        hit = SearchHit(row, candidate)
        adjacent = [hit_of.get(candidate.id - 1), hit_of.get(candidate.id + 1)] if merge else []
        for other in adjacent:
            if other is not None and other.can_merge(hit):
                hit = other.merge(hit)
        if hit.candidate is candidate:
            hits.append(hit)
        hits = [h for h in hits if h is hit or h.rows[0] not in hit.rows]
        hit_of.update((row["id"], hit) for row in hit.rows)
    return hits
