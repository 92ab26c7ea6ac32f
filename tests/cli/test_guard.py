"""fastio guard: what others have locked is not written, by an editor or a commit."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

HOOKED = {
    "claude": {"tool_name": "Edit", "tool_input": {"file_path": "src/app.py"}},
    "codex": {"tool_name": "apply_patch", "tool_input": {"command": "*** Update File: src/app.py"}},
    "cursor": {"tool_input": {"path": "src/app.py"}},
    "gemini": {"tool_input": {"absolute_path": "src/app.py"}},
}


@pytest.fixture
def run(tmp_path):
    """A program in a project with a store and a repository."""
    project = tmp_path / "project"
    (project / "src").mkdir(parents=True)

    def run(*args, actor="ada", stdin="", code=0):
        env = {**os.environ, "HOME": str(tmp_path), "FASTIO_ACTOR": actor}
        command = [sys.executable, "-m", "fastio_cli", *args] if args[0] != "git" else list(args)
        done = subprocess.run(
            command, env=env, cwd=project, input=stdin, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done

    run("init", "-q")
    run("git", "init", "-q")
    return run


@pytest.mark.parametrize("locked", ["src/app.py", "src/"])
def test_a_file_that_somebody_else_has_locked_is_denied(run, locked):
    run("guard", "check", "src/app.py")
    run("lock", "acquire", locked, "--purpose", "to refactor", actor="bob")
    told = run("guard", "check", "src/app.py", code=6).stderr
    assert "bob" in told
    assert "to refactor" in told
    run("guard", "check", "src/app.py", actor="bob")
    run("guard", "check", "README.md", "../elsewhere")


@pytest.mark.parametrize("program", HOOKED)
def test_hooks_are_answered_as_their_program_expects(run, program):
    hook = ("guard", "check", "--hook", program)
    event = json.dumps(HOOKED[program])
    assert "deny" not in run(*hook, stdin=event).stdout
    run("lock", "acquire", "src/", actor="bob")
    answer = run(*hook, stdin=event).stdout
    assert "deny" in answer
    assert "bob" in answer
    json.loads(answer)
    assert "deny" not in run(*hook, stdin=event, actor="bob").stdout


@pytest.mark.parametrize("event", ["", "{", "[1]", "1", '{"tool_input": 1}', '{"edits": 1}'])
def test_a_broken_event_is_refused(run, event):
    run("guard", "check", "--hook", "claude", stdin=event, code=2)


def test_the_file_counts_and_not_the_folder_of_the_session(run, tmp_path):
    run("lock", "acquire", "src/app.py", actor="bob")
    file = str(tmp_path / "project/src/app.py")
    event = {"cwd": str(tmp_path / "project/src"), "tool_input": {"file_path": file}}
    assert "deny" in run("guard", "check", "--hook", "claude", stdin=json.dumps(event)).stdout


def test_a_commit_is_checked(run, tmp_path):
    (tmp_path / "project/src/app.py").write_text("x")
    run("git", "add", "src/app.py")
    run("guard", "check", "--staged")
    run("lock", "acquire", "src/", actor="bob")
    assert "bob" in run("guard", "check", "--staged", code=6).stderr
