"""Fixtures of the contract: a backend, its clock, and a caller on a fresh store."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fastio_cli.config import Limits
from tests import postgres
from tests.backends import BACKENDS, Caller, Clock, made

# No deadline: how fast a machine is must not decide a test.
settings.register_profile("fastio", deadline=None, print_blob=True)
settings.load_profile("fastio")

# A shell that starts a job in the background has it ignore Ctrl-C, and so would every process that
# the tests start: those that test it need the default.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return postgres.about()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store of each kind."""
    return made(request.param, BACKENDS[request.param], tmp_path / "store")


@pytest.fixture
def folder(backend: Any) -> str:
    """The folder of a store of each kind, for processes of their own to open."""
    return str(backend.folder)


@pytest.fixture
def open_caller(backend: Any) -> Any:
    """Opens further callers on the backend's store, as another process would."""
    opened = []

    def open(clock: Callable[[], float] | None = None, **limits: int) -> Caller:
        caller = Caller(backend, backend.open(clock, Limits(**limits)))
        opened.append(caller)
        return caller

    yield open
    for caller in opened:
        caller.engine.store.close()


@pytest.fixture
def caller(open_caller: Any) -> Caller:
    return open_caller()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def timed(open_caller: Any, clock: Clock) -> Caller:
    """A caller whose store goes by the ``clock`` fixture."""
    return open_caller(clock)
