"""Who may do what: tokens, the roles of members, and the one place that says yes or no.

A local call has no identity: whoever can open the store owns it, and nothing here is loaded. Over
HTTP every call carries an :class:`Identity`. What its token and its member may do is read in the
call's own transaction, so that a role or token taken away is gone from the next call on.
"""

from __future__ import annotations

import hashlib
import json
from fnmatch import fnmatchcase
from functools import lru_cache

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.operations.operation import Operation
    from fastio_cli.store.contract import Row
    from fastio_cli.store.tx import Tx

# From least to most. "anyone" needs no token, "member" any valid one.
ROLES = ("anyone", "member", "viewer", "editor", "admin", "owner")
TOKEN_PREFIX = "fio_"
TOKEN_LENGTH = len(TOKEN_PREFIX) + 43 + 8
_RANKS = {role: rank for rank, role in enumerate(ROLES)}
FIRST_ORG = ""  # the org of a store from the beginning; its workspaces' names have no prefix


class Identity:
    """What a token says for ever: its org, its member, and the digest it is found by."""

    __slots__ = ("digest", "member", "org")

    def __init__(self, org: str, member: str, digest: str | None) -> None:
        self.org = org
        self.member = member
        self.digest = digest


ANONYMOUS = Identity(FIRST_ORG, "anonymous", None)


class Grant:
    """What an identity may do now: its role where the call works, and the token's own limits."""

    __slots__ = ("expires_at", "org_role", "role", "scopes", "token_role", "workspace_id")

    def __init__(
        self,
        org_role: str,
        role: str,
        token_role: str,
        scopes: list[str],
        workspace_id: int | None,
        expires_at: int | None,
    ) -> None:
        self.org_role = org_role
        self.role = role
        self.token_role = token_role
        self.scopes = scopes
        self.workspace_id = workspace_id
        self.expires_at = expires_at

    def reaches(self, name: str) -> bool:
        """Whether the token is for the operation of this name."""
        return self.scopes == ["*"] or any(fnmatchcase(name, scope) for scope in self.scopes)

    def at_least(self, role: str) -> bool:
        """Whether the role in the org is this one or more."""
        return _RANKS[self.org_role] >= _RANKS[role]


def new_token() -> str:
    """``fio_``, 256 random bits as 43 url-safe characters, and their CRC-32 in hex.

    The prefix lets secret scanners find a token, the checksum lets them (and us) tell a mistyped
    one without asking the store.
    """
    import secrets

    body = secrets.token_urlsafe(32)
    return f"{TOKEN_PREFIX}{body}{_checksum(body)}"


def digest_of(token: str) -> str:
    """How a token is kept and found: its SHA-256. Raises ``unauthenticated`` if it is not one."""
    body = token[len(TOKEN_PREFIX) : -8]
    well = token.isascii() and token.startswith(TOKEN_PREFIX) and len(token) == TOKEN_LENGTH
    if not well or _checksum(body) != token[-8:]:
        raise FastioError(
            "unauthenticated",
            "The token is not complete or was mistyped.",
            "Copy it again, or ask an admin for a new one: fastio token create NAME",
        )
    return secret_digest(token)


def secret_digest(secret: str) -> str:
    """The SHA-256 of a secret in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def identify(tx: Tx, digest: str) -> Identity:
    """Whose token this is. Raises ``unauthenticated`` when there is no such token."""
    row = tx.access.token(digest)
    if row is None:
        raise unauthenticated()
    return Identity(row["org"], row["member"], digest)


def authorise(
    tx: Tx, identity: Identity, operation: Operation, workspace: Row | None
) -> Grant | None:
    """What the identity may do, if that includes the operation; None where it may see nothing.

    ``workspace`` is the one the call works in (None for an operation on the org). Raises
    ``unauthenticated`` for a token that is unknown, expired or revoked, ``forbidden`` for too small
    a role or scope.
    """
    if identity.digest is None:
        if operation.role == "anyone":
            return Grant("anyone", "anyone", "anyone", ["*"], None, None)
        raise unauthenticated()
    grant = _granted(tx, identity.digest, workspace["id"] if workspace is not None else 0)
    if operation.in_workspace and (workspace is None or grant.role == "member"):
        return None
    if _RANKS[grant.role] < _RANKS[operation.role]:
        raise _too_small_a_role(operation, grant.role)
    if not grant.reaches(operation.name):
        raise FastioError(
            "forbidden",
            f"This token is not for {operation.name}.",
            "Use a token with a wider scope: fastio token create NAME",
            scopes=grant.scopes,
        )
    return grant


def may_see(tx: Tx, identity: Identity, workspace: Row) -> bool:
    """Whether the identity may know of a workspace, live or deleted.

    Raises ``unauthenticated`` as ``authorise`` does.
    """
    return (
        identity.digest is not None
        and _granted(tx, identity.digest, workspace["id"]).role != "member"
    )


def charge(tx: Tx, org: str, credits_max: int) -> None:
    """Count one credit of an org's month. Raises ``quota_exceeded`` when there is none left."""
    import time

    month = time.strftime("%Y-%m", time.gmtime(tx.now_ms / 1000))
    if tx.access.credits(org, month) >= credits_max:
        raise FastioError(
            "quota_exceeded",
            f"The {credits_max:,} credits of {month} are used up.",
            "See how: fastio org usage. The operator may raise credits_per_month.",
            credits_max=credits_max,
        )
    tx.access.charge(org, month, 1)


def unauthenticated(message: str = "A valid token is needed.") -> FastioError:
    """No token, or none that counts."""
    return FastioError("unauthenticated", message, "Log in: fastio login URL, or set FASTIO_TOKEN.")


def least(*roles: str) -> str:
    """The smallest of some roles."""
    return min(roles, key=_RANKS.__getitem__)


def _granted(tx: Tx, digest: str, workspace_id: int) -> Grant:
    row = tx.access.grant(digest, workspace_id)
    if row is None or row["revoked_at"] is not None:
        raise unauthenticated()
    if row["expires_at"] is not None and row["expires_at"] <= tx.now_ms:
        raise unauthenticated("The token has expired.")
    return _grant(
        row["org_role"],
        row["workspace_role"],
        row["token_role"],
        row["scopes"],
        row["workspace_id"],
        row["expires_at"],
        workspace_id,
    )


@lru_cache(maxsize=1024)
def _grant(
    org_role: str | None,
    workspace_role: str | None,
    token_role: str,
    scopes: str,
    token_workspace_id: int | None,
    expires_at: int | None,
    workspace_id: int,
) -> Grant:
    if token_workspace_id not in (None, workspace_id):
        role_in_org = role = "member"
    else:
        role_in_org = least(org_role or "member", token_role)
        role_here = least(workspace_role or "member", token_role)
        role = max(role_in_org, role_here, key=_RANKS.__getitem__)
    return Grant(role_in_org, role, token_role, json.loads(scopes), token_workspace_id, expires_at)


def _too_small_a_role(operation: Operation, role: str) -> FastioError:
    return FastioError(
        "forbidden",
        f"{operation.name} needs the role {operation.role}; yours is {role}.",
        f"Ask an owner or admin: fastio member set NAME {operation.role}",
        role=role,
        needed=operation.role,
    )


def _checksum(body: str) -> str:
    import zlib

    return f"{zlib.crc32(body.encode()):08x}"
