"""The vectors of a workspace in memory, for exact search."""

from __future__ import annotations

from fastio_cli.search.inverted_index import revisions_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fastio_cli.storage.repositories.search import Vectors
    from fastio_cli.storage.search_rows import IndexRow

    # Revision, ids, scales and codes.
    Block = tuple[int | str, NDArray[np.int64], NDArray[np.float32], NDArray[np.int8]]

ROWS_AT_ONCE = 512  # as floats they stay in the processor's cache


class VectorCache:
    """All vectors of a workspace at one revision of its index.

    Blocks that are unchanged since ``previous`` are taken from it.
    """

    def __init__(
        self, vectors: Vectors, workspace_id: int, index: IndexRow, previous: VectorCache | None
    ) -> None:
        import numpy as np

        self.revision = index["revision"]
        self.model = index["model"]
        is_same_model = previous is not None and previous.model == self.model
        cached = previous._blocks if previous is not None and is_same_model else {}
        self._blocks: dict[int, Block] = _read_blocks(vectors, workspace_id, cached)
        blocks = [self._blocks[first_id] for first_id in sorted(self._blocks)]
        no_ids, no_scales = np.empty(0, np.int64), np.empty(0, np.float32)
        self.ids = np.concatenate([no_ids, *(ids for _, ids, _, _ in blocks)])
        self._scales = np.concatenate([no_scales, *(scales for _, _, scales, _ in blocks)])
        self._codes = [codes for _, _, _, codes in blocks]

    @property
    def dimension(self) -> int | None:
        """The dimension of the vectors; None if there are none."""
        return self._codes[0].shape[1] if self._codes else None

    def cosines(self, vector: NDArray[np.float32]) -> NDArray[np.float32]:
        """The cosine of each passage with a query's vector, in the order of ``ids``."""
        import numpy as np

        cosines = np.empty(len(self.ids), np.float32)
        floats = np.empty((ROWS_AT_ONCE, len(vector)), np.float32)
        at = 0
        for codes in self._codes:
            for start in range(0, len(codes), ROWS_AT_ONCE):
                rows = codes[start : start + ROWS_AT_ONCE]
                floats[: len(rows)] = rows
                np.dot(floats[: len(rows)], vector, out=cosines[at : at + len(rows)])
                at += len(rows)
        cosines *= self._scales
        return cosines


def _read_blocks(vectors: Vectors, workspace_id: int, cached: dict[int, Block]) -> dict[int, Block]:
    """All blocks by first id; those that are cached at their current revision are not read."""
    import numpy as np

    current = revisions_of(vectors.revisions(workspace_id))
    blocks = {f: block for f, block in cached.items() if current.get(f) == block[0]}
    for row in vectors.blocks(workspace_id, list(current.keys() - blocks.keys())):
        ids = np.frombuffer(row["ids"], np.int64)
        scales = np.frombuffer(row["scales"], np.float32)
        codes = np.frombuffer(row["codes"], np.int8).reshape(len(ids), -1)
        blocks[row["first_id"]] = (row["revision"], ids, scales, codes)
    return blocks
