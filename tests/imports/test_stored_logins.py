"""Logins in a server's store: refreshed once by all its processes, revoked until it is done."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastio_cli.config.sources import Config
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.imports.logins import LOGIN_LEASE_MS
from fastio_cli.jobs.imports import Imports, stored_logins
from fastio_cli.jobs.revocations import Revocations
from fastio_cli.jobs.runner import JobRunner
from tests.backends import BACKENDS, Clock

from .services import Services

DAY_S = 24 * 3600


@pytest.fixture
def services() -> Iterator[Services]:
    services = Services()
    services.files["42"] = ("report.pdf", "application/pdf", b"private", False)
    services.access.clear()
    services.refresh.add("rt-0")
    yield services
    services.close()


class Keeping:
    """Members' logins on one store, opened as often as there are processes."""

    def __init__(self, backend: Any, services: Services, folder: Path) -> None:
        self.clock = Clock()
        self._backend = backend
        self._opened: list[Engine] = []
        settings = {
            "FASTIO_EGRESS_ALLOW": "127.0.0.1,127.0.0.2",
            "FASTIO_IMPORT_ENDPOINTS": services.endpoints(),
            "FASTIO_IMPORT_RETRY_MS": "1",
            "FASTIO_IMPORT_ATTEMPTS_MAX": "1",
            "XDG_CONFIG_HOME": str(folder),
        }
        self.config = Config(environ=settings, cwd=str(folder))
        self.engine = self.open()

    def open(self) -> Engine:
        self._opened.append(self._backend.open(self.clock))
        return self._opened[-1]

    def log_in(self, service: str = "box", expires_in_s: float = 0, **params: Any) -> None:
        """A login whose access token has to be refreshed."""
        grant = {"access_token": "at-0", "refresh_token": "rt-0", "client_id": "client", **params}
        self.call("account.keep", service=service, expires_in_s=expires_in_s, **grant)

    def call(self, operation: str, /, **params: Any) -> Any:
        return self.engine.call(operation, params, actor="ada")

    def token(self, engine: Engine | None = None, actor: str = "ada") -> str | None:
        row = {"workspace_id": 1, "actor": actor}
        return stored_logins(engine or self.engine, self.config)(row)("box")

    def revoke(self) -> bool:
        """Have revocations run that are due; whether there were any."""
        runner = JobRunner(self.engine, [Revocations(self.engine, self.config)])
        tried = runner.step()
        while runner.running:
            tried += runner.step()
        runner.close()
        return bool(tried)

    def close(self) -> None:
        for engine in self._opened:
            engine.store.close()


@pytest.fixture(params=[kind for kind in BACKENDS if not kind.startswith("remote")])
def keeping(
    request: pytest.FixtureRequest, tmp_path: Path, services: Services
) -> Iterator[Keeping]:
    keeping = Keeping(BACKENDS[request.param](tmp_path / "store"), services, tmp_path)
    yield keeping
    keeping.close()


def test_a_login_is_found_for_whoever_asked(keeping: Keeping, services: Services) -> None:
    assert keeping.token() is None
    keeping.log_in(expires_in_s=3600)
    assert keeping.token() == "at-0"
    assert keeping.token(actor="bob") is None
    assert (
        stored_logins(keeping.engine, keeping.config)({"workspace_id": 99, "actor": "ada"})("box")
        is None
    )
    assert services.grants == 0


def test_the_login_of_another_org_is_another_one(keeping: Keeping) -> None:
    keeping.log_in(expires_in_s=3600)
    keeping.call("org.create", name="acme")
    acme = keeping.engine.store.read(lambda tx: tx.workspaces.by_name("acme/default"))
    row = {"workspace_id": acme["id"], "actor": "ada"}
    assert stored_logins(keeping.engine, keeping.config)(row)("box") is None


def test_it_is_refreshed_once_by_many_processes(keeping: Keeping, services: Services) -> None:
    """A refresh token that is good for one use only is used once, whoever needs it at a time."""
    keeping.log_in()
    engines = [keeping.open() for _ in range(4)]
    found: list[str | None] = []
    threads = [
        threading.Thread(target=lambda e=engine: found.append(keeping.token(e)))
        for engine in engines * 2
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == ["at-1"] * 8
    assert services.grants == 1


def test_whoever_died_holding_it_is_passed_over(keeping: Keeping, services: Services) -> None:
    keeping.log_in()
    who = "", "ada", "box"
    store = keeping.engine.store
    assert store.write(lambda tx: tx.logins.hold(*who, tx.now_ms, tx.now_ms + LOGIN_LEASE_MS))
    found: list[str | None] = []
    waiting = threading.Thread(target=lambda: found.append(keeping.token()))
    waiting.start()
    keeping.clock.advance(LOGIN_LEASE_MS / 1000 + 1)
    waiting.join(60)
    assert found == ["at-1"]


def test_a_refused_refresh_asks_for_a_new_login(keeping: Keeping, services: Services) -> None:
    keeping.log_in()
    services.refresh.clear()
    for _ in range(2):  # nobody is left holding it
        with pytest.raises(FastioError, match="no longer accepted") as caught:
            keeping.token()
    assert caught.value.hint == "Log in again: fastio import login box"
    services.refresh.add("rt-7")
    keeping.log_in(refresh_token="rt-7")
    assert keeping.token() == "at-1"


def test_an_import_uses_it(keeping: Keeping, services: Services) -> None:
    keeping.log_in()
    link = "https://app.box.com/s/42"
    id = keeping.call("import.create", urls=[link])["items"][0]["id"]
    runner = JobRunner(keeping.engine, [Imports(keeping.engine, keeping.config)])
    deadline = time.monotonic() + 60
    while (record := keeping.call("import.show", id=id))["state"] in ("queued", "running"):
        assert time.monotonic() < deadline
        runner.step()
    runner.close()
    assert record["state"] == "done", record["reason"]
    assert services.grants == 1


def test_an_ended_login_is_revoked_and_forgotten(keeping: Keeping, services: Services) -> None:
    keeping.log_in()
    assert not keeping.revoke()
    keeping.call("account.remove", service="box")
    assert keeping.token() is None
    assert keeping.revoke()
    assert services.refresh == set()
    assert not keeping.revoke()
    assert keeping.engine.store.read(lambda tx: tx.logins.ended()) == []


def test_a_service_that_is_away_is_asked_again_for_a_day(
    keeping: Keeping, services: Services
) -> None:
    keeping.log_in()
    keeping.call("account.remove", service="box")
    endpoints = services.endpoints()
    services.close()
    assert keeping.revoke()
    assert not keeping.revoke()  # not at once
    keeping.clock.advance(LOGIN_LEASE_MS / 1000 + 1)
    assert keeping.revoke()
    assert endpoints
    keeping.clock.advance(DAY_S)
    assert keeping.revoke()
    keeping.clock.advance(DAY_S)
    assert not keeping.revoke()


def test_a_new_login_is_not_revoked_for_the_old_one(keeping: Keeping, services: Services) -> None:
    """A service may end everything a person granted a client by one revocation."""
    keeping.log_in()
    keeping.call("account.remove", service="box")
    keeping.log_in(expires_in_s=3600)
    assert not keeping.revoke()
    assert services.refresh == {"rt-0"}
    assert keeping.token() == "at-0"


def test_logins_without_an_address_to_revoke_them_are_forgotten(
    keeping: Keeping, services: Services
) -> None:
    keeping.log_in("onedrive")
    keeping.call("account.remove", service="onedrive")
    assert keeping.revoke()
    assert not keeping.revoke()
    assert services.site.requests == []
