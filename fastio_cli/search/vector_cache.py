"""The vectors of a workspace in memory, where they are compared unless there are very many."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.storage.db import Row
    from fastio_cli.storage.repositories.vectors import Vectors


ROWS = 512  # as floats they stay in a processor's own cache


class Matrix:
    """All vectors at one state of the index. What did not change since ``before`` is not read."""

    def __init__(
        self, vectors: Vectors, workspace_id: int, index: Row, before: Matrix | None
    ) -> None:
        import numpy as np

        self.revision: int = index["revision"]
        self.model: str = index["model"]
        is_alike = before is not None and before.model == self.model
        known = before._blocks if before is not None and is_alike else {}
        current = {r["first_id"]: r["revision"] for r in vectors.revisions(workspace_id)}
        self._blocks: dict[int, tuple[int, Any, Any, Any]] = {
            first_id: known[first_id]
            for first_id, revision in current.items()
            if first_id in known and known[first_id][0] == revision
        }
        for row in vectors.blocks(workspace_id, list(current.keys() - self._blocks.keys())):
            ids = np.frombuffer(row["ids"], np.int64)
            scales = np.frombuffer(row["scales"], np.float32)
            codes = np.frombuffer(row["codes"], np.int8).reshape(len(ids), -1)
            self._blocks[row["first_id"]] = (row["revision"], ids, scales, codes)
        blocks = [self._blocks[first_id] for first_id in sorted(self._blocks)]
        none = (0, np.empty(0, np.int64), np.empty(0, np.float32), np.empty((0, 0), np.int8))
        self.ids = np.concatenate([ids for _, ids, _, _ in [none, *blocks]])
        self._scales = np.concatenate([scales for _, _, scales, _ in [none, *blocks]])
        self._codes = [codes for _, _, _, codes in blocks]

    @property
    def dimension(self) -> int | None:
        """How long its vectors are; None when it has none."""
        return self._codes[0].shape[1] if self._codes else None

    def cosines(self, vector: Any) -> Any:
        """How near each passage is, in the order of ``ids``."""
        import numpy as np

        cosines = np.empty(len(self.ids), np.float32)
        floats = np.empty((ROWS, len(vector)), np.float32)
        at = 0
        for codes in self._codes:
            for start in range(0, len(codes), ROWS):
                part = codes[start : start + ROWS]
                floats[: len(part)] = part
                np.dot(floats[: len(part)], vector, out=cosines[at : at + len(part)])
                at += len(part)
        return cosines * self._scales
