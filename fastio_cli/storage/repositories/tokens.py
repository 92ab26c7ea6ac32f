"""SQL of access tokens."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_TOKEN = """id, org, member, label, role, scopes, workspace_id, created_at, created_by,
    created_by_token, expires_at, revoked_at, last_used_at"""
GRANT = """select t.id as token_id, t.role as token_role, t.scopes, t.workspace_id, t.expires_at,
    t.revoked_at, o.role as org_role, w.role as workspace_role from tokens t
    left join members o on o.org = t.org and o.name = t.member and o.workspace_id = 0
    left join members w on w.org = t.org and w.name = t.member and w.workspace_id = :workspace_id
    where t.digest = :digest"""


class Tokens:
    def __init__(self, db: Db) -> None:
        self._db = db

    def by_digest(self, digest: str) -> Row | None:
        return self._db.one(f"select {_TOKEN} from tokens where digest = :digest", digest=digest)

    def by_id(self, org: str, id: str) -> Row | None:
        return self._db.one(
            f"select {_TOKEN} from tokens where org = :org and id = :id", org=org, id=id
        )

    def grant(self, digest: str, workspace_id: int) -> Row | None:
        """A token with its member's roles in the org and in one workspace."""
        return self._db.one(GRANT, digest=digest, workspace_id=workspace_id)

    def add(
        self,
        *,
        id: str,
        digest: str,
        org: str,
        member: str,
        label: str,
        role: str,
        scopes: str,
        workspace_id: int | None,
        created_by: str,
        expires_at: int | None,
        now_ms: int,
        created_by_token: str | None = None,
    ) -> None:
        self._db.run(
            """insert into tokens (id, digest, org, member, label, role, scopes, workspace_id,
            created_at, created_by, created_by_token, expires_at)
            values (:id, :digest, :org, :member, :label, :role, :scopes, :workspace_id, :now_ms,
            :created_by, :created_by_token, :expires_at)""",
            id=id,
            digest=digest,
            org=org,
            member=member,
            label=label,
            role=role,
            scopes=scopes,
            workspace_id=workspace_id,
            created_by=created_by,
            created_by_token=created_by_token,
            expires_at=expires_at,
            now_ms=now_ms,
        )

    def page(self, org: str, member: str | None, after: str, limit: int) -> list[Row]:
        """Tokens of an org, or of one of its members, by id."""
        condition = "and member = :member" if member is not None else ""
        return self._db.all(
            f"""select {_TOKEN} from tokens where org = :org and id > :after {condition}
            order by id limit :limit""",
            org=org,
            after=after,
            limit=limit,
            **({"member": member} if member is not None else {}),
        )

    def every(self) -> list[Row]:
        """All tokens of all orgs, with the digest that tells each from any other."""
        return self._db.all(f"select digest, {_TOKEN} from tokens order by digest")

    def made_by(self, org: str, token_id: str) -> list[Row]:
        """The tokens that a token made and that were not revoked."""
        return self._db.all(
            f"""select {_TOKEN} from tokens where org = :org and created_by_token = :token_id
            and revoked_at is null order by id""",
            org=org,
            token_id=token_id,
        )

    def revoke(self, org: str, id: str, now_ms: int) -> None:
        self._db.run(
            """update tokens set revoked_at = :now_ms
            where org = :org and id = :id and revoked_at is null""",
            org=org,
            id=id,
            now_ms=now_ms,
        )

    def touch(self, digest: str, now_ms: int) -> None:
        """Note that a token was used."""
        self._db.run(
            "update tokens set last_used_at = :now_ms where digest = :digest",
            digest=digest,
            now_ms=now_ms,
        )

    def any_live(self, now_ms: int) -> bool:
        """Whether some token would be accepted."""
        row = self._db.one(
            """select id from tokens where revoked_at is null
            and (expires_at is null or expires_at > :now_ms) limit 1""",
            now_ms=now_ms,
        )
        return row is not None
