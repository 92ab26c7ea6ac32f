"""fastio import"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.options import CURSOR, KEY, LIMIT, given
from fastio_cli.cli.framework.values import integer, seconds, secret, size
from fastio_cli.errors import FastioError
from fastio_cli.operations.types import SERVICES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

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
SERVICE = Arg("service", "google, onedrive, dropbox or box")
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
        help="Where something stands: its next version, a numbered name, or fail",
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
def add(cli: Session, wait: bool, timeout: float | None, **params: Any) -> None:
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
    Opt(
        "--state",
        help="Only those in this state",
        choices=("queued", "running", "done", "failed", "cancelled"),
    ),
    Opt("--path", help="Only those to this path", metavar="PATH", complete="path"),
    LIMIT,
    CURSOR,
    op="import.list",
)
def list_(cli: Session, **params: Any) -> None:
    cli.out.page(cli.call("import.list", **given(**params)), columns=COLUMNS, essential="id")


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
def cancel(cli: Session, **params: Any) -> None:
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
    **params: Any,
) -> None:
    from fastio_cli.cli import import_progress as importing

    importing.follow(cli, importing.retry(cli, id, header_file, params), wait, timeout)


@command(
    "import login",
    SERVICE,
    Flag("--device", help="Log in on another device, by a code"),
    op="account.keep",
    help="Let imports read your private files at a file service.",
)
def login(cli: Session, service: str, device: bool) -> None:
    """Needs an OAuth client of your own, registered at the service with the redirect address
    http://127.0.0.1 (any port), and its id in the settings: fastio config set google_client_id ID

    The login is kept in your keyring or in a file that only you can read; with a server's store
    the server keeps it, sealed, and uses it for the imports that you ask it for.

    Example:
    fastio import login google
    """
    from fastio_cli.cli.import_progress import log_in

    cli.out.record(log_in(cli, _service(service), device), essential="service")


@command(
    "import logout",
    SERVICE,
    op="account.remove",
    help="Revoke and forget a login at a file service.",
)
def logout(cli: Session, service: str) -> None:
    from fastio_cli.cli.import_progress import log_out

    cli.out.record(log_out(cli, _service(service)), essential="service")


@command(
    "import accounts", op="account.list", help="List the file services and where you are logged in."
)
def list_accounts(cli: Session) -> None:
    from fastio_cli.cli import import_progress as importing

    page = importing.list_accounts(cli)
    cli.out.page(page, columns="service,logged_in,expires_at,kept_in", essential="service")


def _service(text: str) -> str:
    if text not in SERVICES:
        raise FastioError("invalid", f"{text!r} is not one of {', '.join(SERVICES)}.")
    return text
