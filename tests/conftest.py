"""Fixtures of the contract: a backend, its clock, and a caller on a fresh store."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from fastio_cli.config.settings import Limits
from tests import postgres
from tests.backends import BACKENDS, Caller, Clock, kind_of

# No deadline: how fast a machine is must not decide a test.
settings.register_profile("fastio", deadline=None, print_blob=True)
settings.load_profile("fastio")

# A matrix of these sizes gains little from threads, and they spin where another test is at work.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

# A shell that starts a job in the background has it ignore Ctrl-C, and so would every process that
# the tests start: those that test it need the default.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_report_header() -> str:
    return postgres.about()


@pytest.fixture(params=BACKENDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store of each kind."""
    backend = kind_of(request.param).made(tmp_path / "store")
    yield backend
    backend.give_back()


@pytest.fixture(params=[name for name in BACKENDS if not name.startswith("remote-")])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The folder of a store that is yet to be made, for processes of their own to open.

    They open it themselves, so a server in front of it would change nothing. Nobody else uses the
    store afterwards: what a killed process began there may still be going on.
    """
    return str(kind_of(request.param)(tmp_path / "store").folder)


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
