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

    def before(self, workspace_id: int, seq: int, after: int, limit: int) -> list[Row]:
        """Events between two sequence numbers, neither of them included, the newest first."""
        return self._db.all(
            f"""select {_EVENT} from events where workspace_id = :workspace_id and seq < :seq
            and seq > :after order by seq desc limit :limit""",
            workspace_id=workspace_id,
            seq=seq,
            after=after,
            limit=limit,
        )

    def first_since(self, workspace_id: int, after: int, at: int) -> int | None:
        """The first event after a sequence number that is from this time or later."""
        row = self._db.one(
            """select min(seq) as seq from events where workspace_id = :workspace_id
            and seq > :after and at >= :at""",
            workspace_id=workspace_id,
            after=after,
            at=at,
        )
        return row["seq"] if row is not None else None

    def after(self, workspace_id: int, seq: int, limit: int) -> list[Row]:
        """Events after a sequence number, in order."""
        return self._db.all(
            f"""select {_EVENT} from events where workspace_id = :workspace_id and seq > :seq
            order by seq limit :limit""",
            workspace_id=workspace_id,
            seq=seq,
            limit=limit,
        )
