"""What the benchmarks share: budgets, how they are shown, how a process is measured."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass

import fastio_cli

BIN = os.path.dirname(sys.executable)
FASTIO = os.path.join(BIN, "fastio")


@dataclass
class Budget:
    """One measured figure against its limit; ``at_least`` says on which side of it is good."""

    name: str
    measured: float
    limit: float
    unit: str = "x"
    at_least: bool = False
    note: str = ""

    @property
    def ok(self) -> bool:
        return self.measured >= self.limit if self.at_least else self.measured <= self.limit


@dataclass
class Ended:
    """A process that has ended: its wall time and the most memory it had."""

    seconds: float
    memory_bytes: int


def arguments(about: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller rounds")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--check", action="store_true", help="fail when a budget is exceeded")
    parser.add_argument("--folder", help="work below this folder, on a real disk", default=None)
    parser.add_argument("--only", help="only the parts whose name holds this", default="")
    return parser


def run_parts(
    options: argparse.Namespace, parts: dict[str, Callable[[str, bool], Iterator[Budget]]]
) -> int:
    """Measure every part in a folder of its own, show the figures; the exit code."""
    prepare()
    budgets = []
    for name, part in parts.items():
        if options.only in name:
            with work_folder(options.folder) as folder:
                for budget in part(folder, options.quick):
                    budgets.append(budget)
                    if not options.json:
                        show(budget, first=len(budgets) == 1)
    if options.json:
        rows = [{**asdict(budget), "ok": budget.ok} for budget in budgets]
        print(json.dumps({"machine": machine(), "budgets": rows}, indent=2))
    return 1 if options.check and not all(budget.ok for budget in budgets) else 0


def show(budget: Budget, first: bool) -> None:
    if first:
        print(f"{machine()['python']} on {machine()['system']}, {machine()['cores']} cores")
        print(f"{'budget':<54} {'measured':>10} {'limit':>11}")
    side = ">=" if budget.at_least else "<="
    limit = f"{side} {budget.limit:.4g} {budget.unit}"
    line = f"{budget.name:<54} {budget.measured:>10.2f} {limit:>11}  "
    print(f"{line}{'ok' if budget.ok else 'OVER':<4}  {budget.note}".rstrip(), flush=True)


def machine() -> dict[str, object]:
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()} "
        f"({sys.executable} -> {os.path.realpath(sys.executable)})",
        "system": platform.platform(),
        "cores": os.cpu_count(),
    }


def prepare() -> None:
    """Make sure that compiled code is measured, from this interpreter's own environment."""
    if sys.prefix == sys.base_prefix or not os.path.exists(FASTIO):
        raise SystemExit("Run this with the python of the environment that fastio is installed in.")
    compileall.compile_dir(os.path.dirname(fastio_cli.__file__), quiet=1)


def environment() -> dict[str, str]:
    """The environment of measured commands: no settings of fastio or of the compiler."""
    return {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("FASTIO_") and key != "PYTHONDONTWRITEBYTECODE"
    }


@contextmanager
def work_folder(parent: str | None) -> Iterator[str]:
    """A temporary folder on a real disk: in memory a sync would cost nothing."""
    folder = tempfile.mkdtemp(prefix="fastio-benchmark-", dir=parent or os.getcwd())
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def run(argv: list[str], folder: str, *, stdin: str = os.devnull, code: int = 0) -> Ended:
    """Run one command in ``folder`` and measure it; it has to end with ``code``."""
    output = os.path.join(folder, "output")
    started = time.perf_counter()
    pid = os.posix_spawn(
        argv[0],
        argv,
        {**environment(), "HOME": folder, "XDG_CONFIG_HOME": folder, "XDG_DATA_HOME": folder},
        file_actions=[
            (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_OPEN, 1, output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600),
            (os.POSIX_SPAWN_DUP2, 1, 2),
        ],
    )
    _, status, usage = os.wait4(pid, 0)
    seconds = time.perf_counter() - started
    if os.waitstatus_to_exitcode(status) != code:
        with open(output, encoding="utf-8") as f:
            raise SystemExit(f"{' '.join(argv)[:300]} ended with {status}: {f.read()[:1000]}")
    kilobyte = 1 if sys.platform == "darwin" else 1024
    return Ended(seconds, usage.ru_maxrss * kilobyte)


def seconds_of(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def median_ratio(pairs: list[tuple[float, float]]) -> float:
    """The median over rounds of measured by peer: what slows a whole round down cancels out."""
    return statistics.median(a / b for a, b in pairs)


def worker(argv: list[str]) -> subprocess.Popen[str]:
    """A child process that is spoken to in lines."""
    return subprocess.Popen(
        [sys.executable, *argv],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
