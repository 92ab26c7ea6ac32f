"""The table of all kinds of jobs that a server runs: a further one is a module and a line here."""

from __future__ import annotations

from fastio_cli.jobs.imports import Imports
from fastio_cli.jobs.indexing import Indexing
from fastio_cli.jobs.revocations import Revocations
from fastio_cli.jobs.runner import JobRunner, RunnerThread
from fastio_cli.jobs.sweeps import Sweeps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.config.sources import Config
    from fastio_cli.engine.engine import Engine
    from fastio_cli.jobs.kind import JobKind

KINDS = (Imports, Revocations, Indexing, Sweeps)


def runner_thread(engine: Engine, config: Config) -> RunnerThread:
    """A thread, not started yet, that runs jobs of all kinds. Raises ``invalid`` as ``every``."""
    return RunnerThread(JobRunner(engine, every(engine, config)))


def every(engine: Engine, config: Config) -> list[JobKind[Any]]:
    """All kinds, ready to run. Raises ``invalid`` when the settings for requests are wrong."""
    return [kind(engine, config) for kind in KINDS]
