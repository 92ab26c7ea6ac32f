"""Vectors in PostgreSQL by pgvector, which the database compares itself."""

from __future__ import annotations

from array import array

from fastio_cli.storage.repositories.vectors import BLOCK_VECTORS, EXACT_KNN_PASSAGES_MAX

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Literal

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.repositories.vectors import PackedVectors
    from fastio_cli.storage.search_rows import CosineRow, RevisionRow, VectorBlockRow

HNSW_NEIGHBOURS = 200  # of a query: more of them change no ranking
HNSW_EF_SEARCH = 400  # with 100, recall is lower for queries that are far from every passage
HNSW_SCAN_TUPLES_MAX = 40_000
HNSW_INDEX = "select indisvalid as is_valid from pg_index where indexrelid = to_regclass(:name)"


class PgVectors:
    """Vectors in half precision, searched by the database."""

    supports_knn: Literal[True] = True

    def __init__(self, db: Db, schema: str) -> None:
        self._db = db
        self._type = f"{schema}.halfvec"
        # The negative inner product, which is the negative cosine: all vectors have length 1.
        self._distance = f"operator({schema}.<#>)"

    def add(
        self, workspace_id: int, ids: list[int], scales: bytes, codes: bytes, revision: int
    ) -> None:
        """Add vectors. Their ids rise, and are higher than all that are stored."""
        self._db.run(
            f"""insert into passage_vectors (workspace_id, id, vector)
            select :workspace_id, id, vector::{self._type}
            from unnest(:ids::bigint[], :vectors::text[]) as added (id, vector)""",
            workspace_id=workspace_id,
            ids=ids,
            vectors=_vector_literals(scales, codes),
        )

    def delete(self, workspace_id: int, ids: list[int], revision: int) -> None:
        """Delete those of these vectors that are stored."""
        self._db.run(
            "delete from passage_vectors where workspace_id = :workspace_id and id = any(:ids)",
            workspace_id=workspace_id,
            ids=ids,
        )

    def clear(self, workspace_id: int) -> None:
        """Delete all vectors of a workspace."""
        if self._db.one(HNSW_INDEX, name=hnsw_name(workspace_id)) is not None:
            self._db.run(f"drop index {hnsw_name(workspace_id)}")  # its dimension is fixed
        self._db.run(
            "delete from passage_vectors where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )

    def revisions(self, workspace_id: int) -> list[RevisionRow]:
        """All ranges of ids that have vectors, in order, with their revisions.

        A revision is the count of the vectors and the last id: it changes with every insertion and
        deletion, as vectors are never updated and new ones have higher ids.
        """
        return self._all(
            f"""select id / {BLOCK_VECTORS} as first_id, count(*) || '/' || max(id) as revision
            from passage_vectors where workspace_id = :workspace_id group by 1 order by 1""",
            workspace_id=workspace_id,
        )

    def blocks(self, workspace_id: int, first_ids: list[int]) -> list[VectorBlockRow]:
        """The vectors of ranges, packed as the blocks of other stores."""
        rows = self._all(
            f"""select first_id, max(id) as last_id, count(*) || '/' || max(id) as revision,
            string_agg(int8send(id), '' order by id) as ids,
            string_agg({self._type}_send(vector), '' order by id) as vectors
            from unnest(:first_ids::bigint[]) as wanted (first_id) join passage_vectors
            on id between first_id * {BLOCK_VECTORS} and (first_id + 1) * {BLOCK_VECTORS} - 1
            where workspace_id = :workspace_id group by first_id order by first_id""",
            workspace_id=workspace_id,
            first_ids=first_ids,
        )
        return [_packed_block(row) for row in rows]

    def nearest(
        self,
        workspace_id: int,
        vector: list[float],
        allowed: Sequence[int] | None,
        limit: int,
        count: int,
    ) -> list[CosineRow]:
        """The ids and cosines of the nearest neighbours of a query's vector.

        Of ``allowed`` passages only, unless that is None. ``count`` is how many the workspace has.
        Few passages are searched exactly. Of many, the HNSW index is asked for more neighbours the
        fewer are allowed; if too few of those are, the allowed ones are searched exactly.
        """
        candidates = count if allowed is None else min(count, len(allowed))
        if candidates <= EXACT_KNN_PASSAGES_MAX or not self._has_hnsw_index(workspace_id):
            return self.cosines(workspace_id, vector, allowed, limit)
        if allowed is None:
            return self._hnsw_search(workspace_id, vector, HNSW_NEIGHBOURS)
        passing = set(allowed)
        rows = self._hnsw_search(workspace_id, vector, HNSW_NEIGHBOURS * count // len(allowed))
        found = [row for row in rows if row["id"] in passing]
        if len(found) < HNSW_NEIGHBOURS // 2:
            return self.cosines(workspace_id, vector, allowed, limit)
        return found

    def cosines(
        self,
        workspace_id: int,
        vector: list[float],
        ids: Sequence[int] | None,
        limit: int = 2**31,
    ) -> list[CosineRow]:
        """The cosines of those of these passages, or of all, that have a vector, nearest first.

        The vector is in a subquery so that it is parsed once: the plan of a prepared statement
        would parse its 4,000 characters for every row.
        """
        condition = "" if ids is None else "and id = any(:ids)"
        return self._all(
            f"""select id, -(vector {self._distance} (select :vector::{self._type})) as cosine
            from passage_vectors where workspace_id = :workspace_id {condition}
            order by cosine desc limit :limit""",
            workspace_id=workspace_id,
            vector=_vector_literal(vector),
            limit=limit,
            **({} if ids is None else {"ids": list(ids)}),
        )

    def _hnsw_search(self, workspace_id: int, vector: list[float], limit: int) -> list[CosineRow]:
        """Approximate nearest neighbours by the HNSW index, scanned until there are enough."""
        self._db.run(
            f"""select set_config('hnsw.ef_search', '{HNSW_EF_SEARCH}', true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.max_scan_tuples', '{HNSW_SCAN_TUPLES_MAX}', true),
            set_config('enable_sort', 'off', true)"""
        )  # the planner underestimates the cost of an exact search
        sized = f"{self._type}({len(vector)})"
        rows = self._all(
            f"""select id, -(vector::{sized} {self._distance} :vector::{sized}) as cosine
            from passage_vectors where workspace_id = :workspace_id
            order by vector::{sized} {self._distance} :vector::{sized} limit :limit""",
            workspace_id=workspace_id,
            vector=_vector_literal(vector),
            limit=limit,
        )
        self._db.run("select set_config('enable_sort', 'on', true)")
        return rows

    def _all(self, sql: str, **params: object) -> list[Any]:
        """Rows as ``search_rows.py`` types them."""
        rows: list[Any] = self._db.all(sql, **params)
        return rows

    def _has_hnsw_index(self, workspace_id: int) -> bool:
        row = self._db.one(HNSW_INDEX, name=hnsw_name(workspace_id))
        return row is not None and bool(row["is_valid"])


def hnsw_name(workspace_id: int) -> str:
    return f"passage_vectors_{int(workspace_id)}"


def _vector_literals(scales: bytes, codes: bytes) -> list[str]:
    """Packed vectors as literals of pgvector."""
    all_scales, all_codes = array("f", scales), array("b", codes)
    dimension = len(all_codes) // len(all_scales)
    literals = []
    for i, scale in enumerate(all_scales):
        row = all_codes[i * dimension : (i + 1) * dimension]
        literals.append(_vector_literal([scale * code for code in row]))
    return literals


def _packed_block(row: Row) -> VectorBlockRow:
    ids, scales, codes = _pack(row["ids"], row["vectors"])
    return {
        "first_id": row["first_id"],
        "last_id": row["last_id"],
        "revision": row["revision"],
        "ids": ids,
        "scales": scales,
        "codes": codes,
    }


def _pack(ids: bytes, vectors: bytes) -> PackedVectors:
    """Ids and vectors in PostgreSQL's binary format, packed as they were added.

    A vector is its dimension, two unused bytes, and its values as big-endian halves. The codes are
    restored exactly, the scales as precisely as half precision allows.
    """
    import numpy as np

    numbers = np.frombuffer(ids, ">i8").astype(np.int64)
    halves = np.frombuffer(vectors, ">f2").reshape(len(numbers), -1)[:, 2:].astype(np.float32)
    largest = np.abs(halves).max(1, keepdims=True)
    largest[largest == 0] = 1
    codes = np.rint(halves / largest * 127)
    scales = (halves * codes).sum(1) / np.maximum(np.square(codes).sum(1), 1)
    return (
        numbers.tobytes(),
        scales.astype(np.float32).tobytes(),
        codes.astype(np.int8).tobytes(),
    )


def _vector_literal(vector: list[float]) -> str:
    return f"[{','.join(f'{value:.6g}' for value in vector)}]"
