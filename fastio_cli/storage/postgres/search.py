"""The search index in PostgreSQL's words: vectors by pgvector where it is there, in blocks if not.

With pgvector a workspace is compared exactly until it is large; then a background worker makes it
an HNSW index of its own (:func:`make_neighbours`), so that neither its speed nor what it finds
depends on other workspaces. Nothing but this module knows which of both it is.
"""

from __future__ import annotations

import re
import sys
from array import array
from contextlib import contextmanager

import psycopg

from fastio_cli.storage.repositories.search import Search
from fastio_cli.storage.repositories.vectors import BLOCK_VECTORS, EXACT_MAX, BlockVectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import Literal

    from fastio_cli.storage.db import Db, Row
    from fastio_cli.storage.postgres.pipeline import Connection
    from fastio_cli.storage.repositories.vectors import Vectors

NEIGHBOURS = 200  # as many as HNSW gives: the later ones of a thousand change no ranking
EF_SEARCH = 400  # 100 loses some of what is far from every passage
SCANNED_MAX = 40_000
_PATTERN_PART = re.compile(r"\[\^?\]?[^\]]*\]|.", re.DOTALL)
_SET_PART = re.compile(r"(.)-(.)|(.)", re.DOTALL)
_NEIGHBOURS = "select indisvalid as is_valid from pg_index where indexrelid = to_regclass(:name)"
_IN_THE_MAKING = "select 1 from pg_stat_progress_create_index where index_relid = to_regclass(%s)"
_PGVECTOR = """select quote_ident(n.nspname) as schema from pg_extension e
    join pg_namespace n on n.oid = e.extnamespace
    where e.extname = 'vector' and to_regclass('passage_vectors') is not null"""
_NODE_BYTES = 600  # of the graph, for each vector in it
_BUILD_BYTES_MIN, _BUILD_BYTES_MAX = 256 * 1024**2, 2 * 1024**3


class PostgresSearch(Search):
    """The index of a PostgreSQL store. ``pgvector`` is the schema of that extension's types, None
    where it is not installed."""

    def __init__(self, db: Db, pgvector: str | None) -> None:
        super().__init__(db)
        self._vectors: Vectors = (
            BlockVectors(db, self) if pgvector is None else PgVectors(db, self, pgvector)
        )

    @property
    def vectors(self) -> Vectors:
        return self._vectors

    def listed(self, values: Iterable[object]) -> object:
        return list(values)

    def among(self, name: str) -> str:
        return f"= any(:{name})"

    def _pattern(self, name: str) -> str:
        return f'~ :{name} collate "C"'

    def _pattern_of(self, path: str) -> str:
        return regular_expression(path)

    def _ids(self, source: str, values: dict[str, object]) -> array[int]:
        row = self._db.one(
            f"select string_agg(int8send(p.id), '' order by p.id) as ids {source}", **values
        )
        assert row is not None
        ids = array("q", row["ids"] or b"")
        if sys.byteorder == "little":
            ids.byteswap()
        return ids

    def add_postings(self, workspace_id: int, first_id: int, places: dict[str, bytes]) -> None:
        self._db.run(
            """insert into postings (workspace_id, first_id, word, places)
            select :workspace_id, :first_id, word, places
            from unnest(:words::text[], :all_places::bytea[]) as added (word, places)""",
            workspace_id=workspace_id,
            first_id=first_id,
            words=list(places),
            all_places=list(places.values()),
        )


class PgVectors:
    """Vectors in half precision that the database compares itself, by the cosine."""

    compares: Literal[True] = True

    def __init__(self, db: Db, search: PostgresSearch, schema: str) -> None:
        self._db = db
        self._search = search
        self._type = f"{schema}.halfvec"
        # The negative inner product; all vectors are of length 1.
        self._distance = f"operator({schema}.<#>)"

    def add(
        self, workspace_id: int, ids: list[int], scales: bytes, codes: bytes, revision: int
    ) -> None:
        """Enter vectors; the ids rise, and are higher than all there are."""
        self._db.run(
            f"""insert into passage_vectors (workspace_id, id, vector)
            select :workspace_id, id, vector::{self._type}
            from unnest(:ids::bigint[], :vectors::text[]) as added (id, vector)""",
            workspace_id=workspace_id,
            ids=ids,
            vectors=_texts(scales, codes),
        )

    def remove(self, workspace_id: int, ids: list[int], revision: int) -> None:
        """Forget those of these vectors that there are."""
        self._db.run(
            "delete from passage_vectors where workspace_id = :workspace_id and id = any(:ids)",
            workspace_id=workspace_id,
            ids=ids,
        )

    def clear(self, workspace_id: int) -> None:
        """Forget all vectors of a workspace."""
        if self._db.one(_NEIGHBOURS, name=_name(workspace_id)) is not None:
            self._db.run(f"drop index {_name(workspace_id)}")  # it is for vectors of one length
        self._db.run(
            "delete from passage_vectors where workspace_id = :workspace_id",
            workspace_id=workspace_id,
        )

    def revisions(self, workspace_id: int) -> list[Row]:
        """Every range of ids with vectors, in order, and what changes when one comes or goes: how
        many there are, and which is the last. (A vector never changes, and later ones come after
        it.)"""
        return self._db.all(
            f"""select id / {BLOCK_VECTORS} as first_id, count(*) || '/' || max(id) as revision
            from passage_vectors where workspace_id = :workspace_id group by 1 order by 1""",
            workspace_id=workspace_id,
        )

    def blocks(self, workspace_id: int, first_ids: list[int]) -> list[Row]:
        """Ranges by what names them, as the blocks that other stores keep."""
        rows = self._db.all(
            f"""select first_id, count(*) || '/' || max(id) as revision,
            string_agg(int8send(id), '' order by id) as ids,
            string_agg({self._type}_send(vector), '' order by id) as vectors
            from unnest(:first_ids::bigint[]) as wanted (first_id) join passage_vectors
            on id between first_id * {BLOCK_VECTORS} and (first_id + 1) * {BLOCK_VECTORS} - 1
            where workspace_id = :workspace_id group by first_id order by first_id""",
            workspace_id=workspace_id,
            first_ids=first_ids,
        )
        return [{**row, **_packed(row["ids"], row["vectors"])} for row in rows]

    def nearest(
        self,
        workspace_id: int,
        vector: list[float],
        allowed: Sequence[int] | None,
        limit: int,
        count: int,
    ) -> list[Row]:
        """The ids and cosines of the nearest passages, of those that are allowed if not all are;
        ``count`` is how many the workspace has.

        Few are compared all. Of many, HNSW is asked for so many more as are not allowed; only where
        that does not lead to enough of them, as what is nearest is elsewhere, are they compared.
        """
        if allowed is not None and len(allowed) <= EXACT_MAX:
            return self.cosines(workspace_id, vector, allowed, limit)
        if count <= EXACT_MAX or not self._has_neighbours(workspace_id):
            return self.cosines(workspace_id, vector, allowed, limit)
        if allowed is None:
            return self._neighbours(workspace_id, vector, NEIGHBOURS)
        passes = set(allowed)
        rows = self._neighbours(workspace_id, vector, NEIGHBOURS * count // len(allowed))
        found = [row for row in rows if row["id"] in passes]
        if len(found) < NEIGHBOURS // 2:
            return self.cosines(workspace_id, vector, allowed, limit)
        return found

    def cosines(
        self,
        workspace_id: int,
        vector: list[float],
        ids: Sequence[int] | None,
        limit: int = 2**31,
    ) -> list[Row]:
        """The cosines of those of these passages, or of all, that have a vector, nearest first.

        The vector stands in a query of its own so that it is read once: the plan of a prepared
        statement would read its 4,000 characters anew for every row.
        """
        condition = "" if ids is None else "and id = any(:ids)"
        return self._db.all(
            f"""select id, -(vector {self._distance} (select :vector::{self._type})) as cosine
            from passage_vectors where workspace_id = :workspace_id {condition}
            order by cosine desc limit :limit""",
            workspace_id=workspace_id,
            vector=_text(vector),
            limit=limit,
            **({} if ids is None else {"ids": list(ids)}),
        )

    def _neighbours(self, workspace_id: int, vector: list[float], limit: int) -> list[Row]:
        """About the nearest, by the workspace's HNSW index, searched on until there are enough."""
        self._db.run(
            f"""select set_config('hnsw.ef_search', '{EF_SEARCH}', true),
            set_config('hnsw.iterative_scan', 'relaxed_order', true),
            set_config('hnsw.max_scan_tuples', '{SCANNED_MAX}', true),
            set_config('enable_sort', 'off', true)"""
        )  # the planner takes comparing all for cheaper than it is
        sized = f"{self._type}({len(vector)})"
        rows = self._db.all(
            f"""select id, -(vector::{sized} {self._distance} :vector::{sized}) as cosine
            from passage_vectors where workspace_id = :workspace_id
            order by vector::{sized} {self._distance} :vector::{sized} limit :limit""",
            workspace_id=workspace_id,
            vector=_text(vector),
            limit=limit,
        )
        self._db.run("select set_config('enable_sort', 'on', true)")
        return rows

    def _has_neighbours(self, workspace_id: int) -> bool:
        row = self._db.one(_NEIGHBOURS, name=_name(workspace_id))
        return row is not None and bool(row["is_valid"])


def add_vectors(raw: Connection) -> None:
    """Add the table of vectors, if pgvector is there or may be made: in the schema ``public``,
    since a database has it once for all its stores."""
    found = raw.execute("select 1 from pg_available_extensions where name = 'vector'").fetchone()
    if found is None:
        return
    try:
        with raw.transaction():
            raw.execute("create extension if not exists vector schema public")
    except (psycopg.errors.InsufficientPrivilege, psycopg.errors.InvalidSchemaName):
        pass  # an administrator may have done it, or not
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
    """Let the planner see tables that have outgrown what it knows of them.

    PostgreSQL does so itself, but up to a minute later; until then it may choose an index that has
    to be read from end to end for each query.
    """
    row = raw.execute(
        """select i.passage_count > 2 * greatest(c.reltuples, 500) as has_grown
        from search_indexes i, pg_class c
        where i.workspace_id = %s and c.oid = 'passages'::regclass""",
        (workspace_id,),
    ).fetchone()
    if row is not None and row["has_grown"]:
        raw.execute("analyze passages, search_objects, postings")


def make_neighbours(raw: Connection, workspace_id: int) -> None:
    """Make the HNSW index of a workspace that has become large; nobody waits for it meanwhile."""
    found = raw.execute(_PGVECTOR).fetchone()
    index = raw.execute(
        "select passage_count from search_indexes where workspace_id = %s", (workspace_id,)
    ).fetchone()
    if found is None or index is None or index["passage_count"] <= EXACT_MAX:
        return
    schema, name = found["schema"], _name(workspace_id)
    if raw.execute(_IN_THE_MAKING, (name,)).fetchone() is not None:
        return
    there = raw.execute(_NEIGHBOURS.replace(":name", "%s"), (name,)).fetchone()
    if there is not None and there["is_valid"]:
        return
    if there is not None:  # whoever made it was ended
        raw.execute(f"drop index concurrently if exists {name}")
    row = raw.execute(
        f"""select {schema}.vector_dims(vector) as dimension from passage_vectors
        where workspace_id = %s limit 1""",
        (workspace_id,),
    ).fetchone()
    if row is None:
        return
    dimension = row["dimension"]
    with _unhurried(raw, index["passage_count"] * (2 * dimension + _NODE_BYTES)):
        raw.execute(
            f"""create index concurrently {name} on passage_vectors
            using hnsw ((vector::{schema}.halfvec({dimension})) {schema}.halfvec_ip_ops)
            with (m = 16, ef_construction = 64) where workspace_id = {int(workspace_id)}"""
        )
        raw.execute("analyze passage_vectors (workspace_id)")  # or the planner thinks it small


@contextmanager
def _unhurried(raw: Connection, memory_bytes: int) -> Iterator[None]:
    """Let a session work for as long as it takes, which transactions may not, and with memory: an
    index that outgrows it is made some times slower."""
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


def schema_of_pgvector(db: Db) -> str | None:
    """The schema of pgvector, quoted; None if the store has no table that uses it."""
    row = db.one(_PGVECTOR)
    return None if row is None else row["schema"]


def _name(workspace_id: int) -> str:
    return f"passage_vectors_{int(workspace_id)}"


def regular_expression(pattern: str) -> str:
    """A pattern of a shell (``*``, ``?``, ``[a-z]``, ``[^a-z]``) as PostgreSQL matches it."""
    parts = []
    for part in _PATTERN_PART.findall(pattern):
        if part in ("*", "?"):
            parts.append(".*" if part == "*" else ".")
        else:
            parts.append(_one_of(part[1:-1]) if len(part) > 1 else _literal(part))
    return f"^{''.join(parts)}$"


def _one_of(characters: str) -> str:
    """One character of a set; of an empty one there is none."""
    negated = characters.startswith("^")
    parts = [
        _literal(single) if single else f"{_literal(first)}-{_literal(last)}"
        for first, last, single in _SET_PART.findall(characters.removeprefix("^"))
        if single or first <= last
    ]
    if not parts:
        return "." if negated else "(?!)"
    return f"[{'^' if negated else ''}{''.join(parts)}]"


def _literal(character: str) -> str:
    is_special = character.isascii() and not character.isalnum()
    return f"\\{character}" if is_special else character


def _texts(scales: bytes, codes: bytes) -> list[str]:
    """Packed vectors as the text of vectors."""
    all_scales, all_codes = array("f", scales), array("b", codes)
    dimension = len(all_codes) // len(all_scales)
    texts = []
    for i, scale in enumerate(all_scales):
        texts.append(_text([scale * c for c in all_codes[i * dimension : (i + 1) * dimension]]))
    return texts


def _packed(ids: bytes, vectors: bytes) -> dict[str, bytes]:
    """Ids and vectors as they are sent (a vector's length, two bytes, its halves; big-endian) as
    they were entered: the codes are found exactly, the scales as nearly as halves can tell."""
    import numpy as np

    numbers = np.frombuffer(ids, ">i8").astype(np.int64)
    halves = np.frombuffer(vectors, ">f2").reshape(len(numbers), -1)[:, 2:].astype(np.float32)
    largest = np.abs(halves).max(1, keepdims=True)
    largest[largest == 0] = 1
    codes = np.rint(halves / largest * 127)
    scales = (halves * codes).sum(1) / np.maximum(np.square(codes).sum(1), 1)
    return {
        "ids": numbers.tobytes(),
        "scales": scales.astype(np.float32).tobytes(),
        "codes": codes.astype(np.int8).tobytes(),
    }


def _text(vector: list[float]) -> str:
    return f"[{','.join(f'{value:.6g}' for value in vector)}]"
