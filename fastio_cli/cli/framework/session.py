"""One command's session: its settings, the engine it talks to, and its output."""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.output import Output
from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError
from fastio_cli.opening import is_server, open_client, open_engine

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.cli.framework.command import Command
    from fastio_cli.engine.client import Client, PreparedCall
    from fastio_cli.engine.engine import Engine
    from fastio_cli.operations.operation import Operation

SCHEME = "fio://"


class Session:
    """The context of one command: ``call`` runs an operation, ``out`` prints.

    ``flags`` are the global options of the command line, ``command`` is what runs in the session.
    The engine is opened at the first call.
    """

    def __init__(self, flags: dict[str, Any], command: Command | None = None) -> None:
        format = "json" if flags.get("json") else flags.get("format")
        self.flags = {**flags, "format": format}
        self.config = self._configured()
        self.out = Output(
            format or self.config.get("format"),
            fields=flags.get("fields"),
            quiet=bool(flags.get("quiet")),
        )
        self._command = command
        self._engine: Client | None = None
        visible = command is not None and not command.hidden
        if visible and self.config.ignored and not self.config.is_refused:
            self.out.note(self.config.ignored)

    def override(self, **settings: str) -> None:
        """Override settings by options of the command; before the first call."""
        self.config = self._configured(**settings)

    def config_for(self, store: str) -> Config:
        """The settings that apply to another store than the session's."""
        return self._configured(store=store)

    def _configured(self, **settings: str) -> Config:
        flags = {k: v for k, v in self.flags.items() if isinstance(v, str)}
        return Config({**flags, **settings})

    @property
    def engine(self) -> Client:
        """The operations on the store that the settings name."""
        if self._engine is None:
            note = self.out.note if sys.stderr.isatty() else None
            self._engine = open_client(self.config, note=note)
        return self._engine

    def local_engine(self) -> Engine:
        """An engine on the store itself. Raises ``invalid`` when that is behind a server."""
        from fastio_cli.engine.engine import Engine

        if not isinstance(self._engine, Engine):
            self._engine = open_engine(self.config)
        return self._engine

    @property
    def is_remote(self) -> bool:
        """Whether the store is a server."""
        return is_server(self.config.store())

    @property
    def workspace(self) -> str:
        return self.config.text("workspace")

    def call(
        self,
        name: str,
        on_chunk: Callable[[str], None] | None = None,
        /,
        **params: object,
    ) -> Any:
        """Run an operation in the session's workspace, or in the one a ``fio://`` path names.

        A lock token from the environment is used where the operation takes one (``lock run`` sets
        it together with the path it is for). ``idempotency_key`` may be among ``params``;
        ``on_chunk`` is called with each chunk of a streamed answer.
        """
        key = params.pop("idempotency_key", None)
        call = self.prepare(name, params, None if key is None else str(key))
        call.on_chunk = on_chunk
        return self.engine.run(call)

    def prepare(
        self, name: str, params: dict[str, object], idempotency_key: str | None
    ) -> PreparedCall:
        """A call checked and ready, as ``call`` makes it; ``workspace`` may be among ``params``."""
        from fastio_cli.operations import find

        workspace = self._resolve_workspace(find(name), params)
        if params.get("lock_token", "") is None:
            params["lock_token"] = lock_token_for(str(params["path"]))
        actor = self.config.actor()
        try:
            return self.engine.prepare(name, params, workspace, actor, idempotency_key)
        except FastioError as e:
            if e.code == "invalid" and self._command is not None:
                find(name).decode(params, self._command.names)  # names the parameters as typed
            raise

    def watch(self, **options: Any) -> Iterator[Any]:
        """The events of the session's workspace as they happen (``Client.watch``)."""
        return self.engine.watch(self.workspace, **options)

    def every_workspace(self) -> Iterator[str]:
        """The names of all workspaces that the user may read."""
        cursor: str | None = ""
        while cursor is not None:
            page = self.call("workspace.list", cursor=cursor, limit=1000)
            yield from (item["name"] for item in page["items"])
            cursor = page["next_cursor"]

    def confirm(self, question: str, yes: bool) -> None:
        """Continue only if the user agrees. Raises ``invalid`` without a terminal."""
        if yes:
            return
        if not sys.stdin.isatty():
            raise FastioError("invalid", "This needs a confirmation.", "Confirm it with --yes.")
        print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise FastioError("interrupted", "Nothing was changed.", "")

    def _resolve_workspace(self, operation: Operation, params: dict[str, Any]) -> str:
        """The workspace of the parameters or ``fio://`` paths, which become plain paths."""
        named = params.pop("workspace", None)
        for key in operation.path_params:
            value = params.get(key)
            if not isinstance(value, str) or not value.startswith(SCHEME):
                continue
            workspace, slash, path = value[len(SCHEME) :].partition("/")
            if not workspace or not slash:
                raise FastioError("invalid", f"{value!r} is not of the form fio://workspace/path.")
            if named not in (None, workspace):
                raise FastioError("invalid", "All paths must be in one workspace.")
            named = workspace
            params[key] = path
        return named or self.workspace


def lock_token_for(path: str) -> str | None:
    """The lock token of the environment, if it is for this path or for any."""
    token = os.environ.get("FASTIO_LOCK_TOKEN") or None
    bound = os.environ.get("FASTIO_LOCK_PATH")
    return token if not bound or bound == path else None
