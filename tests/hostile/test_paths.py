"""Names in data choose no path, no link is followed, and only what fastio made acts."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3
import stat
import subprocess
import tarfile
from contextlib import closing
from pathlib import Path

import pytest

from fastio_cli import connect
from fastio_cli.blobs.bucket import BucketBlobStore
from fastio_cli.blobs.content import is_blob_name
from fastio_cli.blobs.local import BlobStore
from fastio_cli.cli.framework.text import visible
from fastio_cli.config.files import change_file
from fastio_cli.egress.client import Egress
from fastio_cli.errors import FastioError
from fastio_cli.filesystem import write_whole
from fastio_cli.imports.providers import Endpoints, Services
from fastio_cli.storage.doctor import check_integrity
from fastio_cli.storage.migrations import statements
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.client.serving import command, fastio
from tests.hostile.test_projects import error, home  # noqa: F401

LARGE = b"large enough to be a blob " * 4096
NO_NAMES = [
    "/etc/passwd",
    "../../secret",
    "..",
    "",
    "ab",
    "A" * 64,
    "g" * 64,
    "a" * 63,
    "a" * 65,
    "a" * 32 + "/" + "a" * 31,
    "a" * 63 + "\n",
    "a" * 63 + "\0",
    "a" * 63 + "ä",
]


@pytest.fixture
def secret(tmp_path):
    """A file elsewhere that nobody means."""
    file = tmp_path / "secret"
    file.write_bytes(LARGE)
    return file


@pytest.fixture
def blobs(tmp_path):
    store = BlobStore(str(tmp_path / "blobs"))
    return store, store.put(io.BytesIO(LARGE), len(LARGE)).blob


@pytest.fixture
def store(tmp_path):
    """The folder of a store with one large file and one state object."""
    folder = tmp_path / "store"
    with connect(folder, create=True) as made:
        workspace = made.workspace()
        workspace.state.set("a.json", 1)
        workspace.files.put("large", LARGE)
    return folder


def refused(code, work, *arguments, **named):
    with pytest.raises(FastioError) as caught:
        work(*arguments, **named)
    assert caught.value.code == code, caught.value.message
    assert caught.value.hint
    return caught.value


def execute(folder, *statements):
    with closing(sqlite3.connect(folder / "store.sqlite")) as db, db:
        for statement in statements:
            db.execute(statement)


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_is_no_name_of_a_blob(blobs, name):
    store = blobs[0]
    assert not is_blob_name(name)
    for work in (store.path, store.open, store._remove_unused):
        refused("unavailable", work, name)
    refused("unavailable", lambda: list(store.read(name, 0, 1)))
    refused("unavailable", store.has, name, 1)
    refused("unavailable", store.commit, __file__, name, 1)
    in_a_bucket = BucketBlobStore("s3://bucket", str(store.folder))
    refused("unavailable", in_a_bucket.has, name, 1)
    refused("unavailable", lambda: list(in_a_bucket.read(name, 0, 1)))


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret"])
def test_a_row_that_names_a_file(caller, secret, name):
    caller.put("a.bin", LARGE)
    caller.backend.tamper("update versions set blob = :name where blob is not null", name=name)
    with pytest.raises(FastioError) as caught:
        caller.read("a.bin")
    assert caught.value.code == "unavailable"


def test_a_row_that_names_a_file_is_not_backed_up_either(store, secret, tmp_path):
    execute(store, f"update versions set blob = '{secret}' where blob is not null")
    done = fastio("backup", str(tmp_path / "b.tar"), "--store", str(store))
    assert error(done)["code"] == "unavailable"
    assert fastio("doctor", "--store", str(store)).returncode == 1


@pytest.mark.skipif(os.name != "posix", reason="links elsewhere need a privilege")
@pytest.mark.parametrize("part", ["blob", "shard", "folder"])
def test_links_among_blobs(blobs, secret, part):
    store, name = blobs
    path = Path(store.path(name))
    linked = {"blob": path, "shard": path.parent, "folder": Path(store.folder)}[part]
    elsewhere = linked.with_name("elsewhere")
    linked.rename(elsewhere)
    linked.symlink_to(elsewhere)
    refused("unavailable", store.open, name)
    assert not store.has(name, len(LARGE))
    assert part == "blob" or list(store.names()) == []
    for _ in range(2):
        old = 1_000_000
        for file in elsewhere.rglob("*") if elsewhere.is_dir() else [elsewhere]:
            os.utime(file, (old, old))
        store.sweep(set())
    assert elsewhere.exists()
    assert [f for f in elsewhere.rglob("*") if f.is_file()] or elsewhere.is_file()
    if part != "blob":
        refused("unavailable", store.put, io.BytesIO(LARGE), len(LARGE))


@pytest.mark.parametrize("folder", ["tmp", "partial"])
def test_links_among_unfinished_files(blobs, tmp_path, folder):
    store = blobs[0]
    theirs = tmp_path / "documents"
    theirs.mkdir()
    (theirs / "thesis").write_text("years of work")
    os.utime(theirs / "thesis", (1, 1))
    shutil.rmtree(Path(store.folder) / folder, ignore_errors=True)
    (Path(store.folder) / folder).symlink_to(theirs)
    store.sweep(set())
    assert store.staged_names() == []
    assert (theirs / "thesis").exists()
    if folder == "tmp":
        refused("unavailable", store.put, io.BytesIO(LARGE), len(LARGE))
    else:
        refused("unavailable", store.staged("1-1").append, LARGE)
    assert [f.name for f in theirs.iterdir()] == ["thesis"]


def test_links_among_uploads(blobs, secret):
    store = blobs[0]
    upload = Path(store.folder) / "tmp" / "upload-x"
    upload.symlink_to(secret)
    with pytest.raises(OSError, match="symbolic links"):
        store.add_part("x", len(LARGE), io.BytesIO(b"more"), 10**9)
    assert secret.read_bytes() == LARGE


def test_a_lock_file_that_is_a_link(store, secret):
    (store / "write.lock").unlink()
    (store / "write.lock").symlink_to(secret)
    with connect(store) as opened:
        refused("forbidden", opened.workspace().state.set, "a.json", 2)


ACTING = {
    "trigger": "create trigger evil after insert on events begin delete from versions; end",
    "view": "create view evil as select * from versions",
    "virtual": "create virtual table evil using fts5(a)",
    "replaced by a view": "alter table store_keys rename to kept; "
    "create view store_keys as select * from kept",
}
DIFFERENT = {
    "table": "create table evil (a)",
    "column": "alter table versions add column evil text default 'x'",
    "computed column": "alter table versions add column evil text as (upper(path))",
    "index": "create index evil on versions (upper(path))",
    "no table": "drop table jobs",
}


@pytest.mark.parametrize("change", [*ACTING, *DIFFERENT])
def test_a_store_with_more_than_fastio_makes(store, tmp_path, change):
    with closing(sqlite3.connect(store / "store.sqlite")) as db, db:
        db.executescript({**ACTING, **DIFFERENT}[change])
    if change in ACTING:
        refusal = error(fastio("state", "get", "a.json", "--store", str(store)))
        assert refusal["code"] == "unavailable"
        assert "fastio did not make" in refusal["message"]
        assert not refusal["retryable"]
    assert not check_integrity(str(store / "store.sqlite")).ok
    assert fastio("doctor", "--store", str(store)).returncode == 1
    copied = fastio("store", "copy", str(store), str(tmp_path / "copy"))
    assert error(copied)["code"] == "unavailable"
    project = tmp_path / "project"
    project.mkdir()
    store.rename(project / ".fastio")
    assert error(fastio("trust", str(project)))["code"] == "invalid"


@pytest.mark.parametrize("change", [None, "trigger", "view", "virtual", "table", "column", "index"])
@pytest.mark.parametrize("version", [0, 1, 4, 8])
def test_an_older_store_with_more_than_fastio_made(tmp_path, change, version):
    with closing(sqlite3.connect(tmp_path / "store.sqlite")) as db, db:
        for statement in statements("sqlite", version):
            db.execute(statement)
        if version == 0:
            db.execute("create table versions (path)")
        elif change is not None:
            db.executescript({**ACTING, **DIFFERENT}[change])
        db.execute(f"pragma user_version = {version}")
    if change is None and version:
        SqliteStore(str(tmp_path)).close()
    else:
        refused("unavailable", SqliteStore, str(tmp_path))


@pytest.mark.parametrize("change", [*ACTING, *DIFFERENT])
def test_a_backup_with_more_than_fastio_makes(store, tmp_path, change):
    backup, target = tmp_path / "b.tar", tmp_path / "target"
    assert fastio("backup", str(backup), "--store", str(store)).returncode == 0
    with tarfile.open(backup) as tar:
        tar.extractall(tmp_path / "unpacked", filter="data")
    unpacked = tmp_path / "unpacked"
    with closing(sqlite3.connect(unpacked / "store.sqlite")) as db, db:
        db.executescript({**ACTING, **DIFFERENT}[change])
    with tarfile.open(backup, "w") as tar:
        for name in ("store.sqlite", "blobs"):
            tar.add(unpacked / name, name, filter=lambda m: None if m.isdir() else m)
        for blob in (unpacked / "blobs").iterdir():
            tar.add(blob, f"blobs/{blob.name}")
    fastio("init", "--store", str(target))
    before = (target / "store.sqlite").read_bytes()
    refusal = error(fastio("restore", str(backup), "--yes", "--store", str(target)))
    assert refusal["code"] == "invalid"
    assert (target / "store.sqlite").read_bytes() == before


def test_what_sqlite_itself_makes_is_no_difference(store):
    execute(store, "analyze")
    assert check_integrity(str(store / "store.sqlite")).ok
    SqliteStore(str(store)).close()


ON_POSTGRES = {
    "trigger": """create function evil() returns trigger language plpgsql as
        $$ begin return new; end $$;
        create trigger evil after insert on events for each row execute function evil()""",
    "rule": "create rule evil as on delete to versions do instead nothing",
    "view": "alter table credits rename to kept; create view credits as select * from kept",
    "table below": "create table evil () inherits (versions)",
}


@pytest.mark.parametrize("change", ON_POSTGRES)
@pytest.mark.parametrize("backend", ["postgres"], indirect=True)
def test_a_database_with_more_than_fastio_makes(backend, change):
    import psycopg

    engine = backend.open()
    engine.store.check_schema()
    undo = {"trigger": "drop function evil() cascade", "rule": "drop rule evil on versions"}
    undo |= {"view": "drop view credits; alter table kept rename to credits"}
    undo |= {"table below": "drop table evil"}
    try:
        with psycopg.connect(backend.url) as c:
            c.execute(ON_POSTGRES[change])
        refusal = refused("unavailable", engine.store.check_schema)
        assert "fastio did not make" in refusal.message
        done = fastio("doctor", "--store", backend.url)
        assert done.returncode == 1
        assert "fastio did not make" in done.stdout
        with psycopg.connect(backend.url) as c:
            c.execute("update fastio_schema set version = version - 1")
        refused("unavailable", backend.open)
    finally:
        with psycopg.connect(backend.url) as c:
            c.execute(undo[change])
            newest = "(select max(v) from (values (version), (version + 1)) as t (v))"
            c.execute(f"update fastio_schema set version = {newest}")
        engine.store.close()


def test_a_download_writes_through_no_link(store, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    theirs = tmp_path / "bashrc"
    theirs.write_text("alias")
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "out").symlink_to(theirs)
    for pid in range(os.getpid(), os.getpid() + 400):
        (shared / f"out.{pid}.part").symlink_to(theirs)
    got = fastio("file", "get", "large", "-o", str(shared / "out"), "--store", str(store))
    assert got.returncode == 0, got.stderr
    assert theirs.read_text() == "alias"
    assert not (shared / "out").is_symlink()
    assert (shared / "out").read_bytes() == LARGE
    with connect(store) as opened:
        (shared / "saved").symlink_to(theirs)
        opened.workspace().files.save("large", shared / "saved")
    assert theirs.read_text() == "alias"
    (shared / "b.tar").symlink_to(theirs)
    backup = ("backup", str(shared / "b.tar"), "--overwrite", "--store", str(store))
    assert fastio(*backup).returncode == 0
    assert theirs.read_text() == "alias"


def test_a_settings_file_is_written_through_no_link(tmp_path):
    theirs, folder = tmp_path / "bashrc", tmp_path / "config"
    theirs.write_text("alias")
    folder.mkdir()
    for name in ("config.toml.lock", *(f"config.toml.{os.getpid() + n}" for n in range(9))):
        (folder / name).symlink_to(theirs)
    with pytest.raises(FastioError):
        change_file(str(folder / "config.toml"), "workspace", "x")
    (folder / "config.toml.lock").unlink()
    change_file(str(folder / "config.toml"), "workspace", "x")
    assert theirs.read_text() == "alias"


def test_a_file_is_written_whole(tmp_path):
    target = tmp_path / "t"
    target.write_text("before")

    def broken():
        yield b"half"
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        write_whole(str(target), broken())
    assert target.read_text() == "before"
    assert [f.name for f in tmp_path.iterdir()] == ["t"]
    with pytest.raises(OSError, match="directory"):
        write_whole(str(tmp_path), [b"x"])


def test_a_device_or_a_pipe_stays_what_it_is(tmp_path):
    write_whole(os.devnull, [b"gone"])
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE)
    write_whole(str(pipe), [b"through"])
    assert reader.communicate()[0] == b"through"
    (tmp_path / "link").symlink_to(pipe)
    with pytest.raises(OSError, match="symbolic links"):
        write_whole(str(tmp_path / "link"), [b"x"])


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_the_umask_decides(home, store, umask):  # noqa: F811
    script = f"umask {umask:o}; "
    words = " ".join(command("file", "get", "large", "-o", "out", "--store", str(store)))
    subprocess.run(["sh", "-c", script + words], check=True, capture_output=True)
    assert stat.S_IMODE((home / "out").stat().st_mode) == 0o666 & ~umask
    for line in (
        command("config", "set", "workspace", "default"),
        command("state", "set", "a", "1"),
        command("init"),
        [*command("file", "put", "out"), "large"],
        command("backup", "b.tar"),
    ):
        subprocess.run(["sh", "-c", script + " ".join(line)], check=True, capture_output=True)
    own = [home / ".config", home / ".local", home / ".fastio", home / "b.tar"]
    for top in own:
        for path in (top, *top.rglob("*")):
            if path.name != ".gitignore":
                assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


UNSEEN = (
    "\u200e\u200f\u061c\u200b\u200c\u200d\u2060\ufeff\u00ad\u202a\u202e\u2066\u2069\u2028\u2029"
    "\u180e\U000e0001\U000e0041\x1b\x07\x7f\x9b\r"
)


@pytest.mark.parametrize("character", UNSEEN, ids=lambda c: f"U+{ord(c):04X}")
def test_what_nobody_sees_is_shown(character):
    shown = visible(f"a{character}b")
    assert shown.isascii()
    assert shown.isprintable()
    assert f"{ord(character):04x}" in shown


@pytest.mark.parametrize(
    "text", ["naïve", "日本\u3000語", "a\tb\nc", "e\u0301", "👍🏽", "a\u00a0b", "\ue0a0"]
)
def test_what_is_seen_stays(text):
    assert visible(text) == text


@pytest.mark.parametrize("key", ["%E2%82%AC", "a%0D%0AX-Evil:1", "%7F", "%C3%A9"])
@pytest.mark.parametrize("token", ["t", None])
def test_a_link_whose_key_no_header_can_hold(key, token):
    egress = Egress()
    services = Services(egress, Endpoints(), lambda _: token)
    url = f"https://drive.google.com/file/d/abc/view?resourcekey={key}"
    refused("invalid", services.source, url)
    with pytest.raises(FastioError) as caught:
        egress.read("http://127.0.0.1/", headers={"X-Ü": "€"})
    assert caught.value.code in ("invalid", "blocked_url")
    # What is no id of a file is a page like any other.
    other = services.source("https://drive.google.com/open?id=%C3%A9")
    assert other.secrets in (None, {})
    egress.close()


@pytest.mark.parametrize("secret_text", ["fio_ä", "fio_\x7f", "a\tb"])
def test_a_secret_that_no_header_can_hold(home, secret_text):  # noqa: F811
    fastio("init")
    for setting in ("FASTIO_TOKEN", "FASTIO_CHAT_KEY"):
        environ = {
            setting: secret_text,
            "FASTIO_CHAT_URL": "http://127.0.0.1:1/v1",
            "FASTIO_RETRY_S": "1",
        }
        words = ("ask", "why") if "CHAT" in setting else ("whoami", "--store", "http://127.0.0.1:1")
        fastio("file", "put", "-", "notes.md", stdin="why is the sky blue? why not.")
        refusal = error(fastio(*words, environ=environ))
        assert refusal["code"] in ("invalid", "unauthenticated"), refusal
        assert secret_text not in refusal["message"]
