"""The vectors of passages, packed in blocks: for databases without a vector type."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, TypeAlias

    from fastio_cli.storage.db import Db
    from fastio_cli.storage.search_rows import RevisionRow, VectorBlockRow

    # Ids, scales and codes of vectors, one after another.
    PackedVectors: TypeAlias = tuple[bytes, bytes, bytes]

BLOCK_VECTORS = 1024
EXACT_KNN_PASSAGES_MAX = 20_000  # of a workspace; with more, an approximate index is used
_BLOCK = "first_id, last_id, revision, ids, scales, codes"


class BlockVectors:
    """Vectors in blocks of about a thousand, to be compared in memory."""

    supports_knn: Literal[False] = False

    def __init__(
        self,
        db: Db,
        in_array: Callable[[str], str],
        array_param: Callable[[list[int]], object],
    ) -> None:
        self._db = db
        self._in_array = in_array  # as ``Search.in_array``
        self._array_param = array_param

    def add(
        self, workspace_id: int, ids: list[int], scales: bytes, codes: bytes, revision: int
    ) -> None:
        """Add vectors. Their ids rise, and are higher than all that are stored."""
        last = self._last_block(workspace_id)
        first_id, packed_ids = ids[0], array("q", ids).tobytes()
        if last is not None and len(last["ids"]) // 8 + len(ids) <= BLOCK_VECTORS:
            first_id = last["first_id"]
            packed_ids = last["ids"] + packed_ids
            scales, codes = last["scales"] + scales, last["codes"] + codes
        packed = (packed_ids, scales, codes)
        self._upsert_block(workspace_id, first_id, ids[-1], revision, packed)

    def delete(self, workspace_id: int, ids: list[int], revision: int) -> None:
        """Delete those of these vectors that are stored."""
        left = sorted(ids)
        while left:
            block = self._block_of(workspace_id, left[0])
            if block is None:  # this passage was not embedded yet
                left = left[1:]
                continue
            deleted = {id for id in left if id <= block["last_id"]}
            left = [id for id in left if id > block["last_id"]]
            stored = array("q", block["ids"])
            kept = [i for i, id in enumerate(stored) if id not in deleted]
            first_id, last_id = block["first_id"], block["last_id"]
            if not kept:
                self._delete_block(workspace_id, first_id)
            elif len(kept) < len(stored):
                packed = select_vectors((block["ids"], block["scales"], block["codes"]), kept)
                self._upsert_block(workspace_id, first_id, last_id, revision, packed)

    def clear(self, workspace_id: int) -> None:
        """Delete all vectors of a workspace."""
        self._db.run(
            "delete from vector_blocks where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )

    def revisions(self, workspace_id: int) -> list[RevisionRow]:
        """All blocks with their revisions, in order."""
        return self._all(
            """select first_id, revision from vector_blocks where workspace_id = :workspace_id
            order by first_id""",
            workspace_id=workspace_id,
        )

    def blocks(self, workspace_id: int, first_ids: list[int]) -> list[VectorBlockRow]:
        """Blocks by the ids of their first vectors."""
        return self._all(
            f"""select {_BLOCK} from vector_blocks where workspace_id = :workspace_id
            and first_id {self._in_array("first_ids")} order by first_id""",
            workspace_id=workspace_id,
            first_ids=self._array_param(first_ids),
        )

    def _one(self, sql: str, **params: object) -> Any | None:
        """A row as ``search_rows.py`` types it."""
        return self._db.one(sql, **params)

    def _all(self, sql: str, **params: object) -> list[Any]:
        """Rows as ``search_rows.py`` types them."""
        rows: list[Any] = self._db.all(sql, **params)
        return rows

    def _last_block(self, workspace_id: int) -> VectorBlockRow | None:
        return self._one(
            f"""select {_BLOCK} from vector_blocks where workspace_id = :workspace_id
            order by first_id desc limit 1""",
            workspace_id=workspace_id,
        )

    def _block_of(self, workspace_id: int, id: int) -> VectorBlockRow | None:
        """The block whose range of ids this one is in."""
        return self._one(
            f"""select {_BLOCK} from vector_blocks where workspace_id = :workspace_id
            and first_id <= :id and last_id >= :id order by first_id desc limit 1""",
            workspace_id=workspace_id,
            id=id,
        )

    def _upsert_block(
        self,
        workspace_id: int,
        first_id: int,
        last_id: int,
        revision: int,
        packed: PackedVectors,
    ) -> None:
        ids, scales, codes = packed
        self._db.run(
            f"""insert into vector_blocks (workspace_id, {_BLOCK})
            values (:workspace_id, :first_id, :last_id, :revision, :ids, :scales, :codes)
            on conflict (workspace_id, first_id) do update set last_id = excluded.last_id,
            revision = excluded.revision, ids = excluded.ids, scales = excluded.scales,
            codes = excluded.codes""",
            workspace_id=workspace_id,
            first_id=first_id,
            last_id=last_id,
            revision=revision,
            ids=ids,
            scales=scales,
            codes=codes,
        )

    def _delete_block(self, workspace_id: int, first_id: int) -> None:
        self._db.run(
            """delete from vector_blocks
            where workspace_id = :workspace_id and first_id = :first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
        )


def select_vectors(packed: PackedVectors, rows: list[int]) -> PackedVectors:
    """Some of the packed vectors, by their numbers."""
    ids, scales, codes = packed
    dimension = len(codes) // (len(ids) // 8)
    return _select(ids, 8, rows), _select(scales, 4, rows), _select(codes, dimension, rows)


def _select(items: bytes, width: int, rows: list[int]) -> bytes:
    """Some of the items of this width that stand one after another."""
    return b"".join(items[width * i : width * (i + 1)] for i in rows)
