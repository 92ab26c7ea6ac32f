"""A store that was put back to an earlier state, so that nothing it gave out since counts again.

Numbers go on above the highest one that the lost state can have given out. Where that can still be
read, and is of the same lineage, it is known. Else it follows from the time: a workspace gives out
at most one number a microsecond, so from the state's last change until now it can have given out no
more than microseconds have passed. That holds however often one backup is restored, as each time is
later than the one before.
"""

from __future__ import annotations

import os

from fastio_cli.storage.repositories.numbers import ALL_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.tx import Tx

SPARE = 1_000_000  # as the clocks of two machines differ, and one may be set back
US_PER_MS = 1000
OF_NO_WORKSPACE = 0  # where jobs are that are not of one


class Replaced:
    """What has to be known of a state that is lost: what it gave out, and what it took back."""

    def __init__(self, tx: Tx) -> None:
        self.lineage = tx.numbers.lineage()
        self.highest = tx.numbers.highest()
        self.tokens = {row["digest"]: row for row in tx.tokens.every()}
        self.offers = {row["digest"]: row for row in tx.org_transfers.every()}


def begin(tx: Tx, replaced: Replaced | None, *, revoke_tokens: bool = False) -> dict[str, object]:
    """Let everything that a store gives out go on above what was given out before.

    ``replaced`` is the state it had until now, if that can be read. A token or offer that was taken
    back there stays so; with ``revoke_tokens`` all tokens are. Locks and the leases of jobs end.
    Returns ``floor``, the number above which everything goes on, how many ``tokens`` count, and
    whether ``revocations_known``: what was revoked since.
    """
    own = tx.numbers.highest()
    lost_ms = max(0, tx.now_ms - tx.numbers.changed_at())
    floor = own + SPARE + lost_ms * US_PER_MS
    is_known = replaced is not None and replaced.lineage == tx.numbers.lineage()
    if replaced is not None:
        floor = max(own, replaced.highest) if is_known else max(floor, replaced.highest)
    for workspace in tx.workspaces.every():
        tx.numbers.raise_floor(workspace["id"], floor + 1, "store.restore")
        tx.locks.forget(workspace["id"])
        tx.jobs.raise_fences(workspace["id"], tx.now_ms)  # more each time than any was leased
    tx.jobs.raise_fences(OF_NO_WORKSPACE, tx.now_ms)
    tx.numbers.keep(ALL_NAMES, floor)
    tx.numbers.renew_token_key(os.urandom(32).hex())
    if is_known and replaced is not None:
        _keep_revoked(tx, replaced)
    if revoke_tokens:
        for token in tx.tokens.every():
            tx.tokens.revoke(token["org"], token["id"], tx.now_ms)
    live = sum(token["revoked_at"] is None for token in tx.tokens.every())
    return {"floor": floor, "tokens": live, "revocations_known": is_known or not live}


def _keep_revoked(tx: Tx, replaced: Replaced) -> None:
    """Take back what the replaced state had taken back."""
    for token in tx.tokens.every():
        before = replaced.tokens.get(token["digest"])
        if before is not None and before["revoked_at"] is not None:
            tx.tokens.revoke(token["org"], token["id"], before["revoked_at"])
    for offer in tx.org_transfers.every():
        before = replaced.offers.get(offer["digest"])
        if before is not None and (before["revoked_at"] or before["claimed_at"]):
            tx.org_transfers.end(offer["id"], claimed_by=None, now_ms=tx.now_ms)
