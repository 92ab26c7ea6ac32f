"""``fastio serve`` as a process that is attacked: what it holds, and what it wrote to its log."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from tests.backends import until
from tests.engines import open_engine
from tests.ports import free_port
from tests.remote import make_token

GRACE_S = 30


class Attacked:
    """A server on a store of its own, with an org for each who is named."""

    def __init__(self, folder: Path, *flags: str, environ: Mapping[str, str] | None = None) -> None:
        self.folder = str(folder / "store")
        self.log_file = folder / "log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._engine = open_engine(self.folder)
        with self.log_file.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "fastio_cli", "serve", "--port", str(self.port), *flags],
                env={
                    **os.environ,
                    "FASTIO_STORE": self.folder,
                    "FASTIO_RATE_PER_S": "1000000",
                    "XDG_CONFIG_HOME": str(folder),
                    **(environ or {}),
                },
                stdout=log,
                stderr=log,
            )
        until(self._listens)

    def member(self, org: str, name: str = "ada", role: str = "owner") -> httpx.Client:
        """A client of a new member; the org is made if there is none."""
        if org and not self._engine.store.read(lambda tx: tx.orgs.get(org)):
            self._engine.call("org.create", {"name": org}, actor="ada")
        headers = {"authorization": f"Bearer {make_token(self._engine, name, role, org)}"}
        limits = httpx.Limits(max_connections=None)
        return httpx.Client(base_url=self.url, headers=headers, timeout=60, limits=limits)

    def connection(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=60)

    def log(self) -> str:
        return self.log_file.read_text()

    def peak_bytes(self) -> int:
        """The most memory that the process has held."""
        return self._memory("VmHWM")

    def resident_bytes(self) -> int:
        return self._memory("VmRSS")

    def children(self) -> list[int]:
        """The processes that it has begun and that run."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        found = [(task / "children").read_text() for task in tasks.iterdir()]
        return [int(pid) for pids in found for pid in pids.split()]

    def stop(self) -> int:
        """Tell it to stop; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(GRACE_S)
        finally:
            self.close()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self._engine.close()

    def _memory(self, name: str) -> int:
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
        return 0

    def _listens(self) -> bool:
        assert self.process.poll() is None, self.log()
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0
