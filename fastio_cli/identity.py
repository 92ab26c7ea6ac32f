"""Identities, roles, grants and tokens, as plain data.

A local call has no identity: everyone who can open the store owns it. Over HTTP every call carries
an :class:`Identity`; ``engine/authorization.py`` decides what it may do.
"""

from __future__ import annotations

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.patterns import matches

# From least to most. "anyone" needs no token, "member" any valid one.
ROLES = ("anyone", "member", "viewer", "editor", "admin", "owner")
TOKEN_PREFIX = "fio_"
TOKEN_LENGTH = len(TOKEN_PREFIX) + 43 + 8
RANKS = {role: rank for rank, role in enumerate(ROLES)}
FIRST_ORG = ""  # the org of a store from the beginning; its workspaces' names have no prefix


def stored_name(org: str, workspace: str) -> str:
    """The name that a workspace of an org has in the store."""
    return f"{org}/{workspace}" if org else workspace


class Identity:
    """The fixed data of a token: its org, its member, and the digest it is found by."""

    __slots__ = ("digest", "member", "org")

    def __init__(self, org: str, member: str, digest: str | None) -> None:
        self.org = org
        self.member = member
        self.digest = digest


ANONYMOUS = Identity(FIRST_ORG, "anonymous", None)


class Grant:
    """What an identity may do now: its roles, and the limits of its token."""

    __slots__ = (
        "expires_at",
        "org_role",
        "role",
        "scopes",
        "token_id",
        "token_role",
        "workspace_id",
    )

    def __init__(
        self,
        org_role: str,
        role: str,
        token_role: str,
        scopes: list[str],
        workspace_id: int | None,
        expires_at: int | None,
        token_id: str | None = None,
    ) -> None:
        self.org_role = org_role
        self.role = role
        self.token_role = token_role
        self.scopes = scopes
        self.workspace_id = workspace_id
        self.expires_at = expires_at
        self.token_id = token_id

    @property
    def has_all_scopes(self) -> bool:
        """Whether the token is for every operation."""
        return self.scopes == ["*"]

    def reaches(self, name: str) -> bool:
        """Whether the token is for the operation of this name."""
        return self.has_all_scopes or any(matches(scope, name) for scope in self.scopes)

    def at_least(self, role: str) -> bool:
        """Whether the role in the org is this one or more."""
        return RANKS[self.org_role] >= RANKS[role]


def new_token() -> str:
    """``fio_``, 256 random bits as 43 url-safe characters, and their CRC-32 in hex.

    Secret scanners find tokens by the prefix; the checksum reveals a mistyped one without asking
    the store.
    """
    import secrets

    body = secrets.token_urlsafe(32)
    return f"{TOKEN_PREFIX}{body}{_checksum(body)}"


def new_id(prefix: str) -> str:
    """A random id of something that is no secret, as ``tok_9f86d081884c7d65``."""
    import os

    return f"{prefix}_{os.urandom(8).hex()}"


def digest_of(token: str) -> str:
    """The digest under which a token is stored. Raises ``unauthenticated`` for malformed ones."""
    body = token[len(TOKEN_PREFIX) : -8]
    is_well_formed = (
        token.isascii() and token.startswith(TOKEN_PREFIX) and len(token) == TOKEN_LENGTH
    )
    if not is_well_formed or _checksum(body) != token[-8:]:
        raise FastioError(
            "unauthenticated",
            "The token is not complete or was mistyped.",
            "Copy it again, or ask an admin for a new one: fastio token create NAME",
        )
    return secret_digest(token)


def secret_digest(secret: str) -> str:
    """The SHA-256 of a secret in hex."""
    return sha256(secret.encode()).hexdigest()


def unauthenticated(message: str = "A valid token is needed.") -> FastioError:
    """The error for a missing or invalid token."""
    return FastioError("unauthenticated", message, "Log in: fastio login URL, or set FASTIO_TOKEN.")


def least(*roles: str) -> str:
    """The smallest of some roles."""
    return min(roles, key=RANKS.__getitem__)


def _checksum(body: str) -> str:
    import zlib

    return f"{zlib.crc32(body.encode()):08x}"
