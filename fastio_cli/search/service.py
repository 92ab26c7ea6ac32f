"""Searching as operations use it: the index brought up to date, the query's vector, the ranking.

What is slow (reading the log, the model, the network) is in :meth:`Search.prepare` and
:meth:`Search.update`, which run outside any transaction; ranking runs on one snapshot.
"""

from __future__ import annotations

import time
from _thread import allocate_lock  # threading costs a millisecond to import

from fastio_cli.errors import FastioError
from fastio_cli.search import analysis as words
from fastio_cli.search import ranking as rank
from fastio_cli.search.indexer import Index, has_embedded, has_read
from fastio_cli.search.inverted_index import Lexicon
from fastio_cli.storage.repositories.vectors import EXACT_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.config.settings import SearchSettings
    from fastio_cli.search.answering import Reply
    from fastio_cli.search.context_pack import Counter, Pack
    from fastio_cli.search.embedding import Embedder
    from fastio_cli.search.ranking import Candidate
    from fastio_cli.search.vector_cache import Matrix
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.postgres.search import PgVectors
    from fastio_cli.storage.repositories.vectors import Vectors
    from fastio_cli.storage.tx import Tx

VECTORS_S_MAX = 1.0  # how long a query waits for vectors of what was just written
PASSAGES_KEPT_MAX = 1_000_000  # of other workspaces than the one that is searched
MERGED_SHARE_MIN = 0.5  # of the best one's score, for a neighbour to be shown with it
MERGED_CHARACTERS_MAX = 2400  # of neighbours shown as one place


class Prepared:
    """What a query needs that was found outside its transaction."""

    def __init__(self, vector: Any, model: str | None, pending: int, note: str | None) -> None:
        self.vector = vector
        self.model = model
        self.pending = pending
        self.note = note


class Found:
    """A passage, or several neighbouring ones, with the candidate that scored best."""

    def __init__(self, row: Row, candidate: Candidate) -> None:
        self.rows = [row]
        self.best = row
        self.candidate = candidate

    def takes(self, other: Found) -> bool:
        """Whether a neighbour answers well enough to be shown with this one, as one place."""
        is_near = other.candidate.score >= MERGED_SHARE_MIN * self.candidate.score
        is_small = len(self.text) + len(other.text) <= MERGED_CHARACTERS_MAX
        return is_near and is_small and bool(other.best["page"] == self.best["page"])

    def joined(self, other: Found) -> Found:
        """Both as one, which is the one of them that scored better."""
        first, second = (
            (self, other) if self.candidate.score >= other.candidate.score else (other, self)
        )
        first.rows = sorted([*first.rows, *second.rows], key=lambda row: row["id"])
        return first

    @property
    def text(self) -> str:
        return "\n".join(row["body"] for row in self.rows)

    def highlights(self, stems: set[str]) -> list[list[int]]:
        """The ranges of the text that hold words of a query, which has these stems."""
        return words.places(self.text, stems)


class Search:
    """The embedding model of this process, and the vectors it read last."""

    def __init__(self, blobs: BlobStore, settings: SearchSettings) -> None:
        self.settings = settings
        self._blobs = blobs
        self._embedder: Embedder | None = None
        self._opened = False
        self._counter: Counter | None = None
        self._kept = _Kept()

    def at_hand(self, seen: Row | None, seq: int, query: str, mode: str) -> Prepared | None:
        """What can be had within a read: the index has all there is, and so has the model, which
        takes less time than another transaction would in a database elsewhere."""
        if not has_read(seen, seq):
            return None
        if mode == "lexical":
            return Prepared(None, None, 0, None)
        embedder = self._embedder
        if embedder is None or not embedder.is_at_hand or not has_embedded(seen, embedder.name):
            return None
        return Prepared(embedder.encode([query], query=True)[0], embedder.name, 0, None)

    def prepare(
        self,
        store: Store,
        workspace_id: int,
        seen: Row | None,
        seq: int,
        query: str,
        mode: str,
    ) -> Prepared:
        """Bring the words of the index up to date, its vectors as far as a second allows, and
        embed the query.

        ``seen`` is the index's row, ``seq`` the workspace's last event, when the query came: what
        they say is done already is not looked at. Where the model is not installed, or its endpoint
        does not answer, words have to do; with mode ``semantic`` that raises ``unavailable``.
        """
        index = Index(store, self._blobs, workspace_id)
        if mode == "lexical":
            index.catch_up()
            return Prepared(None, None, 0, None)
        try:
            embedder = self.embedder()
            if embedder is None:
                from fastio_cli.search.embedding import absence

                raise absence(self.settings)
            vector = embedder.encode([query], query=True)[0]
            pending = 0
            if not (has_read(seen, seq) and has_embedded(seen, embedder.name)):
                index.catch_up()
                pending = index.embed(embedder, time.monotonic() + VECTORS_S_MAX)
        except FastioError as e:
            if e.code != "unavailable" or mode == "semantic":
                raise
            index.catch_up()
            return Prepared(None, None, 0, f"Searched by words only: {e.message} {e.hint}")
        return Prepared(vector, embedder.name, pending, None)

    def update(self, store: Store, workspace_id: int, seconds: float) -> bool:
        """Index for a while; True, as what was prepared."""
        deadline = time.monotonic() + seconds
        index = Index(store, self._blobs, workspace_id)
        embedder = self.embedder()
        if index.catch_up(deadline) and embedder is not None:
            index.embed(embedder, deadline)
        return True

    def settle(self, store: Store, workspace_id: int) -> None:
        """Do what a large index needs to be searched fast, once all of it is there."""
        index = store.read(lambda tx: tx.search.index(workspace_id))
        if index is not None and index["embedded_id"] >= index["next_id"] - 1:
            store.build_search_index(workspace_id)

    def warm(self) -> bool:
        """Load the model, if there is one, before somebody waits for it; False if there is none."""
        embedder = self.embedder()
        if embedder is not None and not self.settings.embedding_url:
            embedder.encode(["warm"])
        return embedder is not None

    def clear(self, store: Store, workspace_id: int) -> bool:
        """Drop the index of a workspace; True, as what was prepared."""
        Index(store, self._blobs, workspace_id).clear()
        return True

    def switch_off(self, store: Store, workspace_id: int) -> bool:
        """Keep a workspace from being indexed, then drop its index; True, as what was prepared."""
        store.write(lambda tx: tx.search.outdate(workspace_id, False))
        return self.clear(store, workspace_id)

    def embedder(self) -> Embedder | None:
        """The embedding model, None when there is none."""
        if not self._opened:
            from fastio_cli.search.embedding import open_embedder

            self._embedder = open_embedder(self.settings)
            self._opened = True
        return self._embedder

    @property
    def counter(self) -> Counter:
        """What counts the tokens of context packs."""
        if self._counter is None:
            from fastio_cli.search.context_pack import Counter

            self._counter = Counter()
        return self._counter

    def in_context(self, question: str, history: list[dict[str, Any]]) -> str:
        """What to look for when a question was asked after others."""
        from fastio_cli.search import answering as ask

        return ask.in_context(question, history)

    def distinct(self, found: list[Found]) -> list[Found]:
        """The first of all passages that say the same."""
        from fastio_cli.search import answering as ask

        return ask.distinct(found)

    def answer(
        self,
        question: str,
        found: list[Found],
        history: list[dict[str, Any]],
        on_chunk: Callable[[str], None] | None,
    ) -> Reply:
        """The answer to a question from these passages; ``on_chunk`` gets a model's sentences."""
        from fastio_cli.search import answering as ask

        if self.settings.chat_url:
            return ask.converse(question, found, history, self.settings, on_chunk)
        return ask.extract(ask.in_context(question, history), found, self.embedder())

    def pack(self, summary: tuple[str, str] | None, found: list[Found], budget: int) -> Pack:
        """A context pack of these passages."""
        from fastio_cli.search.context_pack import pack

        return pack(summary, found, budget, self.counter)

    def stems(self, query: str) -> list[str]:
        """What is looked for by words."""
        return list(dict.fromkeys(map(words.stem, rank.terms(query))))

    def candidates(
        self,
        tx: Tx,
        workspace_id: int,
        index: Row | None,
        query: str,
        prepared: Prepared,
        filters: dict[str, object],
        *,
        lexical: bool = True,
    ) -> list[Candidate]:
        """Passages by how well they answer, best first. ``index`` is the index's row."""
        if index is None:
            return []
        allowed = tx.search.filtered_ids(workspace_id, filters) if filters else None
        matches: rank.Matches = ([], [])
        if lexical and (stems := self.stems(query)):
            lexicon = self._kept.lexicon(tx, workspace_id, index)
            matches = lexicon.matches(
                tx, workspace_id, stems, rank.CONTEXT_WEIGHT, allowed, rank.CANDIDATES
            )
        if prepared.vector is None:
            return rank.by_words(matches)
        if index["model"] != prepared.model:
            return rank.fused(matches, *_no_cosines())
        vectors = tx.search.vectors
        if vectors.compares and index["passage_count"] > EXACT_MAX:
            near = self._compared(vectors, workspace_id, index, prepared, allowed, matches[0])
        else:
            near = self._cosines(vectors, workspace_id, index, prepared, allowed)
        return rank.fused(matches, *near)

    def found(
        self,
        tx: Tx,
        workspace_id: int,
        candidates: list[Candidate],
        limit: int,
        *,
        merge: bool = True,
    ) -> list[Found]:
        """The best passages; neighbours among them are one, which stands where its best stood."""
        found: dict[int, Found] = {}
        order: list[Found] = []
        at_once = 2 * limit if merge else limit
        for start in range(0, len(candidates), at_once):
            wanted = candidates[start : start + at_once]
            rows = {r["id"]: r for r in tx.search.passages(workspace_id, [c.id for c in wanted])}
            order = _placed(order, found, wanted, rows, merge)
            if len(order) >= limit:
                break
        return order[:limit]

    def related(self, found: list[Found]) -> list[Found]:
        """Those that bear on the query: they hold a word of it, or come near it in meaning."""
        embedder = self.embedder()
        least = embedder.related_min if embedder is not None else None
        return [
            f
            for f in found
            if f.candidate.bm25 is not None or least is None or (f.candidate.cosine or 0) >= least
        ]

    def explained(
        self, query: str, prepared: Prepared, filters: dict[str, object], candidates: int
    ) -> dict[str, Any]:
        """How a query was ranked."""
        return {
            "terms": rank.terms(query),
            "context_weight": rank.CONTEXT_WEIGHT,
            "semantic_weight": rank.SEMANTIC_WEIGHT,
            "neighbour_weight": rank.NEIGHBOUR_WEIGHT,
            "fusion": "sum of standardised BM25 and cosine",
            "model": prepared.model,
            "filters": filters,
            "candidates": candidates,
        }

    def _compared(
        self,
        vectors: PgVectors,
        workspace_id: int,
        index: Row,
        prepared: Prepared,
        allowed: Sequence[int] | None,
        matched: list[int],
    ) -> tuple[Any, Any]:
        """The cosines of the nearest passages and of those that match, by the store."""
        import numpy as np

        vector = prepared.vector.tolist()
        count = index["passage_count"]
        rows = vectors.nearest(workspace_id, vector, allowed, rank.CANDIDATES, count)
        found = {row["id"]: row["cosine"] for row in rows}
        left = [id for id in matched if id not in found]
        if left:
            rows = vectors.cosines(workspace_id, vector, left)
            found.update((row["id"], row["cosine"]) for row in rows)
        ids = np.array(sorted(found), np.int64)
        return ids, np.array([found[id] for id in ids.tolist()], np.float32)

    def _cosines(
        self,
        vectors: Vectors,
        workspace_id: int,
        index: Row,
        prepared: Prepared,
        allowed: Sequence[int] | None,
    ) -> tuple[Any, Any]:
        """The cosines of all passages that are allowed, from vectors that are held here."""
        import numpy as np

        matrix = self._kept.matrix(vectors, workspace_id, index)
        if matrix.dimension not in (None, len(prepared.vector)):
            raise FastioError("internal", "The index holds vectors of another length.")
        ids, cosines = matrix.ids, matrix.cosines(prepared.vector)
        if allowed is None:
            return ids, cosines
        keep = np.isin(ids, np.array(allowed, np.int64))
        return ids[keep], cosines[keep]


def _placed(
    places: list[Found],
    of: dict[int, Found],
    candidates: list[Candidate],
    rows: dict[int, Row],
    merge: bool,
) -> list[Found]:
    """Places with those of more candidates, which come after them; ``of`` finds a passage's."""
    for candidate in candidates:
        row = rows.get(candidate.id)
        if row is None:
            continue
        one = Found(row, candidate)
        beside = [of.get(candidate.id - 1), of.get(candidate.id + 1)] if merge else []
        for other in beside:
            if other is not None and other.takes(one):
                one = other.joined(one)
        if one.candidate is candidate:
            places.append(one)
        places = [f for f in places if f is one or f.rows[0] not in one.rows]
        of.update((row["id"], one) for row in one.rows)
    return places


class _Kept:
    """What was read of indexes, kept until they change; of the workspaces that were asked last."""

    def __init__(self) -> None:
        self._lexicons: dict[int, Lexicon] = {}
        self._matrices: dict[int, Matrix] = {}
        self._lock = allocate_lock()

    def lexicon(self, tx: Tx, workspace_id: int, index: Row) -> Lexicon:
        """The words of a workspace as they are now."""
        kept = self._lexicons.get(workspace_id)
        if kept is None or kept.revision != index["revision"]:
            kept = Lexicon(tx, workspace_id, index, kept)
        self._keep(self._lexicons, workspace_id, kept)
        return kept

    def matrix(self, vectors: Vectors, workspace_id: int, index: Row) -> Matrix:
        """The vectors of a workspace as they are now."""
        from fastio_cli.search.vector_cache import Matrix

        kept = self._matrices.get(workspace_id)
        if kept is None or kept.revision != index["revision"]:
            kept = Matrix(vectors, workspace_id, index, kept)
        self._keep(self._matrices, workspace_id, kept)
        return kept

    def _keep(self, all_kept: dict[int, Any], workspace_id: int, kept: Lexicon | Matrix) -> None:
        """Keep this; forget those not asked for longest while all hold too much."""
        with self._lock:
            all_kept.pop(workspace_id, None)
            while sum(len(other.ids) for other in all_kept.values()) > PASSAGES_KEPT_MAX:
                all_kept.pop(next(iter(all_kept)))
            all_kept[workspace_id] = kept


def _no_cosines() -> tuple[Any, Any]:
    import numpy as np

    return np.empty(0, np.int64), np.empty(0, np.float32)
