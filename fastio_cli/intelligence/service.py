"""Searching as operations use it: the index brought up to date, the query's vector, the ranking.

What is slow (reading the log, the model, the network) is in :meth:`Search.prepare` and
:meth:`Search.update`, which run outside any transaction; ranking runs on one snapshot.
"""

from __future__ import annotations

import re
import time

from fastio_cli.errors import FastioError
from fastio_cli.intelligence import rank
from fastio_cli.intelligence.index import FORMAT, Index, shown

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.blobs import Blobs
    from fastio_cli.config import SearchSettings
    from fastio_cli.intelligence.ask import Reply
    from fastio_cli.intelligence.embed import Embedder
    from fastio_cli.intelligence.pack import Counter, Pack
    from fastio_cli.intelligence.rank import Candidate
    from fastio_cli.store.contract import Row, Store
    from fastio_cli.store.tx import Tx

VECTORS_S_MAX = 1.0  # how long a query waits for vectors of what was just written
MATRICES_MAX = 4
MERGED_SHARE_MIN = 0.5  # of the best one's score, for a neighbour to be shown with it
OPENING, CLOSING = "\ue000", "\ue001"  # private use: they stand in no text of ours


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
        return is_near and bool(other.best["page"] == self.best["page"])

    def joined(self, other: Found) -> Found:
        """Both as one, which is the one of them that scored better."""
        first, second = (
            (self, other) if self.candidate.score >= other.candidate.score else (other, self)
        )
        first.rows = sorted([*first.rows, *second.rows], key=lambda row: row["id"])
        return first

    @property
    def text(self) -> str:
        return "\n".join(shown(row["body"]) for row in self.rows)

    def unmarked(self, marked: dict[int, str]) -> tuple[str, list[list[int]]]:
        """The text, and the ranges of it that match, given the passages with their marks."""
        text = "\n".join(marked.get(row["id"]) or shown(row["body"]) for row in self.rows)
        pieces: list[str] = []
        ranges: list[list[int]] = []
        length = 0
        for piece in re.split(f"([{OPENING}{CLOSING}])", text):
            if piece == OPENING:
                ranges.append([length, length])
            elif piece == CLOSING and ranges:
                ranges[-1][1] = length
            else:
                pieces.append(piece)
                length += len(piece)
        return "".join(pieces), ranges


class Search:
    """The embedding model of this process, and the vectors it read last."""

    format = FORMAT

    def __init__(self, blobs: Blobs, settings: SearchSettings) -> None:
        self.settings = settings
        self._blobs = blobs
        self._embedder: Embedder | None = None
        self._opened = False
        self._counter: Counter | None = None
        self.listen: Callable[[str], None] | None = None  # hears sentences of answers
        self._matrices: dict[int, tuple[object, Any, Any, Any]] = {}

    def prepare(self, store: Store, workspace_id: int, query: str, mode: str) -> Prepared:
        """Bring the words of the index up to date, its vectors as far as a second allows, and
        embed the query.

        Where the model is not installed, or its endpoint does not answer, words have to do; with
        mode ``semantic`` that raises ``unavailable``.
        """
        index = Index(store, self._blobs, workspace_id)
        index.catch_up()
        if mode == "lexical":
            return Prepared(None, None, 0, None)
        try:
            embedder = self.embedder()
            if embedder is None:
                from fastio_cli.intelligence.embed import absence

                raise absence(self.settings)
            vector = embedder.encode([query], query=True)[0]
            pending = index.embed(embedder, time.monotonic() + VECTORS_S_MAX)
        except FastioError as e:
            if e.code != "unavailable" or mode == "semantic":
                raise
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

    def clear(self, store: Store, workspace_id: int) -> None:
        """Drop the index of a workspace."""
        Index(store, self._blobs, workspace_id).clear()

    def switch_off(self, store: Store, workspace_id: int) -> None:
        """Keep a workspace from being indexed, then drop its index."""
        store.write(lambda tx: tx.search.begin(workspace_id, FORMAT, False))
        self.clear(store, workspace_id)

    def embedder(self) -> Embedder | None:
        """The embedding model, None when there is none."""
        if not self._opened:
            from fastio_cli.intelligence.embed import open_embedder

            self._embedder = open_embedder(self.settings)
            self._opened = True
        return self._embedder

    @property
    def counter(self) -> Counter:
        """What counts the tokens of context packs."""
        if self._counter is None:
            from fastio_cli.intelligence.pack import Counter

            self._counter = Counter()
        return self._counter

    def in_context(self, question: str, history: list[dict[str, Any]]) -> str:
        """What to look for when a question was asked after others."""
        from fastio_cli.intelligence import ask

        return ask.in_context(question, history)

    def answer(self, question: str, found: list[Found], history: list[dict[str, Any]]) -> Reply:
        """The answer to a question from these passages."""
        from fastio_cli.intelligence import ask

        if self.settings.chat_url:
            return ask.converse(question, found, history, self.settings, self.listen)
        return ask.extract(ask.in_context(question, history), found, self.embedder())

    def pack(self, summary: tuple[str, str] | None, found: list[Found], budget: int) -> Pack:
        """A context pack of these passages."""
        from fastio_cli.intelligence.pack import pack

        return pack(summary, found, budget, self.counter)

    def candidates(
        self,
        tx: Tx,
        workspace_id: int,
        query: str,
        prepared: Prepared,
        filters: dict[str, object],
        *,
        lexical: bool = True,
    ) -> list[Candidate]:
        """Passages by how well they answer, best first."""
        words = rank.terms(query) if lexical else []
        rows = []
        if words:
            match = rank.expression(words)
            rows = tx.search.matches(
                workspace_id, match, rank.CONTEXT_WEIGHT, filters, rank.CANDIDATES
            )
        if prepared.vector is None:
            return rank.by_words(rows)
        ids, cosines = self._cosines(tx, workspace_id, prepared, filters)
        return rank.fused(rows, ids, cosines, lexical=lexical)

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
        wanted = candidates[: 2 * limit if merge else limit]
        rows = {r["id"]: r for r in tx.search.passages(workspace_id, [c.id for c in wanted])}
        found: dict[int, Found] = {}
        order: list[Found] = []
        for candidate in wanted:
            row = rows.get(candidate.id)
            if row is None:
                continue
            one = Found(row, candidate)
            beside = [found.get(candidate.id - 1), found.get(candidate.id + 1)] if merge else []
            for other in beside:
                if other is not None and other.takes(one):
                    one = other.joined(one)
            if one.candidate is candidate:
                order.append(one)
            order = [f for f in order if f is one or f.rows[0] not in one.rows]
            found.update((row["id"], one) for row in one.rows)
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

    def highlights(self, tx: Tx, found: list[Found], query: str) -> dict[int, str]:
        """Passages that hold words of the query, these between two marks, by id."""
        words = rank.terms(query)
        ids = [row["id"] for f in found for row in f.rows]
        if not words or not ids:
            return {}
        rows = tx.search.highlights(ids, rank.expression(words), OPENING, CLOSING)
        return {row["id"]: shown(row["body"]) for row in rows}

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

    def _cosines(
        self, tx: Tx, workspace_id: int, prepared: Prepared, filters: dict[str, object]
    ) -> tuple[Any, Any]:
        import numpy as np

        ids, scales, codes = self._matrix(tx, workspace_id, prepared.model)
        if filters:
            allowed = [row["id"] for row in tx.search.filtered_ids(workspace_id, filters)]
            keep = np.isin(ids, np.array(allowed, np.int64))
            ids, scales, codes = ids[keep], scales[keep], codes[keep]
        if len(ids) and codes.shape[1] != len(prepared.vector):
            raise FastioError("internal", "The index holds vectors of another length.")
        cosines = np.empty(len(ids), np.float32)
        for start in range(0, len(ids), 4096):  # in pieces that stay in the processor's cache
            part = codes[start : start + 4096].astype(np.float32)
            cosines[start : start + 4096] = part @ prepared.vector
        return ids, cosines * scales

    def _matrix(self, tx: Tx, workspace_id: int, model: str | None) -> tuple[Any, Any, Any]:
        """The workspace's vectors, kept until its index changes."""
        import numpy as np

        index = tx.search.index(workspace_id)
        none = np.empty(0, np.int64), np.empty(0, np.float32), np.empty((0, 0), np.int8)
        if index is None or index["model"] != model:
            return none
        state = tuple(index)
        kept = self._matrices.get(workspace_id)
        if kept is None or kept[0] != state:
            blocks = tx.search.blocks(workspace_id)
            if not blocks:
                return none
            ids = np.frombuffer(b"".join(b["ids"] for b in blocks), np.int64)
            scales = np.frombuffer(b"".join(b["scales"] for b in blocks), np.float32)
            codes = np.frombuffer(b"".join(b["codes"] for b in blocks), np.int8)
            kept = (state, ids, scales, codes.reshape(len(ids), -1))
            while len(self._matrices) >= MATRICES_MAX:
                self._matrices.pop(next(iter(self._matrices)))
            self._matrices[workspace_id] = kept
        return kept[1], kept[2], kept[3]
