"""Sessions at a shell, held word for word: every file in ``golden/`` is one.

A session is text with indented commands, each with what it prints::

    Comment.

      $ fastio state get plan.json
      what goes to stdout
      ! what goes to stderr
      [3]

The last line is the exit code, if it is not 0. A session runs in one bash, in an empty folder with
an empty home. What differs from run to run is written as ``<name>`` (see ``VOLATILE``).
``FASTIO_UPDATE_GOLDEN=locally`` (or ``'at a server'``) writes down what happens
now, to be read in the diff.

Every session is played twice, on a store of this machine and on a server, and has to read the same.
A paragraph of text that begins with ``Only locally:`` and a reason, or ``Only at a server:``, is
followed by steps that are played there alone; with ``Only locally throughout:`` all of the session
is.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastio_cli.blobs.local import BlobStore
from fastio_cli.cli.framework import tree
from fastio_cli.config.settings import Limits, SearchSettings
from fastio_cli.config.sources import Config
from fastio_cli.engine.engine import Engine
from fastio_cli.jobs.kinds import runner_thread
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.remote import Running

GOLDEN = Path(__file__).parent / "golden"
SESSIONS = sorted(GOLDEN.glob("*.txt"))
BIN = Path(sys.executable).parent
PROMPT, MORE, ERROR = "  $ ", "  > ", "  ! "
TIMEOUT_S = 120
PLACES = ("locally", "at a server")
ONLY = re.compile(r"Only (locally|at a server)( throughout)?: \S")

VOLATILE = {
    "time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z",
    "token": r"lk_[0-9a-f]{48}",
    "hash": r'(?<=hash":")(?!0{64})[0-9a-f]{64}',
    "seconds": r'(?<="retry_after_s":)[0-9.]+',
    "versions": r"(?<=fastio )\d\S+ Python \S+, SQLite [0-9.]+",
    "MiB": r"[\d,]+(?= MiB free)",
    "bytes": r'(?<="blobs":0,"size_bytes":)\d+',
}


class Step:
    """A command of a session, with the text above it, where it is played, what it is to print."""

    def __init__(self, above: list[str], command: str, expected: list[str], where: str) -> None:
        self.above = above
        self.where = where
        self.command = command
        self.expected = expected


def read(path: Path) -> tuple[list[Step], list[str]]:
    """The steps of a session, and the text below the last."""
    steps: list[Step] = []
    above: list[str] = []
    everywhere = where = " ".join(PLACES)
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith(PROMPT):
            steps.append(Step(above, line.removeprefix(PROMPT), [], where))
            above = []
        elif line.startswith(MORE):
            steps[-1].command += "\n" + line.removeprefix(MORE)
        elif line.startswith("  "):
            steps[-1].expected.append(line)
        else:
            if line and not (above and above[-1]):  # a paragraph begins
                only = ONLY.match(line)
                where = only[1] if only is not None else everywhere
                everywhere = where if only is not None and only[2] else everywhere
            above.append(line)
    return steps, above


def play(steps: list[Step], folder: Path, server: Running | None = None) -> list[list[str]]:
    """What each command prints, in the form of the files."""
    work, home, results = folder / "work", folder / "home", folder / "results"
    for new in (work, home, results):
        new.mkdir()
    script = "".join(
        f"eval {shlex.quote(step.command)} >{results}/{i}.out 2>{results}/{i}.err </dev/null\n"
        f"echo $? >{results}/{i}.code\n"
        for i, step in enumerate(steps)
    )
    environment = {
        "PATH": f"{BIN}:{os.defpath}",
        "HOME": str(home),
        "FASTIO_ACTOR": "ann",
        "FASTIO_DURABILITY": "normal",  # words are tested here; syncs to disk would be most of it
        "OPENBLAS_NUM_THREADS": "1",
        "COLUMNS": "100",
        "LANG": "C.UTF-8",
    }
    places = {str(work): "<work>", str(home): "<home>"}
    if server is not None:
        places[server.url] = "<server>"
        token = server.token("ann")
        (home / "token").write_text(token)
        environment |= {"FASTIO_STORE": server.url, "FASTIO_TOKEN": token, "SERVER": server.url}
    subprocess.run(
        ["bash", "-c", script], cwd=work, env=environment, check=False, timeout=TIMEOUT_S
    )
    return [_printed(results, i, places) for i in range(len(steps))]


def _printed(results: Path, number: int, places: dict[str, str]) -> list[str]:
    out, err, code = (
        (results / f"{number}.{kind}").read_text(encoding="utf-8", errors="backslashreplace")
        for kind in ("out", "err", "code")
    )
    lines = [f"  {line}" for line in _normal(out, places)]
    lines += [f"{ERROR}{line}".rstrip() for line in _normal(err, places)]
    return lines + ([f"  [{code.strip()}]"] if code.strip() != "0" else [])


def _normal(text: str, places: dict[str, str]) -> list[str]:
    for place, name in places.items():
        text = text.replace(place, name)
    for name, pattern in VOLATILE.items():
        text = re.sub(pattern, f"<{name}>", text)
    return [line.rstrip() for line in text.splitlines()]


def written(steps: list[Step], printed: list[list[str]], below: list[str]) -> str:
    """A session as text."""
    lines: list[str] = []
    for step, result in zip(steps, printed, strict=True):
        first, *rest = step.command.split("\n")
        lines += [*step.above, PROMPT + first, *(MORE + line for line in rest), *result]
    return "\n".join([*lines, *below]) + "\n"


@pytest.fixture
def short_folder() -> Iterator[Path]:
    """A folder whose name is short wherever the tests run: it decides where tables break lines."""
    with tempfile.TemporaryDirectory(prefix="fio-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    """A server on a store of its own, as ``fastio serve`` runs it."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    store = SqliteStore(str(tmp_path / "served"), durability="normal")
    blobs = BlobStore(str(tmp_path / "served/blobs"))
    engine = Engine(store, blobs, Limits(), SearchSettings)
    running = Running(engine, jobs=runner_thread(engine, Config({})))
    yield running
    running.stop()
    store.close()


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("path", SESSIONS, ids=lambda path: path.stem)
def test_session(
    path: Path,
    place: str,
    short_folder: Path,
    request: pytest.FixtureRequest,
) -> None:
    steps, below = read(path)
    played = [step for step in steps if place in step.where]
    if not played:
        return
    server = request.getfixturevalue("server") if place == "at a server" else None
    printed = iter(play(played, short_folder, server))
    results = [next(printed) if place in step.where else step.expected for step in steps]
    text = written(steps, results, below)
    assert "Traceback" not in text
    if os.environ.get("FASTIO_UPDATE_GOLDEN") == place:
        path.write_text(text, encoding="utf-8")
    assert text.splitlines() == path.read_text(encoding="utf-8").splitlines()


def test_every_command_has_its_place_in_a_session() -> None:
    played = "\n".join(step.command for path in SESSIONS for step in read(path)[0])
    # Those that draw or open an editor for a person are tested in a terminal.
    elsewhere = {"demo", "state edit"}
    missing = [c.words for c in tree.every() if f"fastio {c.words}" not in played]
    assert set(missing) - elsewhere - {c.words for c in tree.every() if c.hidden} == set()
