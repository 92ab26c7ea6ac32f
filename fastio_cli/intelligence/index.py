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

from fastio_cli.intelligence import extract
from fastio_cli.intelligence.text import CHARACTERS_MAX, UNSPACED, Passage
from fastio_cli.store.search import BLOCK_VECTORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.blobs import Blobs
    from fastio_cli.intelligence.embed import Embedder
    from fastio_cli.store.contract import Row, Store
    from fastio_cli.store.tx import Tx

# What the passages look like; a change of it rebuilds every index.
FORMAT = "1"
LOCK_S_MAX = 0.02  # how long a step may hold the writers up
EVENTS_PER_STEP = 256
BYTES_PER_STEP = 4 * 1024 * 1024
NEIGHBOUR_CHARACTERS = 300
EMBED_PASSAGES = 32

_UNSPACED_CHARACTER = re.compile(f"([{UNSPACED}])")
_JOINT = "\u200b"  # zero-width space: a word boundary that is not seen
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
_IDENTIFIER = re.compile(r"\b(?=\w*[a-z0-9][A-Z])\w+")


class Change:
    """A path whose passages are not those of its newest version."""

    def __init__(self, path: str, head: Row | None, known: Row | None, data: bytes) -> None:
        self.path = path
        self.head = head
        self.known = known
        self.data = data
        self.passages: list[dict[str, object]] = []
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


class Plan:
    """The next changes to enter, and the event up to which they bring the index."""

    def __init__(self, seq: int, upto: int | None, changes: list[Change]) -> None:
        self.seq = seq
        self.upto = upto
        self.changes = changes


class Index:
    """The index of one workspace."""

    def __init__(self, store: Store, blobs: Blobs, workspace_id: int) -> None:
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
            for change in plan.changes:
                change.read()
            self.store.write(partial(self._enter, plan=plan))
            if deadline is not None and time.monotonic() > deadline:
                return self.store.read(self._plan) is None

    def clear(self) -> None:
        """Remove every passage and vector, a little at a time."""
        self.store.write(self._abandon)
        while self.store.write(self._remove_some):
            pass

    def embed(self, embedder: Embedder, deadline: float | None = None) -> int:
        """Give passages their vectors, oldest first; how many still wait when time is up."""
        model = embedder.name

        def waiting(tx: Tx) -> list[Row]:
            index = tx.search.index(self.workspace_id)
            if index is None or (index["model"] not in ("", model)):
                return []
            return tx.search.unembedded(self.workspace_id, EMBED_PASSAGES)

        self._drop_foreign_vectors(model)
        while rows := self.store.read(waiting):
            packed = embedder.pack([shown(row["body"]) for row in rows])
            self.store.write(partial(self._add_vectors, model=model, rows=rows, packed=packed))
            if deadline is not None and time.monotonic() > deadline:
                break
        pending: int = self.store.read(lambda tx: tx.search.pending(self.workspace_id))
        return pending

    def _drop_foreign_vectors(self, model: str) -> None:
        """Vectors of another model are not mixed with this one's: all are made again."""

        def drop(tx: Tx) -> None:
            index = tx.search.index(self.workspace_id)
            if index is not None and index["model"] not in ("", model):
                tx.search.drop_vectors(self.workspace_id)

        def is_foreign(tx: Tx) -> bool:
            index = tx.search.index(self.workspace_id)
            return index is not None and index["model"] not in ("", model)

        if self.store.read(is_foreign):
            self.store.write(drop)

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
            change = Change(path, head, known, self._content(tx, path, head["version"]))
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
            return b"".join(self.blobs.read(row["blob"], 0, size))
        segments = tx.objects.segments(self.workspace_id, row["chain"], 0, size, 2**31)
        parts = [
            s["body"]
            if s["body"] is not None
            else b"".join(self.blobs.read(s["blob"], 0, s["size_bytes"]))
            for s in segments
        ]
        return b"".join(parts)[:size]

    def _enter(self, tx: Tx, plan: Plan) -> None:
        index = tx.search.index(self.workspace_id)
        if index is None or index["format"] != FORMAT:
            self._begin(tx, index)
            return
        if index["seq"] != plan.seq or not index["enabled"]:
            return  # somebody else was faster
        deadline = time.monotonic() + LOCK_S_MAX
        for change in plan.changes:
            if not self._apply(tx, change, deadline):
                return
        if plan.upto is not None:
            tx.search.advance(self.workspace_id, plan.upto)

    def _begin(self, tx: Tx, index: Row | None) -> None:
        """An empty index; what an older format left behind is removed first."""
        if not self._remove_some(tx):
            enabled = index is None or bool(index["enabled"])
            tx.search.begin(self.workspace_id, FORMAT, enabled)

    def _apply(self, tx: Tx, change: Change, deadline: float) -> bool:
        """Bring one path up to date; False when time is up or somebody else works on it."""
        known = tx.search.known(self.workspace_id, change.path)
        if _progress(known) != _progress(change.known):
            return False
        version = change.head["version"] if change.head is not None else None
        count = 0
        if known is not None and known["version"] == version:
            count = known["passage_count"]
        elif known is not None and not self._remove(tx, known, deadline):
            return False
        if change.head is None:
            return True
        return self._add(tx, change, count, deadline)

    def _add(self, tx: Tx, change: Change, count: int, deadline: float) -> bool:
        index = tx.search.index(self.workspace_id)
        assert index is not None
        assert change.head is not None
        # A number is left out between objects: neighbours in number are neighbours in text.
        next_id = index["next_id"] + (count == 0)
        waiting = change.passages[count:]
        added = 0
        for row in waiting:
            tx.search.add_passage(next_id + added, self.workspace_id, change.path, row)
            added += 1
            if time.monotonic() > deadline:
                break
        tx.search.set_next_id(self.workspace_id, next_id + added)
        complete = added == len(waiting)
        tx.search.save_object(
            self.workspace_id,
            change.path,
            version=change.head["version"],
            kind=change.head["kind"],
            updated_at=change.head["updated_at"],
            passage_count=count + added,
            complete=complete,
            problem=change.problem,
        )
        return complete and time.monotonic() <= deadline

    def _remove(self, tx: Tx, known: Row, deadline: float) -> bool:
        """Remove a path's passages; False when time is up before all are gone."""
        rows = tx.search.passages_of(self.workspace_id, known["path"], EVENTS_PER_STEP)
        removed = []
        for row in rows:
            tx.search.remove_passage(row["id"])
            removed.append(row["id"])
            if time.monotonic() > deadline:
                break
        self._remove_vectors(tx, removed)
        if len(removed) == len(rows) < EVENTS_PER_STEP:
            tx.search.forget_object(self.workspace_id, known["path"])
            return True
        tx.search.save_object(
            self.workspace_id,
            known["path"],
            version=0,  # no version is 0: the removal goes on
            kind=known["kind"],
            updated_at=known["updated_at"],
            passage_count=0,
            complete=False,
            problem=None,
        )
        return False

    def _abandon(self, tx: Tx) -> None:
        """From here on nobody takes it for an index: also if its removal is cut off, it goes."""
        index = tx.search.index(self.workspace_id)
        if index is not None:
            tx.search.begin(self.workspace_id, "", bool(index["enabled"]))

    def _remove_some(self, tx: Tx) -> bool:
        """Remove some of everything; False when nothing is left."""
        if tx.search.index(self.workspace_id) is not None:
            tx.search.drop_vectors(self.workspace_id)
        deadline = time.monotonic() + LOCK_S_MAX
        while (known := tx.search.next_object(self.workspace_id)) is not None:
            self._remove(tx, known, deadline)
            if time.monotonic() > deadline:
                return True
        return False

    def _remove_vectors(self, tx: Tx, ids: list[int]) -> None:
        left = sorted(ids)
        while left:
            block = tx.search.block_of(self.workspace_id, left[0])
            if block is None:  # this one waited for its vector
                left = left[1:]
                continue
            gone = {id for id in left if id <= block["last_id"]}
            left = [id for id in left if id > block["last_id"]]
            held = array("q", block["ids"])
            kept = [i for i, id in enumerate(held) if id not in gone]
            if not kept:
                tx.search.drop_block(self.workspace_id, block["first_id"])
            elif len(kept) < len(held):
                vectors = _selected(block["ids"], block["scales"], block["codes"], kept)
                tx.search.put_block(
                    self.workspace_id, block["first_id"], block["last_id"], *vectors
                )

    def _add_vectors(
        self, tx: Tx, *, model: str, rows: list[Row], packed: tuple[bytes, bytes]
    ) -> None:
        index = tx.search.index(self.workspace_id)
        first, last = rows[0]["id"], rows[-1]["id"]
        # Another process may have embedded these, or begun anew, meanwhile.
        if index is None or index["model"] not in ("", model) or index["embedded_id"] >= first:
            return
        alive = {row["id"] for row in tx.search.existing(self.workspace_id, first, last)}
        kept = [i for i, row in enumerate(rows) if row["id"] in alive]
        if kept:
            ids = array("q", [row["id"] for row in rows]).tobytes()
            vectors = _selected(ids, *packed, kept)
            block = tx.search.last_block(self.workspace_id)
            first = rows[kept[0]]["id"]
            if block is not None and len(block["ids"]) // 8 + len(kept) <= BLOCK_VECTORS:
                first = block["first_id"]
                before = (block["ids"], block["scales"], block["codes"])
                vectors = tuple(a + b for a, b in zip(before, vectors, strict=True))
            tx.search.put_block(self.workspace_id, first, last, *vectors)
        tx.search.set_embedded(self.workspace_id, last, model)


def spaced(text: str) -> str:
    """Text with word boundaries, unseen, around each character of scripts without spaces."""
    return text if text.isascii() else _UNSPACED_CHARACTER.sub(f"{_JOINT}\\1{_JOINT}", text)


def shown(text: str) -> str:
    """Indexed text as it was."""
    return text.replace(_JOINT, "")


def identifier_parts(text: str) -> str:
    """``getUserName`` as ``get User Name``, for every such word of a text."""
    words = dict.fromkeys(_IDENTIFIER.findall(text))
    return " ".join(_CAMEL.sub(" ", word) for word in words)


def _row(found: list[Passage], i: int, names: str) -> dict[str, object]:
    passage = found[i]
    before = found[i - 1].text[-NEIGHBOUR_CHARACTERS:] if i else ""
    after = found[i + 1].text[:NEIGHBOUR_CHARACTERS] if i + 1 < len(found) else ""
    context = (names, passage.heading, identifier_parts(passage.text), before, after)
    return {
        "line": passage.line,
        "end_line": passage.end_line,
        "page": passage.page,
        "pointer": passage.pointer,
        "heading": passage.heading,
        "body": spaced(_clean(passage.text)),
        "context": spaced(_clean(" ".join(filter(None, context)))),
    }


def _names(path: str) -> str:
    return _CAMEL.sub(" ", re.sub(r"[/._-]+", " ", path))


def _clean(text: str) -> str:
    """Text that SQLite can hold: no lone surrogates, and none of our own marks."""
    text = text.replace(_JOINT, "")
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _selected(ids: bytes, scales: bytes, codes: bytes, kept: list[int]) -> tuple[bytes, ...]:
    """The vectors at some places of a block."""
    count = len(ids) // 8
    parts = ((ids, 8), (scales, 4), (codes, len(codes) // count))
    return tuple(b"".join(part[width * i : width * (i + 1)] for i in kept) for part, width in parts)


def _progress(known: Row | None) -> tuple[Any, ...] | None:
    return None if known is None else (known["version"], known["passage_count"])
