"""fastio job"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Opt, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import ALL, CURSOR, KEY, LIMIT, STATE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

ID = Arg("id", "Id of the job, as in fastio job list")
COLUMNS = "id,state,due_at,attempts,failures,reason"


@command(
    "job list",
    STATE,
    Opt("--kind", help="Only those of this kind, as import or index", metavar="KIND"),
    LIMIT,
    CURSOR,
    ALL,
    op="job.list",
)
def list_(cli: Session, **params: object) -> None:
    """Imports and the search index are worked on in the background, by a server or by the command
    that asked for them. One with a transient failure is queued again, with the reason.

    Example:
    fastio job list --state failed
    """
    show_list(cli, "job.list", params, columns=COLUMNS, essential="id")


@command("job show", ID, op="job.show")
def show(cli: Session, id: str) -> None:
    cli.out.record(cli.call("job.show", id=id), essential="state")


@command("job retry", ID, KEY, op="job.retry")
def retry(cli: Session, **params: object) -> None:
    """A server begins it at once. In an embedded store an import waits for the next command that
    imports, or for: fastio import retry ID
    """
    cli.out.record(cli.call("job.retry", **params), essential="state")


@command("job cancel", ID, KEY, op="job.cancel")
def cancel(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("job.cancel", **params), essential="state")
