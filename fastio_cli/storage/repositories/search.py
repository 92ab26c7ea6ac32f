"""SQL of the search index: passages, their words, their vectors, and how far it has read."""

from __future__ import annotations

from array import array

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.repositories.vectors import Vectors

_INDEX = "seq, next_id, embedded_id, format, model, passage_count, token_count, revision"
_OBJECT = "path, version, kind, updated_at, passage_count, complete, problem"
_PASSAGE = "line, end_line, page, pointer, heading, body"
_BLOCK = "first_id, last_id, passage_count, alive_count, revision, ids, token_counts"


class Search:
    """What both databases say alike; the adapters add what they say in words of their own."""

    def __init__(self, db: Db) -> None:
        self._db = db

    @property
    def vectors(self) -> Vectors:
        """The vectors of the passages."""
        raise NotImplementedError

    def listed(self, values: Iterable[object]) -> object:
        """A parameter that holds many values, for ``among``."""
        raise NotImplementedError

    def among(self, name: str) -> str:
        """The condition that a column's value is one of a parameter's."""
        raise NotImplementedError

    def _pattern(self, name: str) -> str:
        """The condition that a column's value matches a parameter, a pattern of a shell."""
        raise NotImplementedError

    def _pattern_of(self, path: str) -> str:
        """The parameter for ``_pattern``."""
        raise NotImplementedError

    def _ids(self, source: str, values: dict[str, object]) -> array[int]:
        """The ids of the passages (``p``) of a query's ``from`` and ``where``, in order: there may
        be very many, so that a row for each would take longest."""
        raise NotImplementedError

    def add_postings(self, workspace_id: int, first_id: int, places: dict[str, bytes]) -> None:
        """Enter where each word stands in a block."""
        raise NotImplementedError

    def index(self, workspace_id: int) -> Row | None:
        """How far the index has come; None when there is none yet. A writing transaction keeps
        other writers of this index out from here."""
        return self._db.one(
            f"""select enabled, {_INDEX} from search_indexes
            where workspace_id = :workspace_id {self._db.lock_clause}""",
            workspace_id=workspace_id,
        )

    def create(self, workspace_id: int, format: str) -> None:
        """Make an empty index if there is none."""
        self._db.run(
            f"""insert into search_indexes (workspace_id, enabled, {_INDEX})
            values (:workspace_id, 1, 0, 1, 0, :format, '', 0, 0, 0)
            on conflict (workspace_id) do nothing""",
            workspace_id=workspace_id,
            format=format,
        )

    def outdate(self, workspace_id: int, enabled: bool) -> None:
        """Have an index made anew, or from now on none; whoever reads the log next does it."""
        self._db.run(
            f"""insert into search_indexes (workspace_id, enabled, {_INDEX})
            values (:workspace_id, :enabled, 0, 1, 0, '', '', 0, 0, 0)
            on conflict (workspace_id) do update set enabled = excluded.enabled, seq = 0,
            format = '', revision = search_indexes.revision + 1""",
            workspace_id=workspace_id,
            enabled=int(enabled),
        )

    def save(self, workspace_id: int, index: dict[str, object]) -> None:
        """Write down how far the index has come."""
        self._db.run(
            """update search_indexes set seq = :seq, next_id = :next_id,
            embedded_id = :embedded_id, format = :format, model = :model,
            passage_count = :passage_count,
            token_count = :token_count, revision = :revision
            where workspace_id = :workspace_id""",
            workspace_id=workspace_id,
            **{name: index[name] for name in _INDEX.split(", ")},
        )

    def behind(
        self, worker: str, now_ms: int, *, after: int, embeds: bool, limit: int
    ) -> list[Row]:
        """Workspaces (``id``, ``seq``) after one whose index has events to catch up with, or
        vectors if the worker ``embeds``, and which no other worker has taken."""
        return self._db.all(
            """select w.id, w.seq from workspaces w
            left join search_indexes i on i.workspace_id = w.id
            where w.id > :after and w.deleted_at is null and coalesce(i.enabled, 1) = 1
            and (coalesce(i.seq, 0) < w.seq
                or (:embeds = 1 and i.embedded_id < i.next_id - 1))
            and (i.worker is null or i.worker = :worker or i.taken_until < :now_ms)
            order by w.id limit :limit""",
            worker=worker,
            now_ms=now_ms,
            after=after,
            embeds=int(embeds),
            limit=limit,
        )

    def take(self, workspace_id: int, worker: str, now_ms: int, until: int) -> bool:
        """Have other workers leave this index to one; False if another has it. Those who search
        bring it up to date all the same."""
        row = self._db.returning(
            """update search_indexes set worker = :worker, taken_until = :until
            where workspace_id = :workspace_id
            and (worker is null or worker = :worker or taken_until < :now_ms)
            returning workspace_id""",
            workspace_id=workspace_id,
            worker=worker,
            now_ms=now_ms,
            until=until,
        )
        return row is not None

    def known(self, workspace_id: int, path: str) -> Row | None:
        """What the index knows of a path."""
        return self._db.one(
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

    def forget_object(self, workspace_id: int, path: str) -> None:
        self._db.run(
            "delete from search_objects where workspace_id = :workspace_id and path = :path",
            workspace_id=workspace_id,
            path=path,
        )

    def next_object(self, workspace_id: int) -> Row | None:
        """Any path that the index still knows."""
        return self._db.one(
            f"select {_OBJECT} from search_objects where workspace_id = :workspace_id limit 1",
            workspace_id=workspace_id,
        )

    def object_count(self, workspace_id: int) -> int:
        """How many objects are in the index, or are to be."""
        row = self._db.one(
            "select count(*) as count from search_objects where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )
        assert row is not None
        count: int = row["count"]
        return count

    def problems(self, workspace_id: int, limit: int) -> list[Row]:
        """Objects that could not be read, or not whole."""
        return self._db.all(
            """select path, version, problem from search_objects where problem is not null
            and workspace_id = :workspace_id order by path limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def add_passage(self, workspace_id: int, id: int, path: str, row: dict[str, object]) -> None:
        """Enter one passage and its words; ``next_id`` has to be moved on afterwards."""
        values = dict(row)
        words, token_count = values.pop("words"), values.pop("token_count")
        self._db.run(
            f"""insert into passages (workspace_id, id, path, {_PASSAGE})
            values (:workspace_id, :id, :path, :line, :end_line, :page, :pointer, :heading,
            :body)""",
            workspace_id=workspace_id,
            id=id,
            path=path,
            **values,
        )
        self.add_loose(workspace_id, id, token_count, words)

    def passages_of(self, workspace_id: int, path: str, after: int, limit: int) -> list[int]:
        """Ids of the passages of a path after one, in order."""
        rows = self._db.all(
            """select id from passages where workspace_id = :workspace_id and path = :path
            and id > :after order by id limit :limit""",
            workspace_id=workspace_id,
            path=path,
            after=after,
            limit=limit,
        )
        return [row["id"] for row in rows]

    def passage_rows(self, workspace_id: int, path: str) -> list[Row]:
        """The passages of a path as they are stored, in order."""
        return self._db.all(
            f"""select id, {_PASSAGE} from passages where workspace_id = :workspace_id
            and path = :path order by id""",
            workspace_id=workspace_id,
            path=path,
        )

    def passage_count(self, workspace_id: int, path: str, upto: int) -> int:
        """How many passages of a path there are up to one."""
        row = self._db.one(
            """select count(*) as count from passages where workspace_id = :workspace_id
            and path = :path and id <= :upto""",
            workspace_id=workspace_id,
            path=path,
            upto=upto,
        )
        assert row is not None
        count: int = row["count"]
        return count

    def existing(self, workspace_id: int, ids: list[int]) -> set[int]:
        """Which of these passages are there."""
        rows = self._db.all(
            f"""select id from passages where workspace_id = :workspace_id
            and id {self.among("ids")}""",
            workspace_id=workspace_id,
            ids=self.listed(ids),
        )
        return {row["id"] for row in rows}

    def remove_passages(self, workspace_id: int, ids: list[int]) -> None:
        """Take passages out of the table; their words and vectors are not in it."""
        self._db.run(
            f"""delete from passages where workspace_id = :workspace_id
            and id {self.among("ids")}""",
            workspace_id=workspace_id,
            ids=self.listed(ids),
        )

    def passages(self, workspace_id: int, ids: list[int]) -> list[Row]:
        """Passages with what is known of their objects."""
        return self._db.all(
            f"""select p.id, p.path, p.line, p.end_line, p.page, p.pointer, p.heading, p.body,
            o.version, o.kind, o.updated_at
            from passages p join search_objects o on o.workspace_id = p.workspace_id
            and o.path = p.path where p.workspace_id = :workspace_id
            and p.id {self.among("ids")}""",
            workspace_id=workspace_id,
            ids=self.listed(ids),
        )

    def schemas(self, workspace_id: int, paths: list[str]) -> dict[str, str]:
        """The JSON Schemas of those of these objects that have one."""
        rows = self._db.all(
            f"""select path, schema from objects where workspace_id = :workspace_id
            and schema is not null and path {self.among("paths")}""",
            workspace_id=workspace_id,
            paths=self.listed(paths),
        )
        return {row["path"]: row["schema"] for row in rows}

    def filtered_ids(self, workspace_id: int, filters: dict[str, object]) -> array[int]:
        """The passages that filters (``path``, ``kind``, ``since``) let through, in order."""
        conditions = {
            "path": f"and p.path {self._pattern('path')}",
            "kind": "and o.kind = :kind",
            "since": "and o.updated_at >= :since",
        }
        objects = """join search_objects o
            on o.workspace_id = p.workspace_id and o.path = p.path"""
        values = {**filters}
        if "path" in filters:
            values["path"] = self._pattern_of(str(filters["path"]))
        return self._ids(
            f"""from passages p {objects if filters.keys() - {"path"} else ""}
            where p.workspace_id = :workspace_id {" ".join(conditions[f] for f in filters)}""",
            {"workspace_id": workspace_id, **values},
        )

    def add_loose(self, workspace_id: int, id: int, token_count: object, words: object) -> None:
        """Enter the words of a passage that is in no block."""
        self._db.run(
            """insert into loose_passages (workspace_id, id, token_count, words)
            values (:workspace_id, :id, :token_count, :words)""",
            workspace_id=workspace_id,
            id=id,
            token_count=token_count,
            words=words,
        )

    def loose(self, workspace_id: int, limit: int) -> list[Row]:
        """Passages that are in no block, in order."""
        return self._db.all(
            """select id, token_count, words from loose_passages
            where workspace_id = :workspace_id order by id limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def loose_lengths(self, workspace_id: int, ids: list[int]) -> dict[int, int]:
        """The lengths of those of these passages that are in no block."""
        rows = self._db.all(
            f"""select id, token_count from loose_passages where workspace_id = :workspace_id
            and id {self.among("ids")}""",
            workspace_id=workspace_id,
            ids=self.listed(ids),
        )
        return {row["id"]: row["token_count"] for row in rows}

    def remove_loose(self, workspace_id: int, ids: list[int]) -> None:
        self._db.run(
            f"""delete from loose_passages where workspace_id = :workspace_id
            and id {self.among("ids")}""",
            workspace_id=workspace_id,
            ids=self.listed(ids),
        )

    def block_revisions(self, workspace_id: int) -> list[Row]:
        """Every block of words and when it changed, in order."""
        return self._db.all(
            """select first_id, revision from word_blocks where workspace_id = :workspace_id
            order by first_id""",
            workspace_id=workspace_id,
        )

    def blocks(self, workspace_id: int, first_ids: list[int]) -> list[Row]:
        """Blocks by the ids that name them."""
        return self._db.all(
            f"""select {_BLOCK} from word_blocks where workspace_id = :workspace_id
            and first_id {self.among("first_ids")}""",
            workspace_id=workspace_id,
            first_ids=self.listed(first_ids),
        )

    def blocks_between(self, workspace_id: int, first_id: int, last_id: int) -> list[Row]:
        """Blocks that may hold passages with ids from first to last."""
        return self._db.all(
            f"""select {_BLOCK} from word_blocks where workspace_id = :workspace_id
            and first_id <= :last_id and last_id >= :first_id order by first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
            last_id=last_id,
        )

    def worn_block(self, workspace_id: int) -> Row | None:
        """A block of which less than half is left."""
        return self._db.one(
            f"""select {_BLOCK} from word_blocks where workspace_id = :workspace_id
            and 2 * alive_count < passage_count order by first_id limit 1""",
            workspace_id=workspace_id,
        )

    def put_block(self, workspace_id: int, block: dict[str, object]) -> None:
        """Enter a block, or one that lost passages."""
        self._db.run(
            f"""insert into word_blocks (workspace_id, {_BLOCK})
            values (:workspace_id, :first_id, :last_id, :passage_count, :alive_count, :revision,
            :ids, :token_counts)
            on conflict (workspace_id, first_id) do update set
            alive_count = excluded.alive_count, revision = excluded.revision,
            token_counts = excluded.token_counts""",
            workspace_id=workspace_id,
            **block,
        )

    def drop_block(self, workspace_id: int, first_id: int) -> None:
        """Forget a block with its postings."""
        names = {"workspace_id": workspace_id, "first_id": first_id}
        self._db.run(
            "delete from postings where workspace_id = :workspace_id and first_id = :first_id",
            **names,
        )
        self._db.run(
            "delete from word_blocks where workspace_id = :workspace_id and first_id = :first_id",
            **names,
        )

    def postings(self, workspace_id: int, first_ids: list[int], words: list[str]) -> list[Row]:
        """Where words stand in blocks."""
        return self._db.all(
            f"""select first_id, word, places from postings where workspace_id = :workspace_id
            and first_id {self.among("first_ids")} and word {self.among("words")}""",
            workspace_id=workspace_id,
            first_ids=self.listed(first_ids),
            words=self.listed(words),
        )

    def postings_of(self, workspace_id: int, first_id: int) -> list[Row]:
        """Where all words of a block stand."""
        return self._db.all(
            """select word, places from postings where workspace_id = :workspace_id
            and first_id = :first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
        )

    def unembedded(self, workspace_id: int, limit: int) -> list[Row]:
        """The next passages that have no vector yet, in order."""
        return self._db.all(
            """select id, body from passages where workspace_id = :workspace_id
            and id > (select embedded_id from search_indexes where workspace_id = :workspace_id)
            order by id limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def pending(self, workspace_id: int) -> int:
        """How many passages have no vector yet."""
        row = self._db.one(
            """select count(*) as count from passages where workspace_id = :workspace_id
            and id > (select embedded_id from search_indexes where workspace_id = :workspace_id)
            """,
            workspace_id=workspace_id,
        )
        assert row is not None
        count: int = row["count"]
        return count
