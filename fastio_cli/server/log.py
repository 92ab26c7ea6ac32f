"""The access log: one JSON line a request. No paths, queries, headers or bodies, so no secrets."""

from __future__ import annotations

import asyncio
import time

from fastio_cli.jsontext import compact
from fastio_cli.operations.records import timestamp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import TextIO

    from fastio_cli.server.app import Exchange

FLUSH_S = 0.5
LINES_MAX = 500


class AccessLog:
    """Collects lines and writes many at once."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: list[str] = []

    def note(self, x: Exchange, elapsed_s: float) -> None:
        """One request was answered (status 0: its client went away)."""
        if not self._lines:
            asyncio.get_running_loop().call_later(FLUSH_S, self.flush)
        now = time.time()
        self._lines.append(
            compact(
                {
                    "at": timestamp(int(now * 1000)),
                    "id": x.id,
                    "client": x.request.client,
                    "method": x.request.method,
                    "operation": x.operation or None,
                    "workspace": x.workspace or None,
                    "actor": x.actor or None,
                    "status": x.status,
                    "ms": round(elapsed_s * 1000, 2),
                }
            )
        )
        if len(self._lines) > LINES_MAX:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if self._lines:
            self._stream.write("\n".join(self._lines) + "\n")
            self._stream.flush()
            self._lines.clear()
