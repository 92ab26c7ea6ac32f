"""The statements of the search index in SQLite's dialect."""

from __future__ import annotations

from array import array

from fastio_cli.json_text import compact
from fastio_cli.patterns import as_glob
from fastio_cli.storage.repositories.search import Search
from fastio_cli.storage.repositories.vectors import BlockVectors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from fastio_cli.storage.db import Db


class SqliteSearch(Search):
    """The search index of an embedded store; vectors are compared in memory."""

    def __init__(self, db: Db) -> None:
        super().__init__(db)
        self._vectors = BlockVectors(db, self.in_array, self.array_param)

    @property
    def vectors(self) -> BlockVectors:
        return self._vectors

    def array_param(self, values: Iterable[object]) -> str:
        return compact(list(values))

    def in_array(self, name: str) -> str:
        return f"in (select value from json_each(:{name}))"

    def _glob_condition(self, name: str) -> str:
        return f"glob :{name}"

    def _glob_param(self, pattern: str) -> str:
        return as_glob(pattern)

    def _select_ids(self, source: str, values: dict[str, object]) -> array[int]:
        row = self._db.one(f"select group_concat(p.id) as ids {source}", **values)
        assert row is not None
        return array("q", sorted(map(int, row["ids"].split(",")))) if row["ids"] else array("q")

    def add_postings(self, workspace_id: int, first_id: int, postings: dict[str, bytes]) -> None:
        key = {"workspace_id": workspace_id, "first_id": first_id}
        self._db.run_many(
            """insert into postings (workspace_id, first_id, word, places)
            values (:workspace_id, :first_id, :word, :places)""",
            # In the order of the primary key, so that each page is filled once.
            [{**key, "word": term, "places": postings[term]} for term in sorted(postings)],
        )
