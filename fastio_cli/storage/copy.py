"""Copying a whole store into an empty one, or single workspaces into any other.

The event log drives the copy: every event names the version it made, so the events after the last
one in the target are copied in batches, each in one transaction with the versions and heads it
names. An interrupted copy is resumed there. Until everything is copied and compared, the target's
workspaces have names that no call can use.

After the log come the tables that are not part of it: orgs, members, tokens (their hashes), offers
of ownership, credits and imports; with single workspaces only their imports. An unfinished import
starts again in the target. Whether a workspace is searched is copied, its search index is rebuilt.
Locks, their waiters and idempotency records are not copied.

A number that the source gave out means the same in the copy. What the copy gives out itself begins
far above, with the event ``store.copy``, so that what the source may give out yet never matches.
"""

from __future__ import annotations

import hashlib
import re

from fastio_cli.blobs.content import CHUNK_BYTES, Content
from fastio_cli.errors import FastioError
from fastio_cli.storage.incarnation import SPARE
from fastio_cli.storage.repositories.objects import LAST
from fastio_cli.storage.repositories.rows import TABLES, key_of
from fastio_cli.storage.repositories.workspaces import COUNTER_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    Columns = dict[str, Any]
    Key = tuple[Any, ...]

EVENTS_PER_BATCH = 500
BYTES_PER_BATCH = 8 * 1024 * 1024
SEGMENTS_PER_BATCH = 128
ROWS_PER_BATCH = 500
ROUNDS_MAX = 3
_LAST_ID = 2**62
_UNFINISHED = re.compile(r"copy:[0-9]+")
# The tables that are empty in a new store.
_EMPTY = [table for table in TABLES if table != "orgs"]
# What an unfinished import starts again with: the bytes its worker has are not copied.
_RESTARTED = {
    "state": "queued",
    "received_bytes": 0,
    "source_etag": None,
    "source_modified": None,
    "worker": None,
}


class Endpoint:
    """A store with its blobs."""

    def __init__(self, store: Store, blobs: BlobStore) -> None:
        self.store = store
        self.blobs = blobs


def copy_store(
    source: Endpoint,
    target: Endpoint,
    progress: Callable[[int, int], None],
    names: dict[str, str] | None = None,
) -> dict[str, int]:
    """Copy everything, compare it, and only then rename the copies.

    ``names`` are the workspaces to copy, and what their copies are called; None for the whole
    store. ``progress`` is called with the number of events copied and of all events. Returns how
    many ``workspaces``, ``events``, ``versions`` and further ``rows`` were compared, and how many
    ``live_locks`` the source has, which the copy has not. Raises ``already_exists`` if the target
    is not empty, or has workspaces of these names; ``invalid`` if it holds the beginning of another
    store's copy, ``unavailable`` if the source keeps changing.
    """
    source.store.check_schema()
    target.store.check_schema()
    copy = StoreCopy(source, target, progress, names)
    copy.prepare_target()
    for _ in range(ROUNDS_MAX):
        workspaces = copy.workspaces()
        copy.transfer(workspaces)
        copy.transfer_rows(workspaces)
        try:
            compared = copy.compare(workspaces)
        except FastioError:
            if copy.is_quiescent(workspaces):
                raise
            continue
        if copy.is_quiescent(workspaces):
            copy.finish(workspaces)
            return {**compared, "live_locks": copy.live_locks(workspaces)}
    raise FastioError(
        "unavailable",
        "The source is being written to, so the copy is never complete.",
        "Stop its writers, then run the same command again: it resumes where it stopped.",
    )


class _Batch:
    """Consecutive events of a workspace with the versions and heads they name."""

    def __init__(self, after: int) -> None:
        self.after = after
        self.events: list[Columns] = []
        self.versions: list[Columns] = []
        self.heads: dict[str, Columns] = {}
        self.size_bytes = 0


class StoreCopy:
    def __init__(
        self,
        source: Endpoint,
        target: Endpoint,
        progress: Callable[[int, int], None],
        names: dict[str, str] | None = None,
    ) -> None:
        self._names = names
        self._source = source
        self._target = target
        self._progress = progress
        self._ends: dict[tuple[int, int], int] = {}  # the size of each chain in the target
        self._compared: dict[tuple[int, int], int] = {}  # and the part of it that was compared
        self._verified: set[str] = set()  # blobs of the target that were verified

    def prepare_target(self) -> None:
        """Make sure that there is room in the target, or an unfinished copy."""
        rows = self._target.store.read(lambda tx: [dict(row) for row in tx.workspaces.every()])
        first = self.workspaces()
        untouched = [row for row in rows if row["name"] == "default" and row["seq"] == 0]
        if self._names is None:
            self._refuse_others(rows, untouched)
        else:
            self._target.store.read(lambda tx: self._refuse_taken(tx, first))
            first = [w for w in first if self._final_name(w) == "default"]
        if untouched and first:
            self._target.store.write(
                lambda tx: tx.workspaces.adopt(
                    untouched[0]["id"], _name(first[0]), first[0]["created_at"]
                )
            )

    def _refuse_others(self, rows: list[Columns], untouched: list[Columns]) -> None:
        unfinished = [row for row in rows if _UNFINISHED.fullmatch(row["name"])]
        is_new = len(untouched) + len(unfinished) == len(rows)
        if not is_new or (untouched and any(_rows(self._target, t, None, None) for t in _EMPTY)):
            raise FastioError(
                "already_exists",
                "The target holds data already; a whole store is copied into an empty one.",
                "Choose an empty target, or copy single workspaces with --workspace NAME.",
            )

    def _refuse_taken(self, tx: Tx, workspaces: list[Columns]) -> None:
        """Each name has to be free in the target: no numbers were given out under it there."""
        for workspace in workspaces:
            name = self._final_name(workspace)
            row = tx.workspaces.by_name(name)
            if row is not None and name == "default" and row["seq"] == 0:
                continue
            if row is not None or tx.numbers.of_name(name):
                had = "has" if row is not None else "had (it was deleted or renamed)"
                raise FastioError(
                    "already_exists",
                    f"The target {had} a workspace {name!r}.",
                    "Give the copy another name: --as NAME",
                    name=name,
                )

    def workspaces(self) -> list[Columns]:
        """The workspaces to copy. Raises ``not_found`` for one that the source has not."""
        rows = self._source.store.read(lambda tx: [dict(row) for row in tx.workspaces.every()])
        if self._names is None:
            return rows
        live = {row["name"]: row for row in rows if row["deleted_at"] is None}
        for name in self._names:
            if name not in live:
                raise FastioError(
                    "not_found",
                    f"The source has no workspace {name!r}.",
                    "See which it has: fastio workspace list --store SOURCE",
                    workspace=name,
                )
        return [row for row in live.values() if row["name"] in self._names]

    def live_locks(self, workspaces: list[Columns]) -> int:
        """How many locks are held in the source."""
        return self._source.store.read(lambda tx: sum(_locks(tx, w["id"]) for w in workspaces))

    def _final_name(self, workspace: Columns) -> str:
        name: str = workspace["name"]
        return name if self._names is None else self._names[name]

    def transfer(self, workspaces: list[Columns]) -> None:
        """Copy the events that the target does not have, with all they refer to."""
        total = sum(workspace["seq"] for workspace in workspaces)
        done = 0
        for workspace in workspaces:
            for copied in self._transfer(workspace):
                self._progress(done + copied, total)
            done += workspace["seq"]

    def transfer_rows(self, workspaces: list[Columns]) -> None:
        """Make the tables beside the log in the target like those of the source."""
        for table, ours, theirs in self._all_pages(workspaces):
            if ours != theirs:
                self._target.store.write(_mirror(table, ours, theirs))

    def compare(self, workspaces: list[Columns]) -> dict[str, int]:
        """Compare every event, version, head, segment, blob and row. Raises ``internal``."""
        events = versions = 0
        for workspace in workspaces:
            for batch in self._compare(workspace):
                events += len(batch.events)
                versions += len(batch.versions)
        counted = {"workspaces": len(workspaces), "events": events, "versions": versions}
        return {**counted, "rows": self._compare_rows(workspaces)}

    def is_quiescent(self, workspaces: list[Columns]) -> bool:
        """Whether the source has not changed since it was copied."""
        return self.workspaces() == workspaces

    def finish(self, workspaces: list[Columns]) -> None:
        """Give the copies their names, totals, numbers and settings."""
        source = self._source.store
        unsearched = source.read(lambda tx: _unsearched(tx, workspaces))
        numbers = source.read(
            lambda tx: {w["id"]: tx.numbers.of_workspace(w["id"]) for w in workspaces}
        )
        used = source.read(lambda tx: tx.numbers.of_names()) if self._names is None else []

        def name_all(tx: Tx) -> None:
            rows = {row["name"]: row for row in tx.workspaces.every()}
            if self._names is not None and all(_name(w) in rows for w in workspaces):
                self._refuse_taken(tx, workspaces)  # somebody may have made one meanwhile
            # Those that are deleted first: a live one may have the name of a deleted one.
            for w in sorted(workspaces, key=lambda w: w["deleted_at"] is None):
                row = rows.get(_name(w))
                if row is None:
                    return  # this work was committed in an earlier attempt
                id = row["id"]
                _save(tx, row, w, w["seq"], w["head_hash"])
                tx.workspaces.mark_deleted(id, w["deleted_at"])
                tx.workspaces.rename(id, self._final_name(w))
                tx.numbers.put(id, numbers[w["id"]])
                highest = max(w["seq"], numbers[w["id"]]["number_floor"])
                tx.numbers.raise_floor(id, highest + SPARE, "store.copy")
                if w["id"] in unsearched:
                    tx.search.invalidate(id, enabled=False)
            for name in used:
                tx.numbers.keep(name["name"], name["floor"])

        self._target.store.write(name_all)

    def _transfer(self, workspace: Columns) -> Iterator[int]:
        """Copy a workspace's events, yielding the newest copied one after each batch."""
        target = self._target.store
        row = target.write(lambda tx: _find_or_add(tx, workspace))
        self._check_origin(workspace, row)
        copied: int = row["seq"]
        while copied < workspace["seq"]:
            batch = _batch(self._source, workspace["id"], copied)
            self._fetch(workspace, row["id"], batch)
            _write(target, workspace, batch)
            copied = batch.events[-1]["seq"]
            yield copied

    def _compare(self, workspace: Columns) -> Iterator[_Batch]:
        """Compare a workspace with its copy, yielding what was found equal."""
        row = self._target.store.read(lambda tx: tx.workspaces.by_name(_name(workspace)))
        assert row is not None
        after = 0
        while after < workspace["seq"]:
            ours = _batch(self._source, workspace["id"], after)
            theirs = _batch(self._target, row["id"], after)
            if (ours.events, ours.versions, ours.heads) != (
                theirs.events,
                theirs.versions,
                theirs.heads,
            ):
                raise _differs(workspace, after)
            self._compare_contents(workspace, row["id"], ours)
            after = ours.events[-1]["seq"]
            yield ours

    def _target_ids(self, workspaces: list[Columns]) -> dict[int | None, int | None]:
        """A workspace's id in the target by the one in the source; 0 and None name none."""
        rows = self._target.store.read(
            lambda tx: {r["name"]: r["id"] for r in tx.workspaces.every()}
        )
        return {0: 0, None: None, **{w["id"]: rows[_name(w)] for w in workspaces}}

    def _pages(
        self, table: str, ids: dict[int | None, int | None]
    ) -> Iterator[tuple[list[Columns], list[Columns]]]:
        """The pages of a table: the source's rows as the target should have them, and the target's.

        Workspaces have ids in the same order in both, so keys are in the same order too.
        """
        after = target_after = None
        while True:
            ours = _rows(self._source, table, after, None)
            wanted = [_as_copied(table, row, ids) for row in map(dict, ours)]
            end = key_of(table, wanted[-1]) if len(ours) == ROWS_PER_BATCH else None
            theirs: list[Columns] = []
            while page := _rows(self._target, table, target_after, end):
                theirs += page
                target_after = key_of(table, page[-1])
            yield wanted, theirs
            if end is None:
                return
            after, target_after = key_of(table, ours[-1]), end

    def _all_pages(
        self, workspaces: list[Columns]
    ) -> Iterator[tuple[str, list[Columns], list[Columns]]]:
        """The pages of all tables that are copied, each with the table's name."""
        ids = self._target_ids(workspaces)
        if self._names is None:
            for table in TABLES:
                for ours, theirs in self._pages(table, ids):
                    yield table, ours, theirs
            return
        for workspace in workspaces:
            for ours, theirs in self._imports(workspace["id"], ids):
                yield "imports", ours, theirs

    def _imports(
        self, workspace_id: int, ids: dict[int | None, int | None]
    ) -> Iterator[tuple[list[Columns], list[Columns]]]:
        """The pages of one workspace's imports, as ``_pages`` gives those of whole tables."""
        target_id, last = ids[workspace_id], 0
        while True:
            ours = _rows(self._source, "imports", (workspace_id, last), (workspace_id, _LAST_ID))
            wanted = [_as_copied("imports", row, ids) for row in map(dict, ours)]
            end = wanted[-1]["id"] if len(wanted) == ROWS_PER_BATCH else _LAST_ID
            theirs = _rows(self._target, "imports", (target_id, last), (target_id, end))
            yield wanted, theirs
            if end == _LAST_ID:
                return
            last = end

    def _compare_rows(self, workspaces: list[Columns]) -> int:
        count = 0
        for table, ours, theirs in self._all_pages(workspaces):
            if ours != theirs:
                raise FastioError(
                    "internal",
                    f"The copy of the table {table} differs from the source's.",
                    "Stop the writers of the source, then run the same command again.",
                )
            count += len(ours)
        return count

    def _check_origin(self, workspace: Columns, row: Columns) -> None:
        """The target's last event must be the source's event of that number."""
        seq = row["seq"]
        if not seq:
            return
        same = self._source.store.read(
            lambda tx: [e["hash"] for e in tx.events.after(workspace["id"], seq - 1, 1)]
        )
        if same != [row["head_hash"]]:
            raise FastioError(
                "invalid",
                "The target holds the beginning of a copy of another store.",
                "Finish that copy, or choose a new folder or an empty database.",
            )

    def _fetch(self, workspace: Columns, target_id: int, batch: _Batch) -> None:
        """Copy the blobs and segments that a batch refers to, before the batch."""
        for version in batch.versions:
            if version["blob"] is not None:
                self._copy_blob(version["blob"], version["size_bytes"])
            elif version["chain"] is not None:
                self._copy_segments(workspace, target_id, version["chain"], version["size_bytes"])

    def _copy_segments(
        self, workspace: Columns, target_id: int, chain: int, size_bytes: int
    ) -> None:
        target, key = self._target.store, (target_id, chain)
        if key not in self._ends:
            self._ends[key] = target.read(lambda tx: tx.objects.chain_end(target_id, chain))
        while (end := self._ends[key]) < size_bytes:
            rows = self._segments(self._source, workspace["id"], chain, end, size_bytes)
            for row in rows:
                if row["blob"] is not None:
                    self._copy_blob(row["blob"], row["size_bytes"])

            def put(tx: Tx, rows: list[Columns] = rows, end: int = end) -> None:
                tx.workspaces.by_name(_name(workspace))
                if tx.objects.chain_end(target_id, chain) != end:
                    return
                for row in rows:
                    content = Content("", row["size_bytes"], row["body"], row["blob"])
                    tx.objects.add_segment(target_id, chain, row["start"], content)

            target.write(put)
            self._ends[key] = rows[-1]["start"] + rows[-1]["size_bytes"]

    def _segments(
        self, endpoint: Endpoint, workspace_id: int, chain: int, start: int, end: int
    ) -> list[Columns]:
        return endpoint.store.read(
            lambda tx: [
                dict(row)
                for row in tx.objects.segments(workspace_id, chain, start, end, SEGMENTS_PER_BATCH)
            ]
        )

    def _copy_blob(self, sha256: str, size_bytes: int) -> None:
        if self._target.blobs.has(sha256, size_bytes):
            return
        with self._source.blobs.open(sha256) as stream:
            content = self._target.blobs.put(stream, size_bytes)
        if content.blob != sha256:
            raise _damaged(sha256)

    def _compare_contents(self, workspace: Columns, target_id: int, batch: _Batch) -> None:
        for version in batch.versions:
            if version["blob"] is not None:
                self._check_blob(version["blob"])
            elif version["chain"] is not None:
                self._compare_chain(workspace, target_id, version["chain"], version["size_bytes"])

    def _compare_chain(self, workspace: Columns, target_id: int, chain: int, size: int) -> None:
        start = self._compared.get((target_id, chain), 0)
        while start < size:
            ours = self._segments(self._source, workspace["id"], chain, start, size)
            if ours != self._segments(self._target, target_id, chain, start, size):
                raise _differs(workspace, 0)
            for row in ours:
                if row["blob"] is not None:
                    self._check_blob(row["blob"])
            start = ours[-1]["start"] + ours[-1]["size_bytes"]
        self._compared[target_id, chain] = start

    def _check_blob(self, sha256: str) -> None:
        if sha256 in self._verified:
            return
        digest = hashlib.sha256()
        with self._target.blobs.open(sha256) as stream:
            while chunk := stream.read(CHUNK_BYTES):
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise _damaged(sha256)
        self._verified.add(sha256)


def _name(workspace: Columns) -> str:
    """The name of a workspace's copy while it is incomplete."""
    return f"copy:{workspace['id']}"


def _find_or_add(tx: Tx, workspace: Columns) -> Columns:
    row = tx.workspaces.by_name(_name(workspace))
    return dict(
        row or tx.workspaces.add(_name(workspace), workspace["created_at"], workspace["org"])
    )


def _batch(endpoint: Endpoint, workspace_id: int, after: int) -> _Batch:
    return endpoint.store.read(lambda tx: _gather(tx, workspace_id, after))


def _write(store: Store, workspace: Columns, batch: _Batch) -> None:
    store.write(lambda tx: _put(tx, workspace, batch))


def _gather(tx: Tx, workspace_id: int, after: int) -> _Batch:
    """The next batch after an event, read in one snapshot."""
    batch = _Batch(after)
    for event in tx.events.after(workspace_id, after, EVENTS_PER_BATCH):
        batch.events.append(dict(event))
        path, version = event["path"], event["version"]
        if version is not None:
            row = tx.objects.content(workspace_id, path, version)
            if row is not None:  # else it was removed by the retention limit
                batch.versions.append(dict(row))
                batch.size_bytes += len(row["body"] or b"")
            if path not in batch.heads:
                head = tx.objects.head(workspace_id, path)
                assert head is not None
                batch.heads[path] = dict(head)
        if batch.size_bytes > BYTES_PER_BATCH:
            break
    return batch


def _put(tx: Tx, workspace: Columns, batch: _Batch) -> None:
    row = tx.workspaces.by_name(_name(workspace))
    assert row is not None
    if row["seq"] != batch.after:
        return  # this work was committed in an earlier attempt
    for event in batch.events:
        tx.unit.add_event({"workspace_id": row["id"], **event})
    for version in batch.versions:
        tx.objects.add_version({**version, "workspace_id": row["id"]})
    for head in batch.heads.values():
        tx.objects.set_head({**head, "workspace_id": row["id"]})
    _save(tx, row, workspace, batch.events[-1]["seq"], batch.events[-1]["hash"])


def _save(tx: Tx, row: Row, workspace: Columns, seq: int, head_hash: str) -> None:
    counters = {name: workspace[name] for name in (*COUNTER_NAMES, "updated_at")}
    tx.unit.save_workspace(row, {**counters, "seq": seq, "head_hash": head_hash})


def _as_copied(table: str, row: Columns, ids: dict[int | None, int | None]) -> Columns:
    """A row of the source as the target should have it."""
    if "workspace_id" in row:
        row["workspace_id"] = ids[row["workspace_id"]]
    if table == "imports":
        row["fetched"] = None  # refers to fetched bytes, which are not copied
        if row["state"] in ("queued", "running"):
            row.update(_RESTARTED, due_at=row["created_at"])  # a runner makes a job of it
    return row


def _rows(endpoint: Endpoint, table: str, after: Key | None, last: Key | None) -> list[Columns]:
    return endpoint.store.read(lambda tx: tx.rows.page(table, after, last, ROWS_PER_BATCH))


def _mirror(table: str, ours: list[Columns], theirs: list[Columns]) -> Callable[[Tx], None]:
    """A transaction that makes the target's rows equal to the source's, between two keys."""
    wanted = {key_of(table, row): row for row in ours}
    existing = {key_of(table, row): row for row in theirs}

    def work(tx: Tx) -> None:
        for key in existing.keys() - wanted.keys():
            tx.rows.remove(table, key)
        for key, row in wanted.items():
            if existing.get(key) != row:
                tx.rows.put(table, row)

    return work


def _unsearched(tx: Tx, workspaces: list[Columns]) -> set[int]:
    """The workspaces whose search is switched off."""
    rows = ((w["id"], tx.search.index(w["id"])) for w in workspaces)
    return {id for id, row in rows if row is not None and not row["enabled"]}


def _locks(tx: Tx, workspace_id: int) -> int:
    """How many locks of a workspace live."""
    count, after = 0, ""
    while rows := tx.locks.page(workspace_id, "", after, LAST, tx.now_ms, ROWS_PER_BATCH):
        count, after = count + len(rows), rows[-1]["path"]
    return count


def _differs(workspace: Columns, after: int) -> FastioError:
    return FastioError(
        "internal",
        f"The copy of workspace {workspace['name']} differs from it after event {after}.",
        "Check the source, then copy it into a new folder or database: fastio doctor",
    )


def _damaged(sha256: str) -> FastioError:
    return FastioError(
        "unavailable",
        f"The stored bytes {sha256[:12]}… are damaged.",
        "See what is damaged in the source: fastio doctor",
    )
