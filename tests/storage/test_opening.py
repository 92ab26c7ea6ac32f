"""Opening a store by URL: what can be wrong is said in one sentence, never with a password."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import psycopg
import pytest

from fastio_cli.config.sources import Config
from fastio_cli.errors import FastioError, NotFound
from fastio_cli.opening import open_engine as open_named
from fastio_cli.storage import open_blobs, open_store
from fastio_cli.storage.postgres import store as postgres
from fastio_cli.storage.postgres.store import PostgresStore
from tests.ports import free_port

SECRET = "hunter2secret"


def refusal(url: str, if_absent: str = "refuse") -> FastioError:
    with pytest.raises(FastioError) as caught:
        open_store(url, if_absent=if_absent)
    error = caught.value
    assert error.hint
    assert SECRET not in f"{error.message} {error.hint} {error.details}"
    assert "\n" not in error.message
    return error


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://me:{SECRET}@host:notaport/db",
        f"postgresql://me:{SECRET}@host/db?no_such_option=1",
        f"postgresql://me:pass@{SECRET}@host/db",
    ],
)
def test_a_wrong_url(url):
    assert refusal(url).code == "invalid"


def test_an_unknown_kind_of_store():
    error = refusal(f"mysql://me:{SECRET}@host/db")
    assert error.code == "invalid"
    assert "mysql" in error.message


def test_nobody_listens():
    error = refusal(f"postgresql://me:{SECRET}@127.0.0.1:{free_port()}/db")
    assert error.code == "unavailable"
    assert "me@127.0.0.1" in error.message


def test_a_missing_database(pg_url):
    error = refusal(pg_url.rsplit("/", 1)[0] + "/no_such_database")
    assert error.code == "invalid"
    assert "does not exist" in error.message
    assert error.hint.endswith(f"{pg_url.rsplit('/', 1)[0]}/postgres no_such_database")


def test_a_wrong_password(own_server):
    server = own_server(fsync="off")
    with psycopg.connect(server.url, autocommit=True) as c:
        c.execute("create role guarded login password 'right'")
    (server.data / "pg_hba.conf").write_text("host all all 127.0.0.1/32 scram-sha-256\n")
    server.stop()
    server.start()
    address = f"127.0.0.1:{server.port}/postgres"
    for user in (f"guarded:{SECRET}", "guarded", f"nobody:{SECRET}"):
        assert refusal(f"postgresql://{user}@{address}").code == "invalid"


def test_missing_rights(pg_url):
    name = f"guest_{os.urandom(4).hex()}"
    with psycopg.connect(pg_url, autocommit=True) as c:
        c.execute(f"create role {name} login")
    try:
        error = refusal(pg_url.replace("fastio@", f"{name}@"), if_absent="make")
        assert error.code == "invalid"
        assert "rights" in error.message
    finally:
        with psycopg.connect(pg_url, autocommit=True) as c:
            c.execute(f"drop role {name}")


def test_an_older_server(pg_url, monkeypatch):
    monkeypatch.setattr(postgres, "SERVER_VERSION_MIN", 990000)
    error = refusal(pg_url)
    assert error.code == "unavailable"
    assert "needs 15 or newer" in error.message


def test_another_encoding(pg_url):
    with psycopg.connect(pg_url, autocommit=True) as c:
        c.execute("create database latin encoding 'LATIN1' locale 'C' template template0")
    try:
        error = refusal(pg_url.rsplit("/", 1)[0] + "/latin")
        assert error.code == "invalid"
        assert "LATIN1" in error.message
    finally:
        with psycopg.connect(pg_url, autocommit=True) as c:
            c.execute("drop database latin with (force)")


def test_a_store_of_a_newer_version(pg_url):
    PostgresStore(pg_url).close()
    with psycopg.connect(pg_url, autocommit=True) as c:
        c.execute("update fastio_schema set version = 999")
    error = refusal(pg_url)
    assert error.code == "unavailable"
    assert "newer fastio" in error.message


def test_without_the_driver():
    program = (
        "import sys; sys.modules['psycopg'] = None\n"
        "from fastio_cli.storage import open_store\n"
        "from fastio_cli.errors import FastioError\n"
        "try: open_store('postgresql://host/db')\n"
        "except FastioError as e: print(e.code, e.hint)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "unavailable Install it: pip install 'fastio-durable[postgres]'\n"


def test_many_open_a_new_store_at_once(pg_url):
    failures = []

    def open_one() -> None:
        try:
            PostgresStore(pg_url).close()
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=open_one) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert failures == []
    with psycopg.connect(pg_url) as c:
        assert c.execute("select count(*) from workspaces").fetchone() == (1,)


def test_the_command_line_takes_the_url(pg_url, tmp_path):
    def fastio(*words: str) -> subprocess.CompletedProcess[bytes]:
        environ = {**os.environ, "FASTIO_STORE": pg_url, "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "fastio_cli", *words]
        return subprocess.run(command, capture_output=True, env=environ, cwd=tmp_path)

    absent = fastio("state", "set", "a.json", "1")
    assert absent.returncode == 3
    assert b"fastio init --store postgresql://" in absent.stderr
    assert b'"created":true' in fastio("init").stdout
    assert b'"created":false' in fastio("init").stdout
    assert fastio("state", "set", "a.json", "1").returncode == 0
    assert fastio("state", "get", "a.json").stdout == b"1\n"
    assert fastio("backup", "x").returncode == 2
    assert fastio("doctor").returncode == 0
    assert not list(Path(tmp_path).iterdir())


def test_an_absent_database_is_not_made_by_reading(pg_url):
    config = Config({"store": pg_url})
    with pytest.raises(NotFound, match="There is no store at"):
        open_named(config)
    open_named(config, create=True).close()
    engine = open_named(config)
    assert engine.call("object.list")["items"] == []
    engine.close()


def test_settings_keep_and_show_no_password(tmp_path):
    def fastio(*words: str, **environ: str) -> subprocess.CompletedProcess[bytes]:
        environ = {**os.environ, "HOME": str(tmp_path), **environ}
        command = [sys.executable, "-m", "fastio_cli", *words]
        return subprocess.run(command, capture_output=True, env=environ, cwd=tmp_path)

    urls = (
        f"postgresql://me:{SECRET}@host/db",
        f"postgresql://me:x@{SECRET}@host/db",
        f"postgresql://host/db?user=me&password={SECRET}",
    )
    for url in urls:
        refused = fastio("config", "set", "store", url)
        assert refused.returncode == 2
        assert b"PGPASSWORD" in refused.stderr
        for words in ((), ("store",)):
            shown = fastio("config", "show", *words, FASTIO_STORE=url)
            assert shown.returncode == 0
            assert b"postgresql://" in shown.stdout
            assert SECRET.encode() not in shown.stdout + shown.stderr
    assert not (tmp_path / ".config").exists()
    plain = "postgresql://me@host:5432/db"
    assert fastio("config", "set", "store", plain).returncode == 0
    assert plain.encode() in fastio("config", "show", "store").stdout


def test_large_files_need_a_place():
    import io

    blobs = open_blobs("postgresql://host/db", None)
    assert blobs.put(io.BytesIO(b"small"), 10**9).body == b"small"
    with pytest.raises(FastioError) as caught:
        blobs.put(io.BytesIO(b"x" * 100_000), 10**9)
    assert caught.value.code == "invalid"
    assert "fastio config set blobs" in caught.value.hint
