"""SQL of the event log."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.store.contract import Db, Row

_EVENT = "seq, type, actor, path, version, at, data, prev_hash, hash"


class Events:
    def __init__(self, db: Db) -> None:
        self._db = db

    def add(
        self,
        workspace_id: int,
        *,
        seq: int,
        type: str,
        actor: str,
        path: str | None,
        version: int | None,
        at: int,
        data: str,
        prev_hash: str,
        hash: str,
    ) -> None:
        self._db.run(
            f"""insert into events (workspace_id, {_EVENT}) values (:workspace_id, :seq, :type,
            :actor, :path, :version, :at, :data, :prev_hash, :hash)""",
            workspace_id=workspace_id,
            seq=seq,
            type=type,
            actor=actor,
            path=path,
            version=version,
            at=at,
            data=data,
            prev_hash=prev_hash,
            hash=hash,
        )

    def after(self, workspace_id: int, seq: int, limit: int) -> list[Row]:
        """Events after a sequence number, in order."""
        return self._db.all(
            f"""select {_EVENT} from events where workspace_id = :workspace_id and seq > :seq
            order by seq limit :limit""",
            workspace_id=workspace_id,
            seq=seq,
            limit=limit,
        )
