"""The statements of the search index in PostgreSQL's dialect, and vectors in pgvector.

With pgvector, nearest neighbours are searched exactly until a workspace is large. Then a background
worker builds an HNSW index for it alone (:func:`build_hnsw_index`), so that neither its speed nor
its recall depends on other workspaces. Without pgvector, vectors are kept in packed blocks.
"""

from __future__ import annotations

import sys
from array import array
from contextlib import contextmanager

import psycopg

from fastio_cli.patterns import as_regex
from fastio_cli.storage.postgres.vectors import HNSW_INDEX, PgVectors, hnsw_name
from fastio_cli.storage.repositories.search import Search
from fastio_cli.storage.repositories.vectors import EXACT_KNN_PASSAGES_MAX, BlockVectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fastio_cli.storage.db import Db
    from fastio_cli.storage.postgres.pipeline import Connection
    from fastio_cli.storage.repositories.search import Vectors

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
            BlockVectors(db, self.in_array, self.array_param)
            if pgvector is None
            else PgVectors(db, pgvector)
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
        return as_regex(pattern)

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
    schema, name = found["schema"], hnsw_name(workspace_id)
    if raw.execute(_BUILD_IN_PROGRESS, (name,)).fetchone() is not None:
        return
    existing = raw.execute(HNSW_INDEX.replace(":name", "%s"), (name,)).fetchone()
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
