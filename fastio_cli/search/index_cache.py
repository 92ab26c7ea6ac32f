"""The indexes that were searched last, in memory until they change."""

from __future__ import annotations

from _thread import allocate_lock  # threading costs a millisecond to import

from fastio_cli.search.inverted_index import InvertedIndex

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sized
    from typing import Protocol, TypeVar

    from fastio_cli.search.vector_cache import VectorCache
    from fastio_cli.storage.repositories.search import Vectors
    from fastio_cli.storage.search_rows import IndexRow
    from fastio_cli.storage.tx import Tx

    class Cached(Protocol):
        """What is cached of a workspace, by the ids of its passages."""

        @property
        def ids(self) -> Sized: ...

    C = TypeVar("C", bound=Cached)

PASSAGES_MAX = 1_000_000  # of the workspaces beside the one that is searched


class IndexCache:
    """The inverted indexes and vectors of workspaces; the least recently used are evicted."""

    def __init__(self) -> None:
        self._inverted_indexes: dict[int, InvertedIndex] = {}
        self._vectors: dict[int, VectorCache] = {}
        self._lock = allocate_lock()

    def inverted_index(self, tx: Tx, workspace_id: int, index: IndexRow) -> InvertedIndex:
        """The inverted index of a workspace at its current revision."""
        cached = self._inverted_indexes.get(workspace_id)
        if cached is None or cached.revision != index["revision"]:
            cached = InvertedIndex(tx, workspace_id, index, cached)
        self._put(self._inverted_indexes, workspace_id, cached)
        return cached

    def vectors(self, vectors: Vectors, workspace_id: int, index: IndexRow) -> VectorCache:
        """The vectors of a workspace at its current revision."""
        from fastio_cli.search.vector_cache import VectorCache

        cached = self._vectors.get(workspace_id)
        if cached is None or cached.revision != index["revision"]:
            cached = VectorCache(vectors, workspace_id, index, cached)
        self._put(self._vectors, workspace_id, cached)
        return cached

    def _put(self, cache: dict[int, C], workspace_id: int, used: C) -> None:
        """Make this the most recently used, and evict others while they hold too much."""
        with self._lock:
            cache.pop(workspace_id, None)
            while sum(len(other.ids) for other in cache.values()) > PASSAGES_MAX:
                cache.pop(next(iter(cache)))
            cache[workspace_id] = used
