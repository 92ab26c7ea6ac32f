"""A store as a Python object: what ``fastio_cli.connect`` returns."""

from __future__ import annotations

import warnings

from fastio_cli.sdk import generated
from fastio_cli.sdk.calls import Caller, Connection
from fastio_cli.sdk.workspace import Workspace

TYPE_CHECKING = False
if TYPE_CHECKING:
    import os

    from fastio_cli.engine.client import Client

DEFAULT = "default"


class Store(generated.StoreOperations):
    """A store, wherever it is: a folder, a database, or a server.

    Close it, or use it in a ``with`` statement. It may be used from many threads.
    """

    def __init__(self, client: Client, *, workspace: str = DEFAULT, actor: str = "") -> None:
        self._connection = Connection(client)
        super().__init__(Caller(self._connection, workspace, actor))
        self.actor = actor
        self._workspace = workspace

    def workspace(self, name: str | None = None, *, actor: str | None = None) -> Workspace:
        """A workspace, by default the one that the settings name; it is not created here.

        ``actor`` is who acts, in the event log; on a server the token says so.
        """
        return Workspace(
            self._connection,
            self._workspace if name is None else name,
            self.actor if actor is None else actor,
        )

    def close(self) -> None:
        """Close what was opened; every further call raises ``Invalid``."""
        self._connection.close()

    def __enter__(self) -> Store:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def connect(
    store: str | os.PathLike[str] | None = None,
    *,
    workspace: str | None = None,
    actor: str | None = None,
    token: str | None = None,
    profile: str | None = None,
    create: bool = False,
) -> Store:
    """Open a store: a folder, ``postgresql://USER@HOST/DATABASE``, or a server's URL.

    What is not given is taken from where the command line takes it: the environment, the project,
    the user's settings (``fastio config show``). ``token`` is for a server. ``create`` makes a
    store where there is none; without it only the default store is made, by its first write.
    Raises ``NotFound`` for a place without a store, ``Invalid`` for wrong settings, ``Forbidden``
    where the store would be that of a project that the user does not trust, ``Unavailable`` when it
    cannot be opened.
    """
    from fastio_cli.config.sources import Config
    from fastio_cli.opening import open_client

    named = {"store": store, "workspace": workspace, "actor": actor, "profile": profile}
    config = Config({name: str(value) for name, value in named.items() if value is not None})
    if config.ignored and not config.is_refused:
        warnings.warn(config.ignored, stacklevel=2)
    client = open_client(config, token=token, create=create)
    return Store(client, workspace=config.text("workspace"), actor=config.actor())
