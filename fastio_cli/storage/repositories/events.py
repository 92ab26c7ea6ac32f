"""SQL of the event log."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_EVENT = "seq, type, actor, path, version, at, data, prev_hash, hash"
ADD_EVENT = f"""insert into events (workspace_id, {_EVENT}) values (:workspace_id, :seq, :type,
    :actor, :path, :version, :at, :data, :prev_hash, :hash)"""


class Events:
    def __init__(self, db: Db) -> None:
        self._db = db

    def add(self, columns: Row) -> None:
        """Append an event, by the names of its columns."""
        self._db.run_many(ADD_EVENT, [columns])

    def after(self, workspace_id: int, seq: int, limit: int) -> list[Row]:
        """Events after a sequence number, in order."""
        return self._db.all(
            f"""select {_EVENT} from events where workspace_id = :workspace_id and seq > :seq
            order by seq limit :limit""",
            workspace_id=workspace_id,
            seq=seq,
            limit=limit,
        )
