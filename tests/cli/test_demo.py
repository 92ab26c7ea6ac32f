"""``fastio demo`` runs for real, tells the truth, and leaves nothing behind."""

import copy
import json
import os
import re
import signal
import subprocess
import sys

import pexpect
import pytest

from fastio_cli.cli import demo
from fastio_cli.errors import FastioError

COMMAND = [sys.executable, "-m", "fastio_cli", "demo"]
TIMEOUT_S = 60

pytestmark = pytest.mark.xdist_group("demo")  # one run of it serves many tests


@pytest.fixture
def environment(tmp_path):
    """An environment in which temporary folders are made in ``tmp_path`` and nothing is set."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("FASTIO_")}
    return {**kept, "TMPDIR": str(tmp_path), "HOME": str(tmp_path), "TERM": "xterm"}


def run(environment, *flags):
    return subprocess.run(
        [*COMMAND, *flags], env=environment, capture_output=True, text=True, timeout=TIMEOUT_S
    )


@pytest.fixture(scope="module")
def facts():
    """The report of one real run."""
    done = subprocess.run([*COMMAND, "--json"], capture_output=True, text=True, timeout=TIMEOUT_S)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_plain_lines_tell_the_story(environment, tmp_path):
    done = run(environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "is killed (exit code -9)" in done.stdout
    assert done.stdout.count("lock_lost (exit code 5)") == 2
    assert done.stdout.count("\n  ok ") == 9
    assert "BROKEN" not in done.stdout
    assert "\x1b" not in done.stdout
    assert os.listdir(tmp_path) == []


def test_settings_of_the_user_do_not_change_it(environment):
    settings = {
        "FASTIO_WORKSPACE": "elsewhere",
        "FASTIO_STORE": "/nonexistent/store",
        "FASTIO_LOCK_TOKEN": "lk_of_another_lock",
        "FASTIO_VERSIONS_MAX": "1",
    }
    done = run({**environment, **settings}, "-q")
    assert (done.returncode, done.stdout, done.stderr) == (0, "true\n", "")


def test_report_holds_what_happened(facts):
    assert facts["ok"] is True
    assert all(claim["holds"] for claim in facts["claims"])
    assert facts["counter"] == facts["increments"] == 60
    assert facts["killed"]["exit_code"] == -signal.SIGKILL
    assert facts["turns"][0]["fence"] > facts["killed"]["fence"]
    assert "late finding" not in facts["document"]
    assert sorted(facts["document"]) == sorted(facts["acknowledged"])
    assert len(set(facts["agents"].values())) == 3


def test_terminal_gets_colours(environment):
    child = pexpect.spawn(
        COMMAND[0], COMMAND[1:], env=environment, timeout=TIMEOUT_S, use_poll=True, encoding="utf-8"
    )
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    assert "\x1b[32m✓" in child.before
    assert "✗" not in child.before


def test_ctrl_c_leaves_nothing_behind(environment, tmp_path):
    process = subprocess.Popen(
        COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    told = ""
    while "waits in line, number 2" not in told:
        line = process.stdout.readline()
        assert line, process.stderr.read()
        told += line
    assert len(os.listdir(tmp_path)) == 1
    process.send_signal(signal.SIGINT)
    _, complaint = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130
    assert "Interrupted" in complaint
    assert "Traceback" not in complaint
    assert os.listdir(tmp_path) == []
    for pid in re.findall(r"starts as process (\d+)", told):
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)


BREAKS = {
    "No increment was lost": {"counter": 59},
    "The holder was killed while it held the lock": {"killed.was_holder": False},
    "The lock came free when the lease ended, no sooner": {"turns.0.at": "2000-01-01T00:00:00Z"},
    "Those in line were served in order": {"line": ["reviewer", "writer"]},
    "The next holder has a higher fence": {"turns.0.fence": 0},
    "Fences only ever rose": {"fences": [3, 9, 9]},
    "The dead agent's late write was refused, twice": {"late_writes.1.error": None},
    "The document holds every acknowledged line once, and nothing else": {"document": []},
    "The log's hash chain verifies": {"audit.verified": False, "audit.problem": "Event 7"},
}


@pytest.mark.parametrize("claim", BREAKS)
def test_each_claim_is_checked(facts, claim):
    broken = copy.deepcopy(facts)
    for path, value in BREAKS[claim].items():
        *parents, key = path.split(".")
        place = broken
        for parent in parents:
            place = place[int(parent)] if isinstance(place, list) else place[parent]
        place[key] = value
    assert [c["claim"] for c in demo.claims(broken) if not c["holds"]] == [claim]


def test_every_claim_can_be_broken(facts):
    assert [claim["claim"] for claim in facts["claims"]] == list(BREAKS)


def test_unheld_claim_fails_the_command(monkeypatch, capsys, facts):
    from fastio_cli.cli.framework.session import Session

    broken = {**facts, "claims": demo.claims({**facts, "counter": 59})}
    monkeypatch.setattr(demo, "play", lambda story: broken)
    with pytest.raises(FastioError, match="1 of 9 claims did not hold: No increment was lost"):
        demo.demo(Session({"json": True}))


def test_failed_agent_is_reported(tmp_path):
    agent = demo.Agent("writer", str(tmp_path))
    try:
        agent.tell(do="contribute", lines=["one"])  # there is no document in this store
        with pytest.raises(FastioError, match=r"writer failed: There is nothing at report\.json"):
            agent.answer()
        agent.process.kill()
        with pytest.raises(FastioError, match="writer failed: It ended"):
            agent.answer()
    finally:
        agent.kill()
