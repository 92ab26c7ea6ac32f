"""SQL of orgs, members, tokens, transfers of ownership, and what an org used."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_TOKEN = """id, org, member, label, role, scopes, workspace_id, created_at, created_by, expires_at,
    revoked_at, last_used_at"""
GRANT_NAMES = (
    "token_role",
    "scopes",
    "workspace_id",
    "expires_at",
    "revoked_at",
    "org_role",
    "workspace_role",
)
GRANT_OF = """select t.role as token_role, t.scopes, t.workspace_id, t.expires_at, t.revoked_at,
    o.role as org_role, w.role as workspace_role from tokens t
    left join members o on o.org = t.org and o.name = t.member and o.workspace_id = 0
    left join members w on w.org = t.org and w.name = t.member and w.workspace_id = {workspace_id}
    where t.digest = {digest}"""
_TRANSFER = "id, org, created_by, created_at, expires_at, claimed_at, claimed_by, revoked_at"


class Access:
    def __init__(self, db: Db) -> None:
        self._db = db

    def org(self, name: str) -> Row | None:
        return self._db.one("select name, created_at from orgs where name = :name", name=name)

    def add_org(self, name: str, now_ms: int) -> None:
        self._db.run(
            "insert into orgs (name, created_at) values (:name, :now_ms)", name=name, now_ms=now_ms
        )

    def member(self, org: str, name: str, workspace_id: int) -> Row | None:
        """A member's role in the org (workspace 0) or in one workspace."""
        return self._db.one(
            """select name, role, created_at from members
            where org = :org and name = :name and workspace_id = :workspace_id""",
            org=org,
            name=name,
            workspace_id=workspace_id,
        )

    def members(self, org: str, after: str, after_id: int, limit: int) -> list[Row]:
        """Members by name, their role in the org before those in workspaces."""
        return self._db.all(
            """select members.name, members.role, members.created_at, members.workspace_id,
            workspaces.name as workspace
            from members left join workspaces on workspaces.id = members.workspace_id
            where members.org = :org
            and (members.name, members.workspace_id) > (:after, :after_id)
            order by members.name, members.workspace_id limit :limit""",
            org=org,
            after=after,
            after_id=after_id,
            limit=limit,
        )

    def put_member(self, org: str, name: str, workspace_id: int, role: str, now_ms: int) -> None:
        self._db.run(
            """insert into members (org, name, workspace_id, role, created_at)
            values (:org, :name, :workspace_id, :role, :now_ms)
            on conflict (org, name, workspace_id) do update set role = excluded.role""",
            org=org,
            name=name,
            workspace_id=workspace_id,
            role=role,
            now_ms=now_ms,
        )

    def remove_member(self, org: str, name: str, workspace_id: int) -> None:
        self._db.run(
            """delete from members
            where org = :org and name = :name and workspace_id = :workspace_id""",
            org=org,
            name=name,
            workspace_id=workspace_id,
        )

    def has_role(self, org: str, name: str) -> bool:
        """Whether somebody has a role in the org or in any of its workspaces."""
        row = self._db.one(
            "select name from members where org = :org and name = :name limit 1", org=org, name=name
        )
        return row is not None

    def owners(self, org: str) -> list[Row]:
        return self._db.all(
            """select name from members
            where org = :org and workspace_id = 0 and role = 'owner' order by name""",
            org=org,
        )

    def token(self, digest: str) -> Row | None:
        return self._db.one(f"select {_TOKEN} from tokens where digest = :digest", digest=digest)

    def token_by_id(self, org: str, id: str) -> Row | None:
        return self._db.one(
            f"select {_TOKEN} from tokens where org = :org and id = :id", org=org, id=id
        )

    def grant(self, digest: str, workspace_id: int) -> Row | None:
        """A token with its member's roles in the org and in one workspace."""
        sql = GRANT_OF.format(digest=":digest", workspace_id=":workspace_id")
        return self._db.one(sql, digest=digest, workspace_id=workspace_id)

    def add_token(
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
    ) -> None:
        self._db.run(
            """insert into tokens (id, digest, org, member, label, role, scopes, workspace_id,
            created_at, created_by, expires_at)
            values (:id, :digest, :org, :member, :label, :role, :scopes, :workspace_id, :now_ms,
            :created_by, :expires_at)""",
            id=id,
            digest=digest,
            org=org,
            member=member,
            label=label,
            role=role,
            scopes=scopes,
            workspace_id=workspace_id,
            created_by=created_by,
            expires_at=expires_at,
            now_ms=now_ms,
        )

    def tokens(self, org: str, member: str | None, after: str, limit: int) -> list[Row]:
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

    def revoke_token(self, org: str, id: str, now_ms: int) -> None:
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

    def any_token(self, now_ms: int) -> bool:
        """Whether some token would be accepted."""
        row = self._db.one(
            """select id from tokens where revoked_at is null
            and (expires_at is null or expires_at > :now_ms) limit 1""",
            now_ms=now_ms,
        )
        return row is not None

    def add_transfer(
        self, *, id: str, digest: str, org: str, created_by: str, expires_at: int, now_ms: int
    ) -> None:
        self._db.run(
            """insert into transfers (id, digest, org, created_by, created_at, expires_at)
            values (:id, :digest, :org, :created_by, :now_ms, :expires_at)""",
            id=id,
            digest=digest,
            org=org,
            created_by=created_by,
            expires_at=expires_at,
            now_ms=now_ms,
        )

    def transfer(self, digest: str) -> Row | None:
        return self._db.one(
            f"select {_TRANSFER} from transfers where digest = :digest", digest=digest
        )

    def transfer_by_id(self, org: str, id: str) -> Row | None:
        return self._db.one(
            f"select {_TRANSFER} from transfers where org = :org and id = :id", org=org, id=id
        )

    def transfers(self, org: str, after: str, limit: int) -> list[Row]:
        return self._db.all(
            f"""select {_TRANSFER} from transfers where org = :org and id > :after
            order by id limit :limit""",
            org=org,
            after=after,
            limit=limit,
        )

    def end_transfer(self, id: str, *, claimed_by: str | None, now_ms: int) -> None:
        """Claimed by somebody, or revoked."""
        if claimed_by is None:
            self._db.run("update transfers set revoked_at = :at where id = :id", at=now_ms, id=id)
            return
        self._db.run(
            "update transfers set claimed_at = :at, claimed_by = :by where id = :id",
            at=now_ms,
            by=claimed_by,
            id=id,
        )

    def charge(self, org: str, month: str, credits: int) -> None:
        """Count credits that an org used."""
        self._db.run(
            """insert into credits (org, month, used) values (:org, :month, :credits)
            on conflict (org, month) do update set used = credits.used + excluded.used""",
            org=org,
            month=month,
            credits=credits,
        )

    def credits(self, org: str, month: str) -> int:
        row = self._db.one(
            "select used from credits where org = :org and month = :month", org=org, month=month
        )
        return row["used"] if row is not None else 0
