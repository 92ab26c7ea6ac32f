"""Who may do what: the one place that says yes or no.

What a token and its member may do is read in the call's own transaction, so that a role or token
taken away is gone from the next call on.
"""

from __future__ import annotations

import json
from functools import lru_cache

from fastio_cli.errors import FastioError
from fastio_cli.identity import FIRST_ORG, RANKS, Grant, Identity, least, unauthenticated

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastio_cli.operations.operation import Operation
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

LEAST_WRITER = "editor"  # the role that a token needs at least to change anything
MONITORING = "server.metrics"  # the scope of a token that may read the server's metrics


def identify(tx: Tx, digest: str) -> Identity:
    """Whose token this is. Raises ``unauthenticated`` when there is no such token."""
    row = tx.tokens.by_digest(digest)
    if row is None:
        raise unauthenticated()
    return Identity(row["org"], row["member"], digest)


def authorise(
    tx: Tx,
    identity: Identity,
    operation: Operation,
    workspace: Row | None,
    params: Mapping[str, object] | None = None,
    role: str | None = None,
) -> Grant | None:
    """What the identity may do, if that includes the operation; None where it may see nothing.

    ``workspace`` is the one the call works in (None for an operation on the org), ``params`` are
    the call's; ``role`` is the least that it needs there, if that is not the operation's. Raises
    ``unauthenticated`` for a token that is unknown, expired or revoked, ``forbidden`` for too small
    a role or scope, or a token that is too narrow for a write.
    """
    if identity.digest is None:
        if operation.role == "anyone":
            return Grant("anyone", "anyone", "anyone", ["*"], None, None)
        raise unauthenticated()
    grant = _granted(tx, identity.digest, workspace["id"] if workspace is not None else 0)
    if operation.in_workspace and (workspace is None or grant.role == "member"):
        return None
    own = operation.own_token_param
    if own is not None and params is not None and params[own] == grant.token_id:
        return grant  # every token may end itself
    needed = operation.role if role is None else role
    if RANKS[grant.role] < RANKS[needed]:
        raise _too_small_a_role(operation, needed, grant.role)
    if not grant.reaches(operation.name):
        raise FastioError(
            "forbidden",
            f"This token is not for {operation.name}.",
            "Use a token with a wider scope: fastio token create NAME",
            scopes=grant.scopes,
        )
    if operation.effect == "write" and operation.role != "anyone":
        _refuse_narrow(operation, grant)
    return grant


def authorise_monitoring(tx: Tx, identity: Identity) -> None:
    """Refuse who may not watch the server itself, whose metrics are of all orgs.

    Allowed is a viewer of the first org, which the server's operator makes beside it, with a token
    whose scopes include :data:`MONITORING`. Raises ``unauthenticated`` or ``forbidden``.
    """
    if identity.digest is None:
        raise unauthenticated()
    grant = _granted(tx, identity.digest, 0)
    if identity.org != FIRST_ORG or not grant.at_least("viewer") or not grant.reaches(MONITORING):
        raise FastioError(
            "forbidden",
            "The metrics are of all orgs.",
            f"Use a token of a viewer of the server's first org, for everything or {MONITORING}.",
        )


def refusal_of_job(
    tx: Tx, workspace_id: int, job_id: str, member: str, role: str
) -> FastioError | None:
    """Why a job may not be done for a member in a workspace; None if it may.

    Their token, which may have ended meanwhile as it should, is not asked again: what it was for
    was the workspace.
    """
    workspace = tx.workspaces.any_by_id(workspace_id)
    org = workspace["org"] if workspace is not None else FIRST_ORG
    rows = [tx.members.get(org, member, id) for id in (0, workspace_id)]
    if any(row is not None and RANKS[row["role"]] >= RANKS[role] for row in rows):
        return None
    return FastioError(
        "forbidden",
        f"{member}, for whom it was, no longer has the role {role} here.",
        f"Whoever has it can have it done: fastio job retry {job_id}",
    )


def may_see(tx: Tx, identity: Identity, workspace: Row) -> bool:
    """Whether the identity may know of a workspace, live or deleted.

    Raises ``unauthenticated`` as ``authorise`` does.
    """
    return (
        identity.digest is not None
        and _granted(tx, identity.digest, workspace["id"]).role != "member"
    )


def _granted(tx: Tx, digest: str, workspace_id: int) -> Grant:
    row = tx.unit.grant(digest, workspace_id)
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
        row["token_id"],
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
    token_id: str,
    workspace_id: int,
) -> Grant:
    if token_workspace_id not in (None, workspace_id):
        role_in_org = role = "member"
    else:
        role_in_org = least(org_role or "member", token_role)
        role_here = least(workspace_role or "member", token_role)
        role = max(role_in_org, role_here, key=RANKS.__getitem__)
    return Grant(
        role_in_org,
        role,
        token_role,
        json.loads(scopes),
        token_workspace_id,
        expires_at,
        token_id,
    )


def _refuse_narrow(operation: Operation, grant: Grant) -> None:
    """A token for reading changes nothing, and one for a single workspace nothing of the org,
    whatever its member may do."""
    if RANKS[grant.token_role] < RANKS[LEAST_WRITER]:
        raise FastioError(
            "forbidden",
            f"{operation.name} changes something; this token is of the role {grant.token_role}.",
            f"Use a token of a wider role: fastio token create NAME --role {LEAST_WRITER}",
            role=grant.token_role,
            needed=LEAST_WRITER,
        )
    if grant.workspace_id is not None and not operation.in_workspace:
        raise FastioError(
            "forbidden",
            f"{operation.name} is about the whole org; this token is for one workspace alone.",
            "Use a token that is for the org: fastio token create NAME",
        )


def _too_small_a_role(operation: Operation, needed: str, role: str) -> FastioError:
    return FastioError(
        "forbidden",
        f"{operation.name} needs the role {needed}; yours is {role}.",
        f"Ask an owner or admin: fastio member set NAME {needed}",
        role=role,
        needed=needed,
    )
