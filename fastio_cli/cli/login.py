"""fastio login, fastio logout, fastio whoami"""

from __future__ import annotations

import sys

from fastio_cli.cli.command import Arg, Opt, command
from fastio_cli.cli.values import secret
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.session import Session

URL = Arg("url", "URL of the server, as https://fastio.example.org")


@command(
    "login",
    URL,
    Opt("--token", help="@FILE, or - for standard input (default: asked)", metavar="@FILE"),
    op="access.whoami",
    help="Work on a server from now on.",
)
def login(cli: Session, url: str, token: str | None) -> None:
    """The token goes into the system's keyring, or into a file that only you can read, and the
    server becomes the store of your settings.

    Example:
    fastio login https://fastio.example.org < token.txt
    """
    from fastio_cli.config import change_file
    from fastio_cli.credentials import keep_token
    from fastio_cli.remote import Remote

    url = url.rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise FastioError("invalid", f"{url} is no URL.", f"Try: fastio login https://{url}")
    given = _token(token)
    who = Remote(url, given, retry_s=cli.config.get("retry_s")).call("access.whoami")
    kept_in = keep_token(url, given)
    change_file(cli.config.user_file, "store", url)
    cli.out.record({"store": url, **who, "kept_in": kept_in}, essential="member")


@command(
    "logout",
    Arg("url", "URL of the server (default: the one in use)", required=False),
    help="Forget a server and its token.",
)
def logout(cli: Session, url: str | None) -> None:
    """The token itself goes on to exist: end it with fastio token revoke."""
    from fastio_cli.config import change_file, read_file
    from fastio_cli.credentials import forget_token

    url = (url or cli.config.store()).rstrip("/")
    forgotten = forget_token(url)
    file = cli.config.user_file
    if read_file(file).get("store") == url:
        change_file(file, "store", None)
    cli.out.record({"store": url, "forgotten": forgotten}, essential="store")


@command("whoami", op="access.whoami")
def whoami(cli: Session) -> None:
    cli.out.record(cli.call("access.whoami"), essential="member")


def _token(given: str | None) -> str:
    """The token from a file, from standard input, or typed unseen; never from the command line."""
    if given is not None and given != "-" and not given.startswith("@"):
        raise FastioError(
            "invalid",
            "A token on the command line would be seen by everybody on this machine.",
            "Give it as --token @FILE, or on standard input.",
        )
    if given is None and sys.stdin.isatty():
        import getpass

        return getpass.getpass("Token: ").strip()
    return secret(given or "-", "--token")
