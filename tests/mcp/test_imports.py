"""Who does not speak the protocol does not pay for it: its SDK takes half a second to import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import fastio_cli
from tests.engines import made_store

PACKAGE = Path(fastio_cli.__file__).parent
SDK = {"mcp", "mcp_types", "pydantic"}
MAY_SPEAK_IT = {PACKAGE / "cli/mcp.py", PACKAGE / "cli/serve.py"}
COMMANDS = [
    "--version",
    "--help",
    "mcp --help",
    "serve --help",
    "state set a.json 1",
    "state list --format table",
    "lock acquire a.json --ttl 60",
    "event list",
    "query tigers --mode lexical",
    "prime",
    "guard check a.json",
    "doctor",
    "setup claude --dry-run",
    "state gte a.json",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Runs a command; the modules of the SDK that it has imported."""
    home = tmp_path_factory.mktemp("home")
    env = {"FASTIO_STORE": made_store(home / "store"), "HOME": str(home), "PATH": "/usr/bin:/bin"}

    def run(words):
        argv = [sys.executable, "-X", "importtime", "-m", "fastio_cli", *words.split()]
        done = subprocess.run(argv, cwd=home, env=env, capture_output=True, text=True)
        lines = [line for line in done.stderr.splitlines() if line.startswith("import time:")]
        imported = {line.rpartition("|")[2].strip() for line in lines}
        assert "fastio_cli.cli.main" in imported
        return imported & SDK

    return run


@pytest.mark.parametrize("words", COMMANDS)
def test_other_commands_import_none_of_it(run, words):
    assert not run(words)


def test_no_other_module_imports_it():
    """Nor the package that stands on it, not even within a function."""
    for file in set(PACKAGE.rglob("*.py")) - MAY_SPEAK_IT - set((PACKAGE / "mcp").rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            for name in names:
                assert name.partition(".")[0] not in SDK, file
                assert not name.startswith("fastio_cli.mcp"), file
