"""fastio event, fastio audit"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Opt, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.framework.options import LIMIT, given
from fastio_cli.cli.framework.values import integer, seconds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

AFTER = Opt("--after", help="Only events after this number", metavar="SEQ", convert=integer)
TYPE = Opt("--type", help="Only events of this type, as 'state.*'", metavar="PATTERN")
PATTERN = Opt("--path", help="Only events of paths like this, as 'plans/*'", metavar="PATTERN")


@command(
    "event list",
    AFTER,
    TYPE,
    PATTERN,
    LIMIT,
    op="event.list",
    help="List events in the order they happened.",
)
def list_(cli: Session, **params: object) -> None:
    page = cli.call("event.list", **given(**params))
    cli.out.page(page, columns="seq,at,type,actor,path,version", essential="seq", more=None)


@command(
    "event watch",
    AFTER,
    TYPE,
    PATTERN,
    Opt("--count", help="End after this many events", metavar="N", convert=integer),
    Opt("--timeout", help="End after this time", metavar="DURATION", convert=seconds),
    op=("event.list", "workspace.show"),
    help="Print events as they happen, one JSON line each.",
)
def watch(
    cli: Session,
    after: int | None,
    count: int | None,
    timeout: float | None,
    **filters: object,
) -> None:
    """Begins now, or after event --after. Ends at Ctrl-C, after --count events, or with exit code
    7 after --timeout.

    Example:
    fastio event watch --type 'state.*' --path 'plans/*'
    """
    if count is not None and count < 1:
        return
    events = cli.watch(after=after, timeout_s=timeout, **given(**filters))
    for number, event in enumerate(events, 1):
        cli.out.row(event)
        if number == count:
            return
    raise Exit(7)


@command(
    "audit verify",
    Opt(
        "--head-seq", help="Number of an event whose hash you kept", metavar="SEQ", convert=integer
    ),
    Opt("--head-hash", help="The hash you kept", metavar="HASH"),
    op="audit.verify",
)
def verify(cli: Session, **params: object) -> None:
    """Exits with 1 if the log was changed. Keep head_seq and head_hash outside: a later check
    against them proves that nothing before was rewritten.
    """
    report = cli.call("audit.verify", **given(**params))
    cli.out.record(report, essential="head_hash")
    if not report["verified"]:
        raise Exit(1)
