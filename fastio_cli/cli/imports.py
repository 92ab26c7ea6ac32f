"""fastio import"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import ALL, CURSOR, KEY, LIMIT, STATE, given
from fastio_cli.cli.framework.values import integer, seconds, secret, size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

ID = Arg("id", "Number of the import", convert=integer)
LOCK_TOKEN = Opt(
    "--lock-token",
    help="Token of the lock you hold on the path; @FILE or - to read it",
    metavar="TOKEN",
    convert=secret,
)
HEADER_FILE = Opt(
    "--header-file",
    help="Send the headers in this file, 'Name: value' a line",
    metavar="FILE",
    complete="file",
)
WAIT = Flag("--wait", help="Wait for the end also when the store is remote")
TIMEOUT = Opt("--timeout", help="Wait for the end, at most", metavar="DURATION", convert=seconds)
COLUMNS = "id,state,path,version,received_bytes,total_bytes,reason"


@command(
    "import add",
    Arg("urls", "Addresses, or share links of file services", required=False, many=True),
    Opt("--to", help="The path, or a folder with / at its end", metavar="PATH", complete="path"),
    Opt("--name", help="Name of the file in its folder (default: the server's)"),
    Opt(
        "--from-file",
        help="Also the URLs in this file, one a line",
        metavar="FILE",
        complete="file",
    ),
    Opt("--sha256", help="Only if the bytes have this checksum", metavar="HEX"),
    HEADER_FILE,
    Opt(
        "--on-conflict",
        help="If the path is taken: its next version, a numbered name, or fail",
        choices=("version", "rename", "fail"),
    ),
    Opt(
        "--max-size",
        help="Refuse larger files, as 500MB",
        metavar="SIZE",
        convert=size,
        param="size_bytes_max",
    ),
    WAIT,
    TIMEOUT,
    LOCK_TOKEN,
    KEY,
    op=("import.create", "import.show"),
)
def add(cli: Session, wait: bool, timeout: float | None, **params: object) -> None:
    """The word add can be left out: fastio import URL

    Share links of Google Drive, OneDrive, SharePoint, Dropbox and Box lead to their files.
    s3://, gs:// and az:// are read with the credentials in the environment.
    A server fetches by itself: it is waited for only with --wait or --timeout, and it reads only
    the buckets that its setting import_buckets lists.

    Examples:
    fastio import https://example.com/report.pdf
    fastio import https://example.com/a.csv https://example.com/b.csv --to data/
    fastio import --from-file urls.txt --to data/ --on-conflict rename
    """
    from fastio_cli.cli.import_progress import create, follow

    follow(cli, create(cli, params), wait, timeout)


@command(
    "import list",
    STATE,
    Opt("--path", help="Only those to this path", metavar="PATH", complete="path"),
    LIMIT,
    CURSOR,
    ALL,
    op="import.list",
)
def list_(cli: Session, **params: object) -> None:
    show_list(cli, "import.list", params, columns=COLUMNS, essential="id")


@command(
    "import show",
    ID,
    Opt(
        "--wait",
        help="Wait for its end for at most",
        metavar="DURATION",
        convert=seconds,
        param="wait_s",
    ),
    op="import.show",
)
def show(cli: Session, id: int, wait: float | None) -> None:
    cli.out.record(cli.call("import.show", id=id, **given(wait_s=wait)), essential="state")


@command("import cancel", ID, KEY, op="import.cancel")
def cancel(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("import.cancel", **params), essential="state")


@command(
    "import retry",
    ID,
    HEADER_FILE,
    WAIT,
    TIMEOUT,
    LOCK_TOKEN,
    KEY,
    op="import.retry",
)
def retry(
    cli: Session,
    id: int,
    header_file: str | None,
    wait: bool,
    timeout: float | None,
    **params: object,
) -> None:
    from fastio_cli.cli import import_progress

    pending = import_progress.retry(cli, id, header_file, params)
    import_progress.follow(cli, pending, wait, timeout)
