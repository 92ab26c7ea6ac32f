"""The access log: one JSON line a request. No paths, queries, headers or bodies, so no secrets."""

from __future__ import annotations

import asyncio
import time

from fastio_cli.json_text import quoted
from fastio_cli.operations.records import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from fastio_cli.server.request_context import RequestContext

FLUSH_S = 0.5
LINES_MAX = 500


class AccessLog:
    """Collects lines and writes many at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def note(self, ctx: RequestContext, elapsed_s: float) -> None:
        """One request was answered (status 0: its client went away)."""
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        now = time.time()
        # Written out: a third of what an encoder takes, in every request.
        self._lines.append(
            f'{{"at":"{timestamp(int(now * 1000))}","id":"{ctx.id}",'
            f'"client":{quoted(ctx.client)},"method":{quoted(ctx.method)},'
            f'"operation":{_named(ctx.operation)},"workspace":{_named(ctx.workspace)},'
            f'"actor":{_named(ctx.actor)},"status":{ctx.status},"ms":{elapsed_s * 1000:.2f}}}'
        )
        if len(self._lines) > LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if self._lines:
            self._stream.write("\n".join(self._lines) + "\n")
            self._stream.flush()
            self._lines.clear()


def _named(name: str) -> str:
    return quoted(name) if name else "null"
