"""The indexer: a reader of the event log that turns changed objects into passages and vectors.

It works in batches. A batch reads a little of the log, divides and analyses the changed objects
without any lock, and applies the result together with its new position in the log in one short
transaction. A batch that finds that another process was faster is dropped. So nothing is lost,
repeated, or half done after a crash, and writers never wait long.
"""

from __future__ import annotations

import time
from array import array
from functools import partial
from io import BytesIO
from itertools import chain

from fastio_cli.search import extraction
from fastio_cli.search.chunking import CHARACTERS_MAX
from fastio_cli.search.document_change import DocumentChange, analyze
from fastio_cli.search.index_transaction import IndexTransaction
from fastio_cli.search.inverted_index import SEGMENT_PASSAGES, build_segment, live_passages
from fastio_cli.storage.repositories.vectors import select_vectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.search.document_change import Analyze
    from fastio_cli.search.embedding import Embedder
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.search_rows import (
        IndexRow,
        MemtableRow,
        PassageBody,
        PostingsRow,
        SegmentRow,
    )
    from fastio_cli.storage.tx import Tx

INDEX_FORMAT = "4"  # of passages and terms; every index of another format is rebuilt
LOCK_S_MAX = 0.02  # how long a transaction may hold the writers up
ANALYSIS_S_MAX = 1.0  # of analysing objects, before those that are done are applied
BATCH_EVENTS_MAX = 256
BATCH_BYTES_MAX = 4 * 1024 * 1024
HEAD_BYTES = 1024 * 1024  # of a large file, which tell whether the rest is worth reading
EMBED_PASSAGES = 32


class IndexBatch:
    """The next changes to apply to an index that has read up to event ``seq``.

    With all of them it has read up to ``next_seq``, None if more of the same events are left.
    """

    def __init__(self, seq: int, next_seq: int | None, changes: list[DocumentChange]) -> None:
        self.seq = seq
        self.next_seq = next_seq
        self.changes = changes

    def analyze(self, analyze: Analyze) -> IndexBatch:
        """Analyse the objects for a second: this batch, or the part of it that is analysed."""
        deadline = time.monotonic() + ANALYSIS_S_MAX
        for count, change in enumerate(self.changes, 1):
            change.analyze(analyze)
            if count < len(self.changes) and time.monotonic() > deadline:
                return IndexBatch(self.seq, None, self.changes[:count])
        return self


def is_up_to_date(index: IndexRow | None, seq: int) -> bool:
    """Whether the index has all that was written up to this event."""
    if index is None or not index["enabled"] or index["format"] != INDEX_FORMAT:
        return False
    return index["seq"] >= seq


def is_embedded(index: IndexRow | None, model: str) -> bool:
    """Whether all passages of the index have a vector of this model."""
    if index is None or index["model"] != model:
        return False
    return index["embedded_id"] >= index["next_id"] - 1


class Indexer:
    """Keeps the index of one workspace up to date."""

    def __init__(
        self, store: Store, blobs: BlobStore, workspace_id: int, analyze: Analyze = analyze
    ) -> None:
        self.store = store
        self.blobs = blobs
        self.workspace_id = workspace_id
        self._analyze = analyze
        self._seq = -1
        # By path and version, the changes of the batch before, which are analysed already.
        self._analyzed: dict[tuple[str, int], DocumentChange] = {}

    def update(self, deadline: float | None = None) -> bool:
        """Index the log to its end, or until ``deadline``. False if more is left."""
        while True:
            batch = self.store.read(self._next_batch)
            if batch is None:
                return True
            self.store.write(partial(self._apply, batch=batch.analyze(self._analyze)))
            while self._maintain():
                pass
            if deadline is not None and time.monotonic() > deadline:
                return self.store.read(self._next_batch) is None

    def embed(self, embedder: Embedder, deadline: float | None = None) -> int:
        """Embed passages, oldest first. How many are left when time is up."""
        model = embedder.name
        while True:
            index, rows, pending = self.store.read(self._next_to_embed)
            if index is None or index["format"] != INDEX_FORMAT:
                return 0
            if index["model"] not in ("", model):
                self.store.write(partial(self._discard_vectors, model=model))
            elif rows:
                if deadline is not None and time.monotonic() > deadline:
                    return pending
                packed = embedder.pack([row["body"] for row in rows])
                self.store.write(partial(self._add_vectors, model=model, rows=rows, packed=packed))
            else:
                if index["embedded_id"] < index["next_id"] - 1:
                    self.store.write(self._mark_embedded)
                return 0

    def clear(self) -> None:
        """Delete all passages, terms and vectors, a little at a time."""
        while self.store.write(self._clear_some):
            pass

    # Reading the log

    def _next_batch(self, tx: Tx) -> IndexBatch | None:
        """The next batch, None if the index is up to date or disabled."""
        index = tx.search.index(self.workspace_id)
        if index is None or index["format"] != INDEX_FORMAT:
            return IndexBatch(-1, None, [])
        if not index["enabled"]:
            return None
        events = tx.events.after(self.workspace_id, index["seq"], BATCH_EVENTS_MAX)
        if not events:
            return None
        if index["seq"] != self._seq:
            self._seq = index["seq"]
            self._analyzed.clear()
        changes: list[DocumentChange] = []
        size = 0
        for path in dict.fromkeys(e["path"] for e in events if e["path"] is not None):
            if size > BATCH_BYTES_MAX:
                return IndexBatch(index["seq"], None, changes)
            change = self._change_of(tx, path)
            if change is not None:
                changes.append(change)
                size += len(change.data)
        return IndexBatch(index["seq"], events[-1]["seq"], changes)

    def _change_of(self, tx: Tx, path: str) -> DocumentChange | None:
        """What is to be done for an object, None if the index has its newest version."""
        head = tx.objects.head(self.workspace_id, path)
        indexed = tx.search.indexed_object(self.workspace_id, path)
        if head is None or head["deleted"]:
            return None if indexed is None else DocumentChange(path, None, indexed, b"")
        key = (path, head["version"])
        change = self._analyzed.pop(key, None)
        if indexed is not None and indexed["version"] == head["version"] and indexed["complete"]:
            return None
        if change is None:
            has_many = indexed is not None and indexed["passage_count"] > 1
            stored = tx.search.stored_passages(self.workspace_id, path) if has_many else None
            data = self._content(tx, path, head["version"])
            change = DocumentChange(path, head, indexed, data, stored)
        change.indexed = indexed
        self._analyzed[key] = change
        return change

    def _content(self, tx: Tx, path: str, version: int) -> bytes:
        """The bytes of an object as far as they are searched."""
        row = tx.objects.content(self.workspace_id, path, version)
        if row is None:
            return b""
        size = min(row["size_bytes"], 4 * CHARACTERS_MAX)
        if row["body"] is not None:
            return bytes(row["body"])
        if row["blob"] is not None:
            head = b"".join(self.blobs.read(row["blob"], 0, min(size, HEAD_BYTES)))
            if len(head) == size or extraction.is_unsearchable(path, head):
                return head
            return _concatenate(chain((head,), self.blobs.read(row["blob"], len(head), size)))
        appended = tx.objects.segments(self.workspace_id, row["chain"], 0, size, 2**31)
        return _concatenate(chain.from_iterable(map(self._appended_part, appended)))[:size]

    def _appended_part(self, part: Row) -> Iterable[bytes]:
        if part["body"] is not None:
            return (part["body"],)
        return self.blobs.read(part["blob"], 0, part["size_bytes"])

    # Applying changes

    def _apply(self, tx: Tx, batch: IndexBatch) -> None:
        """Apply as much of a batch as there is time for."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        if changes is None:
            tx.search.create(self.workspace_id, INDEX_FORMAT)
            return
        if changes.index["format"] != INDEX_FORMAT:
            if not self._clear_some(tx):  # what an older format left
                changes.restart(INDEX_FORMAT)
            return
        if changes.index["seq"] != batch.seq or not changes.index["enabled"]:
            return  # another process was faster
        deadline = time.monotonic() + LOCK_S_MAX
        is_complete = all(changes.apply(change, deadline) for change in batch.changes)
        if is_complete and batch.next_seq is not None:
            changes.index["seq"] = batch.next_seq
        changes.save()

    def _clear_some(self, tx: Tx) -> bool:
        """Delete a part of the index. False if nothing is left."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        if changes is None:
            return False
        changes.index["format"] = ""  # from here on it is no index to anybody
        changes.clear_vectors()
        deadline = time.monotonic() + LOCK_S_MAX
        is_left = changes.clear_terms(deadline)
        while not is_left and (indexed := tx.search.any_object(self.workspace_id)) is not None:
            changes.delete_object(indexed)
            is_left = time.monotonic() > deadline
        changes.save()
        return is_left

    # Maintaining the inverted index

    def _maintain(self) -> bool:
        """Compact a sparse segment or flush a part of the memtable. False if neither is due."""
        sparse, postings, rows = self.store.read(self._maintenance_due)
        if sparse is not None:
            self.store.write(partial(self._compact, sparse=sparse, postings=postings))
            return True
        if len(rows) < SEGMENT_PASSAGES:
            return False
        segment, new_postings = build_segment(rows)
        self.store.write(partial(self._flush, segment=segment, postings=new_postings, rows=rows))
        return True

    def _maintenance_due(
        self, tx: Tx
    ) -> tuple[SegmentRow | None, list[PostingsRow], list[MemtableRow]]:
        """A sparse segment with its postings, or the passages to flush next."""
        sparse = tx.search.sparse_segment(self.workspace_id)
        if sparse is not None:
            return sparse, tx.search.segment_postings(self.workspace_id, sparse["first_id"]), []
        return None, [], tx.search.memtable(self.workspace_id, SEGMENT_PASSAGES)

    def _flush(
        self, tx: Tx, segment: SegmentRow, postings: dict[str, bytes], rows: list[MemtableRow]
    ) -> None:
        """Replace these passages of the memtable by their segment."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        ids = [row["id"] for row in rows]
        present = tx.search.memtable_lengths(self.workspace_id, ids)
        if changes is None or len(present) < len(ids):
            return  # another process flushed or deleted some of them
        tx.search.delete_from_memtable(self.workspace_id, ids)
        tx.search.put_segment(self.workspace_id, {**segment, "revision": changes.revision})
        tx.search.add_postings(self.workspace_id, segment["first_id"], postings)
        changes.save()

    def _compact(self, tx: Tx, sparse: SegmentRow, postings: list[PostingsRow]) -> None:
        """Return the live passages of a segment to the memtable."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        current = tx.search.segments(self.workspace_id, [sparse["first_id"]])
        if changes is None or [r["revision"] for r in current] != [sparse["revision"]]:
            return  # another process was faster
        tx.search.drop_segment(self.workspace_id, sparse["first_id"])
        for row in live_passages(sparse, postings):
            tx.search.add_to_memtable(
                self.workspace_id, row["id"], row["token_count"], row["words"]
            )
        changes.save()

    # Embedding

    def _next_to_embed(self, tx: Tx) -> tuple[IndexRow | None, list[PassageBody], int]:
        """The index, its next passages without a vector, and how many there are of them."""
        index = tx.search.index(self.workspace_id)
        if index is None or index["embedded_id"] >= index["next_id"] - 1:
            return index, [], 0
        rows = tx.search.unembedded_passages(self.workspace_id, EMBED_PASSAGES)
        is_all = len(rows) < EMBED_PASSAGES
        return index, rows, len(rows) if is_all else tx.search.count_unembedded(self.workspace_id)

    def _discard_vectors(self, tx: Tx, model: str) -> None:
        """Delete the vectors of another model: vectors of different models do not compare."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        if changes is not None and changes.index["model"] not in ("", model):
            changes.clear_vectors()
            changes.save()

    def _mark_embedded(self, tx: Tx) -> None:
        """Note that no passage lacks a vector, after the last ones that did were deleted."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        if changes is not None and not tx.search.count_unembedded(self.workspace_id):
            changes.index["embedded_id"] = changes.index["next_id"] - 1
            changes.save()

    def _add_vectors(
        self, tx: Tx, *, model: str, rows: list[PassageBody], packed: tuple[bytes, bytes]
    ) -> None:
        """Add the vectors of those of these passages that still exist."""
        changes = IndexTransaction.begin(tx, self.workspace_id)
        if changes is None:
            return
        index, ids = changes.index, [row["id"] for row in rows]
        # Another process may have embedded them, or cleared the index, meanwhile.
        if index["model"] not in ("", model) or index["embedded_id"] >= ids[0]:
            return
        existing = tx.search.existing_ids(self.workspace_id, ids)
        kept = [i for i, id in enumerate(ids) if id in existing]
        if kept:
            _, scales, codes = select_vectors((array("q", ids).tobytes(), *packed), kept)
            tx.search.vectors.add(
                self.workspace_id, [ids[i] for i in kept], scales, codes, changes.revision
            )
        index["embedded_id"], index["model"] = ids[-1], model
        changes.save()


def _concatenate(chunks: Iterable[bytes]) -> bytes:
    """Chunks as one; ``join`` would hold all of them beside the result."""
    data = BytesIO()
    data.writelines(chunks)
    return data.getvalue()
