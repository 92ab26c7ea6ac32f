"""SQL of locks and of those who wait for them."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_LOCK = """path, fence, token_hash, holder, purpose, ttl_ms, acquired_at, renewed_at, expires_at"""
LOCK_OF = f"select {_LOCK} from locks where workspace_id = :workspace_id and path = :path"


LAST = chr(0x10FFFF)  # after every other character
# A lock's path is this one, a folder of it, or, where this is a folder, below it.
_OVERLAPS = """(path = :path or (path > :path and path < :below)
    or (path >= :top_folder and path < :path and substr(path, length(path)) = '/'
        and substr(:path, 1, length(path)) = path))"""
# A waiter says every second that it lives; one that was silent for this long is passed over.
WAITER_TTL_MS = 3000


class Locks:
    def __init__(self, db: Db) -> None:
        self._db = db

    def token_key(self) -> bytes:
        """The store's own random key, which the tokens of its locks are derived with."""
        row = self._db.one("select value from store_keys where name = 'lock_tokens'")
        assert row is not None, "the schema makes it"
        return bytes.fromhex(row["value"])

    def get(self, workspace_id: int, path: str) -> Row | None:
        """The last lock granted on a path and not released; it may have expired."""
        return self._db.one(LOCK_OF, workspace_id=workspace_id, path=path)

    def overlapping(self, workspace_id: int, path: str) -> list[Row]:
        """The locks granted on a path, on its folders, or below it."""
        return self._db.all(
            f"select {_LOCK} from locks where workspace_id = :workspace_id and {_OVERLAPS}",
            workspace_id=workspace_id,
            **_around(path),
        )

    def put(
        self,
        workspace_id: int,
        path: str,
        *,
        fence: int,
        token_hash: str,
        holder: str,
        purpose: str,
        ttl_ms: int,
        now_ms: int,
    ) -> None:
        """Grant the lock of a path, in place of any older one."""
        self._db.run(
            f"""insert into locks (workspace_id, {_LOCK})
            values (:workspace_id, :path, :fence, :token_hash, :holder, :purpose, :ttl_ms,
            :now_ms, :now_ms, :expires_at)
            on conflict (workspace_id, path) do update set fence = excluded.fence,
            token_hash = excluded.token_hash, holder = excluded.holder,
            purpose = excluded.purpose, ttl_ms = excluded.ttl_ms,
            acquired_at = excluded.acquired_at, renewed_at = excluded.renewed_at,
            expires_at = excluded.expires_at""",
            workspace_id=workspace_id,
            path=path,
            fence=fence,
            token_hash=token_hash,
            holder=holder,
            purpose=purpose,
            ttl_ms=ttl_ms,
            now_ms=now_ms,
            expires_at=now_ms + ttl_ms,
        )

    def renew(self, workspace_id: int, path: str, ttl_ms: int, now_ms: int) -> None:
        self._db.run(
            """update locks set ttl_ms = :ttl_ms, renewed_at = :now_ms, expires_at = :expires_at
            where workspace_id = :workspace_id and path = :path""",
            workspace_id=workspace_id,
            path=path,
            ttl_ms=ttl_ms,
            now_ms=now_ms,
            expires_at=now_ms + ttl_ms,
        )

    def remove(self, workspace_id: int, path: str) -> None:
        self._db.run(
            "delete from locks where workspace_id = :workspace_id and path = :path",
            workspace_id=workspace_id,
            path=path,
        )

    def forget(self, workspace_id: int) -> None:
        """Forget all locks of a workspace and everybody who waits for one."""
        for table in ("locks", "lock_waiters"):
            self._db.run(
                f"delete from {table} where workspace_id = :workspace_id", workspace_id=workspace_id
            )

    def page(
        self, workspace_id: int, prefix: str, after: str, end: str, now_ms: int, limit: int
    ) -> list[Row]:
        """Live locks by path."""
        return self._db.all(
            f"""select {_LOCK} from locks where workspace_id = :workspace_id
            and path > :after and path >= :prefix and path < :end and expires_at > :now_ms
            order by path limit :limit""",
            workspace_id=workspace_id,
            prefix=prefix,
            after=after,
            end=end,
            now_ms=now_ms,
            limit=limit,
        )

    def queue(self, workspace_id: int, path: str, now_ms: int) -> list[Row]:
        """Those who wait for a path, its folders or what is below it, first come first.

        Only those that still live.
        """
        return self._db.all(
            f"""select path, waiter_id, ticket, holder, expires_at from lock_waiters
            where workspace_id = :workspace_id and {_OVERLAPS}
            and expires_at > :now_ms and expires_at <= :latest order by ticket""",
            workspace_id=workspace_id,
            now_ms=now_ms,
            # Later than any waiter can have said: the clock was set back, and it may be dead.
            latest=now_ms + WAITER_TTL_MS,
            **_around(path),
        )

    def enqueue(
        self, workspace_id: int, path: str, waiter_id: str, holder: str, now_ms: int
    ) -> None:
        """Join the end of the queue, or, when already in it, live on at the same place."""
        self._db.run(
            """insert into lock_waiters (workspace_id, path, waiter_id, ticket, holder, expires_at)
            values (:workspace_id, :path, :waiter_id,
                (select coalesce(max(ticket), 0) + 1 from lock_waiters
                where workspace_id = :workspace_id), :holder, :expires_at)
            on conflict (workspace_id, path, waiter_id)
            do update set expires_at = excluded.expires_at""",
            workspace_id=workspace_id,
            path=path,
            waiter_id=waiter_id,
            holder=holder,
            expires_at=now_ms + WAITER_TTL_MS,
        )

    def drop_expired_waiters(self, workspace_id: int, now_ms: int) -> None:
        """Forget who died in a queue of a workspace."""
        self._db.run(
            """delete from lock_waiters where workspace_id = :workspace_id
            and expires_at <= :now_ms""",
            workspace_id=workspace_id,
            now_ms=now_ms,
        )

    def leave(self, workspace_id: int, path: str, waiter_id: str, now_ms: int) -> None:
        """Take a waiter out of the queue, and those who died in it."""
        self._db.run(
            """delete from lock_waiters where workspace_id = :workspace_id and path = :path
            and (waiter_id = :waiter_id or expires_at <= :now_ms)""",
            workspace_id=workspace_id,
            path=path,
            waiter_id=waiter_id,
            now_ms=now_ms,
        )


def _around(path: str) -> dict[str, object]:
    """The parameters of ``_OVERLAPS``."""
    return {
        "path": path,
        "top_folder": path.partition("/")[0] + "/" if "/" in path[:-1] else path,
        "below": path + LAST if path.endswith("/") else path,
    }
