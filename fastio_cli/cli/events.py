"""fastio event, fastio audit"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Flag, Opt, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.framework.listing import PAGE, all_pages, refuse_actor, show_list
from fastio_cli.cli.framework.options import ALL, LIMIT, given
from fastio_cli.cli.framework.values import integer, seconds
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.cli.framework.session import Session

AFTER = Opt(
    "--after",
    "--cursor",
    help="Only events after this number",
    metavar="SEQ",
    convert=integer,
)
BEFORE = Opt("--before", help="Only events before this number", metavar="SEQ", convert=integer)
TYPE = Opt("--type", help="Only events of this type, as 'state.*'", metavar="PATTERN")
PATTERN = Opt("--path", help="Only events of paths like this, as 'plans/*'", metavar="PATTERN")
BY = Opt("--by", help="Only events of this actor, as ada or 'agent-*'", metavar="PATTERN")
SINCE = Opt(
    "--since",
    help="Only events of the last, as 1h",
    metavar="DURATION",
    convert=seconds,
    param="since_s",
)
COLUMNS = "seq,at,type,actor,path,version"


@command(
    "event list",
    AFTER,
    BEFORE,
    TYPE,
    PATTERN,
    BY,
    SINCE,
    Opt("--last", help="The last so many, in order", metavar="N", convert=integer),
    Flag("--reverse", help="The newest first; go on with --before"),
    LIMIT,
    ALL,
    op="event.list",
    help="List events in the order they happened.",
)
def list_(
    cli: Session, last: int | None, reverse: bool, since: float | None, **params: Any
) -> None:
    """Examples:
    fastio event list --last 20
    fastio event list --since 1h --by 'agent-*' --type 'state.*'
    fastio event list --reverse --path 'plans/*' --limit 10
    """
    refuse_actor(cli)
    params["since_s"] = since
    if last is not None:
        if params.pop("limit") is not None or params.pop("all"):
            raise FastioError(
                "invalid",
                "--last says how many: --limit and --all do not go with it.",
                "As: fastio event list --last 20",
            )
        _show_last(cli, last, reverse, given(**params))
        return
    cursor = "before" if reverse else "after"
    params["newest_first"] = reverse or None
    show_list(cli, "event.list", params, columns=COLUMNS, essential="seq", cursor=cursor)


def _show_last(cli: Session, count: int, reverse: bool, params: dict[str, Any]) -> None:
    """Print the last so many events that pass the filters."""
    if count < 1:
        raise FastioError("invalid", "--last must be 1 or more.", "As: fastio event list --last 20")
    params = {**params, "newest_first": True, "limit": min(count, PAGE)}
    items: list[Any] = []
    for page in all_pages(cli, "event.list", params, "before"):
        items += page["items"]
        if len(items) >= count:
            break
    del items[count:]
    if not reverse:
        items.reverse()
    last = {"items": items, "next_cursor": None, "has_more": False}
    cli.out.page(last, columns=COLUMNS, essential="seq", more=None)


@command(
    "event watch",
    AFTER,
    TYPE,
    PATTERN,
    BY,
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
    refuse_actor(cli)
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
