"""fastio prime: short whatever the workspace holds, and text whoever reads it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

from fastio_cli.search.context_pack import TokenCounter
from tests.engines import open_engine

TOKENS_MAX = 1_500


def run(folder, *args):
    env = {**os.environ, "FASTIO_STORE": str(folder), "FASTIO_ACTOR": "ada"}
    command = [sys.executable, "-m", "fastio_cli", *args]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout


def test_a_brief_is_short_whatever_names_are(tmp_path):
    engine = open_engine(tmp_path / "store")
    for n in range(40):
        actor = f"{n}" + "\u4f60" * 200
        path = f"{n}/" + "\u597d" * 300
        engine.call("state.set", {"path": path, "value": 1}, actor=actor)
        engine.call("lock.acquire", {"path": path, "purpose": "x" * 1000}, actor=actor)
        engine.call("lock.acquire", {"path": f"mine{path}"}, actor="ada")
    engine.call("state.set", {"path": "last", "value": 1}, actor="eve")
    engine.close()
    told = run(tmp_path / "store", "prime")
    assert "you are ada in workspace default" in told
    assert TokenCounter()(told) <= TOKENS_MAX
    assert json.loads(run(tmp_path / "store", "prime", "--format", "json"))["actor"] == "ada"


def test_who_acted_is_a_list(tmp_path):
    engine = open_engine(tmp_path / "store")
    engine.call("state.set", {"path": "a", "value": 1}, actor="bob")
    engine.close()
    assert json.loads(run(tmp_path / "store", "who"))["items"][0]["name"] == "bob"
    assert run(tmp_path / "store", "who", "--since", "1h", "-q") == "bob\n"
