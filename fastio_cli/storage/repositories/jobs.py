"""SQL of jobs: work in the background, under a lease with a fencing token."""

from __future__ import annotations

from fastio_cli.storage.repositories.imports import reason_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.errors import FastioError
    from fastio_cli.storage.db import Db, Row

_JOB = """workspace_id, id, kind, state, actor, member, payload, due_at, fence, attempts, failures,
    reason_code, reason, hint, queued_at, updated_at"""
_HELD = """workspace_id = :workspace_id and id = :id and state = 'running'
    and fence = :fence"""


class Jobs:
    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, workspace_id: int, id: str) -> Row | None:
        return self._db.one(
            f"select {_JOB} from jobs where workspace_id = :workspace_id and id = :id",
            workspace_id=workspace_id,
            id=id,
        )

    def page(
        self,
        workspace_id: int,
        *,
        before_at: int,
        before_id: str,
        state: str | None,
        kind: str | None,
        limit: int,
    ) -> list[Row]:
        """Jobs of a workspace, those that were queued last first."""
        return self._db.all(
            f"""select {_JOB} from jobs where workspace_id = :workspace_id
            and (queued_at, id) < (:before_at, :before_id)
            and state = coalesce(:state, state) and kind = coalesce(:kind, kind)
            order by queued_at desc, id desc limit :limit""",
            workspace_id=workspace_id,
            before_at=before_at,
            before_id=before_id,
            state=state,
            kind=kind,
            limit=limit,
        )

    def queue(
        self,
        workspace_id: int,
        id: str,
        *,
        kind: str,
        actor: str,
        payload: str,
        due_at: int,
        now_ms: int,
        member: str | None = None,
    ) -> None:
        """Have a job done, anew if it has ended or waits; one that runs is left alone."""
        self._db.run(
            """insert into jobs (workspace_id, id, kind, state, actor, member, payload, due_at,
            queued_at, updated_at)
            values (:workspace_id, :id, :kind, 'queued', :actor, :member, :payload, :due_at,
            :now_ms, :now_ms)
            on conflict (workspace_id, id) do update set state = 'queued', actor = excluded.actor,
            member = excluded.member, payload = excluded.payload, due_at = excluded.due_at,
            attempts = 0, failures = 0, reason_code = null, reason = null, hint = null,
            queued_at = excluded.queued_at,
            updated_at = excluded.updated_at where jobs.state <> 'running'""",
            workspace_id=workspace_id,
            id=id,
            kind=kind,
            actor=actor,
            member=member,
            payload=payload,
            due_at=due_at,
            now_ms=now_ms,
        )

    def due_workspaces(
        self, kind: str, actor: str | None, now_ms: int, after: int, limit: int
    ) -> list[int]:
        """The workspaces after one that have a job due, each once however many it has."""
        rows = self._db.all(
            """with recursive turns (workspace_id, number) as (
                select min(workspace_id), 1 from jobs where kind = :kind
                and workspace_id > :after and due_at <= :now_ms and actor = coalesce(:actor, actor)
                union all
                select (select min(j.workspace_id) from jobs j where j.kind = :kind
                    and j.workspace_id > t.workspace_id and j.due_at <= :now_ms
                    and j.actor = coalesce(:actor, j.actor)), t.number + 1
                from turns t where t.workspace_id is not null and t.number < :limit)
            select workspace_id from turns where workspace_id is not null order by workspace_id""",
            kind=kind,
            actor=actor,
            now_ms=now_ms,
            after=after,
            limit=limit,
        )
        return [row["workspace_id"] for row in rows]

    def due(
        self, workspace_id: int, kind: str, actor: str | None, now_ms: int, limit: int
    ) -> list[Row]:
        """The jobs of a workspace that are due, the longest waiting first."""
        return self._db.all(
            f"""select {_JOB} from jobs where workspace_id = :workspace_id and kind = :kind
            and due_at <= :now_ms and actor = coalesce(:actor, actor)
            order by due_at, queued_at, id limit :limit""",
            workspace_id=workspace_id,
            kind=kind,
            actor=actor,
            now_ms=now_ms,
            limit=limit,
        )

    def claim(self, workspace_id: int, id: str, now_ms: int, lease_end: int) -> Row | None:
        """Take a lease on a job that is due; None if another runner was faster."""
        return self._db.returning(
            f"""update jobs set state = 'running', due_at = :lease_end, fence = fence + 1,
            attempts = attempts + 1, updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id and due_at <= :now_ms
            returning {_JOB}""",
            workspace_id=workspace_id,
            id=id,
            now_ms=now_ms,
            lease_end=lease_end,
        )

    def renew(self, workspace_id: int, id: str, fence: int, now_ms: int, lease_end: int) -> bool:
        """Renew a lease; False if it is lost: the job was cancelled or taken over."""
        row = self._db.returning(
            f"""update jobs set due_at = :lease_end, updated_at = :now_ms
            where {_HELD} returning id""",
            workspace_id=workspace_id,
            id=id,
            fence=fence,
            now_ms=now_ms,
            lease_end=lease_end,
        )
        return row is not None

    def raise_fences(self, workspace_id: int, by: int) -> None:
        """Let no lease of before count: whoever has one can neither renew nor end it."""
        self._db.run(
            "update jobs set fence = fence + :by where workspace_id = :workspace_id",
            workspace_id=workspace_id,
            by=by,
        )

    def finish(self, workspace_id: int, id: str, fence: int, now_ms: int) -> bool:
        """End a job well; False if the lease is lost."""
        row = self._db.returning(
            f"""update jobs set state = 'done', due_at = null, failures = 0, reason_code = null,
            reason = null, hint = null, updated_at = :now_ms where {_HELD} returning id""",
            workspace_id=workspace_id,
            id=id,
            fence=fence,
            now_ms=now_ms,
        )
        return row is not None

    def put_back(
        self, workspace_id: int, id: str, fence: int, *, due_at: int, attempts: int, now_ms: int
    ) -> bool:
        """Give up a lease without a failure: the job is due again; False if the lease is lost."""
        row = self._db.returning(
            f"""update jobs set state = 'queued', due_at = :due_at, attempts = :attempts,
            updated_at = :now_ms where {_HELD} returning id""",
            workspace_id=workspace_id,
            id=id,
            fence=fence,
            due_at=due_at,
            attempts=attempts,
            now_ms=now_ms,
        )
        return row is not None

    def fail(
        self,
        workspace_id: int,
        id: str,
        fence: int,
        *,
        due_at: int | None,
        failures: int,
        reason_code: str,
        reason: str,
        hint: str,
        now_ms: int,
    ) -> bool:
        """Note a failure: the job is due again, or has failed; False if the lease is lost."""
        row = self._db.returning(
            f"""update jobs set state = :state, due_at = :due_at, failures = :failures,
            reason_code = :reason_code, reason = :reason, hint = :hint, updated_at = :now_ms
            where {_HELD} returning id""",
            workspace_id=workspace_id,
            id=id,
            fence=fence,
            state="failed" if due_at is None else "queued",
            due_at=due_at,
            failures=failures,
            reason_code=reason_code,
            reason=reason,
            hint=hint,
            now_ms=now_ms,
        )
        return row is not None

    def cancel(
        self, workspace_id: int, id: str, now_ms: int, error: FastioError | None = None
    ) -> Row | None:
        """End a job that has not ended, perhaps for a reason; its runner finds its lease lost."""
        return self._db.returning(
            f"""update jobs set state = 'cancelled', due_at = null,
            reason_code = coalesce(:reason_code, reason_code), reason = coalesce(:reason, reason),
            hint = coalesce(:hint, hint), updated_at = :now_ms
            where workspace_id = :workspace_id and id = :id and due_at is not null
            returning {_JOB}""",
            workspace_id=workspace_id,
            id=id,
            now_ms=now_ms,
            **reason_of(error),
        )

    def of_member(self, org: str, member: str) -> list[Row]:
        """The jobs that act for a member of an org and have not ended, by workspace."""
        return self._db.all(
            f"""select {_JOB} from jobs where member = :member and due_at is not null
            and workspace_id in (select id from workspaces where org = :org)
            order by workspace_id, id""",
            org=org,
            member=member,
        )

    def drop_ended(self, workspace_id: int, kind: str, before: int) -> None:
        """Forget the jobs of a kind that ended before a time."""
        self._db.run(
            """delete from jobs where workspace_id = :workspace_id and kind = :kind
            and due_at is null and updated_at < :before""",
            workspace_id=workspace_id,
            kind=kind,
            before=before,
        )
