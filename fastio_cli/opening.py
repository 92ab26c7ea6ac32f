"""Opening what the settings name: a store in a folder, a database, or a server.

The command line and the Python SDK both open stores here, so that the same settings mean the same.
"""

from __future__ import annotations

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.config.sources import Config
    from fastio_cli.engine.client import Client
    from fastio_cli.engine.engine import Engine
    from fastio_cli.storage.absent import IfAbsent


def is_server(store: str) -> bool:
    """Whether a store is named by the URL of a server."""
    return store.startswith(("https://", "http://"))


def open_client(
    config: Config,
    *,
    token: str | None = None,
    note: Callable[[str], None] | None = None,
    create: bool = False,
) -> Client:
    """The operations on the store that the settings name, wherever it is.

    ``token`` replaces the configured one; ``note`` is called when a retry takes longer; ``create``
    makes a store where there is none. Raises as :func:`open_engine` does.
    """
    if not is_server(config.store()):
        return open_engine(config, create=create)
    from fastio_cli.client.remote import Remote
    from fastio_cli.client.transport import server_url
    from fastio_cli.config.credentials import find_token

    url = server_url(config.store())  # as profiles keep it
    return Remote(
        url,
        find_token(config, url) if token is None else token,
        retry_s=config.number("retry_s"),
        ca_file=config.ca_file(url),
        note=note,
    )


def open_engine(config: Config, *, create: bool = False) -> Engine:
    """An engine on the store itself.

    Only the default store comes to be by itself, at its first write: a place that was named and
    holds no store may be mistyped, and raises ``not_found`` unless ``create`` is on. Raises
    ``invalid`` when the store is behind a server, ``unavailable`` when it cannot be opened.
    """
    from fastio_cli.engine.engine import Engine
    from fastio_cli.storage import open_blobs, open_store

    target = config.store()
    if is_server(target):
        raise FastioError(
            "invalid",
            "This works on a store itself, not through a server.",
            "Name one: --store FOLDER, or --profile local",
        )
    if_absent: IfAbsent = "make_on_write" if config.is_default_store else "refuse"
    store = open_store(
        target,
        durability=config.text("durability"),
        if_absent="make" if create else if_absent,
    )
    blobs = open_blobs(target, config.blobs())
    return Engine(store, blobs, config.limits(), config.search, config.secret_key_file)
