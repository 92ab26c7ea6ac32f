"""Ctrl-C at any moment of a command's start: it ends as a shell expects, without a traceback."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import made_store

COMMAND = ["state", "get", "a.json"]

# Presses Ctrl-C when a module is about to be imported.
PRESSED = """
import os, runpy, signal, sys

class Press:
    def find_spec(name, path, target=None):
        if name == moment:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Press)
moment = sys.argv.pop(1)
runpy.run_module("fastio_cli", run_name="__main__")
"""


def fastio(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "FASTIO_STORE": made_store(folder), "HOME": str(folder)}
    environ.pop("FASTIO_NO_FAST_EXIT", None)
    return subprocess.run(
        [sys.executable, *argv], capture_output=True, text=True, env=environ, timeout=60
    )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home")
    assert fastio(folder, "-m", "fastio_cli", "state", "set", "a.json", "1").returncode == 0
    return folder


def imported(home):
    """The modules of the package that the command imports, from its beginning on."""
    done = fastio(home, "-X", "importtime", "-m", "fastio_cli", *COMMAND)
    names = [line.rpartition("|")[2].strip() for line in done.stderr.splitlines()]
    return [name for name in names if name.startswith("fastio_cli.")]


def test_ctrl_c_while_a_command_starts(home):
    modules = imported(home)
    assert {"fastio_cli.cli.main", "fastio_cli.storage.sqlite.store"} <= set(modules)
    for module in modules:
        done = fastio(home, "-c", PRESSED, module, *COMMAND)
        assert done.stdout == "", module
        assert done.returncode in (-signal.SIGINT, 130), (module, done)
        assert "Traceback" not in done.stderr, module
        if done.returncode == 130:
            assert "Interrupted" in done.stderr, module
