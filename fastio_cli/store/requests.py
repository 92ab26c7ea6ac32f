"""SQL of idempotency: the result of a mutating call, kept with its effect for a day."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.store.contract import Db, Row

KEPT_MS = 24 * 3600 * 1000


class Requests:
    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, workspace_id: int, key: str, now_ms: int) -> Row | None:
        """The stored request of this key, unless it is older than a day."""
        return self._db.one(
            """select request_hash, result from requests where workspace_id = :workspace_id
            and key = :key and at > :oldest""",
            workspace_id=workspace_id,
            key=key,
            oldest=now_ms - KEPT_MS,
        )

    def put(self, workspace_id: int, key: str, request_hash: str, result: str, now_ms: int) -> None:
        """Store a result, and forget those of the workspace that are older than a day."""
        self._db.run(
            "delete from requests where workspace_id = :workspace_id and at <= :oldest",
            workspace_id=workspace_id,
            oldest=now_ms - KEPT_MS,
        )
        self._db.run(
            """insert into requests (workspace_id, key, request_hash, result, at)
            values (:workspace_id, :key, :request_hash, :result, :now_ms)""",
            workspace_id=workspace_id,
            key=key,
            request_hash=request_hash,
            result=result,
            now_ms=now_ms,
        )
