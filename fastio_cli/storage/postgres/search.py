"""The statements of the search index in PostgreSQL's dialect, and vectors in pgvector.

With pgvector, nearest neighbours are searched exactly until a workspace is large. Then a background
worker builds an HNSW index for it alone (:func:`build_hnsw_index`), so that neither its speed nor
its recall depends on other workspaces. Without pgvector, vectors are kept in packed blocks.
"""

from __future__ import annotations

import re
import sys
from array import array
from contextlib import contextmanager

import psycopg

from fastio_cli.storage.repositories.search import Search
from fastio_cli.storage.repositories.vectors import (
    BLOCK_VECTORS,
    EXACT_KNN_PASSAGES_MAX,
    BlockVectors,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Any, Literal

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.postgres.pipeline import Connection
    from fastio_cli.storage.repositories.vectors import PackedVectors, Vectors
    from fastio_cli.storage.search_rows import (
        CosineRow,
        RevisionRow,
        VectorBlockRow,
    )

HNSW_NEIGHBOURS = 200  # of a query: more of them change no ranking
HNSW_EF_SEARCH = 400  # with 100, recall is lower for queries that are far from every passage
HNSW_SCAN_TUPLES_MAX = 40_000
_PATTERN_PART = re.compile(r"\[\^?\]?[^\]]*\]|.", re.DOTALL)
_SET_PART = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_HNSW_INDEX = "select indisvalid as is_valid from pg_index where indexrelid = to_regclass(:name)"
_BUILD_IN_PROGRESS = (
    "select 1 from pg_stat_progress_create_index where index_relid = to_regclass(%s)"
)
_PGVECTOR = """select quote_ident(n.nspname) as schema from pg_extension e
    join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'vector' and to_regclass('passage_vectors') is not null"""
_HNSW_NODE_BYTES = 600  # of the graph, for each vector in it
_BUILD_BYTES_MIN, _BUILD_BYTES_MAX = 256 * 1024**2, 2 * 1024**3


class PostgresSearch(Search):
    """The search index of a PostgreSQL store. ``pgvector`` is the schema of that extension's types,
    None if it is not installed."""

    def __init__(self, db: Db, pgvector: str | None) -> None:
        super().__init__(db)
        self._vectors: Vectors = (
            BlockVectors(db, self) if pgvector is None else PgVectors(db, self, pgvector)
        )

    @property
    def vectors(self) -> Vectors:
        return self._vectors

    def array_param(self, values: Iterable[object]) -> object:
        return list(values)

    def in_array(self, name: str) -> str:
        return f"= any(:{name})"

    def _glob_condition(self, name: str) -> str:
        return f'~ :{name} collate "C"'

    def _glob_param(self, pattern: str) -> str:
        return glob_to_regex(pattern)

    def _select_ids(self, source: str, values: dict[str, object]) -> array[int]:
        row = self._db.one(
            f"select string_agg(int8send(p.id), '' order by p.id) as ids {source}", **values
        )
        assert row is not None
        ids = array("q", row["ids"] or b"")
        if sys.byteorder == "little":
            ids.byteswap()
        return ids

    def add_postings(self, workspace_id: int, first_id: int, postings: dict[str, bytes]) -> None:
        self._db.run(
            """insert into postings (workspace_id, first_id, word, places)
            select :workspace_id, :first_id, word, places
            from unnest(:words::text[], :places::bytea[]) as added (word, places)""",
            workspace_id=workspace_id,
            first_id=first_id,
            words=list(postings),
            places=list(postings.values()),
        )


class PgVectors:
    """Vectors in half precision, searched by the database."""

    supports_knn: Literal[True] = True

    def __init__(self, db: Db, search: PostgresSearch, schema: str) -> None:
        self._db = db
        self._search = search
        self._type = f"{schema}.halfvec"
        # The negative inner product, which is the negative cosine: all vectors have length 1.
        self._distance = f"operator({schema}.<#>)"

    def add(
        self, workspace_id: int, ids: list[int], scales: bytes, codes: bytes, revision: int
    ) -> None:
        """Add vectors. Their ids rise, and are higher than all that are stored."""
        self._db.run(
            f"""insert into passage_vectors (workspace_id, id, vector)
            select :workspace_id, id, vector::{self._type}
            from unnest(:ids::bigint[], :vectors::text[]) as added (id, vector)""",
            workspace_id=workspace_id,
            ids=ids,
            vectors=_vector_literals(scales, codes),
        )

    def delete(self, workspace_id: int, ids: list[int], revision: int) -> None:
        """Delete those of these vectors that are stored."""
        self._db.run(
            "delete from passage_vectors where workspace_id = :workspace_id and id = any(:ids)",
            workspace_id=workspace_id,
            ids=ids,
        )

    def clear(self, workspace_id: int) -> None:
        """Delete all vectors of a workspace."""
        if self._db.one(_HNSW_INDEX, name=_hnsw_name(workspace_id)) is not None:
            self._db.run(f"drop index {_hnsw_name(workspace_id)}")  # its dimension is fixed
        self._db.run(
            "delete from passage_vectors where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )

    def revisions(self, workspace_id: int) -> list[RevisionRow]:
        """All ranges of ids that have vectors, in order, with their revisions.

        A revision is the count of the vectors and the last id: it changes with every insertion and
        deletion, as vectors are never updated and new ones have higher ids.
        """
        return self._all(
            f"""select id / {BLOCK_VECTORS} as first_id, count(*) || '/' || max(id) as revision
            from passage_vectors where workspace_id = :workspace_id group by 1 order by 1""",
            workspace_id=workspace_id,
        )

    def blocks(self, workspace_id: int, first_ids: list[int]) -> list[VectorBlockRow]:
        """The vectors of ranges, packed as the blocks of other stores."""
        rows = self._all(
            f"""select first_id, max(id) as last_id, count(*) || '/' || max(id) as revision,
            string_agg(int8send(id), '' order by id) as ids,
            string_agg({self._type}_send(vector), '' order by id) as vectors
            from unnest(:first_ids::bigint[]) as wanted (first_id) join passage_vectors
            on id between first_id * {BLOCK_VECTORS} and (first_id + 1) * {BLOCK_VECTORS} - 1
            where workspace_id = :workspace_id group by first_id order by first_id""",
            workspace_id=workspace_id,
            first_ids=first_ids,
        )
        return [_packed_block(row) for row in rows]

    def nearest(
        self,
        workspace_id: int,
        vector: list[float],
        allowed: Sequence[int] | None,
        limit: int,
        count: int,
    ) -> list[CosineRow]:
        """The ids and cosines of the nearest neighbours of a query's vector.

        Of ``allowed`` passages only, unless that is None. ``count`` is how many the workspace has.
        Few passages are searched exactly. Of many, the HNSW index is asked for more neighbours the
        fewer are allowed; if too few of those are, the allowed ones are searched exactly.
        """
        candidates = count if allowed is None else min(count, len(allowed))
        if candidates <= EXACT_KNN_PASSAGES_MAX or not self._has_hnsw_index(workspace_id):
            return self.cosines(workspace_id, vector, allowed, limit)
        if allowed is None:
            return self._hnsw_search(workspace_id, vector, HNSW_NEIGHBOURS)
        passing = set(allowed)
        rows = self._hnsw_search(workspace_id, vector, HNSW_NEIGHBOURS * count // len(allowed))
        found = [row for row in rows if row["id"] in passing]
        if len(found) < HNSW_NEIGHBOURS // 2:
            return self.cosines(workspace_id, vector, allowed, limit)
        return found

    def cosines(
        self,
        workspace_id: int,
        vector: list[float],
        ids: Sequence[int] | None,
        limit: int = 2**31,
    ) -> list[CosineRow]:
        """The cosines of those of these passages, or of all, that have a vector, nearest first.

        The vector is in a subquery so that it is parsed once: the plan of a prepared statement
        would parse its 4,000 characters for every row.
        """
        condition = "" if ids is None else "and id = any(:ids)"
        return self._all(
            f"""select id, -(vector {self._distance} (select :vector::{self._type})) as cosine
            from passage_vectors where workspace_id = :workspace_id {condition}
            order by cosine desc limit :limit""",
            workspace_id=workspace_id,
            vector=_vector_literal(vector),
            limit=limit,
            **({} if ids is None else {"ids": list(ids)}),
        )

    def _hnsw_search(self, workspace_id: int, vector: list[float], limit: int) -> list[CosineRow]:
        """Approximate nearest neighbours by the HNSW index, scanned until there are enough."""
        self._db.run(
            f"""select set_config('hnsw.ef_search', '{HNSW_EF_SEARCH}', true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.max_scan_tuples', '{HNSW_SCAN_TUPLES_MAX}', true),
            set_config('enable_sort', 'off', true)"""
        )  # the planner underestimates the cost of an exact search
        sized = f"{self._type}({len(vector)})"
        rows = self._all(
            f"""select id, -(vector::{sized} {self._distance} :vector::{sized}) as cosine
            from passage_vectors where workspace_id = :workspace_id
            order by vector::{sized} {self._distance} :vector::{sized} limit :limit""",
            workspace_id=workspace_id,
            vector=_vector_literal(vector),
            limit=limit,
        )
        self._db.run("select set_config('enable_sort', 'on', true)")
        return rows

    def _all(self, sql: str, **params: object) -> list[Any]:
        """Rows as ``search_rows.py`` types them."""
        rows: list[Any] = self._db.all(sql, **params)
        return rows

    def _has_hnsw_index(self, workspace_id: int) -> bool:
        row = self._db.one(_HNSW_INDEX, name=_hnsw_name(workspace_id))
        return row is not None and bool(row["is_valid"])


def create_vector_table(raw: Connection) -> None:
    """Create the table of vectors if pgvector is installed or can be.

    The extension is created in the schema ``public``: a database has it once for all its stores.
    """
    found = raw.execute("select 1 from pg_available_extensions where name = 'vector'").fetchone()
    if found is None:
        return
    try:
        with raw.transaction():
            raw.execute("create extension if not exists vector schema public")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName):
        pass  # perhaps an administrator has created it
    installed = raw.execute(
        """select quote_ident(n.nspname) as schema from pg_extension e
        join pg_namespace n on n.oid = e.extnamespace where e.extname = 'vector'"""
    ).fetchone()
    if installed is not None:
        raw.execute(
            f"""create table if not exists passage_vectors (
                workspace_id bigint not null,
                id bigint not null,
                vector {installed["schema"]}.halfvec not null,
                primary key (workspace_id, id)
            )"""
        )


def refresh_statistics(raw: Connection, workspace_id: int) -> None:
    """Analyse the tables of the search index if they have more than doubled since the last time.

    PostgreSQL does so itself, but up to a minute later; until then the planner may choose an index
    that has to be read from end to end for each query.
    """
    row = raw.execute(
        """select i.passage_count > 2 * greatest(c.reltuples, 500) as has_grown
        from search_indexes i, pg_class c
        where i.workspace_id = %s and c.oid = 'passages'::regclass""",
        (workspace_id,),
    ).fetchone()
    if row is not None and row["has_grown"]:
        raw.execute("analyze passages, search_objects, postings")


def build_hnsw_index(raw: Connection, workspace_id: int) -> None:
    """Build the HNSW index of a workspace that has become large, without locking anybody out."""
    found = raw.execute(_PGVECTOR).fetchone()
    index = raw.execute(
        "select passage_count from search_indexes where workspace_id = %s", (workspace_id,)
    ).fetchone()
    if found is None or index is None or index["passage_count"] <= EXACT_KNN_PASSAGES_MAX:
        return
    schema, name = found["schema"], _hnsw_name(workspace_id)
    if raw.execute(_BUILD_IN_PROGRESS, (name,)).fetchone() is not None:
        return
    existing = raw.execute(_HNSW_INDEX.replace(":name", "%s"), (name,)).fetchone()
    if existing is not None and existing["is_valid"]:
        return
    if existing is not None:  # its build was interrupted
        raw.execute(f"drop index concurrently if exists {name}")
    row = raw.execute(
        f"""select {schema}.vector_dims(vector) as dimension from passage_vectors
        where workspace_id = %s limit 1""",
        (workspace_id,),
    ).fetchone()
    if row is None:
        return
    dimension = row["dimension"]
    with _build_settings(raw, index["passage_count"] * (2 * dimension + _HNSW_NODE_BYTES)):
        raw.execute(
            f"""create index concurrently {name} on passage_vectors
            using hnsw ((vector::{schema}.halfvec({dimension})) {schema}.halfvec_ip_ops)
            with (m = 16, ef_construction = 64) where workspace_id = {int(workspace_id)}"""
        )
        raw.execute("analyze passage_vectors (workspace_id)")  # or the planner takes it for small


@contextmanager
def _build_settings(raw: Connection, memory_bytes: int) -> Iterator[None]:
    """Lift the session's timeouts, and give it memory: an index that outgrows it is built several
    times slower."""
    kib = min(max(memory_bytes, _BUILD_BYTES_MIN), _BUILD_BYTES_MAX) // 1024
    settings = {"lock_timeout": "0", "statement_timeout": "0", "maintenance_work_mem": f"{kib}kB"}
    current = ", ".join(f"current_setting('{name}') as {name}" for name in settings)
    changed = ", ".join(f"set_config('{name}', %({name})s, false)" for name in settings)
    before = raw.execute(f"select {current}").fetchone()
    raw.execute(f"select {changed}", settings)
    try:
        yield
    finally:
        raw.execute(f"select {changed}", before)


def pgvector_schema(db: Db) -> str | None:
    """The schema of pgvector, quoted; None if the store has no table of vectors."""
    row = db.one(_PGVECTOR)
    return None if row is None else row["schema"]


def _hnsw_name(workspace_id: int) -> str:
    return f"passage_vectors_{int(workspace_id)}"


def glob_to_regex(pattern: str) -> str:
    """A shell pattern (``*``, ``?``, ``[a-z]``, ``[^a-z]``) as a POSIX regular expression."""
    parts = []
    for part in _PATTERN_PART.findall(pattern):
        if part in ("*", "?"):
            parts.append(".*" if part == "*" else ".")
        else:
            parts.append(_character_class(part[1:-1]) if len(part) > 1 else _escape(part))
    return f"^{''.join(parts)}$"


def _character_class(characters: str) -> str:
    """A set of characters; an empty one matches nothing."""
    negated = characters.startswith("^")
    parts = [
        _escape(single) if single else f"{_escape(first)}-{_escape(last)}"
        for first, last, single in _SET_PART.findall(characters.removeprefix("^"))
        if single or first <= last
    ]
    if not parts:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _escape(character: str) -> str:
    is_special = character.isascii() and not character.isalnum()
    return f"\\{character}" if is_special else character


def _vector_literals(scales: bytes, codes: bytes) -> list[str]:
    """Packed vectors as literals of pgvector."""
    all_scales, all_codes = array("f", scales), array("b", codes)
    dimension = len(all_codes) // len(all_scales)
    literals = []
    for i, scale in enumerate(all_scales):
        row = all_codes[i * dimension : (i + 1) * dimension]
        literals.append(_vector_literal([scale * code for code in row]))
    return literals


def _packed_block(row: Row) -> VectorBlockRow:
    ids, scales, codes = _pack(row["ids"], row["vectors"])
    return {
        "first_id": row["first_id"],
        "last_id": row["last_id"],
        "revision": row["revision"],
        "ids": ids,
        "scales": scales,
        "codes": codes,
    }


def _pack(ids: bytes, vectors: bytes) -> PackedVectors:
    """Ids and vectors in PostgreSQL's binary format, packed as they were added.

    A vector is its dimension, two unused bytes, and its values as big-endian halves. The codes are
    restored exactly, the scales as precisely as half precision allows.
    """
    import numpy as np

    numbers = np.frombuffer(ids, ">i8").astype(np.int64)
    halves = np.frombuffer(vectors, ">f2").reshape(len(numbers), -1)[:, 2:].astype(np.float32)
    largest = np.abs(halves).max(1, keepdims=True)
    largest[largest == 0] = 1
    codes = np.rint(halves / largest * 127)
    scales = (halves * codes).sum(1) / np.maximum(np.square(codes).sum(1), 1)
    return (
        numbers.tobytes(),
        scales.astype(np.float32).tobytes(),
        codes.astype(np.int8).tobytes(),
    )


def _vector_literal(vector: list[float]) -> str:
    return f"[{','.join(f'{value:.6g}' for value in vector)}]"
