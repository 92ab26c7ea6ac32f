"""Places that hold no store, or one that cannot be written: nothing is made, and nothing hidden."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fastio_cli import aconnect, connect
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import Forbidden, Invalid, NotFound
from fastio_cli.storage.sqlite.connection import FILE
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.engines import made_store
from tests.requirements import need_program

READING = (
    "file list",
    "state list",
    "state get plan.json",
    "state history plan.json",
    "file info plan.json",
    "lock list",
    "lock show plan.json",
    "event list",
    "audit verify",
    "workspace list",
    "workspace show",
    "workspace usage",
    "import list",
    "job list",
    "token list",
    "index status",
    "query cost",
    "query cost --mode lexical",
    "query cost --all-workspaces",
    "ask cost",
    "context cost",
)


class Place:
    """A home without settings, in which commands run as somebody whom permissions bind."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.data = home / ".local/share/fastio"

    def __call__(self, words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        bound = []
        if os.geteuid() == 0:
            need_program("setpriv")
            bound = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"]
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("FASTIO_", "XDG_"))}
        return subprocess.run(
            [*bound, sys.executable, "-m", "fastio_cli", *shlex.split(words)],
            env={**clean, "HOME": str(self.home), **environ},
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def files(self) -> list[Path]:
        return sorted(self.home.rglob("*"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def error_of(done: subprocess.CompletedProcess[str]) -> dict[str, object]:
    error: dict[str, object] = json.loads(done.stderr)["error"]
    return error


# Reading


@pytest.mark.parametrize("words", READING)
def test_reading_makes_no_store(place: Place, words: str) -> None:
    done = place(words)
    names_what_is_absent = words.endswith("plan.json")
    assert done.returncode == (3 if names_what_is_absent else 0), done.stderr
    assert place.files() == []


def test_only_a_write_makes_the_default_store(place: Place) -> None:
    assert place("doctor").returncode == 0
    assert error_of(place("backup b.tar"))["code"] == "not_found"
    assert place("-w nosuch file list").returncode == 3
    assert not place.data.exists()
    assert place("state set plan.json 1").returncode == 0
    assert (place.data / FILE).exists()
    assert place("state get plan.json").stdout == "1\n"


@pytest.mark.parametrize("words", ["file list", "state set a 1", "query x", "serve", "backup b"])
@pytest.mark.parametrize("named", ["--store nosuch", "FASTIO_STORE", "setting", "project"])
def test_a_named_place_without_a_store_is_not_found(place: Place, words: str, named: str) -> None:
    environ = {"FASTIO_STORE": "nosuch"} if named == "FASTIO_STORE" else {}
    if named == "setting":
        assert place("config set store nosuch").returncode == 0
    if named == "project":
        (place.home / ".fastio").mkdir()
        assert place("trust").returncode == 0
    flag = named if named.startswith("--") else ""
    before = place.files()
    done = place(f"{flag} {words}", **environ)
    assert (done.returncode, done.stdout) == (3, "")
    assert place.files() == before
    hint = str(error_of(done)["hint"])
    assert place(hint.partition("fastio ")[2]).returncode == 0
    assert place(f"{flag} file list -q", **environ).returncode == 0, "the hint leads to success"


def test_init_makes_what_is_named_once(place: Place) -> None:
    first = json.loads(place("init --store there").stdout)
    assert first == {"store": str(place.home / "there"), "created": True}
    assert json.loads(place("init", FASTIO_STORE="there").stdout)["created"] is False
    assert error_of(place("init --store http://127.0.0.1:1"))["code"] == "invalid"


# Names that are none


@pytest.mark.parametrize("flag", ["--store", "-w", "--workspace", "--actor", "--profile"])
def test_an_empty_flag_is_refused(place: Place, flag: str) -> None:
    for words in (f"{flag} '' state set a 1", f"state set a 1 {flag} ''", f"file list {flag} ''"):
        done = place(words)
        assert (done.returncode, error_of(done)["code"]) == (2, "invalid")
    assert place.files() == []


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("localhost:8787", "http://localhost:8787"),
        ("127.0.0.1:8787", "http://127.0.0.1:8787"),
        ("[::1]:8787", "http://[::1]:8787"),
        ("fastio.example.org:443", "https://fastio.example.org:443"),
    ],
)
def test_an_address_is_no_folder(place: Place, named: str, meant: str) -> None:
    for words, environ in (
        (f"--store {named} state set a 1", {}),
        ("file list", {"FASTIO_STORE": named}),
        (f"init --store {named}", {}),
        (f"store copy {named} copied", {}),
        (f"serve --store {named}", {}),
    ):
        error = error_of(place(words, **environ))
        assert error["code"] == "invalid"
        assert meant in str(error["hint"])
    assert place.files() == []
    with pytest.raises(Invalid, match="neither a folder"):
        connect(named)


# The SDK, and a store that comes to be while it is used


def test_connect_makes_nothing_unless_asked_to(tmp_path: Path) -> None:
    for name in ("nosuch", ""):
        with pytest.raises((NotFound, Invalid)):
            connect(str(tmp_path / name) if name else "")
    with pytest.raises(NotFound):
        asyncio.run(aconnect(tmp_path / "nosuch"))
    assert list(tmp_path.iterdir()) == []
    with connect(tmp_path / "made", create=True) as store:
        assert store.workspace().objects.list()["items"] == []
    with connect(tmp_path / "made") as store:
        store.workspace().state.set("a", 1)


def test_a_store_that_is_made_meanwhile_is_seen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with connect() as reader, connect() as writer:
        watched = reader.workspace().watch(after=0, timeout=30)
        assert reader.workspace().objects.list()["items"] == []
        assert not (tmp_path / "fastio").exists()
        writer.workspace().state.set("a", 1)
        assert next(watched)["path"] == "a"
        assert reader.workspace().state.value("a") == 1
        reader.workspace().state.set("b", 2)
        assert writer.workspace().state.value("b") == 2


# Stores that cannot be written


@pytest.fixture(params=["folder", "file", "checkpointed folder", "checkpointed file"])
def read_only(request: pytest.FixtureRequest, place: Place) -> Place:
    """A store with two objects that were never searched, which may only be read."""
    store = Path(made_store(place.data))
    assert place("state set plan.json '{\"cost\": 9}'").returncode == 0
    (place.home / "notes.md").write_text("The cost is nine a month")
    assert place("file put notes.md").returncode == 0
    if "checkpointed" in request.param:
        with closing(sqlite3.connect(store / FILE)) as db:
            db.execute("pragma wal_checkpoint(truncate)")
    for file in store.rglob(f"{FILE}*"):
        file.chmod(0o400)
    if "folder" in request.param:
        store.chmod(0o500)
    return place


def test_everything_is_read_in_a_store_that_cannot_be_written(read_only: Place) -> None:
    before = {file: file.read_bytes() for file in read_only.data.glob(FILE)}
    for words in READING:
        done = read_only(words)
        assert done.returncode == (3 if words.startswith("lock show") else 0), (words, done.stderr)
    for words in ("query cost -q", "query cost --mode lexical -q"):
        assert "notes.md" in read_only(words).stdout
    for words in ("query cost", "ask cost", "context cost", "query cost --mode lexical"):
        assert "cannot be written" in read_only(f"{words} --format json").stdout
    assert "nine a month" in read_only("ask 'What does it cost?' -q").stdout
    refused = read_only("state set plan.json 2")
    assert (refused.returncode, error_of(refused)["code"]) == (4, "forbidden")
    assert {file: file.read_bytes() for file in read_only.data.glob(FILE)} == before


def test_a_store_that_cannot_be_copied_is_searched_as_far_as_it_is_indexed(tmp_path: Path) -> None:
    with connect(tmp_path / "s", create=True) as store:
        ws = store.workspace()
        ws.state.set("a.json", {"cost": 9})
        assert ws.search.query("cost")["items"]
        ws.state.set("b.json", {"cost": 10})
        engine = store._connection.client
        assert isinstance(engine, Engine)
        assert isinstance(engine.store, SqliteStore)
        engine.store._connection().sql.execute("pragma query_only = on")
        found = ws.search.query("cost")
        assert [hit["path"] for hit in found["items"]] == ["a.json"]
        assert "last 1 events are not searched" in str(found["note"])
        assert found["mode"] == "lexical"
        with pytest.raises(Forbidden):
            ws.search.query("cost", mode="semantic")
