"""TAB, as pressed in real shells: bash, zsh and fish, each in a terminal of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

pytestmark = pytest.mark.xdist_group("completion")  # each shell is started once

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
SCRIPTS = {"bash": "fastio.bash", "zsh": "_fastio", "fish": "fastio.fish"}
START = {
    "bash": ["bash", "--norc", "--noprofile"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "--private"],
}
SETUP = {
    "bash": "bind 'set show-all-if-ambiguous on'; bind 'set completion-query-items 0';"
    " bind 'set page-completions off'; bind 'set enable-bracketed-paste off';"
    f" source '{ROOT}/completions/fastio.bash'",
    "zsh": f"fpath=('{ROOT}/completions' $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=0;"
    " unsetopt prompt_cr prompt_sp zle_bracketed_paste; bindkey -e",
    "fish": f"source '{ROOT}/completions/fastio.fish'",
}
TIMEOUT_S = 30

CASES = {
    "fastio sta": "fastio state",
    "fastio state ge": "fastio state get",
    "fastio help lock acq": "fastio help lock acquire",
    "fastio state set plan.json 1 --if": "fastio state set plan.json 1 --if-version",
    "fastio -q state get --quer": "fastio -q state get --query",
    "fastio --format mark": "fastio --format markdown",
    "fastio state get --format=mark": "fastio state get --format=markdown",
    "fastio file list --type sta": "fastio file list --type state",
    "fastio config set dura": "fastio config set durability",
    "fastio state get pl": "fastio state get plan.json",
    "fastio state get --version 1 pl": "fastio state get --version 1 plan.json",
    "fastio state get wi": "fastio state get with space.json",
    "fastio state get fio://te": "fastio state get fio://team/",
    "fastio state get fio://team/no": "fastio state get fio://team/notes/a.json",
    "fastio -w team state get no": "fastio -w team state get notes/a.json",
    "fastio workspace show te": "fastio workspace show team",
    "fastio state set plan.json @val": "fastio state set plan.json @value.json",
    "fastio file put val": "fastio file put value.json",
    "fastio state get nosuch": "fastio state get nosuch",
}


class Shell:
    """A shell at a terminal, in which fastio's completion is loaded."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(folder),
            "FASTIO_STORE": str(folder / "store"),
            "FASTIO_DURABILITY": "normal",
            "TERM": "dumb",
            "LANG": "C.UTF-8",
            "INPUTRC": "/dev/null",
        }
        (folder / "value.json").write_text("1")
        self.folder = folder

    def fastio(self, *words: str) -> None:
        subprocess.run(
            [BIN / "fastio", *words], env=self.environment, check=True, capture_output=True
        )

    def open(self) -> None:
        command, *arguments = START[self.name]
        self.child = pexpect.spawn(
            command,
            arguments,
            env=self.environment,
            cwd=str(self.folder),
            use_poll=True,
            encoding="utf-8",
            dimensions=(60, 160),
            timeout=TIMEOUT_S,
        )
        self.child.sendline(SETUP[self.name] + "; echo REA''DY")
        self.child.expect("READY")

    def press_tab(self, line: str) -> tuple[str, str]:
        """What is shown after a TAB, and the line that it leaves, as the shell then reads it."""
        self.child.send(line + "\t")
        # To the beginning and to the end of the line, to have the shell itself print it.
        self.child.send("\x01echo BEG''IN \x05 E''ND\r")
        self.child.expect(r"BEGIN (.*?) *END")
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", str(self.child.before))
        return shown, self.child.match.group(1).strip()


@pytest.fixture(scope="module", params=SCRIPTS)
def shell(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shell]:
    name = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed, so its completion went untested")
    shell = Shell(name, tmp_path_factory.mktemp(name))
    shell.fastio("state", "set", "plan.json", "1")
    shell.fastio("state", "set", "with space.json", "1")
    shell.fastio("workspace", "create", "team")
    shell.fastio("-w", "team", "state", "set", "notes/a.json", "1")
    shell.open()
    yield shell
    shell.child.close(force=True)


@pytest.mark.parametrize("typed", CASES)
def test_tab_completes(shell: Shell, typed: str) -> None:
    assert shell.press_tab(typed)[1] == CASES[typed]


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("fastio ", ["state", "lock", "doctor", "help"]),
        ("fastio state ", ["get", "set", "transact"]),
        ("fastio lock acquire plan.json --", ["--ttl", "--purpose", "--workspace"]),
        ("fastio --format ", ["table", "jsonl", "raw"]),
        ("fastio state get ", ["plan.json", "with space.json"]),
    ],
)
def test_tab_lists_what_fits(shell: Shell, typed: str, offered: list[str]) -> None:
    if shell.name == "fish":  # shows its list in ways that a dumb terminal cannot
        script = f'source "{ROOT}/completions/fastio.fish"; complete -C "{typed}"'
        shown = subprocess.run(
            ["fish", "--no-config", "-c", script],
            env=shell.environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    else:
        shown = shell.press_tab(typed)[0]
    shown = shown.replace("\\ ", " ")
    assert [word for word in offered if word not in shown] == []


@pytest.mark.parametrize(
    ("shell_name", "script"),
    [
        ("bash", 'eval "$(fastio complete bash)"; complete -p fastio'),
        (
            "zsh",
            'autoload -Uz compinit; compinit -D; eval "$(fastio complete zsh)"; '
            "echo $_comps[fastio]",
        ),
        ("fish", "fastio complete fish | source; complete -C 'fastio state g'"),
    ],
)
def test_completion_is_loaded_as_the_manual_says(
    shell_name: str, script: str, tmp_path: Path
) -> None:
    if shutil.which(shell_name) is None:
        pytest.skip(f"{shell_name} is not installed, so its completion went untested")
    command = [
        *START[shell_name][:1],
        *{"zsh": ["-f"], "fish": ["--no-config"]}.get(shell_name, []),
    ]
    environment = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "-c", script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert {"bash": "-F _fastio", "zsh": "_fastio", "fish": "get"}[shell_name] in done.stdout


def test_asking_for_words_is_silent_and_makes_no_store(tmp_path: Path) -> None:
    for words in (["path", "x"], ["workspace"], ["nonsense"], ["path", "fio://../x"]):
        done = subprocess.run(
            [BIN / "fastio", "--store", tmp_path / "none", "complete", *words],
            capture_output=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
    assert not (tmp_path / "none").exists()
