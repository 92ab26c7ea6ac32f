"""SQL of the search index: passages, the inverted index over them, and how far it has read the log.

The inverted index is a log-structured merge tree. The table ``loose_passages`` is its memtable,
``word_blocks`` are its segments, ``postings`` the posting lists of those.
"""

from __future__ import annotations

from array import array

from fastio_cli.storage.repositories.usage import Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, TypeAlias

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.postgres.vectors import PgVectors
    from fastio_cli.storage.repositories.vectors import BlockVectors
    from fastio_cli.storage.search_rows import (
        AnalyzedPassage,
        HitRow,
        IndexRow,
        MemtableRow,
        ObjectRow,
        PassageBody,
        PassageRow,
        PostingsRow,
        ProblemRow,
        RevisionRow,
        SegmentRow,
    )

    # The vectors of a store. They are written and read as int8 codes with a scale for each vector,
    # so that all stores rank alike. ``supports_knn`` tells whether the database can search them;
    # otherwise they are read in blocks and compared in memory.
    Vectors: TypeAlias = "BlockVectors | PgVectors"

_INDEX = "seq, next_id, embedded_id, format, model, passage_count, token_count, revision"
# What an index is counted with: a passage's text of at most a thousand characters, its vector and
# its rows; a term's places in the memtable or the segments.
PASSAGE_BYTES = 2048
TERM_BYTES = 16
_OBJECT = "path, version, kind, updated_at, passage_count, complete, problem"
_PASSAGE = "line, end_line, page, pointer, heading, body"
_SEGMENT = "first_id, last_id, passage_count, alive_count, revision, ids, token_counts"


class Search:
    """The statements that both databases share; subclasses add those that differ."""

    def __init__(self, db: Db) -> None:
        self._db = db

    @property
    def vectors(self) -> Vectors:
        """The vectors of the passages."""
        raise NotImplementedError

    def array_param(self, values: Iterable[object]) -> object:
        """A parameter that holds many values, for :meth:`in_array`."""
        raise NotImplementedError

    def in_array(self, name: str) -> str:
        """The condition that a column's value is one of an array parameter's."""
        raise NotImplementedError

    def _glob_condition(self, name: str) -> str:
        """The condition that a column's value matches a parameter made by :meth:`_glob_param`."""
        raise NotImplementedError

    def _glob_param(self, pattern: str) -> str:
        """The parameter for a pattern (``patterns.py``)."""
        raise NotImplementedError

    def _select_ids(self, source: str, values: dict[str, object]) -> array[int]:
        """The ids of the passages (``p``) that a ``from`` and ``where`` select, in order.

        They come as one value: with a million ids, a row for each would take most of the time.
        """
        raise NotImplementedError

    def add_postings(self, workspace_id: int, first_id: int, postings: dict[str, bytes]) -> None:
        """Add the posting lists of a segment, by their terms."""
        raise NotImplementedError

    def index(self, workspace_id: int) -> IndexRow | None:
        """The index of a workspace, None if it has none yet.

        A writing transaction locks it against other writers.
        """
        return self._one(
            f"""select enabled, {_INDEX}, counted_bytes from search_indexes
            where workspace_id = :workspace_id {self._db.lock_clause}""",
            workspace_id=workspace_id,
        )

    def create(self, workspace_id: int, format: str) -> None:
        """Create an empty index if there is none."""
        self._db.run(
            f"""insert into search_indexes (workspace_id, enabled, {_INDEX})
            values (:workspace_id, 1, 0, 1, 0, :format, '', 0, 0, 0)
            on conflict (workspace_id) do nothing""",
            workspace_id=workspace_id,
            format=format,
        )

    def invalidate(self, workspace_id: int, enabled: bool) -> None:
        """Have the next indexer rebuild the index, or (``enabled`` False) drop it for good."""
        self._db.run(
            f"""insert into search_indexes (workspace_id, enabled, {_INDEX})
            values (:workspace_id, :enabled, 0, 1, 0, '', '', 0, 0, 0)
            on conflict (workspace_id) do update set enabled = excluded.enabled, seq = 0,
            format = '', revision = search_indexes.revision + 1""",
            workspace_id=workspace_id,
            enabled=int(enabled),
        )

    def save(self, workspace_id: int, index: IndexRow) -> None:
        """Update the row of the index, and count what it takes for its org."""
        size_bytes = index["passage_count"] * PASSAGE_BYTES + index["token_count"] * TERM_BYTES
        if size_bytes != index["counted_bytes"]:
            Usage(self._db).add_index_bytes(workspace_id, size_bytes - index["counted_bytes"])
            index["counted_bytes"] = size_bytes
        self._db.run(
            """update search_indexes set seq = :seq, next_id = :next_id,
            embedded_id = :embedded_id, format = :format, model = :model,
            passage_count = :passage_count,
            token_count = :token_count, revision = :revision, counted_bytes = :counted_bytes
            where workspace_id = :workspace_id""",
            workspace_id=workspace_id,
            seq=index["seq"],
            next_id=index["next_id"],
            embedded_id=index["embedded_id"],
            format=index["format"],
            model=index["model"],
            passage_count=index["passage_count"],
            token_count=index["token_count"],
            revision=index["revision"],
            counted_bytes=size_bytes,
        )

    def behind(self, *, after: int, embeds: bool, limit: int) -> list[Row]:
        """Workspaces (``id``, ``seq``) after one whose index has events to catch up with, or
        vectors if there is a model that ``embeds``."""
        return self._all(
            """select w.id, w.seq from workspaces w
            left join search_indexes i on i.workspace_id = w.id
            where w.id > :after and w.deleted_at is null and coalesce(i.enabled, 1) = 1
            and (coalesce(i.seq, 0) < w.seq
                or (:embeds = 1 and i.embedded_id < i.next_id - 1))
            order by w.id limit :limit""",
            after=after,
            embeds=int(embeds),
            limit=limit,
        )

    def indexed_object(self, workspace_id: int, path: str) -> ObjectRow | None:
        """What is indexed of an object, None if it is not in the index."""
        return self._one(
            f"""select {_OBJECT} from search_objects
            where workspace_id = :workspace_id and path = :path""",
            workspace_id=workspace_id,
            path=path,
        )

    def save_object(
        self,
        workspace_id: int,
        path: str,
        *,
        version: int,
        kind: str,
        updated_at: int,
        passage_count: int,
        complete: bool,
        problem: str | None,
    ) -> None:
        self._db.run(
            f"""insert into search_objects (workspace_id, {_OBJECT})
            values (:workspace_id, :path, :version, :kind, :updated_at, :passage_count,
            :complete, :problem)
            on conflict (workspace_id, path) do update set version = excluded.version,
            kind = excluded.kind, updated_at = excluded.updated_at,
            passage_count = excluded.passage_count, complete = excluded.complete,
            problem = excluded.problem""",
            workspace_id=workspace_id,
            path=path,
            version=version,
            kind=kind,
            updated_at=updated_at,
            passage_count=passage_count,
            complete=int(complete),
            problem=problem,
        )

    def delete_object(self, workspace_id: int, path: str) -> None:
        self._db.run(
            "delete from search_objects where workspace_id = :workspace_id and path = :path",
            workspace_id=workspace_id,
            path=path,
        )

    def any_object(self, workspace_id: int) -> ObjectRow | None:
        """Any object that is in the index, None if it is empty."""
        return self._one(
            f"select {_OBJECT} from search_objects where workspace_id = :workspace_id limit 1",
            workspace_id=workspace_id,
        )

    def object_count(self, workspace_id: int) -> int:
        """How many objects are in the index."""
        return self._count(
            "from search_objects where workspace_id = :workspace_id", workspace_id=workspace_id
        )

    def problems(self, workspace_id: int, limit: int) -> list[ProblemRow]:
        """Objects that could not be indexed, or not completely."""
        return self._all(
            """select path, version, problem from search_objects where problem is not null
            and workspace_id = :workspace_id order by path limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def add_passage(self, workspace_id: int, id: int, path: str, passage: AnalyzedPassage) -> None:
        """Insert a passage and add it to the memtable; the caller advances ``next_id``."""
        self._db.run(
            f"""insert into passages (workspace_id, id, path, {_PASSAGE})
            values (:workspace_id, :id, :path, :line, :end_line, :page, :pointer, :heading,
            :body)""",
            workspace_id=workspace_id,
            id=id,
            path=path,
            line=passage["line"],
            end_line=passage["end_line"],
            page=passage["page"],
            pointer=passage["pointer"],
            heading=passage["heading"],
            body=passage["body"],
        )
        self.add_to_memtable(workspace_id, id, passage["token_count"], passage["words"])

    def passage_ids(self, workspace_id: int, path: str, after: int, limit: int) -> list[int]:
        """Ids of the passages of a path above ``after``, in order."""
        rows = self._all(
            """select id from passages where workspace_id = :workspace_id and path = :path
            and id > :after order by id limit :limit""",
            workspace_id=workspace_id,
            path=path,
            after=after,
            limit=limit,
        )
        return [row["id"] for row in rows]

    def stored_passages(self, workspace_id: int, path: str) -> list[PassageRow]:
        """The passages of a path, in order."""
        return self._all(
            f"""select id, {_PASSAGE} from passages where workspace_id = :workspace_id
            and path = :path order by id""",
            workspace_id=workspace_id,
            path=path,
        )

    def count_passages(self, workspace_id: int, path: str, upto: int) -> int:
        """How many passages a path has with ids up to ``upto``."""
        return self._count(
            """from passages where workspace_id = :workspace_id and path = :path
            and id <= :upto""",
            workspace_id=workspace_id,
            path=path,
            upto=upto,
        )

    def existing_ids(self, workspace_id: int, ids: list[int]) -> set[int]:
        """Which of these passages exist."""
        rows = self._all(
            f"""select id from passages where workspace_id = :workspace_id
            and id {self.in_array("ids")}""",
            workspace_id=workspace_id,
            ids=self.array_param(ids),
        )
        return {row["id"] for row in rows}

    def delete_passages(self, workspace_id: int, ids: list[int]) -> None:
        """Delete the rows of passages; their terms and vectors are in other tables."""
        self._db.run(
            f"""delete from passages where workspace_id = :workspace_id
            and id {self.in_array("ids")}""",
            workspace_id=workspace_id,
            ids=self.array_param(ids),
        )

    def passages(self, workspace_id: int, ids: list[int]) -> list[HitRow]:
        """Passages with the version, kind and time of their objects."""
        return self._all(
            f"""select p.id, p.path, p.line, p.end_line, p.page, p.pointer, p.heading, p.body,
            o.version, o.kind, o.updated_at
            from passages p join search_objects o on o.workspace_id = p.workspace_id
            and o.path = p.path where p.workspace_id = :workspace_id
            and p.id {self.in_array("ids")}""",
            workspace_id=workspace_id,
            ids=self.array_param(ids),
        )

    def schemas(self, workspace_id: int, paths: list[str]) -> dict[str, str]:
        """The JSON Schemas of those of these objects that have one."""
        rows = self._all(
            f"""select path, schema from objects where workspace_id = :workspace_id
            and schema is not null and path {self.in_array("paths")}""",
            workspace_id=workspace_id,
            paths=self.array_param(paths),
        )
        return {row["path"]: row["schema"] for row in rows}

    def filtered_ids(self, workspace_id: int, filters: dict[str, object]) -> array[int]:
        """Ids of the passages that pass the filters (``path``, ``kind``, ``since``), in order."""
        conditions = {
            "path": f"and p.path {self._glob_condition('path')}",
            "kind": "and o.kind = :kind",
            "since": "and o.updated_at >= :since",
        }
        objects = """join search_objects o
            on o.workspace_id = p.workspace_id and o.path = p.path"""
        values = {**filters}
        if "path" in filters:
            values["path"] = self._glob_param(str(filters["path"]))
        return self._select_ids(
            f"""from passages p {objects if filters.keys() - {"path"} else ""}
            where p.workspace_id = :workspace_id {" ".join(conditions[f] for f in filters)}""",
            {"workspace_id": workspace_id, **values},
        )

    def add_to_memtable(self, workspace_id: int, id: int, token_count: int, words: str) -> None:
        """Add a passage's encoded term frequencies to the memtable."""
        self._db.run(
            """insert into loose_passages (workspace_id, id, token_count, words)
            values (:workspace_id, :id, :token_count, :words)""",
            workspace_id=workspace_id,
            id=id,
            token_count=token_count,
            words=words,
        )

    def memtable(self, workspace_id: int, limit: int) -> list[MemtableRow]:
        """The first passages of the memtable, in order."""
        return self._all(
            """select id, token_count, words from loose_passages
            where workspace_id = :workspace_id order by id limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def memtable_lengths(self, workspace_id: int, ids: list[int]) -> dict[int, int]:
        """The lengths of those of these passages that are in the memtable."""
        rows = self._all(
            f"""select id, token_count from loose_passages where workspace_id = :workspace_id
            and id {self.in_array("ids")}""",
            workspace_id=workspace_id,
            ids=self.array_param(ids),
        )
        return {row["id"]: row["token_count"] for row in rows}

    def delete_from_memtable(self, workspace_id: int, ids: list[int]) -> None:
        self._db.run(
            f"""delete from loose_passages where workspace_id = :workspace_id
            and id {self.in_array("ids")}""",
            workspace_id=workspace_id,
            ids=self.array_param(ids),
        )

    def segment_revisions(self, workspace_id: int) -> list[RevisionRow]:
        """All segments with their revisions, in order."""
        return self._all(
            """select first_id, revision from word_blocks where workspace_id = :workspace_id
            order by first_id""",
            workspace_id=workspace_id,
        )

    def segments(self, workspace_id: int, first_ids: list[int]) -> list[SegmentRow]:
        """Segments by the ids of their first passages."""
        return self._all(
            f"""select {_SEGMENT} from word_blocks where workspace_id = :workspace_id
            and first_id {self.in_array("first_ids")}""",
            workspace_id=workspace_id,
            first_ids=self.array_param(first_ids),
        )

    def segments_between(self, workspace_id: int, first_id: int, last_id: int) -> list[SegmentRow]:
        """Segments that may hold passages with ids in this range."""
        return self._all(
            f"""select {_SEGMENT} from word_blocks where workspace_id = :workspace_id
            and first_id <= :last_id and last_id >= :first_id order by first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
            last_id=last_id,
        )

    def sparse_segment(self, workspace_id: int) -> SegmentRow | None:
        """A segment that has more deleted passages than live ones, None if there is none."""
        return self._one(
            f"""select {_SEGMENT} from word_blocks where workspace_id = :workspace_id
            and 2 * alive_count < passage_count order by first_id limit 1""",
            workspace_id=workspace_id,
        )

    def put_segment(self, workspace_id: int, segment: SegmentRow) -> None:
        """Insert a segment, or update one whose passages were deleted."""
        self._db.run(
            f"""insert into word_blocks (workspace_id, {_SEGMENT})
            values (:workspace_id, :first_id, :last_id, :passage_count, :alive_count, :revision,
            :ids, :token_counts)
            on conflict (workspace_id, first_id) do update set
            alive_count = excluded.alive_count, revision = excluded.revision,
            token_counts = excluded.token_counts""",
            workspace_id=workspace_id,
            **segment,
        )

    def drop_segment(self, workspace_id: int, first_id: int) -> None:
        """Delete a segment and its posting lists."""
        key = {"workspace_id": workspace_id, "first_id": first_id}
        self._db.run(
            "delete from postings where workspace_id = :workspace_id and first_id = :first_id",
            **key,
        )
        self._db.run(
            "delete from word_blocks where workspace_id = :workspace_id and first_id = :first_id",
            **key,
        )

    def postings(
        self, workspace_id: int, first_ids: list[int], terms: list[str]
    ) -> list[PostingsRow]:
        """The posting lists of terms in these segments."""
        return self._all(
            f"""select first_id, word, places from postings where workspace_id = :workspace_id
            and first_id {self.in_array("first_ids")} and word {self.in_array("words")}""",
            workspace_id=workspace_id,
            first_ids=self.array_param(first_ids),
            words=self.array_param(terms),
        )

    def segment_postings(self, workspace_id: int, first_id: int) -> list[PostingsRow]:
        """All posting lists of a segment."""
        return self._all(
            """select first_id, word, places from postings
            where workspace_id = :workspace_id and first_id = :first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
        )

    def unembedded_passages(self, workspace_id: int, limit: int) -> list[PassageBody]:
        """The next passages without a vector, in order."""
        return self._all(
            """select id, body from passages where workspace_id = :workspace_id
            and id > (select embedded_id from search_indexes where workspace_id = :workspace_id)
            order by id limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def count_unembedded(self, workspace_id: int) -> int:
        """How many passages have no vector."""
        return self._count(
            """from passages where workspace_id = :workspace_id
            and id > (select embedded_id from search_indexes where workspace_id = :workspace_id)
            """,
            workspace_id=workspace_id,
        )

    def _one(self, sql: str, **params: object) -> Any | None:
        """A row as ``search_rows.py`` types it."""
        return self._db.one(sql, **params)

    def _all(self, sql: str, **params: object) -> list[Any]:
        """Rows as ``search_rows.py`` types them."""
        rows: list[Any] = self._db.all(sql, **params)
        return rows

    def _count(self, source: str, **params: object) -> int:
        row = self._one(f"select count(*) as count {source}", **params)
        assert row is not None
        count: int = row["count"]
        return count
