"""SQL of the search index: passages, their full text, their vectors, and how far it has read."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.store.contract import Db, Row

IDS_PER_WORKSPACE = 2**40
BLOCK_VECTORS = 1024
_INDEX = "workspace_id, enabled, seq, next_id, embedded_id, format, model"
_OBJECT = "path, version, kind, updated_at, passage_count, complete, problem"
_FILTERED = """select p.id from passages p join search_objects o
    on o.workspace_id = p.workspace_id and o.path = p.path where p.workspace_id = :workspace_id"""
_PASSAGE = "line, end_line, page, pointer, heading"


class Search:
    def __init__(self, db: Db) -> None:
        self._db = db

    def index(self, workspace_id: int) -> Row | None:
        """How far the index has come; None when there is none yet."""
        return self._db.one(
            f"select {_INDEX} from search_indexes where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )

    def begin(self, workspace_id: int, format: str, enabled: bool) -> None:
        """Begin an empty index at the beginning of the log."""
        self._db.run(
            f"""insert into search_indexes ({_INDEX})
            values (:workspace_id, :enabled, 0, :first, :first - 1, :format, '')
            on conflict (workspace_id) do update set enabled = excluded.enabled, seq = 0,
            format = excluded.format, model = ''""",
            workspace_id=workspace_id,
            enabled=int(enabled),
            first=workspace_id * IDS_PER_WORKSPACE,
            format=format,
        )

    def advance(self, workspace_id: int, seq: int) -> None:
        """Every change up to this event is in the index."""
        self._db.run(
            "update search_indexes set seq = :seq where workspace_id = :workspace_id",
            workspace_id=workspace_id,
            seq=seq,
        )

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

    def add_passage(self, id: int, workspace_id: int, path: str, row: dict[str, object]) -> None:
        """Enter one passage; ``next_id`` has to be moved on afterwards."""
        self._db.run(
            f"""insert into passages (id, workspace_id, path, {_PASSAGE}, body, context)
            values (:id, :workspace_id, :path, :line, :end_line, :page, :pointer, :heading,
            :body, :context)""",
            id=id,
            workspace_id=workspace_id,
            path=path,
            **row,
        )
        self._db.run(
            "insert into passages_fts (rowid, body, context) values (:id, :body, :context)",
            id=id,
            body=row["body"],
            context=row["context"],
        )

    def set_next_id(self, workspace_id: int, next_id: int) -> None:
        self._db.run(
            "update search_indexes set next_id = :next_id where workspace_id = :workspace_id",
            workspace_id=workspace_id,
            next_id=next_id,
        )

    def passages_of(self, workspace_id: int, path: str | None, limit: int) -> list[Row]:
        """Ids of the passages of a path, or of all, in order."""
        condition = "and path = :path" if path is not None else ""
        return self._db.all(
            f"""select id from passages where workspace_id = :workspace_id {condition}
            order by id limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
            **({"path": path} if path is not None else {}),
        )

    def remove_passage(self, id: int) -> None:
        """Take a passage out of the full text, then out of the table."""
        self._db.run(
            """insert into passages_fts (passages_fts, rowid, body, context)
            select 'delete', id, body, context from passages where id = :id""",
            id=id,
        )
        self._db.run("delete from passages where id = :id", id=id)

    def next_object(self, workspace_id: int) -> Row | None:
        """Any path that the index still knows."""
        return self._db.one(
            f"select {_OBJECT} from search_objects where workspace_id = :workspace_id limit 1",
            workspace_id=workspace_id,
        )

    def counts(self, workspace_id: int) -> Row:
        """How many objects and passages there are."""
        row = self._db.one(
            """select
            (select count(*) from search_objects where workspace_id = :workspace_id) as objects,
            (select count(*) from passages where workspace_id = :workspace_id) as passages""",
            workspace_id=workspace_id,
        )
        assert row is not None
        return row

    def problems(self, workspace_id: int, limit: int) -> list[Row]:
        """Objects that could not be read, or not whole."""
        return self._db.all(
            """select path, version, problem from search_objects where problem is not null
            and workspace_id = :workspace_id order by path limit :limit""",
            workspace_id=workspace_id,
            limit=limit,
        )

    def matches(
        self,
        workspace_id: int,
        match: str,
        context_weight: float,
        filters: dict[str, object],
        limit: int,
    ) -> list[Row]:
        """Ids and BM25 scores (higher is better) of the best passages for an FTS5 expression."""
        condition = "" if not filters else f"and rowid in ({_FILTERED} {_condition(filters)})"
        return self._db.all(
            f"""select rowid as id, -bm25(passages_fts, 1.0, :context_weight) as score
            from passages_fts where passages_fts match :match and rowid between :first and :last
            {condition} order by score desc, rowid limit :limit""",
            workspace_id=workspace_id,
            match=match,
            context_weight=context_weight,
            first=workspace_id * IDS_PER_WORKSPACE,
            last=(workspace_id + 1) * IDS_PER_WORKSPACE - 1,
            limit=limit,
            **filters,
        )

    def filtered_ids(self, workspace_id: int, filters: dict[str, object]) -> list[Row]:
        """The ids of all passages that the filters let through."""
        condition = _condition(filters)
        return self._db.all(
            f"{_FILTERED} {condition}",
            workspace_id=workspace_id,
            **filters,
        )

    def passages(self, workspace_id: int, ids: list[int]) -> list[Row]:
        """Passages with what is known of their objects."""
        return self._db.all(
            """select p.id, p.path, p.line, p.end_line, p.page, p.pointer, p.heading, p.body,
            o.version, o.kind, o.updated_at
            from passages p join search_objects o on o.workspace_id = p.workspace_id
            and o.path = p.path where p.workspace_id = :workspace_id
            and p.id in (select value from json_each(:ids))""",
            workspace_id=workspace_id,
            ids=str(ids),
        )

    def highlights(self, ids: list[int], match: str, opening: str, closing: str) -> list[Row]:
        """Bodies of passages with the words that match between two marks."""
        return self._db.all(
            """select rowid as id, highlight(passages_fts, 0, :opening, :closing) as body
            from passages_fts where passages_fts match :match
            and rowid in (select value from json_each(:ids))""",
            match=match,
            ids=str(ids),
            opening=opening,
            closing=closing,
        )

    def unembedded(self, workspace_id: int, limit: int) -> list[Row]:
        """The next passages that have no vector yet, in order."""
        return self._db.all(
            """select id, body from passages where id > (select embedded_id
            from search_indexes where workspace_id = :workspace_id) and id < :end
            order by id limit :limit""",
            workspace_id=workspace_id,
            end=(workspace_id + 1) * IDS_PER_WORKSPACE,
            limit=limit,
        )

    def pending(self, workspace_id: int) -> int:
        """How many passages have no vector yet."""
        row = self._db.one(
            """select count(*) as count from passages where id > coalesce((select embedded_id
            from search_indexes where workspace_id = :workspace_id), :first) and id < :end""",
            workspace_id=workspace_id,
            first=workspace_id * IDS_PER_WORKSPACE,
            end=(workspace_id + 1) * IDS_PER_WORKSPACE,
        )
        return row["count"] if row is not None else 0

    def existing(self, workspace_id: int, first_id: int, last_id: int) -> list[Row]:
        return self._db.all(
            """select id from passages where workspace_id = :workspace_id
            and id between :first_id and :last_id""",
            workspace_id=workspace_id,
            first_id=first_id,
            last_id=last_id,
        )

    def set_embedded(self, workspace_id: int, embedded_id: int, model: str) -> None:
        self._db.run(
            """update search_indexes set embedded_id = :embedded_id, model = :model
            where workspace_id = :workspace_id""",
            workspace_id=workspace_id,
            embedded_id=embedded_id,
            model=model,
        )

    def drop_vectors(self, workspace_id: int) -> None:
        """Forget all vectors: every passage waits for a new one."""
        self._db.run(
            "delete from vector_blocks where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )
        self.set_embedded(workspace_id, workspace_id * IDS_PER_WORKSPACE - 1, "")

    def blocks(self, workspace_id: int) -> list[Row]:
        """All vectors, in order of id."""
        return self._db.all(
            """select first_id, ids, scales, codes from vector_blocks
            where workspace_id = :workspace_id order by first_id""",
            workspace_id=workspace_id,
        )

    def block_of(self, workspace_id: int, id: int) -> Row | None:
        """The block that would hold a passage's vector."""
        return self._db.one(
            """select first_id, last_id, ids, scales, codes from vector_blocks
            where workspace_id = :workspace_id and first_id <= :id and last_id >= :id
            order by first_id desc limit 1""",
            workspace_id=workspace_id,
            id=id,
        )

    def last_block(self, workspace_id: int) -> Row | None:
        return self._db.one(
            """select first_id, ids, scales, codes from vector_blocks
            where workspace_id = :workspace_id order by first_id desc limit 1""",
            workspace_id=workspace_id,
        )

    def put_block(
        self,
        workspace_id: int,
        first_id: int,
        last_id: int,
        ids: bytes,
        scales: bytes,
        codes: bytes,
    ) -> None:
        self._db.run(
            """insert into vector_blocks (workspace_id, first_id, last_id, ids, scales, codes)
            values (:workspace_id, :first_id, :last_id, :ids, :scales, :codes)
            on conflict (workspace_id, first_id) do update set last_id = excluded.last_id,
            ids = excluded.ids, scales = excluded.scales, codes = excluded.codes""",
            workspace_id=workspace_id,
            first_id=first_id,
            last_id=last_id,
            ids=ids,
            scales=scales,
            codes=codes,
        )

    def drop_block(self, workspace_id: int, first_id: int) -> None:
        self._db.run(
            """delete from vector_blocks
            where workspace_id = :workspace_id and first_id = :first_id""",
            workspace_id=workspace_id,
            first_id=first_id,
        )


def _condition(filters: dict[str, object]) -> str:
    """What holds for the objects that the filters let through."""
    conditions = {
        "path": "and o.path glob :path",
        "kind": "and o.kind = :kind",
        "since": "and o.updated_at >= :since",
    }
    return " ".join(conditions[name] for name in filters)
