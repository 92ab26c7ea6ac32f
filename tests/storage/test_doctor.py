"""``fastio doctor`` on each kind of damage: it says what is wrong, and its way out works."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from fastio_cli.storage.sqlite.connection import FILE
from tests.test_sqlite import mounted

BODY = os.urandom(200_000)  # too large for a row


def fastio(home: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "FASTIO_STORE": f"{home}/store"}
    return subprocess.run(
        [sys.executable, "-m", "fastio_cli", *words],
        env=environment,
        cwd=home,
        capture_output=True,
        timeout=60,
    )


def done(home: Path, *words: str) -> bytes:
    ran = fastio(home, *words)
    assert (ran.returncode, ran.stderr) == (0, b"")
    return ran.stdout


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A store with one object of each kind, its log emptied into the file, and a backup of it."""
    (tmp_path / "large.bin").write_bytes(BODY)
    done(tmp_path, "init")
    done(tmp_path, "state", "set", "plan.json", '{"step":1}')
    done(tmp_path, "file", "put", "large.bin")
    done(tmp_path, "backup", "backup.tar")
    with closing(sqlite3.connect(tmp_path / "store" / FILE)) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    return tmp_path


def write(file: Path, at: int, data: bytes) -> None:
    file.chmod(0o600)
    with open(file, "r+b") as f:
        f.seek(at)
        f.write(data)


def execute(store: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(store / FILE)) as db, db:
        assert db.execute(statement, values).rowcount != 0


def blob(store: Path) -> Path:
    return next(p for p in (store / "blobs").glob("??/*"))


def cut(file: Path, size: int) -> None:
    file.chmod(0o600)
    os.truncate(file, size)


# What is done to the store; the check that fails; what it says.
DAMAGE = {
    "no database": (lambda s: (s / FILE).write_bytes(BODY), "integrity", "not a database"),
    "cut off": (lambda s: cut(s / FILE, 40_000), "integrity", "malformed"),
    "pages overwritten": (lambda s: write(s / FILE, 8192, BODY[:30_000]), "integrity", "damaged"),
    "a table gone": (
        lambda s: execute(s, "drop table events"),
        "integrity",
        "has no table 'events'",
    ),
    "a body changed": (
        lambda s: execute(s, "update versions set body = ? where kind = 'state'", b'{"step":2}'),
        "bodies",
        "the first is plan.json (version 1)",
    ),
    "an event changed": (
        lambda s: execute(s, "update events set actor = 'eve' where seq = 1"),
        "log of default",
        "event 1",
    ),
    "a blob gone": (lambda s: blob(s).unlink(), "blobs", "1 of 1 are missing"),
    "a blob changed": (lambda s: write(blob(s), 1000, b"?"), "blobs", "1 of 1 are damaged"),
    "a blob cut off": (lambda s: cut(blob(s), 1000), "blobs", "1 of 1 are damaged"),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_damage_is_found_and_a_backup_mends_it(home: Path, kind: str) -> None:
    damage, check, said = DAMAGE[kind]
    damage(home / "store")
    report = fastio(home, "doctor")
    assert (report.returncode, report.stderr) == (1, b"")
    [finding] = [item for item in json.loads(report.stdout)["items"] if not item["ok"]]
    assert finding["check"] == check
    assert said.lower() in finding["message"].lower()
    assert "backup" in finding["hint"]
    done(home, "restore", "backup.tar", "--yes")
    assert done(home, "state", "get", "plan.json") == b'{"step":1}\n'
    assert done(home, "file", "get", "large.bin") == BODY
    assert set(done(home, "doctor", "-q").split()) == {b"true"}


@pytest.mark.parametrize(
    "statement",
    [
        "update workspaces set state_count = 5",
        "update workspaces set live_bytes = 0, size_bytes = 7",
        "update org_usage set size_bytes = size_bytes + 1",
        "delete from org_usage",
    ],
)
def test_counters_that_differ_are_found_and_counted_anew(home: Path, statement: str) -> None:
    before = done(home, "workspace", "usage")
    execute(home / "store", statement)
    report = fastio(home, "doctor")
    assert report.returncode == 1
    [finding] = [item for item in json.loads(report.stdout)["items"] if not item["ok"]]
    assert finding["check"] == "counters"
    assert finding["hint"] == "Count anew: fastio doctor --sweep"
    assert set(done(home, "doctor", "--sweep", "-q").split()) == {b"true"}
    assert set(done(home, "doctor", "-q").split()) == {b"true"}
    assert done(home, "workspace", "usage") == before


def test_a_store_of_a_newer_version_is_left_alone(home: Path) -> None:
    execute(home / "store", "pragma user_version = 99")
    for words in ("state get plan.json", "state set plan.json 1", "backup b.tar", "doctor"):
        ran = fastio(home, *shlex.split(words))
        assert ran.returncode == (1 if words == "doctor" else 9)
        assert b"was made by a newer fastio (schema 99)" in ran.stdout + ran.stderr
        assert b"pip install --upgrade" in ran.stdout + ran.stderr
    with closing(sqlite3.connect(home / "store" / FILE)) as db:
        assert db.execute("pragma user_version").fetchone() == (99,)


def test_a_full_disk_is_said_of_a_backup_and_of_a_restore(home: Path) -> None:
    small = home / "small"
    small.mkdir()
    with mounted("tmpfs", small, "-t", "tmpfs", "-o", "size=100k"):
        for words in (
            ["backup", "small/b"],
            ["restore", "backup.tar", "--yes", "--store", "small"],
        ):
            ran = fastio(home, *words)
            assert ran.returncode == 9, ran.stderr
            assert b'"unavailable"' in ran.stderr
        assert not (small / "b").exists()
    done(home, "backup", "again.tar")
