"""``fastio state update``: read, change and write in one step, by an expression or a command."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.backends import until
from tests.engines import made_store

FASTIO = [sys.executable, "-m", "fastio_cli"]
ADD = "import json, sys; v = json.load(sys.stdin); v['n'] += 1; print(json.dumps(v))"
WORKERS = 8


class Desk:
    """Commands on one store."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        store = made_store(folder / "store")
        self.environ = {**os.environ, "HOME": str(folder), "FASTIO_STORE": store}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return self.start(*words).result()

    def start(self, *words: str) -> Running:
        return Running(
            subprocess.Popen(
                [*FASTIO, *words],
                env=self.environ,
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )

    def value(self) -> object:
        return json.loads(self("state", "get", "v.json").stdout)


class Running:
    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def result(self) -> subprocess.CompletedProcess[str]:
        out, err = self.process.communicate(timeout=60)
        return subprocess.CompletedProcess([], self.process.returncode, out, err)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    desk = Desk(tmp_path)
    assert desk("state", "set", "v.json", '{"n": 1}').returncode == 0
    return desk


def test_value_and_version_in_one_step(desk: Desk) -> None:
    read = json.loads(desk("state", "get", "v.json", "--with-version").stdout)
    assert (read["version"], read["value"]) == (1, {"n": 1})
    assert read["etag"]
    part = json.loads(desk("state", "get", "v.json", "--at", "/n", "--with-version").stdout)
    assert (part["version"], part["value"]) == (1, 1)


def test_no_update_is_lost(desk: Desk) -> None:
    running = [
        desk.start("state", "update", "v.json", "--", sys.executable, "-c", ADD)
        for _ in range(WORKERS)
    ]
    assert [r.result().returncode for r in running] == [0] * WORKERS
    assert desk.value() == {"n": 1 + WORKERS}


@pytest.mark.parametrize(
    ("command", "code", "said"),
    [
        (["sh", "-c", "cat; exit 42"], 42, "nothing was written"),
        (["sh", "-c", "kill -TERM $$"], 143, "nothing was written"),
        (["./no-such-program"], 127, "No such file"),
        (["."], 126, "Permission denied"),
        (["true"], 2, "not valid JSON"),
        (["echo", "hello"], 2, "one JSON value"),
        (["echo", "1 2"], 2, "not valid JSON"),
        (["sh", "-c", "printf '{\"n\": NaN}'"], 2, "not valid JSON"),
        (["sh", "-c", "printf '\\377'"], 2, "valid"),
        (["yes"], 8, "larger than"),
    ],
)
def test_nothing_is_written_by_a_command_that_fails(
    desk: Desk, command: list[str], code: int, said: str
) -> None:
    done = desk("state", "update", "v.json", "--", *command)
    assert (done.returncode, done.stdout) == (code, "")
    assert said in done.stderr
    assert desk("state", "history", "v.json", "-q").stdout == "1\n"


def test_a_command_that_changes_nothing_writes_nothing(desk: Desk) -> None:
    done = desk("state", "update", "v.json", "-q", "--", "cat")
    assert (done.returncode, done.stdout) == (0, "1\n")


def test_it_runs_again_until_nobody_was_quicker_or_a_version_was_named(desk: Desk) -> None:
    fastio = " ".join(FASTIO)
    meddle = (
        f"cat > /dev/null; echo x >> runs; {fastio} state increment v.json --at /n -q >&2; echo 0"
    )
    done = desk("state", "update", "v.json", "--", "sh", "-c", meddle)
    assert done.returncode == 5
    assert json.loads(done.stderr.splitlines()[-1])["error"]["code"] == "version_conflict"
    assert (desk.folder / "runs").read_text() == "x\n" * 20
    assert desk.value() == {"n": 21}
    once = desk("state", "update", "v.json", "--if-version", "3", "--", "sh", "-c", "echo 0")
    assert once.returncode == 5
    assert desk.value() == {"n": 21}


def test_an_interrupted_update_ends_its_command_and_writes_nothing(desk: Desk) -> None:
    slow = "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60); print(0)"
    running = desk.start("state", "update", "v.json", "--", sys.executable, "-c", slow)
    pid = int(until(lambda: (desk.folder / "pid").exists() and (desk.folder / "pid").read_text()))
    running.process.send_signal(signal.SIGINT)
    assert running.result().returncode == 130
    until(lambda: not _lives(pid))
    assert desk.value() == {"n": 1}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    time.sleep(0)
    return True


def test_what_begins_a_value(desk: Desk) -> None:
    assert desk("state", "update", "new.json", "--", "cat").returncode == 3
    assert desk("state", "update", "new.json", "--default", "5", "--", "cat").returncode == 0
    assert desk("state", "get", "new.json").stdout == "5\n"


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["--expr", "@", "--", "cat"],
        ["--idempotency-key", "k", "--", "cat"],
        ["--expr", "n =="],
    ],
)
def test_what_makes_no_sense_is_refused(desk: Desk, words: list[str]) -> None:
    assert desk("state", "update", "v.json", *words).returncode == 2
    assert desk.value() == {"n": 1}


def test_the_lock_of_the_environment_is_used(desk: Desk) -> None:
    token = desk("lock", "acquire", "v.json", "-q").stdout.strip()
    words = ("state", "update", "v.json", "--", sys.executable, "-c", ADD)
    assert desk(*words).returncode == 6
    desk.environ["FASTIO_LOCK_TOKEN"] = token
    assert desk(*words).returncode == 0
    assert desk.value() == {"n": 2}


def test_a_lock_is_taken_over_and_waits_for_nobody(desk: Desk) -> None:
    first = json.loads(desk("lock", "acquire", "v.json", "--ttl", "600").stdout)
    done = desk("lock", "acquire", "v.json", "--take-over", "--reason", "died")
    assert json.loads(done.stdout)["fence"] > first["fence"]
    for wrong in (["--reason", "x"], ["--take-over", "--wait", "1"]):
        assert desk("lock", "acquire", "v.json", *wrong).returncode == 2
