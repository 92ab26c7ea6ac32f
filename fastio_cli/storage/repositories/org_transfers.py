"""SQL of offers to hand an org over."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_TRANSFER = "id, org, created_by, created_at, expires_at, claimed_at, claimed_by, revoked_at"


class OrgTransfers:
    def __init__(self, db: Db) -> None:
        self._db = db

    def by_digest(self, digest: str) -> Row | None:
        return self._db.one(
            f"select {_TRANSFER} from transfers where digest = :digest", digest=digest
        )

    def by_id(self, org: str, id: str) -> Row | None:
        return self._db.one(
            f"select {_TRANSFER} from transfers where org = :org and id = :id", org=org, id=id
        )

    def page(self, org: str, after: str, limit: int) -> list[Row]:
        return self._db.all(
            f"""select {_TRANSFER} from transfers where org = :org and id > :after
            order by id limit :limit""",
            org=org,
            after=after,
            limit=limit,
        )

    def every(self) -> list[Row]:
        """All offers of all orgs, with the digest that tells each from any other."""
        return self._db.all(f"select digest, {_TRANSFER} from transfers order by digest")

    def add(
        self,
        *,
        id: str,
        digest: str,
        org: str,
        created_by: str,
        created_by_token: str | None,
        expires_at: int,
        now_ms: int,
    ) -> None:
        self._db.run(
            """insert into transfers (id, digest, org, created_by, created_by_token, created_at,
            expires_at)
            values (:id, :digest, :org, :created_by, :created_by_token, :now_ms, :expires_at)""",
            id=id,
            digest=digest,
            org=org,
            created_by=created_by,
            created_by_token=created_by_token,
            expires_at=expires_at,
            now_ms=now_ms,
        )

    def made_by(self, org: str, token_id: str) -> list[Row]:
        """The offers that a token made and that have not ended, but perhaps expired."""
        return self._db.all(
            f"""select {_TRANSFER} from transfers where org = :org
            and created_by_token = :token_id and claimed_at is null and revoked_at is null
            order by id""",
            org=org,
            token_id=token_id,
        )

    def end(self, id: str, *, claimed_by: str | None, now_ms: int) -> None:
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
