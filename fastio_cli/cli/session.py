"""One command's session: its settings, the engine it talks to, and its output."""

from __future__ import annotations

import os

from fastio_cli.cli.output import Output
from fastio_cli.config import Config
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.engine import Engine

SCHEME = "fio://"


class Session:
    """What a command is handed: ``call`` does an operation, ``out`` prints.

    ``flags`` are the global options of the command line. The engine is opened at the first call.
    """

    def __init__(self, flags: dict[str, Any]) -> None:
        format = "json" if flags.get("json") else flags.get("format")
        self.flags = {**flags, "format": format}
        self.config = Config({k: v for k, v in self.flags.items() if isinstance(v, str)})
        self.out = Output(
            format or self.config.get("format"),
            fields=flags.get("fields"),
            quiet=bool(flags.get("quiet")),
        )
        self._engine: Engine | None = None

    @property
    def engine(self) -> Engine:
        """The operations on the store that the settings name."""
        if self._engine is None:
            from fastio_cli.engine import Engine
            from fastio_cli.store import open_blobs, open_store

            target = self.config.store()
            store = open_store(target, durability=self.config.get("durability"))
            blobs = open_blobs(target, self.config.blobs())
            self._engine = Engine(store, blobs, self.config.limits())
        return self._engine

    @property
    def workspace(self) -> str:
        name: str = self.config.get("workspace")
        return name

    def call(self, name: str, *, idempotency_key: str | None = None, **params: Any) -> Any:
        """Do an operation in the session's workspace, or in the one a ``fio://`` path names.

        A lock token from the environment is used where the operation takes one (``lock run`` sets
        it together with the path it is for).
        """
        workspace = self._locate(params)
        if params.get("lock_token", "") is None:
            params["lock_token"] = lock_token_of(params["path"])
        return self.engine.call(
            name,
            params,
            workspace=workspace,
            actor=self.config.actor(),
            idempotency_key=idempotency_key,
        )

    def _locate(self, params: dict[str, Any]) -> str:
        named = None
        for key in ("path", "to"):
            value = params.get(key)
            if not isinstance(value, str) or not value.startswith(SCHEME):
                continue
            workspace, slash, path = value[len(SCHEME) :].partition("/")
            if not workspace or not slash:
                raise FastioError("invalid", f"{value!r} is not of the form fio://workspace/path.")
            if named not in (None, workspace):
                raise FastioError("invalid", "Both paths must be in one workspace.")
            named = workspace
            params[key] = path
        return named or self.workspace


def lock_token_of(path: str) -> str | None:
    """The environment's lock token, if it is for this path or for any."""
    token = os.environ.get("FASTIO_LOCK_TOKEN") or None
    bound = os.environ.get("FASTIO_LOCK_PATH")
    return token if not bound or bound == path else None
