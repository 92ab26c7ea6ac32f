"""The port through which operations are called: an engine on a store, or a server's client.

Every surface (the command line, the Python SDK) knows this much of them and no more.
"""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any, BinaryIO

    from fastio_cli import model
    from fastio_cli.blobs.content import Content
    from fastio_cli.operations.operation import Operation

WATCH_S = 25.0  # one call's share of an endless watch


class PreparedCall:
    """One call, checked and ready to run any number of times until it is done.

    ``deadline_s`` bounds how long a server that is away is tried again, where that is less than
    usual. ``on_chunk`` is called with each chunk of a streamed answer.
    """

    deadline_s: float | None = None
    on_chunk: Callable[[str], None] | None = None

    def __init__(self, operation: Operation, params: dict[str, object], workspace: str) -> None:
        self.operation = operation
        self.params = params
        self.workspace = workspace

    @property
    def wait_s(self) -> float:
        """How long it is ready to wait for something to happen."""
        name = self.operation.wait_param
        if name is None:
            return 0.0
        wait_s = self.params.get(name, self.operation.defaults.get(name))
        return float(wait_s) if isinstance(wait_s, int | float) else 0.0


class Client:
    """Calls operations on one store; a call is run by the client that prepared it."""

    def call(
        self,
        name: str,
        params: Mapping[str, object] | None = None,
        *,
        workspace: str = "default",
        actor: str = "",
        idempotency_key: str | None = None,
        on_chunk: Callable[[str], None] | None = None,
    ) -> Any:
        """Do one operation and return its record; a write is durable then.

        Parameters: ``name`` as in the catalogue; ``params`` by name; ``actor`` for the event log
        (on a server the token says who acts); ``idempotency_key`` makes a repeated write give the
        first one's result for a day; ``on_chunk`` is called with each chunk of a streamed
        answer. Raises :class:`FastioError`, and then nothing was changed.
        """
        call = self.prepare(name, dict(params or {}), workspace, actor, idempotency_key)
        call.on_chunk = on_chunk
        return self.run(call)

    def prepare(
        self,
        name: str,
        params: dict[str, object],
        workspace: str,
        actor: str,
        idempotency_key: str | None = None,
    ) -> PreparedCall:
        """Check a call's parameters. Raises ``invalid``."""
        raise NotImplementedError

    def run(self, call: PreparedCall) -> Any:
        """Do a prepared call, waiting for as long as it asks to."""
        raise NotImplementedError

    def call_many(self, calls: Sequence[PreparedCall]) -> list[object]:
        """Do several calls; each fails alone: results or exceptions, in order."""
        raise NotImplementedError

    def upload(self, stream: BinaryIO) -> Content:
        """The bytes of a stream, as the ``content`` parameter of a file operation."""
        raise NotImplementedError

    def chunks(self, download: Any) -> Iterator[bytes]:
        """The bytes that ``file.get`` answered with."""
        raise NotImplementedError

    def close(self) -> None:
        """Close what was opened."""
        raise NotImplementedError

    def watch(
        self,
        workspace: str,
        *,
        after: int | None = None,
        timeout_s: float | None = None,
        **filters: str,
    ) -> Iterator[model.Event]:
        """The events of a workspace in order, as they happen.

        Begins after the event ``after``, without it now; ends when ``timeout_s`` is over.
        ``filters`` are ``type``, ``path`` and ``by`` of ``event.list``.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        if after is None:
            after = self.call("workspace.show", workspace=workspace)["seq"]
        yield from self._events(workspace, after or 0, deadline, filters)

    def _events(
        self, workspace: str, after: int, deadline: float | None, filters: dict[str, str]
    ) -> Iterator[model.Event]:
        """``watch`` once it is clear where it begins and ends (a ``time.monotonic()``)."""
        while True:
            left = WATCH_S if deadline is None else min(WATCH_S, deadline - time.monotonic())
            params = {"after": after, "wait_s": max(left, 0.0), **filters}
            page = self.call("event.list", params, workspace=workspace)
            yield from page["items"]
            after = int(page["next_cursor"] or 0)
            if left <= 0 and not page["items"]:
                return
