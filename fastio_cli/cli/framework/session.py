"""One command's session: its settings, the engine it talks to, and its output."""

from __future__ import annotations

import os
import sys

from fastio_cli.cli.framework.output import Output
from fastio_cli.cli.framework.selection import Selection
from fastio_cli.cli.framework.text import visible
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
            selection=Selection(flags.get("fields"), flags.get("jmespath"), self._schemas),
            quiet=bool(flags.get("quiet")),
        )
        self._command = command
        self._engine: Client | None = None
        is_shown = command is not None and not command.hidden
        if is_shown and self.config.ignored and not self.config.is_refused:
            self.out.note(self.config.ignored)

    def check_selection(self) -> None:
        """Raise ``invalid`` for unknown fields before a command changes anything."""
        from fastio_cli.operations import find

        names = self._command.operations if self._command is not None else ()
        if self.out.selection.paths is not None and names and find(names[0]).effect == "write":
            self.out.selection.check()

    def _schemas(self) -> list[dict[str, Any]]:
        """The schemas of the results of the command's operations."""
        from fastio_cli.operations import find

        names = self._command.operations if self._command is not None else ()
        schemas = (find(name).result_schema for name in names)
        stated = [schema for schema in schemas if schema is not None]
        own = self._command.fields if self._command is not None else ()
        return [*stated, {"properties": {name: {} for name in own}}] if own else stated

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

    def workspace_of(self, path: str | None) -> str:
        """The workspace that a path or pattern names, else the session's."""
        located = self._located(path, True)[0] if path else None
        return located or self.workspace

    def call(
        self,
        name: str,
        on_chunk: Callable[[str], None] | None = None,
        /,
        **params: object,
    ) -> Any:
        """Run an operation in the session's workspace, or in the one a ``fio://`` path names.

        A lock token from the environment is used where the operation takes one.
        ``idempotency_key`` may be among ``params``;
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
        self._note_backslashes(find(name), params)
        if params.get("lock_token", "") is None:
            params["lock_token"] = lock_token()
        actor = self.config.actor()
        try:
            return self.engine.prepare(name, params, workspace, actor, idempotency_key)
        except FastioError as e:
            if e.code == "invalid" and self._command is not None:
                find(name).decode(params, self._command.names)  # names the parameters as typed
            raise

    def _note_backslashes(self, operation: Operation, params: dict[str, object]) -> None:
        """Say that a backslash separates nothing: somebody may lock another path than others do."""
        for key in operation.path_params:
            path = params.get(key)
            if isinstance(path, str) and "\\" in path:
                parts = path.replace("\\", "/")
                self.out.note(f"{path} is one name with a backslash; in folders it is {parts}")

    def watch(self, **options: Any) -> Iterator[Any]:
        """The events of a workspace as they happen (``Client.watch``): the session's, or the one
        that a ``fio://`` pattern names."""
        from fastio_cli.operations import find

        workspace = self._resolve_workspace(find("event.list"), options)
        return self.engine.watch(workspace, **options)

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
        print(f"{visible(question)} [y/N] ", end="", file=sys.stderr, flush=True)
        if sys.stdin.readline().strip().lower() not in ("y", "yes"):
            raise FastioError("interrupted", "Nothing was changed.", "")

    def _resolve_workspace(self, operation: Operation, params: dict[str, Any]) -> str:
        """The workspace of a call; its ``fio://`` paths become plain ones.

        Every path is in the workspace that it names, else in the one of the parameters or of the
        session. Where the operation can work in two, the second one is made its parameter.
        """
        own = params.pop("workspace", None) or self.workspace
        places = {}
        for key in operation.path_params:
            value = params.get(key)
            if isinstance(value, str):
                rule = operation.rules[key]
                place, params[key] = self._located(value, rule.is_pattern)
                places[key] = place or own
                if place and not params[key] and rule.optional:
                    del params[key]  # all of that workspace
        for key in [key for key in places if f"{key}_workspace" in operation.rules]:
            place = places.pop(key)
            if params.setdefault(f"{key}_workspace", place) != place:
                raise FastioError("invalid", f"{key} names the workspace {place}.")
        here: str = next(iter(places.values()), own)
        if any(place != here for place in places.values()):
            raise FastioError("invalid", f"All paths of {operation.name} are in one workspace.")
        return here

    def _located(self, path: str, is_pattern: bool) -> tuple[str | None, str]:
        """The workspace that a path names, None if it names none, and the path there."""
        if path[:4].lower() != SCHEME[:4]:
            self._refuse_lookalike(path)
            return None, path
        workspace, _, rest = path[len(SCHEME) :].partition("/")
        if not path.startswith(SCHEME) or not workspace or not (rest or is_pattern):
            raise FastioError(
                "invalid",
                f"{path!r} is not of the form fio://workspace/path.",
                "See which workspaces there are: fastio workspace list",
            )
        return workspace, rest

    def _refuse_lookalike(self, path: str) -> None:
        """Refuse ``lab:notes.txt`` where there is a workspace lab, which was probably meant."""
        workspace, colon, rest = path.partition(":")
        if not colon or not rest or "/" in workspace or not self._is_workspace(workspace):
            return
        raise FastioError(
            "invalid",
            f"{path!r} could be a path in the workspace {workspace}, or one here with a colon.",
            f"Say which: fio://{workspace}/{rest} or fio://{self.workspace}/{path}",
        )

    def _is_workspace(self, name: str) -> bool:
        """Whether there is a workspace of this name, as far as the user may know."""
        try:
            self.engine.call("workspace.show", workspace=name)
        except FastioError as e:
            if e.code in ("invalid", "not_found", "forbidden"):
                return False
            raise
        return True


def lock_token() -> str | None:
    """The lock token of the environment. The store tells whether it is for the path in question."""
    return os.environ.get("FASTIO_LOCK_TOKEN") or None
