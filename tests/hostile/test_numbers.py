"""Numbers never go back: what a store gave out before it was put back is of no use afterwards."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import psycopg
import pytest

from fastio_cli.client.remote import Remote
from fastio_cli.errors import FastioError
from fastio_cli.storage import incarnation
from fastio_cli.storage.backup import backup, restore
from tests.backends import Caller, Postgres, Sqlite, kind_of
from tests.client.serving import fastio
from tests.engines import open_engine
from tests.remote import Running

STORES = [name for name, kind in {"sqlite": Sqlite, "postgres": Postgres}.items() if kind]


class Moment:
    """A store as it was at one moment, put back by other means than fastio's."""

    def __init__(self, place) -> None:
        self._place = place
        if isinstance(place, Postgres):
            self._rows = {name: self._dumped(name) for name in self._tables()}
        else:
            self._copy = f"{place.folder}.moment"
            shutil.copytree(place.folder, self._copy)

    def put_back(self) -> None:
        if not isinstance(self._place, Postgres):
            shutil.rmtree(self._place.folder)
            shutil.copytree(self._copy, self._place.folder)
            return
        with psycopg.connect(self._place.url) as c:
            c.execute(f"truncate {', '.join(self._rows)} cascade")
            # Those that others refer to come first.
            for name in sorted(self._rows, key=lambda n: (n != "orgs", n != "workspaces", n)):
                with c.cursor().copy(f"copy {name} from stdin") as copy:
                    copy.write(self._rows[name])

    def _tables(self) -> list[str]:
        with psycopg.connect(self._place.url) as c:
            rows = c.execute("select tablename from pg_tables where schemaname = current_schema")
            return [name for (name,) in rows]

    def _dumped(self, table: str) -> bytes:
        sql = f"copy {table} to stdout"
        with psycopg.connect(self._place.url) as c, c.cursor().copy(sql) as copy:
            return b"".join(bytes(data) for data in copy)


class Given:
    """Everything that a store gave out: to be compared with what it gives out later."""

    def __init__(self) -> None:
        self._highest = self._version = 0

    def see(self, number: int) -> None:
        """It is new, so above all others."""
        assert number > self._highest, "a number was given out before"
        self._highest = number

    def work(self, caller: Caller, n: int) -> None:
        """Some of all that gives out numbers."""
        versions = [caller("state.set", path=p, value=n)["version"] for p in ("p.json", "new")]
        assert min(versions) > self._version
        self._version = max(versions)
        self.see(caller.last_event()["seq"])
        lock = caller("lock.acquire", path="p.json")
        self.see(lock["fence"])
        caller("lock.release", path="p.json", lock_token=lock["token"])
        self.see(caller.last_event()["seq"])


@pytest.fixture(params=STORES)
def place(request, tmp_path):
    place = kind_of(request.param).made(tmp_path / "store")
    yield place
    place.give_back()


@pytest.fixture
def opened():
    """Opens callers on stores, and closes them at the end."""
    engines = []

    def open(place):
        engines.append(open_engine(place.folder if hasattr(place, "folder") else place))
        return Caller(place, engines[-1])

    yield open
    for engine in engines:
        engine.close()


def fill(caller):
    """The state that is backed up: p.json at version 3, the log at event 5."""
    for n in range(3):
        caller("state.set", path="p.json", value=n)
    caller("workspace.create", name="w")
    caller("state.set", path="a.json", value=1, workspace="w")
    caller("file.put", path="b.txt", content=caller.upload(b"b"))
    return caller("lock.acquire", path="q.json")["token"]


def lose(caller):
    """What happens after the backup, and is lost: what was given out for it."""
    caller("state.set", path="p.json", value="read by A")
    caller("state.set", path="only-then.json", value=1)
    lock = caller("lock.acquire", path="p.json")
    caller("lock.release", path="p.json", lock_token=lock["token"])
    caller("workspace.create", name="later")
    caller("state.set", path="a.json", value=1, workspace="later")
    held = caller("lock.acquire", path="held.json")
    return {
        "version": caller("object.info", path="p.json")["version"],
        "fence": held["fence"],
        "token": held["token"],
        "seq": caller.last_event()["seq"],
        "head": caller("audit.verify"),
    }


def check_nothing_matches(caller, lost, token_of_backup):
    """That nothing that was given out before is worth anything now."""
    assert caller.value("p.json") == 2
    chain = caller("audit.verify")
    assert chain["verified"], chain["problem"]
    assert chain["events"] == caller("workspace.usage")["event_count"]
    head = {key: lost["head"][key] for key in ("head_seq", "head_hash")}
    assert "missing" in caller("audit.verify", **head)["problem"]
    error = caller.refused("invalid", "event.list", after=lost["seq"])
    parted = caller("event.list", after=error.details["parted_after"])["items"]
    assert (parted[0]["type"], parted[0]["data"]) == (
        "store.restore",
        {"after": error.details["parted_after"]},
    )
    caller.refused("invalid", "event.list", after=lost["seq"], wait_s=60)
    with pytest.raises(FastioError):
        next(iter(caller.engine.watch("default", after=lost["seq"])))

    written = caller("state.set", path="p.json", value="by B")
    assert written["version"] > lost["version"]
    new = caller("state.set", path="only-then.json", value="new")
    for path, version in (("p.json", lost["version"]), ("only-then.json", 1)):
        caller.refused("version_conflict", "state.set", path=path, value="A", if_version=version)
    lock = caller("lock.acquire", path="held.json")
    assert lock["fence"] > lost["fence"]
    assert lock["token"] != lost["token"]
    lock_token = {"path": "held.json", "value": 1}
    caller.refused("lock_lost", "state.set", **lock_token, lock_token=lost["token"])
    caller.refused("lock_lost", "state.set", path="q.json", value=1, lock_token=token_of_backup)
    caller("workspace.create", name="later")
    caller.refused("invalid", "event.list", after=2, workspace="later")
    renewed = caller("state.set", path="a.json", value=2, workspace="later")
    assert renewed["version"] > 1
    # What is counted from one version to the next takes no notice of the numbers left out.
    assert caller("object.diff", path="p.json")["from_version"] == 3
    assert caller("object.restore", path="p.json")["version"] == written["version"] + 1
    assert caller.value("p.json") == 2
    assert caller("object.diff", path="only-then.json")["from_version"] == 0
    assert caller("object.info", path="only-then.json") == new
    for workspace in ("default", "w", "later"):
        chain = caller("audit.verify", workspace=workspace)
        assert chain["verified"], chain["problem"]


def test_a_backup_in_place_of_the_store_it_is_of(tmp_path, opened):
    caller = opened(tmp_path / "s")
    token = fill(caller)
    backup(caller.engine.store, caller.engine.blobs, str(tmp_path / "b"))
    lost = lose(caller)
    begun = restore(str(tmp_path / "b"), str(tmp_path / "s"))
    caller.engine.begin_numbers("ops")  # on connections of before, as a server has them
    assert begun["floor"] == lost["seq"]  # which is known
    check_nothing_matches(caller, lost, token)


def test_a_backup_in_a_place_where_nothing_is_known_of_the_store(tmp_path, opened):
    caller = opened(tmp_path / "s")
    token = fill(caller)
    backup(caller.engine.store, caller.engine.blobs, str(tmp_path / "b"))
    lost = lose(caller)
    restore(str(tmp_path / "b"), str(tmp_path / "new"))
    other = opened(tmp_path / "new")
    other.engine.begin_numbers("ops")
    check_nothing_matches(other, lost, token)


def test_a_store_put_back_by_other_means(place, opened):
    caller = opened(place)
    token = fill(caller)
    moment = Moment(place)
    lost = lose(caller)
    caller.engine.close()
    moment.put_back()
    caller = opened(place)
    caller.engine.store.write(lambda tx: incarnation.begin(tx, None))
    caller.engine.begin_numbers("ops")
    check_nothing_matches(caller, lost, token)


def test_a_job_that_was_taken_before_is_not_ended_afterwards(place, opened):
    caller = opened(place)
    caller("import.create", urls=["https://example.com/a"])
    store = caller.engine.store

    def lease(tx):
        row = tx.jobs.claim(1, "import-1", tx.now_ms, tx.now_ms + 60_000)
        return row["fence"]

    moment = Moment(place)
    fence = store.write(lease)
    caller.engine.close()
    moment.put_back()
    store = opened(place).engine.store
    store.write(lambda tx: incarnation.begin(tx, None))
    assert store.write(lease) > fence
    assert not store.write(lambda tx: tx.jobs.finish(1, "import-1", fence, tx.now_ms))


def test_before_the_first_event_the_numbers_of_before_are_beyond_the_end(place, opened):
    caller = opened(place)
    fill(caller)
    seq = caller.last_event()["seq"]
    caller.engine.store.write(lambda tx: incarnation.begin(tx, None))
    count = caller("workspace.usage")["event_count"]
    assert caller("event.list", after=seq)["items"] == []
    caller.refused("invalid", "event.list", after=seq + 1)
    caller("state.set", path="p.json", value=3)
    assert [e["type"] for e in caller("event.list", after=seq)["items"]] == [
        "store.restore",
        "state.set",
    ]
    assert caller("workspace.usage")["event_count"] == count + 2


def test_one_backup_restored_again_and_again(tmp_path, opened):
    """Each time where nothing is known of the time before, and in use at once."""
    caller = opened(tmp_path / "s")
    fill(caller)
    backup(caller.engine.store, caller.engine.blobs, str(tmp_path / "b"))
    given = Given()
    given.work(caller, 0)
    for n in range(1, 5):
        folder = tmp_path / f"again-{n // 2}"  # in place of another, or of none
        restore(str(tmp_path / "b"), str(folder))
        again = opened(folder)
        calls = [{"path": f"{i}", "value": 1} for i in range(200)]
        prepared = [again.engine.prepare("state.set", params, "default", "ada") for params in calls]
        assert not [o for o in again.engine.call_many(prepared) if isinstance(o, Exception)]
        given.work(again, n)


def test_many_versions_are_kept_across_numbers_left_out(place, opened):
    place_caller = opened(place)
    limits = place_caller.engine.limits
    limits.versions_max = 20
    for n in range(20):
        place_caller("state.set", path="p.json", value=n)
    place_caller.engine.store.write(lambda tx: incarnation.begin(tx, None))
    for n in range(20, 70):
        place_caller("state.set", path="p.json", value=n)
        kept = place_caller("object.history", path="p.json", limit=1000)["items"]
        assert len(kept) >= 20
        assert len(kept) <= 20 + 16
        last = place_caller.value("p.json", version=kept[19]["version"])
        assert last == n - 19
    sizes = place_caller("workspace.usage")
    assert sizes["size_bytes"] < 200


def test_a_workspace_of_a_name_that_was_used_before(place, opened):
    caller = opened(place)
    given = []
    for n in range(3):
        caller("workspace.create", name="w")
        version = caller("state.set", path="p.json", value=n, workspace="w")["version"]
        lock = caller("lock.acquire", path="p.json", workspace="w")
        cursor = caller.last_event("w")["seq"]
        for old_version, old_lock, old_cursor in given:
            assert version > old_version
            assert lock["fence"] > old_lock["fence"]
            caller.refused("invalid", "event.list", after=old_cursor, workspace="w")
            write = {"path": "p.json", "value": "x", "workspace": "w"}
            caller.refused("locked", "state.set", **write, lock_token=old_lock["token"])
        given.append((version, lock, cursor))
        caller("audit.verify", workspace="w")
        if n == 1:
            caller("workspace.rename", name="elsewhere", workspace="w")
        else:
            caller("workspace.delete", workspace="w")
    caller("workspace.restore", name="w")
    for old_version, _, old_cursor in given[:2]:
        assert caller("object.info", path="p.json", workspace="w")["version"] > old_version
        caller.refused("invalid", "event.list", after=old_cursor, workspace="w")
    caller("workspace.rename", name="third", workspace="w")
    caller("workspace.rename", name="w", workspace="elsewhere")
    seq = caller.last_event("third")["seq"]
    assert caller.last_event("w")["seq"] > given[2][2]
    assert seq > given[2][2]
    for workspace in ("third", "w"):
        chain = caller("audit.verify", workspace=workspace)
        assert chain["verified"], chain["problem"]


def test_what_was_taken_back_stays_so(tmp_path, opened):
    caller = opened(tmp_path / "s")
    tokens = {name: caller("token.create", member=name) for name in ("ann", "bob")}
    offer = caller("transfer.create")
    backup(caller.engine.store, caller.engine.blobs, str(tmp_path / "b"))
    caller("token.revoke", id=tokens["bob"]["id"])
    caller("transfer.revoke", id=offer["id"])

    def live(caller):
        items = caller("token.list")["items"]
        return {t["member"] for t in items if t["revoked_at"] is None}

    begun = restore(str(tmp_path / "b"), str(tmp_path / "s"))
    assert (begun["tokens"], begun["revocations_known"]) == (1, True)
    assert live(caller) == {"ann"}
    assert caller("transfer.list")["items"][0]["state"] == "revoked"
    begun = restore(str(tmp_path / "b"), str(tmp_path / "new"))
    assert (begun["tokens"], begun["revocations_known"]) == (2, False)
    assert live(opened(tmp_path / "new")) == {"ann", "bob"}
    begun = restore(str(tmp_path / "b"), str(tmp_path / "none"), revoke_tokens=True)
    assert begun["tokens"] == 0
    assert live(opened(tmp_path / "none")) == set()


def test_a_server_and_its_watchers_hear_of_a_restore(tmp_path, opened):
    caller = opened(tmp_path / "s")
    fill(caller)
    backup(caller.engine.store, caller.engine.blobs, str(tmp_path / "b"))
    server = Running(caller.engine)
    remote = Remote(server.url, server.token("ada"), retry_s=2)
    try:
        lost = lose(caller)
        restore(str(tmp_path / "b"), str(tmp_path / "s"), revoke_tokens=False)
        remote = Remote(server.url, server.token("eve"), retry_s=2)
        caller.engine.begin_numbers("ops")
        for after in (lost["seq"], 2**53 - 1):
            with pytest.raises(FastioError) as caught:
                next(iter(remote.watch("default", after=after)))
            assert caught.value.code == "invalid"
        newest = remote.call("workspace.show")["seq"]
        again = remote.call("lock.acquire", {"path": "p.json"})
        assert again["fence"] > lost["fence"]
        assert next(iter(remote.watch("default", after=newest)))["seq"] == again["fence"]
    finally:
        remote.close()
        server.stop()


def test_a_chain_that_leaves_numbers_out_without_a_reason_is_broken(place, opened):
    caller = opened(place)
    fill(caller)
    caller.engine.store.write(lambda tx: incarnation.begin(tx, None))
    caller("state.set", path="p.json", value=3)
    assert caller("audit.verify")["verified"]
    jump = "type = 'store.restore' and workspace_id = 1"
    place.tamper(f"update events set type = 'state.set' where {jump}")
    assert "missing" in caller("audit.verify")["problem"]
    place.tamper(
        "update events set type = 'store.restore' where type = 'state.set' and data like :d",
        d='{"after":%',
    )
    assert caller("audit.verify")["verified"]
    place.tamper("delete from events where workspace_id = 1 and seq = 2")
    assert "Event 2 is missing" in caller("audit.verify")["problem"]


KILLER = """
import os, signal, sys
steps = int(sys.argv.pop(1))
def count(frame, event, arg):
    global steps
    if not frame.f_code.co_filename.endswith(("/backup.py", "/incarnation.py", "/copy.py")):
        return None
    def line(frame, event, arg):
        global steps
        steps -= 1
        if steps == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return line
    return line
sys.settrace(count)
from fastio_cli.cli.main import main
sys.exit(main())
"""


def killed_at(step, *words, environ):
    """Run a command that kills itself at a line of the code that restores or copies."""
    command = [sys.executable, "-c", KILLER, str(step), *words]
    return subprocess.run(command, env=environ, capture_output=True, timeout=120).returncode


def test_killed_while_it_restores(tmp_path):
    environ = {**os.environ, "FASTIO_STORE": str(tmp_path / "s"), "HOME": str(tmp_path)}

    def run(*words):
        done = fastio(*words, environ=environ)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    run("init")
    for n in range(3):
        run("state", "set", "p.json", str(n))
    run("backup", str(tmp_path / "b"))
    highest = run("state", "set", "p.json", '"lost"')["version"]
    step, ended = 3, False
    while not ended:
        code = killed_at(step, "restore", str(tmp_path / "b"), "--yes", environ=environ)
        ended = code == 0
        assert ended or code == -signal.SIGKILL
        shown = run("state", "set", "p.json", '"after"')
        assert shown["version"] > highest
        highest = shown["version"]
        assert run("audit", "verify")["verified"]
        step += 11
    assert not [name for name in os.listdir(tmp_path / "s") if re.match("store.*damaged", name)]


def test_the_commands(tmp_path):
    environ = {**os.environ, "FASTIO_STORE": str(tmp_path / "s"), "HOME": str(tmp_path)}

    def run(*words, code=0):
        done = fastio(*words, environ=environ)
        assert done.returncode == code, done.stderr
        return done

    run("init")
    run("state", "set", "p", '"old"')
    run("backup", str(tmp_path / "b.fio"))
    run("state", "set", "p", '"read by A"')
    run("lock", "acquire", "other")
    run("token", "create", "ann")
    run("restore", str(tmp_path / "b.fio"), "--yes")
    run("state", "set", "p", '"by B"')
    assert (
        b"version_conflict"
        in run("state", "set", "p", "1", "--if-version", "2", code=5).stderr.encode()
    )
    assert "store.restore" in run("event", "list").stdout
    assert run("event", "watch", "--after", "3", "--timeout", "1", code=2).stderr
    assert run("doctor").returncode == 0
    run("token", "create", "ann")
    told = run("store", "restored")
    assert "1 tokens count again" in told.stderr
    assert json.loads(told.stdout)["floor"] > 1_000_000
    assert "count again" not in run("store", "restored", "--revoke-tokens").stderr
