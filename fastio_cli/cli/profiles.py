"""fastio login, fastio logout, fastio profile"""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.command import Arg, Opt, command
from fastio_cli.cli.framework.values import file_name, file_of, secret
from fastio_cli.config.files import change_file, read_file
from fastio_cli.config.settings import masked
from fastio_cli.config.sources import LOCAL, PROFILES, Config
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

NAME = Arg("name", "Name of the profile", complete="profile")


@command(
    "login",
    Arg("url", "URL of the server, as https://fastio.example.org"),
    Opt("--token", help="@FILE, or - for standard input (default: asked)", metavar="@FILE"),
    Opt(
        "--ca-file",
        help="Certificate authorities to trust besides the public ones",
        metavar="FILE",
        convert=file_name,
        complete="file",
    ),
    op="access.whoami",
    help="Work on a server from now on.",
)
def login(cli: Session, url: str, token: str | None, ca_file: str | None) -> None:
    """The token goes into the system's keyring, or into a file that only you can read. The server
    becomes a profile, named after its host or with --profile, and the one in force.

    Examples:
    fastio login https://fastio.example.org < token.txt
    fastio login https://fastio.example.org --profile reviewer --token @reviewer.token
    """
    from fastio_cli.client.remote import Remote
    from fastio_cli.client.transport import server_url
    from fastio_cli.config.credentials import store_token

    url = server_url(url if "://" in url else f"https://{url}")
    profile = _profile_for(cli, url)
    ca_file = os.path.abspath(ca_file) if ca_file is not None else cli.config.ca_file(url)
    if url.startswith("http://") and not _is_here(url):
        cli.out.note("Nothing is encrypted on the way there: others may read the token.")
    given = _token(token)
    # Somebody looks on who may have mistyped the address: it is tried once.
    who = Remote(url, given, retry_s=0, ca_file=ca_file).call("access.whoami")
    kept_in = store_token(profile, given)
    settings = {"store": url, **({"ca_file": ca_file} if ca_file is not None else {})}
    before = cli.config.profiles.get(profile, {})
    if before.get("store") == url:
        settings = {**before, **settings}
    file = cli.config.user_file
    change_file(file, profile, settings, (PROFILES,))
    change_file(file, "profile", profile)
    record = {"profile": profile, "store": url, **who, "kept_in": kept_in}
    cli.out.record(record, essential="member")
    _warn_if_not_in_force(cli, profile)


@command(
    "logout",
    Arg("name", "The profile (default: the one in force)", required=False, complete="profile"),
    help="Forget the token for a server.",
)
def logout(cli: Session, name: str | None) -> None:
    """The profile stays, so that commands do not go to another store unnoticed; go back to the one
    of this machine with: fastio profile use local. The token itself goes on to exist: end it with
    fastio token revoke.
    """
    from fastio_cli.config.credentials import delete_token

    name = name or cli.config.profile
    if name is None:
        raise FastioError("not_found", "You are logged in nowhere.", "See: fastio profile list")
    store = _settings(cli, name)["store"]
    cli.out.record(
        {"profile": name, "store": store, "forgotten": delete_token(name)}, essential="profile"
    )


@command("profile list", help="List the servers you are logged in at, and the local store.")
def list_profiles(cli: Session) -> None:
    from fastio_cli.config.credentials import token_location

    config = cli.config
    source = config.lookup("store")[1]
    local = config.settings_of(LOCAL)["store"]
    items: list[dict[str, object]] = []
    for name in (LOCAL, *config.profiles):
        settings = _shown(config.settings_of(name))
        items.append(
            {
                "profile": name,
                "store": settings["store"],
                "workspace": settings.get("workspace"),
                "token": token_location(name),
                "in_force": source == f"profile {name}",
            }
        )
    if config.profile_exists and config.store() == local:
        items[0]["in_force"] = True
    page = {"items": items, "next_cursor": None}
    cli.out.page(page, columns="profile,in_force,store,workspace,token", essential="profile")


@command(
    "profile use",
    NAME,
    help="Work with another profile from now on; local is this machine.",
)
def use_profile(cli: Session, name: str) -> None:
    """For a single command: --profile NAME, or FASTIO_PROFILE."""
    settings = _settings(cli, name)
    change_file(cli.config.user_file, "profile", name)
    cli.out.record({"profile": name, **settings}, essential="profile")
    _warn_if_not_in_force(cli, name)


@command("profile remove", NAME, help="Forget a profile and its token.")
def remove_profile(cli: Session, name: str) -> None:
    """Nothing happens to what is kept on the server."""
    from fastio_cli.config.credentials import delete_token

    if name == LOCAL:
        raise FastioError(
            "invalid", "This machine's own store is always there.", "See: fastio profile list"
        )
    settings = _settings(cli, name)
    delete_token(name)
    file = cli.config.user_file
    change_file(file, name, None, (PROFILES,))
    if read_file(file).get("profile") == name:
        change_file(file, "profile", None)
    cli.out.record({"profile": name, **settings}, essential="profile")


def _settings(cli: Session, profile: str) -> dict[str, object]:
    """What people may see of a profile. Raises ``not_found``."""
    if profile not in (LOCAL, *cli.config.profiles):
        raise FastioError(
            "not_found",
            f"There is no profile {profile!r}.",
            "See which there are: fastio profile list",
        )
    return _shown(cli.config.settings_of(profile))


def _shown(settings: dict[str, object]) -> dict[str, object]:
    return {"store": None, **{name: masked(name, value) for name, value in settings.items()}}


def _profile_for(cli: Session, url: str) -> str:
    """What the profile of a login is called: as is said, else after the host."""
    from urllib.parse import urlsplit

    from fastio_cli.operations.types import NAME_RULE

    named = cli.flags.get("profile") or os.environ.get("FASTIO_PROFILE")
    if named:
        NAME_RULE.check(named, "--profile")
        if named == LOCAL:
            raise FastioError(
                "invalid", "local is this machine.", "Choose another name: --profile NAME"
            )
        return str(named)
    parts = urlsplit(url)
    name = f"{parts.hostname}-{parts.port}" if parts.port else str(parts.hostname)
    return "".join(c if c == "." or (c.isascii() and c.isalnum()) else "-" for c in name).strip("-")


def _warn_if_not_in_force(cli: Session, profile: str) -> None:
    """Say so when something nearer than the user's settings names another store."""
    source = Config({}).lookup("store")[1]
    if source != f"profile {profile}":
        cli.out.note(f"Here {source} goes first. To work with {profile}: --profile {profile}")


def _is_here(url: str) -> bool:
    from urllib.parse import urlsplit

    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _token(given: str | None) -> str:
    """The token from a file, from standard input, or typed unseen; never from the command line."""
    if given is not None and file_of(given) is None:
        raise FastioError(
            "invalid",
            "A token on the command line would be seen by everybody on this machine.",
            "Give it as --token @FILE, or on standard input.",
        )
    if given is None and sys.stdin.isatty():
        import getpass

        return getpass.getpass("Token: ").strip()
    return secret(given or "-", "--token")
