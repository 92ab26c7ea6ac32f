"""The official conformance suite of the protocol, against ``/mcp`` of a real server.

The suite calls tools, resources and prompts by name, which ``fixtures.py`` adds to fastio's own,
and knows no tokens: one is put before each of its requests. It runs on Node 22 or later, which
comes from the package registry as the suite does.
"""

from __future__ import annotations

import re
import subprocess
from functools import partial

import pytest

from fastio_cli.mcp.http import McpSurface
from tests.engines import open_engine
from tests.mcp.fixtures import extend
from tests.remote import Running, make_token
from tests.requirements import lacking, need_program

pytestmark = [
    pytest.mark.xdist_group("mcp_conformance"),  # one worker installs and runs the suite
    # The suite still wants log messages of a server.
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

PACKAGES = ["@modelcontextprotocol/conformance@0.2.0-alpha.12", "node@24"]
SUITE_S = 300
SKILLS = ["directory", "enumeration", "manifest"]
# A server without sessions cannot ask a client of before 2026-07-28 something while it answers,
# and cannot remember what it subscribed to.
NEEDS_A_SESSION = {
    "elicitation-sep1034-defaults",
    "elicitation-sep1330-enums",
    "resources-subscribe",
    "resources-unsubscribe",
    "tools-call-elicitation",
    "tools-call-sampling",
}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """Runs the suite with arguments; what it prints."""
    need_program("npm")
    folder = tmp_path_factory.mktemp("suite")
    install = ["npm", "install", "--no-audit", "--no-fund", "--prefix", str(folder), *PACKAGES]
    done = subprocess.run(install, cwd=folder, capture_output=True, text=True, timeout=SUITE_S)
    if done.returncode:
        lacking(f"npm cannot install the conformance suite: {done.stderr[-500:]}")
    programs = folder / "node_modules" / ".bin"

    def run(*arguments):
        argv = [programs / "node", programs / "conformance", "server", *arguments]
        done = subprocess.run(argv, cwd=folder, capture_output=True, text=True, timeout=SUITE_S)
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    """Where the suite finds a server with the fixtures, and is let in."""
    engine = open_engine(tmp_path_factory.mktemp("server") / "store")
    header = b"authorization", b"Bearer " + make_token(engine, "ada").encode()
    surface = McpSurface(engine, extend)
    server = Running(engine, front=partial(WithHeader, header=header), surfaces=[surface])
    yield f"{server.url}/mcp"
    server.stop()
    engine.close()


class WithHeader:
    """An application whose requests all have a header more."""

    def __init__(self, app, header):
        self._app = app
        self._header = header

    async def __call__(self, scope, receive, send):
        if scope["type"] == "http":
            scope = {**scope, "headers": [*scope["headers"], self._header]}
        await self._app(scope, receive, send)


def outcomes(printed):
    """The scenarios of a run, and whether each passed."""
    found = re.findall(r"^([✓✗]) (\S+): \d+ passed, \d+ failed$", printed, re.MULTILINE)
    return {name: mark == "✓" for mark, name in found}


@pytest.mark.parametrize(
    ("revision", "missing"), [("2026-07-28", set()), ("2025-11-25", NEEDS_A_SESSION)]
)
def test_what_a_revision_requires(suite, url, revision, missing):
    printed = suite("--url", url, "--requirements", revision)
    ran = outcomes(printed)
    # Of extensions that no revision requires, that of tasks is not served.
    failed = {name for name, has_passed in ran.items() if not has_passed}
    assert {name for name in failed if not name.startswith("tasks-")} == missing, printed
    assert len(ran) - len(failed) >= 27, printed


@pytest.mark.parametrize("part", SKILLS)
def test_the_extension_of_skills(suite, url, part):
    scenario = "--force", "--scenario", f"sep-2640-skills-{part}", "--spec-version", "2026-07-28"
    printed = suite("--url", url, *scenario)
    assert re.search(r"^Passed: (\d+)/\1, 0 failed, 0 warnings$", printed, re.MULTILINE), printed
