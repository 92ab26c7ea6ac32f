"""``fastio serve`` as a process, to be killed and started again on the same port; and commands."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.backends import until
from tests.engines import made_store
from tests.ports import free_port


class Serving:
    """A server process on a store of its own."""

    def __init__(self, folder: Path, *flags: str) -> None:
        self.folder = str(folder)
        self.port = free_port()
        self._flags = flags
        self.start()

    def start(self) -> None:
        """Start, and come back when it listens."""
        self._process = subprocess.Popen(
            command("serve", "--port", str(self.port), "-q", "--no-access-log", *self._flags),
            env={
                **os.environ,
                "FASTIO_STORE": made_store(self.folder),
                "FASTIO_RATE_PER_S": "1000000",
            },
            stderr=subprocess.DEVNULL,
        )
        until(self._listens)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait(30)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def token(self, member: str, role: str = "owner") -> str:
        """Made beside the server, in its store."""
        flags = ("--store", self.folder, "-q")
        return fastio("token", "create", member, "--role", role, *flags).stdout.strip()

    def _listens(self) -> bool:
        assert self._process.poll() is None, "the server ended"
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0


def fastio(
    *args: str, stdin: str = "", environ: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command, to its end."""
    return subprocess.run(
        command(*args),
        env={**os.environ, **(environ or {})},
        input=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def begin(*args: str, **options: Any) -> subprocess.Popen[str]:
    """One command, in the background."""
    return subprocess.Popen(command(*args), text=True, **options)


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "fastio_cli", *args]
