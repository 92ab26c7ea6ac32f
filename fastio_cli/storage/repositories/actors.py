"""SQL of who acts: what the event log says of each actor."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row


class Actors:
    def __init__(self, db: Db) -> None:
        self._db = db

    def since(self, workspace_id: int, seq: int, at_ms: int, limit: int) -> list[Row]:
        """Who acted after an event and a time, the last first, each with the last thing done."""
        return self._db.all(
            """select e.seq, e.type, e.actor, e.path, e.at, a.events
            from (
                select max(seq) as seq, count(*) as events from events
                where workspace_id = :workspace_id and seq > :seq and at >= :at_ms group by actor
            ) a join events e on e.workspace_id = :workspace_id and e.seq = a.seq
            order by e.seq desc limit :limit""",
            workspace_id=workspace_id,
            seq=seq,
            at_ms=at_ms,
            limit=limit,
        )

    def last_seq(self, workspace_id: int, actor: str, after: int) -> int | None:
        """The last event of an actor after another."""
        row = self._db.one(
            """select max(seq) as seq from events
            where workspace_id = :workspace_id and seq > :after and actor = :actor""",
            workspace_id=workspace_id,
            after=after,
            actor=actor,
        )
        return None if row is None else row["seq"]
