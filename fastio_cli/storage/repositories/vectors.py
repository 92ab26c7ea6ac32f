"""The vectors of passages, packed in blocks: for databases that have no type of them."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, TypeAlias

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.postgres.search import PgVectors
    from fastio_cli.storage.repositories.search import Search

    # The vectors of passages, whichever way a store holds them. They come and go as signed bytes
    # with a scale each, so that all stores rank alike. Whoever searches takes them in blocks and
    # compares them itself; ``compares`` tells whether the store can find the nearest for it.
    Vectors: TypeAlias = "BlockVectors | PgVectors"

BLOCK_VECTORS = 1024
EXACT_MAX = 20_000  # passages of a workspace that are compared one by one, whatever the store can
_BLOCK = "first_id, last_id, revision, ids, scales, codes"


class BlockVectors:
    """Vectors in blocks of about a thousand, which whoever searches compares itself."""

    compares: Literal[False] = False

    def __init__(self, db: Db, search: Search) -> None:
        self._db = db
        self._search = search

    def add(
        self, workspace_id: int, ids: list[int], scales: bytes, codes: bytes, revision: int
    ) -> None:
        """Enter vectors; the ids rise, and are higher than all there are."""
        last = self._last(workspace_id)
        first_id, parts = ids[0], (array("q", ids).tobytes(), scales, codes)
        if last is not None and len(last["ids"]) // 8 + len(ids) <= BLOCK_VECTORS:
            first_id = last["first_id"]
            before = (last["ids"], last["scales"], last["codes"])
            parts = tuple(a + b for a, b in zip(before, parts, strict=True))
        self._put(workspace_id, first_id, ids[-1], revision, parts)

    def remove(self, workspace_id: int, ids: list[int], revision: int) -> None:
        """Forget those of these vectors that there are."""
        left = sorted(ids)
        while left:
            block = self._block_of(workspace_id, left[0])
            if block is None:  # this one waited for its vector
                left = left[1:]
                continue
            gone = {id for id in left if id <= block["last_id"]}
            left = [id for id in left if id > block["last_id"]]
            held = array("q", block["ids"])
            kept = [i for i, id in enumerate(held) if id not in gone]
            if not kept:
                self._drop(workspace_id, block["first_id"])
            elif len(kept) < len(held):
                parts = selected((block["ids"], block["scales"], block["codes"]), kept)
                self._put(workspace_id, block["first_id"], block["last_id"], revision, parts)

    def clear(self, workspace_id: int) -> None:
        """Forget all vectors of a workspace."""
        self._db.run(
            "delete from vector_blocks where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )

    def revisions(self, workspace_id: int) -> list[Row]:
        """Every block and when it changed, in order."""
        return self._db.all(
            """select first_id, revision from vector_blocks where workspace_id = :workspace_id
            order by first_id""",
            workspace_id=workspace_id,
        )

    def blocks(self, workspace_id: int, first_ids: list[int]) -> list[Row]:
        """Blocks by the ids that name them."""
        return self._db.all(
            f"""select {_BLOCK} from vector_blocks where workspace_id = :workspace_id
            and first_id {self._search.among("first_ids")} order by first_id""",
            workspace_id=workspace_id,
            first_ids=self._search.listed(first_ids),
        )

    def _last(self, workspace_id: int) -> Row | None:
        return self._db.one(
            f"""select {_BLOCK} from vector_blocks where workspace_id = :workspace_id
            order by first_id desc limit 1""",
            workspace_id=workspace_id,
        )

    def _block_of(self, workspace_id: int, id: int) -> Row | None:
        """The block that would hold a passage's vector."""
        return self._db.one(
            f"""select {_BLOCK} from vector_blocks where workspace_id = :workspace_id
            and first_id <= :id and last_id >= :id order by first_id desc limit 1""",
            workspace_id=workspace_id,
            id=id,
        )

    def _put(
        self,
        workspace_id: int,
        first_id: int,
        last_id: int,
        revision: int,
        parts: tuple[bytes, ...],
    ) -> None:
        ids, scales, codes = parts
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

    def _drop(self, workspace_id: int, first_id: int) -> None:
        self._db.run(
            """delete from vector_blocks
            where workspace_id = :workspace_id and first_id = :first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
        )


def selected(parts: tuple[bytes, bytes, bytes], kept: list[int]) -> tuple[bytes, ...]:
    """The vectors at some places of ids, scales and codes."""
    dimension = len(parts[2]) // (len(parts[0]) // 8)
    widths = (8, 4, dimension)
    return tuple(
        b"".join(part[width * i : width * (i + 1)] for i in kept)
        for part, width in zip(parts, widths, strict=True)
    )
