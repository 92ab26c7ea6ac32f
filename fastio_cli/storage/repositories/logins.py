"""SQL of members' logins at file services, encrypted (``secret_box.py``)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.db import Db, Row

_LOGIN = "org, member, service, sealed, expires_at, created_at, ended_at"
_ONE = "org = :org and member = :member and service = :service"


class Logins:
    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, org: str, member: str, service: str) -> Row | None:
        """A login, unless it was ended."""
        return self._db.one(
            f"select {_LOGIN} from accounts where {_ONE} and ended_at is null",
            org=org,
            member=member,
            service=service,
        )

    def of_member(self, org: str, member: str) -> list[Row]:
        """A member's logins that were not ended."""
        return self._db.all(
            f"""select {_LOGIN} from accounts
            where org = :org and member = :member and ended_at is null order by service""",
            org=org,
            member=member,
        )

    def put(
        self,
        org: str,
        member: str,
        service: str,
        *,
        sealed: str,
        expires_at: int | None,
        now_ms: int,
    ) -> None:
        """Keep a new login, in place of any before."""
        self._db.run(
            """insert into accounts (org, member, service, sealed, expires_at, created_at)
            values (:org, :member, :service, :sealed, :expires_at, :now_ms)
            on conflict (org, member, service) do update set sealed = excluded.sealed,
            expires_at = excluded.expires_at, created_at = excluded.created_at,
            ended_at = null, held_until = 0""",
            org=org,
            member=member,
            service=service,
            sealed=sealed,
            expires_at=expires_at,
            now_ms=now_ms,
        )

    def refresh(self, org: str, member: str, service: str, sealed: str) -> None:
        """Keep fresh tokens of a login, also of one that was ended meanwhile."""
        self._db.run(
            f"update accounts set sealed = :sealed where {_ONE}",
            org=org,
            member=member,
            service=service,
            sealed=sealed,
        )

    def end(self, org: str, member: str, service: str, now_ms: int) -> None:
        """Let nobody use a login any more; it is still to be revoked."""
        self._db.run(
            f"update accounts set ended_at = :now_ms where {_ONE} and ended_at is null",
            org=org,
            member=member,
            service=service,
            now_ms=now_ms,
        )

    def hold(self, org: str, member: str, service: str, now_ms: int, until_ms: int) -> Row | None:
        """Hold a login for oneself; None where another does, or there is none."""
        return self._db.returning(
            f"""update accounts set held_until = :until_ms
            where {_ONE} and held_until <= :now_ms returning {_LOGIN}""",
            org=org,
            member=member,
            service=service,
            now_ms=now_ms,
            until_ms=until_ms,
        )

    def release(self, org: str, member: str, service: str) -> None:
        self._db.run(
            f"update accounts set held_until = 0 where {_ONE}",
            org=org,
            member=member,
            service=service,
        )

    def ended(self) -> list[Row]:
        """Logins that are to be revoked."""
        return self._db.all(
            f"""select {_LOGIN} from accounts where ended_at is not null
            order by org, member, service"""
        )

    def forget(self, org: str, member: str, service: str) -> None:
        """Remove a login that was ended."""
        self._db.run(
            f"delete from accounts where {_ONE} and ended_at is not null",
            org=org,
            member=member,
            service=service,
        )
