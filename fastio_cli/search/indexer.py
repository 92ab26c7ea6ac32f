"""The index as a reader of the event log: what was written becomes passages and vectors.

Each step reads a little of the log, reads and divides the objects without any lock, and enters
what it found together with how far it came in one short transaction. A step that meets another
process's progress drops its own. So nothing is lost, repeated, or half there after a crash, and
writers never wait long.
"""

from __future__ import annotations

import re
import time
from array import array
from functools import partial
from io import BytesIO
from itertools import chain

from fastio_cli.search import analysis as words
from fastio_cli.search import extraction as extract
from fastio_cli.search.chunking import CHARACTERS_MAX, Passage
from fastio_cli.search.inverted_index import BLOCK_PASSAGES, block_of, loose_of, without
from fastio_cli.storage.repositories.vectors import selected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.search.embedding import Embedder
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

# What the passages look like; a change of it rebuilds every index.
FORMAT = "4"
LOCK_S_MAX = 0.02  # how long a step may hold the writers up
READ_S_MAX = 1.0  # of reading objects, before what was read is entered
EVENTS_PER_STEP = 256
REMOVED_PER_STEP = 256
BYTES_PER_STEP = 4 * 1024 * 1024
BEGIN_BYTES = 1024 * 1024  # of a large file, which tell whether the rest is worth reading
NEIGHBOUR_CHARACTERS = 300
EMBED_PASSAGES = 32

_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_IDENTIFIER = re.compile(r"\b(?=\w*[a-z0-9][A-Z])\w+")


class Change:
    """A path whose passages are not those of its newest version.

    ``stored`` are the passages of an older version. The first of them that are in the newest one as
    they are stay, with their vectors: ``kept`` are their ids.
    """

    def __init__(
        self,
        path: str,
        head: Row | None,
        known: Row | None,
        data: bytes,
        stored: list[Row] | None = None,
    ) -> None:
        self.path = path
        self.head = head
        self.known = known
        self.data = data
        self.stored = stored or []
        self.kept: list[int] = []
        self.passages: list[dict[str, Any]] = []
        self.problem: str | None = None
        self._is_read = False

    def read(self) -> None:
        """Divide the object into passages: the slow part, done outside any transaction."""
        if self.head is None or self._is_read:
            return
        self._is_read = True
        found, self.problem = extract.passages(self.path, self.head["kind"], self.data)
        self.data = b""
        date = time.strftime("%Y-%m-%d %d %B %Y", time.gmtime(self.head["updated_at"] / 1000))
        self.passages = [_row(found, i, f"{_names(self.path)} {date}") for i in range(len(found))]
        for stored, passage in zip(self.stored, self.passages, strict=False):
            if any(stored[name] != passage[name] for name in stored if name != "id"):
                break
            self.kept.append(stored["id"])
        self.stored = []


def has_read(index: Row | None, seq: int) -> bool:
    """Whether all that was written up to an event is in the index, by its row."""
    if index is None or not index["enabled"] or index["format"] != FORMAT:
        return False
    return bool(index["seq"] >= seq)


def has_embedded(index: Row | None, model: str) -> bool:
    """Whether all passages of the index have a vector of this model."""
    if index is None or index["model"] != model:
        return False
    return bool(index["embedded_id"] >= index["next_id"] - 1)


def _joined(chunks: Iterable[bytes]) -> bytes:
    """Chunks as one; ``join`` would hold all of them beside the result."""
    data = BytesIO()
    data.writelines(chunks)
    return data.getvalue()


class Plan:
    """The next changes to enter, and the event up to which they bring the index."""

    def __init__(self, seq: int, upto: int | None, changes: list[Change]) -> None:
        self.seq = seq
        self.upto = upto
        self.changes = changes

    def read(self) -> Plan:
        """Read objects for a second; the plan, or the part of it that was read."""
        deadline = time.monotonic() + READ_S_MAX
        for count, change in enumerate(self.changes, 1):
            change.read()
            if count < len(self.changes) and time.monotonic() > deadline:
                return Plan(self.seq, None, self.changes[:count])
        return self


class Index:
    """The index of one workspace."""

    def __init__(self, store: Store, blobs: BlobStore, workspace_id: int) -> None:
        self.store = store
        self.blobs = blobs
        self.workspace_id = workspace_id
        self._seq = -1
        self._unfinished: dict[tuple[str, int], Change] = {}  # of the step before, already read

    def catch_up(self, deadline: float | None = None) -> bool:
        """Read the log to its end (or until ``deadline``); False when more is to be read."""
        while True:
            plan = self.store.read(self._plan)
            if plan is None:
                return True
            self.store.write(partial(self._enter, plan=plan.read()))
            while self._tend():
                pass
            if deadline is not None and time.monotonic() > deadline:
                return self.store.read(self._plan) is None

    def clear(self) -> None:
        """Remove every passage and vector, a little at a time."""
        while self.store.write(self._remove_some):
            pass

    def embed(self, embedder: Embedder, deadline: float | None = None) -> int:
        """Give passages their vectors, oldest first; how many still wait when time is up."""
        model = embedder.name
        while True:
            index, rows, pending = self.store.read(self._unembedded)
            if index is None or index["format"] != FORMAT:
                return 0
            if index["model"] not in ("", model):
                self.store.write(partial(self._drop_vectors, model=model))
            elif rows:
                if deadline is not None and time.monotonic() > deadline:
                    return pending
                packed = embedder.pack([row["body"] for row in rows])
                self.store.write(partial(self._add_vectors, model=model, rows=rows, packed=packed))
            else:
                if index["embedded_id"] < index["next_id"] - 1:
                    self.store.write(self._note_embedded)
                return 0

    def _unembedded(self, tx: Tx) -> tuple[Row | None, list[Row], int]:
        """The index, its next passages without a vector, and how many there are of them."""
        index = tx.search.index(self.workspace_id)
        if index is None or index["embedded_id"] >= index["next_id"] - 1:
            return index, [], 0
        rows = tx.search.unembedded(self.workspace_id, EMBED_PASSAGES)
        is_all = len(rows) < EMBED_PASSAGES
        return index, rows, len(rows) if is_all else tx.search.pending(self.workspace_id)

    def _drop_vectors(self, tx: Tx, model: str) -> None:
        """Vectors of another model are not mixed with this one's: all are made again."""
        step = Step(tx, self.workspace_id)
        if step.index is not None and step.index["model"] not in ("", model):
            step.drop_vectors()
            step.save()

    def _note_embedded(self, tx: Tx) -> None:
        """The last passages went before they had a vector: none waits for one."""
        step = Step(tx, self.workspace_id)
        if step.index is not None and not tx.search.pending(self.workspace_id):
            step.index["embedded_id"] = step.index["next_id"] - 1
            step.save()

    def _tend(self) -> bool:
        """Make a block of loose passages, or loose ones of a worn block; False if none is due."""
        worn, postings, rows = self.store.read(self._untended)
        if worn is not None:
            self.store.write(partial(self._unfold, worn=worn, postings=postings))
            return True
        if len(rows) < BLOCK_PASSAGES:
            return False
        block, places = block_of(rows, 0)
        self.store.write(partial(self._fold, block=block, places=places, rows=rows))
        return True

    def _untended(self, tx: Tx) -> tuple[Row | None, list[Row], list[Row]]:
        worn = tx.search.worn_block(self.workspace_id)
        if worn is not None:
            return worn, tx.search.postings_of(self.workspace_id, worn["first_id"]), []
        return None, [], tx.search.loose(self.workspace_id, BLOCK_PASSAGES)

    def _fold(
        self, tx: Tx, block: dict[str, Any], places: dict[str, bytes], rows: list[Row]
    ) -> None:
        step = Step(tx, self.workspace_id)
        ids = [row["id"] for row in rows]
        if step.index is None or len(tx.search.loose_lengths(self.workspace_id, ids)) < len(ids):
            return  # somebody else was faster, or one of them is gone
        tx.search.remove_loose(self.workspace_id, ids)
        tx.search.put_block(self.workspace_id, {**block, "revision": step.revision})
        tx.search.add_postings(self.workspace_id, block["first_id"], places)
        step.save()

    def _unfold(self, tx: Tx, worn: Row, postings: list[Row]) -> None:
        step = Step(tx, self.workspace_id)
        now = tx.search.blocks(self.workspace_id, [worn["first_id"]])
        if step.index is None or [r["revision"] for r in now] != [worn["revision"]]:
            return
        tx.search.drop_block(self.workspace_id, worn["first_id"])
        for id, token_count, counted in loose_of(worn, postings):
            tx.search.add_loose(self.workspace_id, id, token_count, counted)
        step.save()

    def _plan(self, tx: Tx) -> Plan | None:
        """The next step, None when the index is current or switched off."""
        index = tx.search.index(self.workspace_id)
        if index is None or index["format"] != FORMAT:
            return Plan(-1, None, [])
        if not index["enabled"]:
            return None
        events = tx.events.after(self.workspace_id, index["seq"], EVENTS_PER_STEP)
        if not events:
            return None
        if index["seq"] != self._seq:
            self._seq = index["seq"]
            self._unfinished.clear()
        changes: list[Change] = []
        size = 0
        for path in dict.fromkeys(e["path"] for e in events if e["path"] is not None):
            if size > BYTES_PER_STEP:
                return Plan(index["seq"], None, changes)
            change = self._change(tx, path)
            if change is not None:
                changes.append(change)
                size += len(change.data)
        return Plan(index["seq"], events[-1]["seq"], changes)

    def _change(self, tx: Tx, path: str) -> Change | None:
        head = tx.objects.head(self.workspace_id, path)
        if head is not None and head["deleted"]:
            head = None
        known = tx.search.known(self.workspace_id, path)
        if head is None:
            return None if known is None else Change(path, None, known, b"")
        key = (path, head["version"])
        change = self._unfinished.pop(key, None)
        if known is not None and known["version"] == head["version"] and known["complete"]:
            return None
        if change is None:
            has_many = known is not None and known["passage_count"] > 1
            stored = tx.search.passage_rows(self.workspace_id, path) if has_many else None
            data = self._content(tx, path, head["version"])
            change = Change(path, head, known, data, stored)
        change.known = known
        self._unfinished[key] = change
        return change

    def _content(self, tx: Tx, path: str, version: int) -> bytes:
        row = tx.objects.content(self.workspace_id, path, version)
        if row is None:
            return b""
        size = min(row["size_bytes"], 4 * CHARACTERS_MAX)
        if row["body"] is not None:
            return bytes(row["body"])
        if row["blob"] is not None:
            begin = b"".join(self.blobs.read(row["blob"], 0, min(size, BEGIN_BYTES)))
            if len(begin) == size or extract.is_unknown(path, begin):
                return begin
            return _joined(chain((begin,), self.blobs.read(row["blob"], len(begin), size)))
        segments = tx.objects.segments(self.workspace_id, row["chain"], 0, size, 2**31)
        return _joined(chain.from_iterable(map(self._segment, segments)))[:size]

    def _segment(self, segment: Row) -> Iterable[bytes]:
        if segment["body"] is not None:
            return (segment["body"],)
        return self.blobs.read(segment["blob"], 0, segment["size_bytes"])

    def _enter(self, tx: Tx, plan: Plan) -> None:
        step = Step(tx, self.workspace_id)
        if step.index is None:
            tx.search.create(self.workspace_id, FORMAT)
            return
        if step.index["format"] != FORMAT:
            if not self._remove_some(tx):  # what an older format left behind
                step.begin()
            return
        if step.index["seq"] != plan.seq or not step.index["enabled"]:
            return  # somebody else was faster
        deadline = time.monotonic() + LOCK_S_MAX
        if all(step.apply(change, deadline) for change in plan.changes) and plan.upto is not None:
            step.index["seq"] = plan.upto
        step.save()

    def _remove_some(self, tx: Tx) -> bool:
        """Remove some of everything; False when nothing is left."""
        step = Step(tx, self.workspace_id)
        if step.index is None:
            return False
        step.index["format"] = ""  # from here on nobody takes it for an index
        step.drop_vectors()
        deadline = time.monotonic() + LOCK_S_MAX
        left = step.drop_words(deadline)
        while not left and (known := tx.search.next_object(self.workspace_id)) is not None:
            step.remove(known)
            left = time.monotonic() > deadline
        step.save()
        return left

    def _add_vectors(
        self, tx: Tx, *, model: str, rows: list[Row], packed: tuple[bytes, bytes]
    ) -> None:
        step = Step(tx, self.workspace_id)
        index, ids = step.index, [row["id"] for row in rows]
        # Another process may have embedded these, or begun anew, meanwhile.
        if index is None or index["model"] not in ("", model) or index["embedded_id"] >= ids[0]:
            return
        alive = tx.search.existing(self.workspace_id, ids)
        kept = [i for i, id in enumerate(ids) if id in alive]
        if kept:
            _, scales, codes = selected((array("q", ids).tobytes(), *packed), kept)
            tx.search.vectors.add(
                self.workspace_id, [ids[i] for i in kept], scales, codes, step.revision
            )
        index["embedded_id"], index["model"] = ids[-1], model
        step.save()


class Step:
    """What one transaction changes in an index, which is its own from here to the commit."""

    def __init__(self, tx: Tx, workspace_id: int) -> None:
        self._search = tx.search
        self._workspace_id = workspace_id
        row = tx.search.index(workspace_id)
        self.index: dict[str, Any] | None = None if row is None else dict(row)
        self.revision: int = 0 if row is None else row["revision"] + 1

    def save(self) -> None:
        """Write down how far the index has come."""
        assert self.index is not None
        self._search.save(self._workspace_id, {**self.index, "revision": self.revision})

    def begin(self) -> None:
        """Begin an index of which nothing is left at the beginning of the log."""
        assert self.index is not None
        self.index |= {"seq": 0, "format": FORMAT, "model": "", "embedded_id": 0}
        self.index |= {"passage_count": 0, "token_count": 0}
        self.save()

    def apply(self, change: Change, deadline: float) -> bool:
        """Bring one path up to date; False when time is up or somebody else works on it."""
        assert self.index is not None
        known = self._search.known(self._workspace_id, change.path)
        if _progress(known) != _progress(change.known):
            return False
        version = change.head["version"] if change.head is not None else None
        count = last_id = 0
        if known is not None and known["version"] == version:
            count, last_id = known["passage_count"], self.index["next_id"] - 1
        elif known is not None:
            count, last_id = self._keep(change)
            if not self.remove(known, last_id):
                return False
        if change.head is None:
            return True
        return self._add(change, count, last_id, deadline)

    def _keep(self, change: Change) -> tuple[int, int]:
        """Let the first passages stay that have not changed: how many, and the last one's id.

        What stands beside the last of them has changed, and with it that one's words. In a block
        they cannot, so that it is made anew. The others keep the words of their context, also the
        day on which they were written.
        """
        kept = change.kept
        if kept and not self._reword(kept[-1], change.passages[len(kept) - 1]):
            kept.pop()
        if not kept:
            return 0, 0
        # Another process may have removed some: passages come with higher ids than all others.
        count = self._search.passage_count(self._workspace_id, change.path, kept[-1])
        return (count, kept[-1]) if count == len(kept) else (0, 0)

    def _reword(self, id: int, passage: dict[str, Any]) -> bool:
        """Enter the words of a passage anew; False if it is in a block, or gone."""
        assert self.index is not None
        lengths = self._search.loose_lengths(self._workspace_id, [id])
        if not lengths:
            return False
        self._search.remove_loose(self._workspace_id, [id])
        self._search.add_loose(self._workspace_id, id, passage["token_count"], passage["words"])
        self.index["token_count"] += passage["token_count"] - lengths[id]
        return True

    def remove(self, known: Row, after: int = 0) -> bool:
        """Remove a path's passages after one; False when there are more than a step removes."""
        path = known["path"]
        ids = self._search.passages_of(self._workspace_id, path, after, REMOVED_PER_STEP)
        if ids:
            self._remove_words(ids)
            self._search.vectors.remove(self._workspace_id, ids, self.revision)
            self._search.remove_passages(self._workspace_id, ids)
        if len(ids) < REMOVED_PER_STEP:
            self._search.forget_object(self._workspace_id, known["path"])
            return True
        self._search.save_object(
            self._workspace_id,
            known["path"],
            version=0,  # no version is 0: the removal goes on
            kind=known["kind"],
            updated_at=known["updated_at"],
            passage_count=0,
            complete=False,
            problem=None,
        )
        return False

    def drop_vectors(self) -> None:
        """Forget all vectors: every passage waits for a new one."""
        assert self.index is not None
        self._search.vectors.clear(self._workspace_id)
        self.index["embedded_id"], self.index["model"] = 0, ""

    def drop_words(self, deadline: float) -> bool:
        """Forget words of all passages; True if some are left when time is up."""
        assert self.index is not None
        self.index["token_count"] = 0
        for row in self._search.block_revisions(self._workspace_id):
            self._search.drop_block(self._workspace_id, row["first_id"])
            if time.monotonic() > deadline:
                return True
        while rows := self._search.loose(self._workspace_id, REMOVED_PER_STEP):
            self._search.remove_loose(self._workspace_id, [row["id"] for row in rows])
            if time.monotonic() > deadline:
                return True
        return False

    def _add(self, change: Change, count: int, last_id: int, deadline: float) -> bool:
        """Enter the passages after the first ``count``, of which ``last_id`` is the last."""
        assert change.head is not None
        assert self.index is not None
        # A number is left out between objects: neighbours in number are neighbours in text.
        next_id = self.index["next_id"] + (last_id != self.index["next_id"] - 1)
        waiting = change.passages[count:]
        added = 0
        for row in waiting:
            self._search.add_passage(self._workspace_id, next_id + added, change.path, row)
            self.index["token_count"] += row["token_count"]
            added += 1
            if time.monotonic() > deadline:
                break
        if added:
            self.index["next_id"] = next_id + added
        self.index["passage_count"] += added
        complete = added == len(waiting)
        self._search.save_object(
            self._workspace_id,
            change.path,
            version=change.head["version"],
            kind=change.head["kind"],
            updated_at=change.head["updated_at"],
            passage_count=count + added,
            complete=complete,
            problem=change.problem,
        )
        return complete and time.monotonic() <= deadline

    def _remove_words(self, ids: list[int]) -> None:
        assert self.index is not None
        lengths = self._search.loose_lengths(self._workspace_id, ids)
        self._search.remove_loose(self._workspace_id, list(lengths))
        gone = set(ids) - lengths.keys()
        if gone:
            blocks = self._search.blocks_between(self._workspace_id, min(gone), max(gone))
            for block in blocks:
                changed, dead = without(block, gone, self.revision)
                if dead:
                    self._search.put_block(self._workspace_id, changed)
                    lengths.update(dead)
        self.index["passage_count"] -= len(ids)
        self.index["token_count"] -= sum(lengths.values())


def identifier_parts(text: str) -> str:
    """``getUserName`` as ``get User Name``, for every such word of a text."""
    words = dict.fromkeys(_IDENTIFIER.findall(text))
    return " ".join(_CAMEL.sub(" ", word) for word in words)


def _row(found: list[Passage], i: int, names: str) -> dict[str, Any]:
    passage = found[i]
    before = found[i - 1].text[-NEIGHBOUR_CHARACTERS:] if i else ""
    after = found[i + 1].text[:NEIGHBOUR_CHARACTERS] if i + 1 < len(found) else ""
    context = (
        names,
        passage.heading,
        _months(passage.heading),
        identifier_parts(passage.text),
        before,
        after,
    )
    body = _clean(passage.text)
    counted, token_count = words.counted(body, " ".join(filter(None, context)))
    return {
        "line": passage.line,
        "end_line": passage.end_line,
        "page": passage.page,
        "pointer": passage.pointer,
        "heading": passage.heading,
        "body": body,
        "words": _clean(counted),
        "token_count": token_count,
    }


def _names(path: str) -> str:
    """The words of a path, and what its dates are called."""
    names = _CAMEL.sub(" ", re.sub(r"[/._-]+", " ", path))
    return f"{names} {' '.join(words.days(path))} {_months(path)}"


def _months(text: str) -> str:
    """The names of the months that dates stand for in a path or a heading."""
    months = (int(day[4:6]) for day in words.days(text))
    return " ".join(time.strftime("%B", (2000, month, 1, 0, 0, 0, 0, 1, 0)) for month in months)


def _clean(text: str) -> str:
    """Text that every store can hold: no lone surrogates, and no NUL."""
    text = text.replace("\0", " ")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _progress(known: Row | None) -> tuple[Any, ...] | None:
    return None if known is None else (known["version"], known["passage_count"])
