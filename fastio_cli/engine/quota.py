"""What an org may use: the credits of its month."""

from __future__ import annotations

from fastio_cli.errors import FastioError
from fastio_cli.operations.records import month_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.storage.tx import Tx


def charge(tx: Tx, org: str, credits_max: int) -> None:
    """Count one credit of an org's month. Raises ``quota_exceeded`` when there is none left."""
    month = month_of(tx.now_ms)
    if tx.orgs.credits(org, month) >= credits_max:
        raise FastioError(
            "quota_exceeded",
            f"The {credits_max:,} credits of {month} are used up.",
            "See how: fastio org usage. The operator may raise credits_per_month.",
            credits_max=credits_max,
        )
    tx.orgs.charge(org, month, 1)
