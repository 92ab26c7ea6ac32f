"""Imports of members whose access ended, and of those who try again what others asked for."""

from __future__ import annotations

import threading
import time

import pytest

from fastio_cli.config.sources import Config
from fastio_cli.engine.authorization import identify
from fastio_cli.errors import FastioError
from fastio_cli.identity import digest_of
from fastio_cli.jobs import sweeps
from fastio_cli.jobs.imports import Imports
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.operations.imports import REQUEST_BYTES_MAX
from fastio_cli.storage.recount import check_counters
from tests.backends import kind_of
from tests.imports.site import Site

DEADLINE_S = 60.0
SECRET = {"Authorization": "Bearer HEADER-SECRET", "X-Key": "ANOTHER-SECRET"}


class Team:
    """Members of one org on one store, a site to import from, and a runner of their imports."""

    def __init__(self, backend, folder) -> None:
        self.backend = backend
        self.site = Site()
        self.engine = backend.open()
        environ = {
            "FASTIO_EGRESS_ALLOW": "127.0.0.1",
            "FASTIO_IMPORT_RETRY_MS": "1",
            "XDG_CONFIG_HOME": str(folder),
        }
        self.logins: list[str] = []  # whose logins were looked for
        self.imports = Imports(self.engine, Config(environ=environ, cwd=str(folder)), self._tokens)
        self.runner = JobRunner(self.engine, [self.imports])
        self.identities = {}
        self.engine.call("member.set", {"name": "olga", "role": "owner"})
        for member in ("ann", "bob"):
            made = self.engine.call("token.create", {"member": member, "role": "editor"})
            digest = digest_of(made["token"])
            self.identities[member] = self.engine.store.read(
                lambda tx, digest=digest: identify(tx, digest)
            )

    def _tokens(self, row):
        self.logins.append(row["actor"])
        return lambda service: None

    def by(self, member, operation, **params):
        call = self.engine.prepare(
            operation, params, "default", "", identity=self.identities[member]
        )
        return self.engine.run(call)

    def refused(self, code, member, operation, **params):
        with pytest.raises(FastioError) as caught:
            self.by(member, operation, **params)
        assert caught.value.code == code, caught.value.message
        return caught.value

    def queue(self, member, path, **params):
        urls = [self.site.url(path)]
        return self.by(member, "import.create", urls=urls, **params)["items"][0]["id"]

    def show(self, id):
        return self.engine.call("import.show", {"id": id})

    def step_until(self, is_so):
        deadline = time.monotonic() + DEADLINE_S
        while not is_so():
            assert time.monotonic() < deadline
            self.runner.step()

    def ended(self, id):
        self.step_until(lambda: self.show(id)["state"] not in ("queued", "running"))
        return self.show(id)

    def close(self):
        self.runner.close()
        self.site.close()
        self.engine.store.close()


@pytest.fixture(params=["sqlite", "postgres"])
def team(request, tmp_path):
    backend = kind_of(request.param).made(tmp_path / "store")
    team = Team(backend, tmp_path)
    yield team
    team.close()
    backend.give_back()


ENDINGS = {
    "removed": ("member.remove", {"name": "bob"}),
    "made a viewer": ("member.set", {"name": "bob", "role": "viewer"}),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_what_waits_is_cancelled_with_a_reason(team, ending):
    id = team.queue("bob", "/f", headers=SECRET)
    others = team.queue("ann", "/f")
    operation, params = ENDINGS[ending]
    team.engine.call(operation, params)
    record = team.show(id)
    assert (record["state"], record["reason_code"]) == ("cancelled", "forbidden")
    assert "bob" in record["reason"]
    job = team.engine.call("job.show", {"id": f"import-{id}"})
    assert (job["state"], job["reason"]) == ("cancelled", record["reason"])
    assert team.show(others)["state"] == "queued"
    events = team.engine.call("event.list", {"limit": 1000})["items"]
    assert [e["data"]["import"] for e in events if e["type"] == "import.cancel"] == [id]
    assert team.engine.call("audit.verify")["verified"]


def test_what_runs_is_stopped_and_writes_nothing(team):
    asked, go_on = threading.Event(), threading.Event()

    def slow(handler):
        asked.set()
        go_on.wait(DEADLINE_S)
        handler.answer(200, b"late")

    team.site.routes["/slow"] = slow
    id = team.queue("bob", "/slow", to="report.txt")
    team.step_until(asked.is_set)
    team.engine.call("member.remove", {"name": "bob"})
    go_on.set()
    team.step_until(lambda: not team.runner.running)
    assert team.show(id)["state"] == "cancelled"
    assert team.engine.call("object.list")["items"] == []


@pytest.mark.parametrize("moment", ["before it begins", "before it is written"])
def test_a_role_is_asked_again_when_the_work_is_done(team, moment):
    """Also where the role went without what cancels: with its row, or by another version."""
    asked, go_on = threading.Event(), threading.Event()

    def slow(handler):
        asked.set()
        go_on.wait(DEADLINE_S)
        handler.answer(200, b"late")

    team.site.routes["/f"] = slow
    id = team.queue("bob", "/f", to="report.txt")
    if moment == "before it is written":
        team.step_until(asked.is_set)
    team.backend.tamper("delete from members where name = :name", name="bob")
    go_on.set()
    record = team.ended(id)
    assert (record["state"], record["reason_code"]) == ("failed", "forbidden")
    assert team.engine.call("object.list")["items"] == []
    assert bool(team.site.requests) == (moment == "before it is written")


def test_a_role_in_the_workspace_is_enough(team):
    team.site.routes["/f"] = lambda h: h.answer(200, b"body")
    id = team.queue("bob", "/f", to="f.txt")
    params = {"name": "bob", "role": "editor", "in_workspace": "default"}
    team.engine.call("member.set", params)
    team.engine.call("member.remove", {"name": "bob"})
    assert team.ended(id)["state"] == "done"


def test_who_tries_again_is_who_asks(team):
    team.site.routes["/f"] = lambda h: h.answer(404)
    id = team.queue("ann", "/f", to="f.txt", headers=SECRET)
    assert team.ended(id)["state"] == "failed"
    error = team.refused("invalid", "bob", "import.retry", id=id)
    assert "ann" in error.message
    assert "SECRET" not in error.message
    team.refused("invalid", "bob", "job.retry", id=f"import-{id}")
    team.logins.clear()
    team.site.requests.clear()
    team.site.routes["/f"] = lambda h: h.answer(200, b"body")
    assert team.by("bob", "import.retry", id=id, headers={"X-Bob": "1"})["actor"] == "bob"
    assert team.ended(id)["state"] == "done"
    assert set(team.logins) == {"bob"}
    (request,) = team.site.requests
    assert "SECRET" not in str(request)
    assert request[2]["X-Bob"] == "1"
    history = team.engine.call("object.history", {"path": "f.txt"})["items"]
    assert [version["author"] for version in history] == ["bob"]


def test_who_tries_again_what_waits_takes_neither_headers_nor_lock(team):
    lock = team.by("ann", "lock.acquire", path="f.txt")
    id = team.queue("ann", "/f", to="f.txt", headers=SECRET, lock_token=lock["token"])
    team.site.routes["/f"] = lambda h: h.answer(200, b"body")
    team.refused("invalid", "bob", "import.retry", id=id)
    team.by("bob", "import.retry", id=id, headers={})
    assert team.ended(id)["reason_code"] == "locked"
    assert "SECRET" not in str(team.site.requests)


def test_headers_are_sealed_while_they_are_kept(team):
    team.site.routes["/f"] = lambda h: h.answer(503)
    id = team.queue("bob", "/f", headers=SECRET)
    stored = team.engine.store.read(lambda tx: dict(tx.imports.get(1, id)))
    assert "SECRET" not in str(stored)
    assert stored["sealed_headers"]
    team.step_until(lambda: team.site.requests)
    assert all(SECRET.items() <= request[2].items() for request in team.site.requests)
    team.engine.call("import.cancel", {"id": id})
    stored = team.engine.store.read(lambda tx: dict(tx.imports.get(1, id)))
    assert stored["sealed_headers"] is None
    team.refused("invalid", "bob", "import.retry", id=id)  # it forgot them


def test_sealed_headers_say_nothing_of_another_import(team):
    ids = [team.queue("bob", "/f", headers=SECRET), team.queue("ann", "/f")]
    sealed = team.engine.store.read(lambda tx: tx.imports.get(1, ids[0])["sealed_headers"])
    sql = "update imports set sealed_headers = :sealed, headers = :names where id = :id"
    team.backend.tamper(sql, sealed=sealed, names='{"X-Key": null}', id=ids[1])
    assert team.ended(ids[1])["reason_code"] == "unauthenticated"


def test_imports_count_for_the_workspace_and_its_org(team):
    def size():
        usage = team.engine.call("org.usage")["size_bytes"]
        assert usage == team.engine.call("workspace.show")["size_bytes"]
        assert [c.message for c in check_counters(team.engine.store) if not c.ok] == []
        return usage

    url = "http://127.0.0.1/" + "x" * 2000
    team.by("bob", "import.create", urls=[url] * 3)
    plain = size()
    assert plain > 3 * 2 * len(url)
    team.by("bob", "import.create", urls=[url], headers=SECRET)
    assert size() - plain > plain / 3 + len(str(SECRET))
    team.engine.limits.org_bytes_max = size() + 100
    team.refused("quota_exceeded", "bob", "import.create", urls=[url])
    assert size() < team.engine.limits.org_bytes_max


def test_the_urls_of_a_call_are_bounded_with_their_headers(team):
    url = "http://127.0.0.1/" + "x" * 8000
    team.refused("too_large", "bob", "import.create", urls=[url] * 1000)
    urls = ["http://127.0.0.1/"] * 1000
    team.refused("too_large", "bob", "import.create", urls=urls, headers={"X": "y" * 2000})
    assert REQUEST_BYTES_MAX < 8000 * 1000
    assert team.engine.call("import.list")["items"] == []


BODY = b"fetched bytes " * 10_000  # more than a row holds


def counted(team):
    usage = team.engine.call("org.usage")["size_bytes"]
    assert usage == team.engine.call("workspace.show")["size_bytes"]
    assert [c.message for c in check_counters(team.engine.store) if not c.ok] == []
    return usage


def locking(team, locks):
    """A route that answers after the target of an import was locked by somebody else."""

    def answer(handler):
        with team.site.lock:
            if not locks:
                locks.append(team.by("ann", "lock.acquire", path="f.bin"))
        handler.answer(200, BODY)

    return answer


def test_what_was_fetched_counts_as_long_as_it_is_kept(team):
    locks = []
    team.site.routes["/f"] = locking(team, locks)
    ids = [team.queue("bob", "/f", to="f.bin") for _ in range(2)]
    before = counted(team)
    team.ended(ids[0])
    team.ended(ids[1])
    for id in ids:
        assert team.show(id)["reason_code"] == "locked"
    kept = counted(team) - before
    assert kept == len(BODY) * len(team.site.requests)
    assert kept
    team.by("ann", "lock.release", path="f.bin", lock_token=locks.pop()["token"])
    team.site.routes["/f"] = lambda h: h.answer(200, BODY)
    team.by("bob", "import.retry", id=ids[0])
    team.by("ann", "import.retry", id=ids[1])  # begins anew, as hers
    for id in ids:
        assert team.ended(id)["state"] == "done"
    assert counted(team) == before + len(BODY)  # the second was what stood there


def test_what_has_no_room_is_not_kept(team):
    team.site.routes["/f"] = lambda h: h.answer(200, BODY)
    id = team.queue("bob", "/f", to="f.bin")
    before = counted(team)
    team.engine.limits.org_bytes_max = before + len(BODY) // 2
    record = team.ended(id)
    assert (record["state"], record["reason_code"]) == ("failed", "quota_exceeded")
    assert counted(team) == before
    assert list(team.engine.blobs.names()) == []


def test_what_was_kept_is_forgotten_with_its_blob(team, monkeypatch):
    team.site.routes["/f"] = locking(team, [])
    id = team.queue("bob", "/f", to="f.bin")
    before = counted(team)
    team.ended(id)
    assert counted(team) == before + len(BODY)
    monkeypatch.setattr(sweeps, "KEPT_MS", -1000)
    team.engine.store.write(lambda tx: sweeps._drop_expired([0, 1], tx))
    assert counted(team) == before
