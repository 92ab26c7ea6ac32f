"""SQL of idempotency: the result of a mutating call, kept for a while with its effect."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row


STORED = """select request_hash, result, target_id, expires_at from requests
    where workspace_id = :workspace_id and key = :key"""
TIDY_EVERY = 16  # milliseconds come at random, so this is one write in so many
PUT_REQUEST = """insert into requests
    (workspace_id, key, request_hash, result, target_id, expires_at)
    values (:workspace_id, :key, :request_hash, :result, :target_id, :expires_at)
    on conflict (workspace_id, key) do update set request_hash = excluded.request_hash,
    result = excluded.result, target_id = excluded.target_id, expires_at = excluded.expires_at"""
DROP_EXPIRED = "delete from requests where workspace_id = :workspace_id and expires_at <= :now_ms"


class Requests:
    def __init__(self, db: Db) -> None:
        self._db = db

    def stored(self, workspace_id: int, key: str) -> Row | None:
        """The stored request of this key, even if its time is over."""
        return self._db.one(STORED, workspace_id=workspace_id, key=key)

    def drop_expired(self, workspace_id: int, now_ms: int) -> None:
        """Forget the results of a workspace whose time is over."""
        self._db.run(DROP_EXPIRED, workspace_id=workspace_id, now_ms=now_ms)
