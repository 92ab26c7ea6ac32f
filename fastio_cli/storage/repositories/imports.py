"""SQL of imports: what was asked for and how far it is, afterwards the record of where bytes came
from. When they are run is a matter of their jobs (``jobs.py``)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.errors import FastioError
    from fastio_cli.storage.db import Db, Row

_IMPORT = """workspace_id, id, state, url, target, name, on_conflict, sha256, size_bytes_max,
    lock_hash, headers, sealed_headers, actor, member, counted_bytes, kept_bytes, path, version,
    content_etag, media_type, unchanged, received_bytes, total_bytes, attempts, reason_code, reason,
    hint, source_etag, source_modified, final_url, fetched_at, created_at, updated_at, fetched"""


def reason_of(error: FastioError | None) -> dict[str, str | None]:
    """Why something ended, as the columns of a row say it."""
    if error is None:
        return {"reason_code": None, "reason": None, "hint": None}
    return {"reason_code": error.code, "reason": error.message, "hint": error.hint}


class Imports:
    def __init__(self, db: Db) -> None:
        self._db = db

    def add(
        self,
        workspace_id: int,
        id: int,
        *,
        url: str,
        target: str,
        name: str | None,
        on_conflict: str,
        sha256: str | None,
        size_bytes_max: int | None,
        lock_hash: str | None,
        headers: str | None,
        sealed_headers: str | None,
        actor: str,
        member: str | None,
        counted_bytes: int,
        now_ms: int,
    ) -> Row:
        """Enter an import; ``headers`` has their names alone, what they say is sealed."""
        row = self._db.returning(
            f"""insert into imports (workspace_id, id, state, url, target, name, on_conflict,
            sha256, size_bytes_max, lock_hash, headers, sealed_headers, actor, member,
            counted_bytes, created_at, updated_at)
            values (:workspace_id, :id, 'queued', :url, :target, :name, :on_conflict, :checksum,
            :size_bytes_max, :lock_hash, :headers, :sealed_headers, :actor, :member, :counted_bytes,
            :now_ms, :now_ms)
            returning {_IMPORT}""",
            workspace_id=workspace_id,
            id=id,
            url=url,
            target=target,
            name=name,
            on_conflict=on_conflict,
            checksum=sha256,
            size_bytes_max=size_bytes_max,
            lock_hash=lock_hash,
            headers=headers,
            sealed_headers=sealed_headers,
            actor=actor,
            member=member,
            counted_bytes=counted_bytes,
            now_ms=now_ms,
        )
        assert row is not None
        return row

    def get(self, workspace_id: int, id: int) -> Row | None:
        return self._db.one(
            f"select {_IMPORT} from imports where workspace_id = :workspace_id and id = :id",
            workspace_id=workspace_id,
            id=id,
        )

    def page(
        self, workspace_id: int, before: int, state: str | None, path: str | None, limit: int
    ) -> list[Row]:
        """Imports, newest first, perhaps only those in a state or to a path."""
        return self._db.all(
            f"""select {_IMPORT} from imports where workspace_id = :workspace_id
            and id < :before and state = coalesce(:state, state)
            and coalesce(path, '') = coalesce(:path, path, '') order by id desc limit :limit""",
            workspace_id=workspace_id,
            before=before,
            state=state,
            path=path,
            limit=limit,
        )

    def without_job(self, now_ms: int, actor: str | None, limit: int) -> list[Row]:
        """Imports that a version before jobs queued, or that were copied from another store; those
        that a worker of that version runs are left to it as long as it renews its lease."""
        return self._db.all(
            """select workspace_id, id, actor, member from imports
            where due_at is not null and due_at <= :now_ms and actor = coalesce(:actor, actor)
            order by due_at, workspace_id, id limit :limit""",
            now_ms=now_ms,
            actor=actor,
            limit=limit,
        )

    def begin(self, workspace_id: int, id: int, now_ms: int) -> Row | None:
        """Begin another attempt; None if the import is over."""
        return self._db.returning(
            f"""update imports set state = 'running', attempts = attempts + 1, due_at = null,
            worker = null, updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id
            and (state = 'queued' or state = 'running') returning {_IMPORT}""",
            workspace_id=workspace_id,
            id=id,
            now_ms=now_ms,
        )

    def advance(
        self,
        workspace_id: int,
        id: int,
        *,
        received_bytes: int,
        total_bytes: int | None,
        source_etag: str | None,
        source_modified: str | None,
        now_ms: int,
    ) -> None:
        """Write down how far it is."""
        self._db.run(
            """update imports set received_bytes = :received_bytes, total_bytes = :total_bytes,
            source_etag = :source_etag, source_modified = :source_modified, updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id""",
            workspace_id=workspace_id,
            id=id,
            received_bytes=received_bytes,
            total_bytes=total_bytes,
            source_etag=source_etag,
            source_modified=source_modified,
            now_ms=now_ms,
        )

    def put_back(self, workspace_id: int, id: int, now_ms: int) -> None:
        """Have an import that was running wait for another attempt."""
        self._db.run(
            """update imports set state = 'queued', updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id""",
            workspace_id=workspace_id,
            id=id,
            now_ms=now_ms,
        )

    def finish(
        self,
        workspace_id: int,
        id: int,
        *,
        path: str,
        version: int,
        content_etag: str,
        media_type: str,
        unchanged: int,
        size_bytes: int,
        source_etag: str | None,
        source_modified: str | None,
        final_url: str,
        fetched_at: int,
        now_ms: int,
    ) -> Row | None:
        """End an import well; what it needed in secret is forgotten."""
        return self._db.returning(
            f"""update imports set state = 'done', due_at = null, headers = null,
            sealed_headers = null, fetched = null, kept_bytes = 0, path = :path,
            version = :version, content_etag = :content_etag, media_type = :media_type,
            unchanged = :unchanged, received_bytes = :size_bytes, total_bytes = :size_bytes,
            reason_code = null, reason = null, hint = null, source_etag = :source_etag,
            source_modified = :source_modified, final_url = :final_url, fetched_at = :fetched_at,
            updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id returning {_IMPORT}""",
            workspace_id=workspace_id,
            id=id,
            path=path,
            version=version,
            content_etag=content_etag,
            media_type=media_type,
            unchanged=unchanged,
            size_bytes=size_bytes,
            source_etag=source_etag,
            source_modified=source_modified,
            final_url=final_url,
            fetched_at=fetched_at,
            now_ms=now_ms,
        )

    def set_back(
        self,
        workspace_id: int,
        id: int,
        *,
        state: str,
        reason_code: str,
        reason: str,
        hint: str,
        received_bytes: int,
        total_bytes: int | None,
        source_etag: str | None,
        source_modified: str | None,
        headers: str | None,
        sealed_headers: str | None,
        fetched: str | None,
        kept_bytes: int,
        now_ms: int,
    ) -> Row | None:
        """Note a failure: the import is queued for another attempt, or has failed.

        ``fetched`` is kept in place of what was fetched before, if there is any.
        """
        return self._db.returning(
            f"""update imports set state = :state,
            reason_code = :reason_code, reason = :reason, hint = :hint,
            received_bytes = :received_bytes, total_bytes = :total_bytes,
            source_etag = :source_etag, source_modified = :source_modified, headers = :headers,
            sealed_headers = :sealed_headers,
            fetched = coalesce(:fetched, fetched), kept_bytes = :kept_bytes, updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id returning {_IMPORT}""",
            workspace_id=workspace_id,
            id=id,
            state=state,
            reason_code=reason_code,
            reason=reason,
            hint=hint,
            received_bytes=received_bytes,
            total_bytes=total_bytes,
            source_etag=source_etag,
            source_modified=source_modified,
            headers=headers,
            sealed_headers=sealed_headers,
            fetched=fetched,
            kept_bytes=kept_bytes,
            now_ms=now_ms,
        )

    def cancel(
        self,
        workspace_id: int,
        id: int,
        headers: str | None,
        now_ms: int,
        error: FastioError | None = None,
    ) -> Row:
        """End an import that has not ended, perhaps for a reason; nothing of it is kept."""
        row = self._db.returning(
            f"""update imports set state = 'cancelled', due_at = null, headers = :headers,
            sealed_headers = null, fetched = null, kept_bytes = 0, received_bytes = 0,
            source_etag = null, source_modified = null,
            reason_code = coalesce(:reason_code, reason_code),
            reason = coalesce(:reason, reason), hint = coalesce(:hint, hint),
            updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id returning {_IMPORT}""",
            workspace_id=workspace_id,
            id=id,
            headers=headers,
            now_ms=now_ms,
            **reason_of(error),
        )
        assert row is not None
        return row

    def queue(
        self,
        workspace_id: int,
        id: int,
        *,
        lock_hash: str | None,
        headers: str | None,
        sealed_headers: str | None,
        actor: str,
        member: str | None,
        counted_bytes: int,
        now_ms: int,
    ) -> Row:
        """Begin an import anew: from where it stopped, unless it was somebody else's."""
        row = self._db.returning(
            f"""update imports set state = 'queued', due_at = null, lock_hash = :lock_hash,
            fetched = case when actor = :actor then fetched end,
            kept_bytes = case when actor = :actor then kept_bytes else 0 end,
            received_bytes = case when actor = :actor then received_bytes else 0 end,
            source_etag = case when actor = :actor then source_etag end,
            source_modified = case when actor = :actor then source_modified end,
            headers = :headers, sealed_headers = :sealed_headers, actor = :actor,
            member = :member, counted_bytes = :counted_bytes, updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id returning {_IMPORT}""",
            workspace_id=workspace_id,
            id=id,
            lock_hash=lock_hash,
            headers=headers,
            sealed_headers=sealed_headers,
            actor=actor,
            member=member,
            counted_bytes=counted_bytes,
            now_ms=now_ms,
        )
        assert row is not None
        return row

    def forget_kept(self, workspace_id: int, before: int) -> int:
        """Count what imports kept before a time no longer, as it is swept; how much that was."""
        rows = self._db.all(
            """select kept_bytes from imports where workspace_id = :workspace_id
            and kept_bytes > 0 and updated_at < :before""",
            workspace_id=workspace_id,
            before=before,
        )
        if rows:
            self._db.run(
                """update imports set kept_bytes = 0, fetched = null
                where workspace_id = :workspace_id and kept_bytes > 0 and updated_at < :before""",
                workspace_id=workspace_id,
                before=before,
            )
        return sum(row["kept_bytes"] for row in rows)

    def last_done(self, workspace_id: int, url: str, target: str, before: int) -> Row | None:
        """The newest finished import of a URL to the same place."""
        return self._db.one(
            f"""select {_IMPORT} from imports where workspace_id = :workspace_id and url = :url
            and id < :before and target = :target and state = 'done'
            order by id desc limit 1""",
            workspace_id=workspace_id,
            url=url,
            target=target,
            before=before,
        )
