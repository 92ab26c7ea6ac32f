"""fastio setup: one entry in a program's own settings, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.cli.agent_programs import PROGRAMS, edited_json, hooked
from fastio_cli.errors import FastioError

ENTRY = {"command": "fastio", "args": ["mcp"]}


@pytest.fixture
def run(tmp_path):
    """fastio setup in a home and a project of its own."""
    project = tmp_path / "project"
    project.mkdir()

    def run(*args, code=0):
        env = {**os.environ, "HOME": str(tmp_path)}
        command = [sys.executable, "-m", "fastio_cli", "setup", *args]
        done = subprocess.run(
            command, env=env, cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        return done.stdout

    return run


def entry_of(name, text):
    """The entry that a program's file holds."""
    known = tomllib.loads(text) if name == "codex" else json.loads(text)
    for key in PROGRAMS[name].keys:
        known = known.get(key, {})
    return known.get("fastio")


@pytest.mark.parametrize("name", PROGRAMS)
def test_an_entry_is_written_once_and_taken_out(run, tmp_path, name):
    file = tmp_path / PROGRAMS[name].user
    assert "mcp" in run(name, "--dry-run")
    assert not file.exists()
    run(name, "--check", code=1)
    run(name)
    assert entry_of(name, file.read_text())["args"] == ["mcp"]
    before = file.read_text()
    assert run(name) == ""
    run(name, "--check")
    assert file.read_text() == before
    run(name, "--remove")
    assert entry_of(name, file.read_text()) is None


@pytest.mark.parametrize("name", PROGRAMS)
def test_all_else_stays(run, tmp_path, name):
    file = tmp_path / PROGRAMS[name].user
    file.parent.mkdir(parents=True, exist_ok=True)
    text = '# mine\nmodel = "x"\n\n[mcp_servers.other]\ncommand = "o"\n'
    if name != "codex":
        other: object = {"other": {"command": "o", "é": [1, 2]}}
        for key in reversed(PROGRAMS[name].keys):
            other = {key: other}
        text = json.dumps({"theme": "dark", **other}, indent=4, ensure_ascii=False) + "\n"
    file.write_text(text)
    run(name, "--tools", "all")
    assert entry_of(name, file.read_text())["args"] == ["mcp", "--tools", "all"]
    run(name)
    assert entry_of(name, file.read_text())["args"] == ["mcp"]
    run(name, "--remove")
    assert file.read_text() == text


def test_a_project_has_a_file_of_its_own(run, tmp_path):
    run("claude", "--project")
    assert entry_of("claude", (tmp_path / "project/.mcp.json").read_text())
    assert not (tmp_path / ".claude.json").exists()
    run("openclaw", "--project", code=2)


def test_hooks_prime_an_agent(run, tmp_path):
    settings = tmp_path / ".claude/settings.json"
    settings.parent.mkdir()
    mine = {"hooks": {"SessionStart": [{"hooks": [{"type": "command", "command": "mine"}]}]}}
    settings.write_text(json.dumps(mine, indent=2) + "\n")
    run("claude", "--hooks")
    hooks = json.loads(settings.read_text())["hooks"]
    assert "fastio prime" in json.dumps(hooks["SessionStart"])
    assert "fastio prime" in json.dumps(hooks["PreCompact"])
    assert "fastio guard check" in json.dumps(hooks["PreToolUse"])
    assert run("claude", "--hooks") == ""
    run("claude", "--remove")
    assert json.loads(settings.read_text()) == mine
    run("cursor", "--hooks", code=2)


@pytest.mark.parametrize("text", ["// comment\n{}", "[1]", '{"mcpServers": 1}', "{"])
def test_what_is_no_plain_json_is_left_alone(run, tmp_path, text):
    (tmp_path / ".claude.json").write_text(text)
    run("claude", code=2)
    assert (tmp_path / ".claude.json").read_text() == text


def test_an_entry_of_somebody_else_is_left_alone(run, tmp_path):
    file = tmp_path / ".codex/config.toml"
    file.parent.mkdir()
    file.write_text('[mcp_servers.fastio]\ncommand = "mine"\n')
    run("codex", code=2)
    assert "mine" in file.read_text()


def test_which_programs_are_here_is_told(run, tmp_path):
    (tmp_path / ".cursor").mkdir()
    here = {item["program"]: item["here"] for item in json.loads(run())["items"]}
    assert here["cursor"] is True
    assert set(here) == set(PROGRAMS)


JSON_OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@given(st.dictionaries(st.text(), JSON_OBJECTS, max_size=4))
def test_taking_out_gives_back_what_was(document):
    """Whatever stands there: an entry put in and taken out leaves the same document."""
    text = json.dumps(document)
    try:
        written = edited_json(text, ("mcpServers", "fastio"), ENTRY)
    except FastioError:
        return
    assert json.loads(written)["mcpServers"]["fastio"] == ENTRY
    document.get("mcpServers", {}).pop("fastio", None)
    if document.get("mcpServers") == {}:
        del document["mcpServers"]
    assert json.loads(edited_json(written, ("mcpServers", "fastio"), None)) == document


def test_hooks_that_are_there_stay():
    text = hooked("", is_removed=False)
    assert hooked(text, is_removed=False) == text
    assert json.loads(hooked(text, is_removed=True)) == {}
