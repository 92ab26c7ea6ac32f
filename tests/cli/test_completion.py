"""TAB, as pressed in real shells: bash, zsh and fish, each in a terminal of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

from fastio_cli.cli.framework.completion import Cursor, words_of
from fastio_cli.cli.framework.tree import GROUPS, LEAVES, every, lookup
from tests.engines import made_store
from tests.requirements import need_program

pytestmark = pytest.mark.xdist_group("completion")  # each shell is started once

SCRIPTS_FOLDER = Path(__file__).parents[2] / "fastio_cli/cli/completions"
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
    f" source '{SCRIPTS_FOLDER}/fastio.bash'",
    "zsh": f"fpath=('{SCRIPTS_FOLDER}' $fpath); autoload -Uz compinit; compinit -u -D; LISTMAX=0;"
    " unsetopt prompt_cr prompt_sp zle_bracketed_paste; bindkey -e",
    "fish": f"source '{SCRIPTS_FOLDER}/fastio.fish'",
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
    "fastio --store 'other store' state get el": (
        "fastio --store other store state get elsewhere.json"
    ),
    "fastio import https://example.com/x --to pl": (
        "fastio import https://example.com/x --to plan.json"
    ),
}


class Shell:
    """A shell at a terminal, in which fastio's completion is loaded."""

    def __init__(self, name: str, folder: Path) -> None:
        self.name = name
        self.environment = {
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "HOME": str(folder),
            "FASTIO_STORE": made_store(folder / "store"),
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
    need_program(name)
    shell = Shell(name, tmp_path_factory.mktemp(name))
    shell.fastio("state", "set", "plan.json", "1")
    shell.fastio("state", "set", "with space.json", "1")
    shell.fastio("workspace", "create", "team")
    shell.fastio("-w", "team", "state", "set", "notes/a.json", "1")
    other = made_store(shell.folder / "other store")
    shell.fastio("--store", other, "state", "set", "elsewhere.json", "1")
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
        script = f'source "{SCRIPTS_FOLDER}/fastio.fish"; complete -C "{typed}"'
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
    need_program(shell_name)
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
    store = ["--store", str(tmp_path / "none")]
    for asked in (
        ["words", "--", *store, "state", "get", "=x"],
        ["words", "--", *store, "workspace", "show", "="],
        ["words", "--", *store, "state", "get", "=fio://../x"],
        ["words", "--", "--store", "https://127.0.0.1:1", "state", "get", "="],
        ["words", "--", "--store", "host:80", "state", "get", "="],
        ["words"],
        ["line"],
        ["nonsense"],
    ):
        done = subprocess.run(
            [BIN / "fastio", "complete", *asked], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.splitlines()[3:] == []
    assert not (tmp_path / "none").exists()


# A line up to the cursor: what the shell is to offer, what stays as it is, and what is typed.
CURSORS = {
    "fastio nosuch ": ("words", "", ""),
    "fastio state nosuch x ": ("words", "", ""),
    "fastio -w x --store y file put val": ("file", "", "val"),
    "fastio --store=y --sto": ("words", "", "--sto"),
    "fastio --store d": ("folder", "", "d"),
    "fastio --store=d": ("folder", "--store=", "d"),
    "fastio --nosuch=x": ("", "--nosuch=", "x"),
    "fastio --fields ": ("", "", ""),
    "fastio state set plan.json @v": ("file", "@", "v"),
    "fastio state set plan.json --schema=@v": ("file", "--schema=@", "v"),
    "fastio state set plan.json --ttl": ("words", "", "--ttl"),
    "fastio state get 'with sp": ("path", "", "with sp"),
    'fastio state get "with sp': ("path", "", "with sp"),
    r"fastio state get with\ sp": ("path", "", "with sp"),
    "fastio state get it\\'s": ("path", "", "it's"),
    "fastio state get -- --od": ("path", "", "--od"),
    "fastio import htt": ("words", "", "htt"),
    "fastio import https://a.b/c --to no": ("path", "", "no"),
    "fastio lock run plan.json -- ec": ("command", "", "ec"),
    "fastio lock run plan.json -- echo -": ("arguments", "", "-"),
    "fastio profile use te": ("profile", "", "te"),
}


@pytest.mark.parametrize("line", CURSORS)
def test_the_place_of_the_cursor(line: str) -> None:
    cursor = Cursor(words_of(line))
    assert (cursor.kind, cursor.prefix, cursor.text) == CURSORS[line]


def test_options_of_the_line_choose_where_names_are_looked_up() -> None:
    cursor = Cursor(words_of('fastio --store "/a b" -w=x state get --workspace=team --at /x '))
    assert cursor.flags == {"store": "/a b", "workspace": "team"}
    assert cursor.kind == "path"


def test_candidates_come_with_their_help() -> None:
    assert dict(Cursor(["lo"]).words) == {
        word: help for word, (_, help) in {**GROUPS, **LEAVES}.items() if word.startswith("lo")
    }
    assert dict(Cursor(["state", "ge"]).words) == {"get": lookup(["state", "get"]).help}
    assert Cursor(["state", "get", "--forma"]).words == [
        ("--format", "How results are printed (default: table at a terminal, else json)")
    ]
    assert [word for word, _ in Cursor(["state", "get", "x", ""]).words][:2] == ["--at", "--query"]


def test_nothing_hidden_is_offered() -> None:
    hidden = {c.words for c in every() if c.hidden}
    assert hidden
    for words in hidden:
        *before, last = words.split()
        assert last not in [word for word, _ in Cursor([*before, last]).words]
