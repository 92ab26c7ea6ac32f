"""Behind PgBouncer in transaction mode, where every transaction may get another connection."""

from __future__ import annotations

import shutil
import subprocess
import threading

import psycopg
import pytest

from tests.backends import until
from tests.ports import free_port
from tests.postgres import as_nobody
from tests.requirements import lacking

THREADS = 6
EACH = 10
# Debian keeps it where only root looks.
PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")


@pytest.fixture
def pooled_url(pg_url, tmp_path):
    """A database's URL through a PgBouncer with two connections to share."""
    if PROGRAM is None:
        lacking("pgbouncer is not installed")
    parts = psycopg.conninfo.conninfo_to_dict(pg_url)
    port = free_port()
    users = tmp_path / "users.txt"
    users.write_text('"fastio" ""\n')
    config = tmp_path / "pgbouncer.ini"
    config.write_text(
        f"""[databases]
        {parts["dbname"]} = host={parts["host"]} port={parts["port"]} user=fastio
        [pgbouncer]
        listen_addr = 127.0.0.1
        listen_port = {port}
        unix_socket_dir =
        auth_type = any
        auth_file = {users}
        pool_mode = transaction
        default_pool_size = 2
        """.replace("        ", "")
    )
    tmp_path.chmod(0o755)
    log = tmp_path / "pgbouncer.log"
    with log.open("wb") as out:
        process = subprocess.Popen([*as_nobody(), PROGRAM, str(config)], stdout=out, stderr=out)
    url = pg_url.replace(f":{parts['port']}/", f":{port}/")
    try:
        until(lambda: process.poll() is not None or _answers(url))
        assert process.poll() is None, log.read_text()
        yield url
    finally:
        process.terminate()
        process.wait(10)


def _answers(url):
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True


def test_writers_share_connections(pooled_url, open_engine):
    engines = [open_engine(pooled_url) for _ in range(2)]
    engines[0].call("state.set", {"path": "n", "value": 0})
    failures = []

    def increment(number):
        try:
            for _ in range(EACH):
                engines[number % 2].call("state.increment", {"path": "n"})
                engines[number % 2].call("state.get", {"path": "n"})
        except Exception as e:
            failures.append(e)

    threads = [threading.Thread(target=increment, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []
    assert engines[1].call("state.get", {"path": "n"})["value"] == THREADS * EACH
    assert engines[1].call("audit.verify")["verified"]


def test_no_setting_leaks_to_others(pooled_url, open_engine):
    engine = open_engine(pooled_url)
    seen = set()

    def look(tx):
        seen.add(tx._db.one("select current_setting('statement_timeout') as n")["n"])

    for n in range(10):
        engine.call("state.set", {"path": "n", "value": n})
        engine.store.write(look)
    assert seen == {"30s"}
    with psycopg.connect(pooled_url, autocommit=True, prepare_threshold=None) as c:
        assert c.execute("show statement_timeout").fetchone() == ("0",)
        assert c.execute("select count(*) from pg_prepared_statements").fetchone() == (0,)
        assert c.execute(
            "select count(*) from pg_locks where locktype = 'advisory'"
        ).fetchone() == (0,)
