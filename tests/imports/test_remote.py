"""``fastio import`` through a real server: it fetches, and it keeps its members' logins sealed."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pexpect
import pytest

from fastio_cli.storage.sqlite.connection import FILE
from tests.backends import until
from tests.engines import made_store
from tests.ports import free_port

from .services import Services
from .site import Handler, Site

BODY = b"%PDF-1.7 the report"
LINK = "https://app.box.com/s/42"


class Server:
    """``fastio serve`` on a store of its own, and command lines of its members."""

    def __init__(self, folder: Path, services: Services) -> None:
        self.folder = folder
        self.port = free_port()
        own = {
            "FASTIO_STORE": made_store(folder / "store"),
            "FASTIO_EGRESS_ALLOW": "127.0.0.1,127.0.0.2",
            "FASTIO_IMPORT_ENDPOINTS": services.endpoints(),
            "FASTIO_IMPORT_RETRY_MS": "1",
            "FASTIO_RATE_PER_S": "1000000",
            "XDG_CONFIG_HOME": str(folder / "server"),
        }
        self._environ = {**os.environ, **own}
        self._environs: dict[str, dict[str, str]] = {}
        for name in ("ada", "bob"):
            token = self.run_at(self._environ, "token", "create", name, "--role", "editor", "-q")
            self._environs[name] = {
                **os.environ,
                "FASTIO_STORE": f"http://127.0.0.1:{self.port}",
                "FASTIO_TOKEN": token.stdout.strip(),
                "FASTIO_EGRESS_ALLOW": own["FASTIO_EGRESS_ALLOW"],
                "FASTIO_IMPORT_ENDPOINTS": own["FASTIO_IMPORT_ENDPOINTS"],
                "FASTIO_BOX_CLIENT_ID": "client",
                "FASTIO_ONEDRIVE_CLIENT_ID": "client",
                "XDG_CONFIG_HOME": str(folder / name),
                "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
            }
        self.start()

    def start(self) -> None:
        command = [sys.executable, "-m", "fastio_cli", "serve", "--port", str(self.port)]
        with open(self.folder / "server.log", "ab") as log:
            self._process = subprocess.Popen(command, env=self._environ, stderr=log)
        until(self._is_ready)

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)

    def _is_ready(self) -> bool:
        assert self._process.poll() is None, (self.folder / "server.log").read_text()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as r:
                return bool(r.status == 200)
        except OSError:
            return False

    def run_at(self, environ: dict[str, str], *args: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fastio_cli", *args],
            env=environ,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def environ(self, member: str) -> dict[str, str]:
        return self._environs[member]

    def run(self, member: str, *args: str) -> subprocess.CompletedProcess[str]:
        return self.run_at(self._environs[member], *args)

    def fastio(self, member: str, *args: str) -> Any:
        """The record that a command of a member prints; it must succeed."""
        done = self.run(member, *args)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def imported(self, member: str, *args: str) -> Any:
        """The record of an import, also of one that failed."""
        return json.loads(self.run(member, "import", *args, "--wait").stdout)

    def log_in(self, member: str, service: str, *flags: str) -> Any:
        """``fastio import login``, with a person who agrees in the browser."""
        process = subprocess.Popen(
            [sys.executable, "-m", "fastio_cli", "import", "login", service, *flags],
            env=self._environs[member],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        said = ""
        while "http" not in (line := process.stderr.readline()):
            assert line, process.communicate()
        if not flags:
            with urllib.request.urlopen(line.strip(), timeout=30):
                pass
        printed, rest = process.communicate(timeout=60)
        said += line + rest
        assert process.returncode == 0, said
        return json.loads(printed)

    def logged_in(self, member: str) -> set[str]:
        page = self.fastio(member, "import", "accounts")
        return {a["service"] for a in page["items"] if a["logged_in"]}

    def sql(self, sql: str) -> list[Any]:
        with closing(sqlite3.connect(self.folder / "store" / FILE, timeout=30)) as db, db:
            return db.execute(sql).fetchall()


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    services.access.clear()
    services.files["42"] = ("report.pdf", "application/pdf", BODY, False)
    yield services
    services.close()


@pytest.fixture
def server(tmp_path: Path, services: Services) -> Iterator[Server]:
    server = Server(tmp_path, services)
    yield server
    server.stop()


def test_a_private_file_through_a_login_that_the_server_keeps(
    server: Server, services: Services
) -> None:
    refused = server.imported("ada", LINK)
    assert refused["state"] == "failed"
    assert server.log_in("ada", "box") == {
        "service": "box",
        "logged_in": True,
        "expires_at": None,
        "kept_in": "server",
    }
    assert server.logged_in("ada") == {"box"}
    assert not (server.folder / "ada" / "fastio").exists()  # nothing is left with the user
    record = server.imported("ada", LINK)
    assert record["state"] == "done", record["reason"]
    assert server.run("ada", "file", "get", "report.pdf").stdout == BODY.decode()
    # It is hers alone.
    assert server.logged_in("bob") == set()
    assert server.imported("bob", LINK, "--to", "bob.pdf")["state"] == "failed"
    # Nobody finds the tokens anywhere but under seal.
    key_file = server.folder / "server" / "fastio" / "secret.key"
    assert key_file.stat().st_mode & 0o077 == 0
    files = [f for f in server.folder.rglob("*") if f.is_file()]
    assert key_file in files
    for file in files:
        bytes = file.read_bytes()
        assert not re.search(rb"(?<!impo)(at|rt)-\d", bytes), file  # as import-5
        assert file == key_file or key_file.read_bytes().strip() not in bytes
    # Logging out revokes the login at the service, and does so soon.
    assert services.refresh == {"rt-1"}
    assert server.fastio("ada", "import", "logout", "box")["logged_in"] is False
    assert server.logged_in("ada") == set()
    until(lambda: not services.refresh)
    until(lambda: server.sql("select * from accounts") == [])
    assert server.run("ada", "import", "logout", "box").returncode == 3
    assert server.imported("ada", LINK, "--to", "again.pdf")["state"] == "failed"


def test_by_a_code_on_another_device(server: Server) -> None:
    assert server.log_in("ada", "onedrive", "--device")["kept_in"] == "server"
    assert server.logged_in("ada") == {"onedrive"}
    link = "https://team.sharepoint.com/:b:/s/team/42?e=abc"
    assert server.imported("ada", link)["state"] == "done"


def test_a_login_survives_the_server_but_not_the_loss_of_its_key(
    server: Server, services: Services
) -> None:
    server.log_in("ada", "box")
    server.stop()
    server.start()
    assert server.imported("ada", LINK)["state"] == "done"
    key_file = server.folder / "server" / "fastio" / "secret.key"
    key_file.rename(key_file.with_suffix(".lost"))
    record = server.imported("ada", LINK, "--to", "b.pdf")
    assert record["reason_code"] == "unauthenticated"
    assert "FASTIO_SECRET_KEY_FILE" in record["hint"]
    # What cannot be opened cannot be revoked either; it is forgotten all the same.
    server.fastio("ada", "import", "logout", "box")
    until(lambda: server.sql("select * from accounts") == [])
    assert services.refresh == {"rt-1"}
    server.log_in("ada", "box")
    assert server.imported("ada", LINK, "--to", "b.pdf")["state"] == "done"


def test_without_a_token_no_login_begins(server: Server, services: Services) -> None:
    environ = {**server.environ("ada"), "FASTIO_TOKEN": ""}
    done = server.run_at(environ, "import", "login", "box")
    assert done.returncode == 4
    assert services.site.requests == []


def dripping(site: Site, name: str) -> threading.Event:
    """A file that comes slowly until the event lets the rest go."""
    go = threading.Event()

    def drip(h: Handler) -> None:
        h.begin(200, Content_Length="1000000", ETag='"1"')
        sent = 0
        try:
            while sent < 1_000_000:
                size = 1_000_000 - sent if go.wait(0.005) else 1000
                h.wfile.write(b"x" * size)
                sent += size
        except OSError:
            pass

    site.routes[name] = drip
    return go


def test_the_server_is_waited_for_only_if_asked_to(server: Server, site: Site) -> None:
    go = dripping(site, "/slow.bin")
    queued = server.fastio("ada", "import", site.url("/slow.bin"))
    assert queued["state"] == "queued"
    assert queued["actor"] == "ada"
    id = str(queued["id"])
    late = server.run("ada", "import", site.url("/slow.bin"), "--to", "b", "--timeout", "0.5")
    assert late.returncode == 7
    assert "the server continues" in late.stderr
    quiet = server.run("ada", "import", site.url("/slow.bin"), "--to", "c", "-q")
    assert int(quiet.stdout) > int(id)
    go.set()
    assert server.fastio("ada", "import", "show", id, "--wait", "60")["state"] == "done"


def test_many_are_waited_for_together(server: Server, site: Site, tmp_path: Path) -> None:
    listing = tmp_path / "urls.txt"
    listing.write_text("".join(f"{site.url(f'/{n}.txt')}\n" for n in range(30)))
    for n in range(30):
        site.file(f"/{n}.txt", b"%d" % n)
    del site.routes["/7.txt"]
    done = server.run("ada", "import", "--from-file", str(listing), "--wait", "--format", "jsonl")
    assert done.returncode == 3
    records = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(records) == 30
    assert [r["state"] for r in records].count("done") == 29
    assert "1 of 30 imports" in done.stderr
    assert server.fastio("bob", "import", site.url("/8.txt"), "--wait")["unchanged"]


def test_bars_show_what_the_server_does(server: Server, site: Site) -> None:
    events = [dripping(site, f"/{name}.bin") for name in ("one", "two")]
    child = pexpect.spawn(
        sys.executable,
        ["-m", "fastio_cli", "import", site.url("/one.bin"), site.url("/two.bin"), "--wait"],
        env={**server.environ("ada"), "TERM": "xterm", "COLUMNS": "100"},
        use_poll=True,
        encoding="utf-8",
        timeout=30,
    )
    child.expect(r"one\.bin.*two\.bin.*/1\.0 MB")
    for go in events:
        go.set()
    child.expect(r"(?s)one\.bin.*two\.bin")
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0


def test_a_cancelled_one_ends_the_waiting(server: Server, site: Site) -> None:
    go = dripping(site, "/slow.bin")
    process = subprocess.Popen(
        [sys.executable, "-m", "fastio_cli", "import", site.url("/slow.bin"), "--wait"],
        env=server.environ("ada"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until(lambda: site.requests)
    id = server.run("ada", "import", "list", "-q").stdout.strip()
    assert server.fastio("ada", "import", "cancel", id)["state"] == "cancelled"
    printed, errors = process.communicate(timeout=60)
    go.set()
    assert json.loads(printed)["state"] == "cancelled"
    assert process.returncode == 130
    assert "cancelled" in errors


@pytest.mark.parametrize(
    ("setting", "value"),
    [("EGRESS_ALLOW", "10.0.0.0/99"), ("EGRESS_PORTS", "http"), ("IMPORT_ENDPOINTS", "nonsense")],
)
def test_a_server_with_wrong_settings_does_not_begin(
    tmp_path: Path, setting: str, value: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fastio_cli", "serve", "--port", "1"],
        env={**os.environ, "FASTIO_STORE": made_store(tmp_path), f"FASTIO_{setting}": value},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert setting.lower() in done.stderr
