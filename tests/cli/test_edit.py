"""``fastio state edit`` in a terminal: what was typed is written or kept, never lost."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pexpect
import pytest

from tests.engines import made_store

COMMAND = [sys.executable, "-m", "fastio_cli"]
# What an editor does to the file it is given, its last argument.
EDITORS = {
    "good": 'echo \'{"step": 2}\' > "$1"',
    "idle": "true",
    "broken": 'echo \'{"step": \' > "$1"',
    "binary": 'printf \'"\\377"\' > "$1"',
    "failing": "exit 3",
    "failing late": 'echo \'{"step": 9}\' > "$1"; exit 3',
    "slow": 'echo \'{"step": 2}\' > "$1"; "$FASTIO" state set plan.json \'{"step": 7}\' -q',
}


class Desk:
    """A store with one object, and the editors to change it with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.temporary = folder / "tmp"
        self.temporary.mkdir()
        program = folder / "fastio"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m fastio_cli "$@"\n')
        program.chmod(0o700)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "FASTIO_STORE": made_store(folder / "store"),
            "FASTIO": str(program),
            "TMPDIR": str(self.temporary),
            "TERM": "dumb",
            "COLUMNS": "1000",
        }
        self.run("state", "set", "plan.json", '{"step": 1}')

    def run(self, *words: str) -> str:
        return subprocess.run(
            [*COMMAND, *words], env=self.environment, capture_output=True, text=True, check=True
        ).stdout

    def value(self) -> object:
        return json.loads(self.run("state", "get", "plan.json"))

    def edit(self, editor: str) -> tuple[int, str]:
        """Exit code and what is shown."""
        script = self.folder / "editor"
        script.write_text(f"#!/bin/sh\n{EDITORS.get(editor, '')}\n")
        script.chmod(0o700)
        name = editor if editor not in EDITORS else str(script)
        child = pexpect.spawn(
            COMMAND[0],
            [*COMMAND[1:], "state", "edit", "plan.json", "-q", "--format", "table"],
            env={**self.environment, "EDITOR": name},
            cwd=str(self.folder),
            use_poll=True,
            encoding="utf-8",
            timeout=60,
            dimensions=(50, 1000),
        )
        child.expect(pexpect.EOF)
        child.close()
        return child.exitstatus, child.before


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_what_was_saved_is_written(desk: Desk) -> None:
    assert desk.edit("good") == (0, "2\r\n")
    assert desk.value() == {"step": 2}
    assert list(desk.temporary.iterdir()) == []


def test_nothing_saved_writes_nothing(desk: Desk) -> None:
    assert desk.edit("idle") == (0, "")
    assert desk.run("state", "history", "plan.json", "-q") == "1\n"
    assert list(desk.temporary.iterdir()) == []


@pytest.mark.parametrize(
    ("editor", "code", "said", "typed"),
    [
        ("broken", 2, "The edited text is not valid JSON", b'{"step": \n'),
        ("binary", 2, "The edited text is not valid UTF-8", b'"\xff"'),
        ("failing late", 2, "The editor ended with 3", b'{"step": 9}\n'),
        ("slow", 5, "plan.json is at version 2, not 1", b'{"step": 2}\n'),
    ],
)
def test_what_cannot_be_written_is_kept(
    desk: Desk, editor: str, code: int, said: str, typed: bytes
) -> None:
    exitstatus, shown = desk.edit(editor)
    assert (exitstatus, said in shown) == (code, True), shown
    kept = re.search(r"What you typed is in (\S+\.json)\. ", shown)
    assert kept is not None, shown
    assert Path(kept[1]).read_bytes() == typed
    assert desk.value() == {"step": 7 if editor == "slow" else 1}


@pytest.mark.parametrize("editor", ["failing", "no-such-editor"])
def test_an_editor_that_fails_leaves_nothing_behind(desk: Desk, editor: str) -> None:
    exitstatus, shown = desk.edit(editor)
    assert exitstatus == 2
    assert "The editor" in shown
    assert desk.value() == {"step": 1}
    assert list(desk.temporary.iterdir()) == []
