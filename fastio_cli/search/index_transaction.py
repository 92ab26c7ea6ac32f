"""Changes of a search index within one transaction of the store."""

from __future__ import annotations

import time

from fastio_cli.search.inverted_index import delete_passages

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.search.document_change import DocumentChange
    from fastio_cli.storage.search_rows import (
        AnalyzedPassage,
        IndexRow,
        ObjectRow,
    )
    from fastio_cli.storage.tx import Tx

DELETED_PASSAGES_MAX = 256  # in one transaction


class IndexTransaction:
    """What one transaction changes in an index, which it has locked; :meth:`save` at the end."""

    def __init__(self, tx: Tx, workspace_id: int, index: IndexRow) -> None:
        self.index: IndexRow = {**index}
        self.revision = index["revision"] + 1
        self._search = tx.search
        self._workspace_id = workspace_id

    @staticmethod
    def begin(tx: Tx, workspace_id: int) -> IndexTransaction | None:
        """Lock the index; None if the workspace has none."""
        index = tx.search.index(workspace_id)
        return None if index is None else IndexTransaction(tx, workspace_id, index)

    def save(self) -> None:
        """Store the row of the index, at its next revision."""
        self.index["revision"] = self.revision
        self._search.save(self._workspace_id, self.index)

    def restart(self, format: str) -> None:
        """Start over at the beginning of the log, with an index that is empty."""
        self.index["format"] = format
        self.index["model"] = ""
        self.index["seq"] = self.index["embedded_id"] = 0
        self.index["passage_count"] = self.index["token_count"] = 0
        self.save()

    def apply(self, change: DocumentChange, deadline: float) -> bool:
        """Bring one object up to date. False if there is no time left to finish it, or if another
        process has changed it meanwhile."""
        indexed = self._search.indexed_object(self._workspace_id, change.path)
        if _progress_of(indexed) != _progress_of(change.indexed):
            return False
        version = change.head["version"] if change.head is not None else None
        count = last_id = 0
        if indexed is not None and indexed["version"] == version:  # its insertion goes on
            count, last_id = indexed["passage_count"], self.index["next_id"] - 1
        elif indexed is not None:
            count, last_id = self._keep_unchanged(change)
            if not self.delete_object(indexed, last_id):
                return False
        if change.head is None:
            return True
        return self._insert_passages(change, count, last_id, deadline)

    def delete_object(self, indexed: ObjectRow, after: int = 0) -> bool:
        """Delete the passages of an object with ids above ``after``. False if there are more than
        one transaction deletes."""
        path = indexed["path"]
        ids = self._search.passage_ids(self._workspace_id, path, after, DELETED_PASSAGES_MAX)
        if ids:
            self._delete_terms(ids)
            self._search.vectors.delete(self._workspace_id, ids, self.revision)
            self._search.delete_passages(self._workspace_id, ids)
        if len(ids) < DELETED_PASSAGES_MAX:
            self._search.delete_object(self._workspace_id, path)
            return True
        self._search.save_object(
            self._workspace_id,
            path,
            version=0,  # matches no version: the deletion goes on
            kind=indexed["kind"],
            updated_at=indexed["updated_at"],
            passage_count=0,
            complete=False,
            problem=None,
        )
        return False

    def clear_vectors(self) -> None:
        """Delete all vectors; all passages are to be embedded again."""
        self._search.vectors.clear(self._workspace_id)
        self.index["embedded_id"], self.index["model"] = 0, ""

    def clear_terms(self, deadline: float) -> bool:
        """Delete the inverted index. True if some of it is left when time is up."""
        self.index["token_count"] = 0
        for row in self._search.segment_revisions(self._workspace_id):
            self._search.drop_segment(self._workspace_id, row["first_id"])
            if time.monotonic() > deadline:
                return True
        while rows := self._search.memtable(self._workspace_id, DELETED_PASSAGES_MAX):
            ids = [row["id"] for row in rows]
            self._search.delete_from_memtable(self._workspace_id, ids)
            if time.monotonic() > deadline:
                return True
        return False

    def _keep_unchanged(self, change: DocumentChange) -> tuple[int, int]:
        """Keep the first passages, which are unchanged: how many, and the id of the last one.

        The text after the last of them has changed, and with it the terms of that one's context.
        In the memtable they are replaced. In a segment they cannot be, so that it is inserted
        anew. The others keep the terms of their context, also the date of the older version.
        """
        kept = change.kept_ids
        if kept and not self._replace_terms(kept[-1], change.passages[len(kept) - 1]):
            kept.pop()
        if not kept:
            return 0, 0
        # Another process may have deleted some of them, and inserts with higher ids than all these.
        count = self._search.count_passages(self._workspace_id, change.path, kept[-1])
        return (count, kept[-1]) if count == len(kept) else (0, 0)

    def _replace_terms(self, id: int, passage: AnalyzedPassage) -> bool:
        """Replace the terms of a passage in the memtable. False if it is not there."""
        lengths = self._search.memtable_lengths(self._workspace_id, [id])
        if not lengths:
            return False
        count = passage["token_count"]
        self._search.delete_from_memtable(self._workspace_id, [id])
        self._search.add_to_memtable(self._workspace_id, id, count, passage["words"])
        self.index["token_count"] += count - lengths[id]
        return True

    def _insert_passages(
        self, change: DocumentChange, count: int, last_id: int, deadline: float
    ) -> bool:
        """Insert all passages but the first ``count``, of which ``last_id`` is the last. False if
        time was up."""
        assert change.head is not None
        # An id is left out between objects: passages with adjacent ids are adjacent in their text.
        next_id = self.index["next_id"] + (last_id != self.index["next_id"] - 1)
        to_insert = change.passages[count:]
        inserted = 0
        for passage in to_insert:
            self._search.add_passage(self._workspace_id, next_id + inserted, change.path, passage)
            self.index["token_count"] += passage["token_count"]
            inserted += 1
            if time.monotonic() > deadline:
                break
        if inserted:
            self.index["next_id"] = next_id + inserted
        self.index["passage_count"] += inserted
        is_complete = inserted == len(to_insert)
        self._search.save_object(
            self._workspace_id,
            change.path,
            version=change.head["version"],
            kind=change.head["kind"],
            updated_at=change.head["updated_at"],
            passage_count=count + inserted,
            complete=is_complete,
            problem=change.problem,
        )
        return is_complete and time.monotonic() <= deadline

    def _delete_terms(self, ids: list[int]) -> None:
        """Delete passages from the inverted index."""
        lengths = self._search.memtable_lengths(self._workspace_id, ids)
        self._search.delete_from_memtable(self._workspace_id, list(lengths))
        flushed = set(ids) - lengths.keys()
        if flushed:
            segments = self._search.segments_between(self._workspace_id, min(flushed), max(flushed))
            for segment in segments:
                changed, lengths_deleted = delete_passages(segment, flushed, self.revision)
                if lengths_deleted:
                    self._search.put_segment(self._workspace_id, changed)
                    lengths.update(lengths_deleted)
        self.index["passage_count"] -= len(ids)
        self.index["token_count"] -= sum(lengths.values())


def _progress_of(indexed: ObjectRow | None) -> tuple[int, int] | None:
    """What changes whenever a transaction works on an object."""
    return None if indexed is None else (indexed["version"], indexed["passage_count"])
