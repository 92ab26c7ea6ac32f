"""``fastio lock run``: its command with all that it starts, and never past the lock's end."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.client.remote import Remote
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.sdk.lease import LeaseKeeper
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.remote import Running

COMMAND = [sys.executable, "-m", "fastio_cli"]
DEADLINE_S = 60
KEYS_MAX, KEY_S = 6, 10
# A worker in the background that says its number, and then that it lives as long as it does.
WORKER = """
sh -c 'trap "%s" TERM; echo $$ > worker; while :; do echo alive >> beats; sleep 0.05; done' &
while [ ! -s beats ]; do sleep 0.02; done
"""


class Place:
    """A store, here or at a server, and the commands of a shell in a folder of its own."""

    def __init__(self, folder: Path, running: Running | None, engine: Engine) -> None:
        self.folder = folder
        self.running = running
        self.client: Any = engine
        self.environment = {**os.environ, "HOME": str(folder), "FASTIO_STORE": str(folder / "s")}
        for name in ("FASTIO_LOCK_TOKEN", "FASTIO_LOCK_PATH"):
            self.environment.pop(name, None)
        if running is not None:
            token = running.token("ada")
            self.environment |= {"FASTIO_STORE": running.url, "FASTIO_TOKEN": token}
            self.client = Remote(running.url, token)

    def run(self, script: str, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*COMMAND, "lock", "run", "p", *options, "--", "sh", "-c", script],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def worker(self) -> int:
        """The number of the worker, once it is at work."""
        self.until(lambda: (self.folder / "beats").exists())
        return int((self.folder / "worker").read_text())

    def until(self, holds: Any) -> None:
        deadline = time.monotonic() + DEADLINE_S
        while not holds():
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def types(self) -> list[str]:
        """The types of all events."""
        return [e["type"] for e in self.client.call("event.list", {"limit": 1000})["items"]]

    def is_free(self) -> bool:
        return not self.client.call("lock.list")["items"]


def is_gone(process: int) -> bool:
    """Whether a process has ended, reaped or not."""
    try:
        status = Path(f"/proc/{process}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


@pytest.fixture(params=["local", "server"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    store = SqliteStore(str(tmp_path / "s"))
    engine = Engine(store, BlobStore(str(tmp_path / "s/blobs")), Limits())
    engine.call("state.set", {"path": "x", "value": 1})
    running = Running(engine) if request.param == "server" else None
    made = Place(tmp_path, running, engine)
    yield made
    if made.client is not engine:
        made.client.close()
    if made.running is not None:
        made.running.stop()
    store.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_reaches_all_that_the_command_started(place: Place, number: int) -> None:
    process = place.run(f"{WORKER % ':'} wait", "--ttl", "1h")
    worker = place.worker()
    process.send_signal(number)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 128 + number
    assert is_gone(worker)
    assert place.is_free()


@pytest.mark.parametrize("trap", ["exit 0", ":"], ids=["obeys", "ignores"])
def test_what_outlives_the_command_is_ended_before_the_lock(place: Place, trap: str) -> None:
    process = place.run(f"{WORKER % trap} exit 42", "--ttl", "1h")
    worker = place.worker()

    def is_free() -> bool:
        was_gone = is_gone(worker)
        if not place.is_free():
            return False
        assert was_gone
        return True

    place.until(is_free)
    process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 42


def test_the_log_says_that_the_lock_is_lost(place: Place) -> None:
    """By renewing it would be noticed after twenty minutes."""
    process = place.run(f"{WORKER % ':'} wait", "--ttl", "1h")
    worker = place.worker()
    place.client.call("lock.acquire", {"path": "another"})
    assert process.poll() is None
    place.client.call("lock.break", {"path": "p"})
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 5
    assert "lock_lost" in err
    assert is_gone(worker)


@pytest.mark.parametrize("place", ["server"], indirect=True)
def test_a_server_that_is_away_until_the_lease_ends(place: Place) -> None:
    process = place.run(f"{WORKER % ':'} wait", "--ttl", "3")
    worker = place.worker()
    assert place.running is not None
    place.running.stop()
    place.running = None
    _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 5, err
    assert "lock_lost" in err
    assert is_gone(worker)


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_a_store_that_takes_no_writes_until_the_lease_ends(place: Place) -> None:
    process = place.run(f"{WORKER % ':'} wait", "--ttl", "3")
    worker = place.worker()
    with open(place.folder / "s/write.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _, err = process.communicate(timeout=DEADLINE_S)
    assert process.returncode == 5, err
    assert is_gone(worker)


def test_a_lock_that_is_renewed_is_kept(place: Place) -> None:
    process = place.run("until [ -e go ]; do sleep 0.05; done", "--ttl", "6")
    place.until(lambda: place.types().count("lock.renew") > 3)  # past the ttl of the grant
    assert process.poll() is None
    (place.folder / "go").touch()
    _, err = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, err) == (0, "")
    types = place.types()
    assert types.count("lock.acquire") == 1
    assert types[-1] == "lock.release"


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_a_lock_whose_grant_took_long_is_renewed_at_once(place: Place) -> None:
    """By its ttl it would be after twenty minutes."""
    lock = place.client.call("lock.acquire", {"path": "p", "ttl_s": 3600})
    keeper = LeaseKeeper(place.client, "default", "ada", lock, time.monotonic() + 600)
    keeper.start()
    place.until(lambda: "lock.renew" in place.types())
    place.until(lambda: keeper.safe_until > time.monotonic() + 1800)
    keeper.check()
    keeper.stop()


@pytest.fixture
def shell(place: Place) -> Iterator[Any]:
    """A shell with job control in a terminal."""
    terminal = pexpect.spawn(
        "bash",
        ["--norc", "-i"],
        cwd=str(place.folder),
        env={**place.environment, "PS1": "READY> ", "TERM": "dumb", "F": " ".join(COMMAND)},
        use_poll=True,
        encoding="utf-8",
        timeout=DEADLINE_S,
    )
    terminal.expect("READY> ")
    yield terminal
    terminal.close(force=True)


def at_prompt(shell: Any, line: str, *expected: str) -> None:
    shell.sendline(line)
    for text in (*expected, "READY> "):
        shell.expect(text)


def reads(shell: Any) -> bool:
    """Whether the command under the lock has the terminal, and goes on."""
    process = Path(f"/proc/{os.tcgetpgrp(shell.child_fd)}")
    state = (process / "stat").read_text().rpartition(")")[2].split()[0]
    return b"lock" not in arguments_at(shell) and state != "T"


def arguments_at(shell: Any) -> list[bytes]:
    """The arguments of the process that has the terminal."""
    process = Path(f"/proc/{os.tcgetpgrp(shell.child_fd)}")
    return (process / "cmdline").read_bytes().split(b"\0")


READER = """$F lock run p -- python3 -c 'print("wai" + "ting"); print("read " + input())'"""
WRITER = "$F lock run p -- sh -c 'echo wai''ting; sleep 1000'"


def test_a_command_reads_from_the_terminal(shell: Any) -> None:
    shell.sendline(READER)
    shell.expect("waiting")
    at_prompt(shell, "hello", "read hello")
    at_prompt(shell, "stty -a; echo co''de $?", "code 0")


@pytest.mark.parametrize(("line", "code"), [(WRITER, 130), (READER, 1)], ids=["writer", "reader"])
def test_ctrl_c_ends_the_command(shell: Any, place: Place, line: str, code: int) -> None:
    shell.sendline(line)
    shell.expect("waiting")
    shell.sendcontrol("c")
    shell.expect("READY> ")
    at_prompt(shell, "echo co''de $?", f"code {code}")
    assert place.is_free()


@pytest.mark.parametrize("line", [WRITER, READER], ids=["writer", "reader"])
def test_ctrl_z_stops_the_command_and_fg_goes_on(shell: Any, place: Place, line: str) -> None:
    shell.sendline(line)
    shell.expect("waiting")
    if line is READER:
        place.until(lambda: reads(shell))
    press_ctrl_z(shell)
    shell.expect("READY> ")
    at_prompt(shell, "echo at the''prompt", "at theprompt")
    assert not place.is_free()
    shell.sendline("fg")
    shell.expect("lock run p")
    if line is READER:
        at_prompt(shell, "hello", "read hello")
    else:
        place.until(lambda: os.tcgetpgrp(shell.child_fd) != shell.pid)
        shell.sendcontrol("c")
        shell.expect("READY> ")
    assert place.is_free()


def press_ctrl_z(shell: Any) -> None:
    """Stop what runs. A key may be lost while the terminal changes hands: one presses again."""
    for _ in range(KEYS_MAX):
        shell.sendcontrol("z")
        if shell.expect(["Stopped", pexpect.TIMEOUT], timeout=KEY_S) == 0:
            return
    raise AssertionError("Ctrl-Z stopped nothing")


WAITS = """
import os, signal, sys, time
from fastio_cli.cli.process_group import ProcessGroup

reader = [sys.executable, "-c", "print('read ' + input())"]
group = ProcessGroup(reader, dict(os.environ))
os.waitid(os.P_ALL, 0, os.WSTOPPED | os.WNOWAIT)
group.signal(signal.SIGTSTP)
while (code := group.poll(lambda: True)) is None:
    time.sleep(0.01)
group.end(1)
sys.exit(code)
"""


@pytest.mark.parametrize("place", ["local"], indirect=True)
def test_ctrl_z_stops_what_waits_for_the_terminal(shell: Any, place: Place) -> None:
    """Lending the terminal makes it go on, which would undo the stop."""
    (place.folder / "waits.py").write_text(WAITS)
    at_prompt(shell, f"{sys.executable} waits.py", "Stopped")
    at_prompt(shell, "echo at the''prompt", "at theprompt")
    shell.sendline("fg")
    place.until(lambda: os.tcgetpgrp(shell.child_fd) != shell.pid)
    at_prompt(shell, "hello", "read hello")
    at_prompt(shell, "echo co''de $?", "code 0")


def test_a_shell_under_the_lock_has_job_control(shell: Any, place: Place) -> None:
    at_prompt(shell, "$F lock run p -- bash --norc -i")
    shell.sendline("echo sle''eping; sleep 1000")
    shell.expect("sleeping")
    place.until(lambda: arguments_at(shell)[0] == b"sleep")  # bash may lose an earlier one
    shell.sendcontrol("c")
    shell.expect("READY> ")
    at_prompt(shell, "exit 7")
    at_prompt(shell, "echo co''de $?", "code 7")
    assert place.is_free()


def test_what_was_stopped_past_its_lease_does_not_go_on(shell: Any, place: Place) -> None:
    shell.sendline("$F lock run p --ttl 4 -- sh -c 'echo wai''ting; sleep 1000; echo go''ing on'")
    shell.expect("waiting")
    press_ctrl_z(shell)
    shell.expect("READY> ")
    place.until(place.is_free)
    shell.sendline("fg")
    shell.expect("was lost while it was held")
    shell.expect("READY> ")
    assert "going on" not in shell.before
    at_prompt(shell, "echo co''de $?", "code 5")
