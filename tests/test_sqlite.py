"""The embedded store where things go wrong: versions, damage, permissions, full disks, threads."""

from __future__ import annotations

import ast
import contextlib
import gc
import io
import os
import re
import resource
import signal
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.storage import backup, doctor
from fastio_cli.storage.sqlite import connection as module
from fastio_cli.storage.sqlite.connection import FILE
from fastio_cli.storage.sqlite.errors import translate
from fastio_cli.storage.sqlite.store import SCHEMA_VERSION, SqliteStore
from tests.backends import Clock
from tests.requirements import lacking
from tests.workers import ROOT, open_engine

STORE = ROOT / "fastio_cli" / "storage"

# Writes until it fails, then says how often it succeeded and how it failed.
FILL = """
import json, sys
from tests.workers import open_engine
from fastio_cli.errors import FastioError
engine, done = open_engine(sys.argv[1]), 0
try:
    while True:
        engine.call("state.set", {"path": "v.json", "value": "x" * 20_000})
        done += 1
except FastioError as e:
    print(json.dumps({"done": done, **e.as_dict()}))
"""


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "store"


def refused(code, work, *arguments):
    with pytest.raises(FastioError) as caught:
        work(*arguments)
    assert caught.value.code == code, caught.value.message
    assert caught.value.hint
    return caught.value


def set_value(engine, value=1):
    return engine.call("state.set", {"path": "v.json", "value": value})


def get_value(engine):
    return engine.call("state.get", {"path": "v.json"})["value"]


def test_a_new_store_has_this_schema(folder):
    SqliteStore(str(folder)).close()
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        assert db.execute("pragma user_version").fetchone()[0] == SCHEMA_VERSION
        assert db.execute("pragma journal_mode").fetchone()[0] == "wal"
        assert db.execute("pragma integrity_check").fetchone()[0] == "ok"
        tables = db.execute("select sql from sqlite_schema where type = 'table'").fetchall()
    assert all("strict" in sql.lower() for (sql,) in tables)
    assert len(list((STORE / "schema").glob("*.sqlite.sql"))) == SCHEMA_VERSION
    assert os.stat(folder).st_mode & 0o077 == 0


def test_what_a_store_writes_is_its_owners_alone(tmp_path):
    """Whatever the umask is, and the folder that the store is made in."""
    folder, archive = tmp_path / "store", tmp_path / "backup.tar"
    before = os.umask(0)
    try:
        folder.mkdir(mode=0o777)
        engine = open_engine(folder)
        set_value(engine)
        engine.blobs.add_part("ab", 0, io.BytesIO(b"part"), 10)
        content = engine.upload(io.BytesIO(b"x" * 100_000))
        engine.call("file.put", {"path": "x.bin", "content": content})
        backup.backup(engine.store, engine.blobs, str(archive))
        backup.restore(str(archive), str(folder))
    finally:
        os.umask(before)
    made = [archive, *folder.rglob("*")]
    assert {FILE, f"{FILE}-wal", f"{FILE}-shm", "upload-ab", content.blob} <= {p.name for p in made}
    assert [path for path in made if path.stat().st_mode & 0o077] == []
    engine.store.close()


@pytest.mark.parametrize("work", ["read", "write"])
def test_a_newer_store_is_left_alone(folder, work):
    engine = open_engine(folder)
    set_value(engine)
    engine.store.close()
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        db.execute(f"pragma user_version = {SCHEMA_VERSION + 1}")
    before = (folder / FILE).read_bytes()
    error = refused("unavailable", open_engine, folder)
    assert "newer" in error.message
    assert "pip install --upgrade" in error.hint
    assert (folder / FILE).read_bytes() == before


def test_a_file_that_is_no_database(folder):
    folder.mkdir()
    (folder / FILE).write_bytes(b"this is no database, and never was" * 1000)
    error = refused("unavailable", open_engine, folder)
    assert "damaged" in error.message
    assert "doctor" in error.hint


def test_a_file_with_damaged_pages(folder):
    engine = open_engine(folder)
    for n in range(50):
        engine.call("state.set", {"path": f"{n}.json", "value": "x" * 3000})
    engine.store.close()
    size = (folder / FILE).stat().st_size
    with open(folder / FILE, "r+b") as f:
        f.seek(4096)
        f.write(b"\xa5" * (size - 4096))
    with pytest.raises(FastioError) as caught:
        open_engine(folder)
    assert caught.value.code == "unavailable"
    assert "doctor" in caught.value.hint


def test_a_folder_that_is_a_file(folder):
    folder.write_text("in the way")
    refused("unavailable", open_engine, folder)
    refused("unavailable", open_engine, folder / "below")


def test_a_store_file_that_is_a_folder(folder):
    (folder / FILE).mkdir(parents=True)
    refused("unavailable", open_engine, folder)


@contextlib.contextmanager
def mounted(source, target, *options):
    """A mount; it takes root."""
    done = subprocess.run(["mount", *options, str(source), str(target)], capture_output=True)
    if done.returncode != 0:
        lacking(f"cannot mount here: {done.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(target)], check=True)


# Leaves as a command does: without closing, so that the write-ahead log stays.
WRITE_AND_LEAVE = """
import os, sys
from tests.workers import open_engine
open_engine(sys.argv[1]).call("state.set", {"path": "v.json", "value": "kept"})
os._exit(0)
"""


def test_a_read_only_store_can_be_read(folder):
    subprocess.run(
        [sys.executable, "-c", WRITE_AND_LEAVE, str(folder)], cwd=ROOT, check=True, timeout=60
    )
    with mounted(folder, folder, "--bind", "-o", "ro"):
        engine = open_engine(folder)
        try:
            assert get_value(engine) == "kept"
            error = refused("forbidden", set_value, engine)
            assert "permissions" in error.hint
            assert get_value(engine) == "kept"
        finally:
            engine.store.close()
    engine = open_engine(folder)
    assert engine.call("audit.verify")["events"] == 1
    engine.store.close()


def test_a_read_only_store_that_was_closed_well_can_be_read(folder):
    engine = open_engine(folder)
    set_value(engine, "kept")
    engine.store.close()
    assert not (folder / f"{FILE}-wal").exists()
    with mounted(folder, folder, "--bind", "-o", "ro"):
        engine = open_engine(folder)
        try:
            assert get_value(engine) == "kept"
            refused("forbidden", set_value, engine)
            checks = {c.name: c.ok for c in doctor.check_file(str(folder))}
            assert checks == {"permissions": False, "disk": True, "integrity": True}
        finally:
            engine.store.close()
    engine = open_engine(folder)
    set_value(engine, "changed")
    assert get_value(engine) == "changed"
    engine.store.close()


def test_a_read_only_folder_gets_no_store(folder):
    folder.mkdir()
    with mounted(folder, folder, "--bind", "-o", "ro"):
        with pytest.raises(FastioError) as caught:
            open_engine(folder)
        assert caught.value.code in ("forbidden", "unavailable")
        del caught
        gc.collect()  # the connection that could not be made holds the folder
    assert list(folder.iterdir()) == []


def test_a_full_disk_loses_nothing(folder):
    folder.mkdir()
    with mounted("tmpfs", folder, "-t", "tmpfs", "-o", "size=1m"):
        check_full(folder, fill(folder))


def test_a_file_at_its_size_limit_loses_nothing(folder):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    check_full(folder, fill(folder, limit))


def fill(folder, limit=None):
    import json

    done = subprocess.run(
        [sys.executable, "-c", FILL, str(folder)],
        preexec_fn=limit,
        capture_output=True,
        cwd=ROOT,
        timeout=120,
    )
    assert done.stdout, done.stderr.decode()
    return json.loads(done.stdout)


def check_full(folder, told):
    assert told["code"] == "unavailable", told
    assert told["done"] > 5
    engine = open_engine(folder)
    try:
        assert engine.call("object.info", {"path": "v.json"})["version"] == told["done"]
        assert get_value(engine) == "x" * 20_000
        assert engine.call("audit.verify")["verified"]
    finally:
        engine.store.close()


def test_many_threads_share_an_engine(folder):
    engine = open_engine(folder)
    engine.call("state.set", {"path": "v.json", "value": 0})
    failures = []

    def work():
        try:
            for _ in range(25):
                engine.call("state.increment", {"path": "v.json"})
                engine.call("event.list", {"limit": 1})
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert get_value(engine) == 200
    engine.store.close()


def test_a_failed_write_leaves_the_connection_usable(folder):
    engine = open_engine(folder)

    def work(tx):
        tx.workspaces.add("half", 0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        engine.store.write(work)
    assert engine.store.read(lambda tx: tx.workspaces.by_name("half")) is None
    set_value(engine)
    engine.store.close()


def test_calls_together_fail_alone(folder):
    engine = open_engine(folder)
    calls = [
        engine.prepare("state.set", {"path": "a.json", "value": 1}, "default", "ada"),
        engine.prepare("state.append", {"path": "a.json", "value": 1}, "default", "ada"),
        engine.prepare("state.increment", {"path": "a.json"}, "default", "ada"),
        engine.prepare("state.get", {"path": "a.json"}, "default", "ada"),
        engine.prepare("lock.acquire", {"path": "a.json"}, "default", "ada"),
        engine.prepare("lock.acquire", {"path": "a.json", "wait_s": 60}, "default", "ada"),
    ]
    done = engine.call_many(calls)
    assert done[0]["version"] == 1
    assert done[1].code == "invalid"
    assert done[2]["value"] == done[3]["value"] == 2
    assert done[4]["waiters"] == 0
    assert done[5].code == "locked"
    assert engine.call("lock.show", {"path": "a.json"})["waiters"] == 0
    assert engine.call("audit.verify")["events"] == 3
    engine.store.close()


@pytest.mark.parametrize("durability", ["full", "normal"])
def test_both_durabilities_write(folder, durability):
    store = SqliteStore(str(folder), durability=durability)
    store.write(lambda tx: tx.workspaces.add("team", 0))
    store.close()
    other = SqliteStore(str(folder))
    assert other.read(lambda tx: tx.workspaces.by_name("team"))["name"] == "team"
    other.close()


def held(folder):
    """How many file descriptors this process has in a folder."""
    at = [f"/proc/self/fd/{n}" for n in os.listdir("/proc/self/fd")]
    return sum(os.path.exists(fd) and os.readlink(fd).startswith(f"{folder}/") for fd in at)


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_a_thread_that_ends_gives_its_connection_back(folder):
    engine = open_engine(folder)
    set_value(engine)
    counts = set()
    for _ in range(3):
        thread = threading.Thread(target=set_value, args=(engine,))
        thread.start()
        thread.join()
        counts.add(held(folder))
    # SQLite keeps one descriptor for the next connection while another holds locks on the file.
    assert len(counts) == 1
    engine.store.close()


@pytest.mark.skipif(sys.platform != "linux", reason="descriptors are counted in /proc")
def test_closing_a_store_closes_the_connections_of_all_threads(folder):
    engine = open_engine(folder)
    done, may_end = threading.Barrier(3), threading.Event()

    def work():
        set_value(engine)
        done.wait()
        may_end.wait()
        assert get_value(engine) == 1  # by a connection of its own again

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    done.wait()
    engine.store.close()
    assert held(folder) == 0
    may_end.set()
    for thread in threads:
        thread.join()
    assert held(folder) == 0
    engine.store.close()


def test_a_store_that_nobody_closed_says_so(folder):
    SqliteStore(str(folder)).close()
    with pytest.warns(ResourceWarning, match="was not closed"):
        SqliteStore(str(folder))


def test_without_file_locks_sqlite_takes_over(folder, monkeypatch):
    monkeypatch.setattr(module, "fcntl", None)
    engine = open_engine(folder)
    assert engine.store._connection().sql.execute("pragma synchronous").fetchone()[0] == 2
    set_value(engine, 5)
    assert get_value(engine) == 5
    engine.store.close()


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("SQLITE_FULL", "unavailable"),
        ("SQLITE_READONLY_DBMOVED", "forbidden"),
        ("SQLITE_PERM", "forbidden"),
        ("SQLITE_CORRUPT_INDEX", "unavailable"),
        ("SQLITE_NOTADB", "unavailable"),
        ("SQLITE_BUSY_SNAPSHOT", "unavailable"),
        ("SQLITE_LOCKED", "unavailable"),
        ("SQLITE_IOERR_FSYNC", "unavailable"),
        ("SQLITE_CANTOPEN", "unavailable"),
        ("SQLITE_MISMATCH", "internal"),
        ("", "internal"),
    ],
)
def test_each_failure_of_sqlite_has_a_code(name, code):
    error = sqlite3.OperationalError("reason")
    error.sqlite_errorname = name
    assert translate(error, "store.sqlite").code == code


def sql_texts():
    """The SQL given to the database in the modules of the store: file, text node."""
    for file in sorted(STORE.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            if file.name == "rows.py":  # tables and columns stand in it, by names that it checks
                continue
            if node.func.attr in ("one", "all", "run", "execute") and node.args:
                yield file, node.args[0]


# What the adapters put into statements of the search index: parameters keep the values.
SEARCH_FRAGMENTS = (
    r"self\.(_search\.)?among\('\w+'\)|self\.(filtered|_allowed)\(filters\)"
    r"|self\.(_type|_distance)|sized|schema|source|current|changed"
)


@pytest.mark.parametrize(
    ("file", "text"),
    list(sql_texts()),
    ids=lambda x: x.name if isinstance(x, Path) else str(x.lineno),
)
def test_no_value_is_written_into_a_statement(file, text):
    assert not isinstance(text, ast.BinOp), "SQL is not put together with + or %"
    if not isinstance(text, ast.JoinedStr):
        return
    for part in text.values:
        if isinstance(part, ast.FormattedValue):
            name = ast.unparse(part.value)
            constant = name.isupper() or name in (
                "condition",
                "number",
                "self._db.lock_clause",
                "self._db.now_column",
            )
            fragment = re.fullmatch(SEARCH_FRAGMENTS, name) is not None
            definition = re.match("f.(pragma|create|drop|set)", ast.unparse(text)) is not None
            assert constant or fragment or definition, f"{file.name}: {name}"


def test_who_comes_later_waits_for_a_waiter_that_has_not_noticed_yet(folder):
    clock = Clock()
    engine = open_engine(folder, clock)
    held = engine.call("lock.acquire", {"path": "v"})
    waiting = engine.prepare("lock.acquire", {"path": "v", "wait_s": 60}, "default", "first")
    engine.store.write(lambda tx: engine._run(tx, waiting))
    engine.call("lock.release", {"path": "v", "lock_token": held["token"]})
    late = {"path": "v"}
    assert refused("locked", engine.call, "lock.acquire", late).details["holder"] == "first"
    clock.advance(4)  # it has not shown for too long that it lives
    engine.call("lock.acquire", late)
    engine.store.close()
