"""What is written from the table of commands is what the repository holds, and is well formed."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from fastio_cli.cli.framework import tree, typer_app
from fastio_cli.cli.framework.command import COMPLETE, Arg, Flag
from fastio_cli.cli.framework.generate import generated
from fastio_cli.cli.help import described
from fastio_cli.cli.main import run
from fastio_cli.errors import KINDS, FastioError
from fastio_cli.version import __version__
from tests.requirements import need_program

ROOT = Path(__file__).parents[2]
CHECKS = {
    "bash": (["bash", "-n"], ["fastio_cli/cli/completions/fastio.bash"]),
    "shellcheck": (["shellcheck", "--shell=bash"], ["fastio_cli/cli/completions/fastio.bash"]),
    "zsh": (["zsh", "-n"], ["fastio_cli/cli/completions/_fastio"]),
    "fish": (["fish", "--no-config", "--no-execute"], ["fastio_cli/cli/completions/fastio.fish"]),
    "mandoc": (["mandoc", "-Tlint"], sorted(n for n in generated() if n.startswith("man/"))),
}


def test_generated_files_are_fresh() -> None:
    files = {f"man/{p.name}": p.read_text(encoding="utf-8") for p in (ROOT / "man").iterdir()}
    assert files == generated(), "Run: make generate"


@pytest.mark.parametrize("tool", CHECKS)
def test_generated_files_are_well_formed(tool: str) -> None:
    command, files = CHECKS[tool]
    need_program(tool)
    done = subprocess.run([*command, *files], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_completions_offer_only_kinds_that_all_shells_know() -> None:
    kinds = {
        p.complete
        for c in tree.every()
        for p in c.params
        if not isinstance(p, Flag) and p.complete is not None
    }
    assert kinds <= set(COMPLETE)


@pytest.mark.parametrize("command", described([])["commands"], ids=lambda c: str(c["words"]))
def test_every_command_described_is_one_that_is_accepted(
    command: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    words = str(command["words"]).split()
    assert typer_app.parse([*words, "--help"]) is None
    text = capsys.readouterr().out
    assert " ".join(text.split()).startswith(f"Usage: {command['usage']} ")
    for option in command["options"]:  # type: ignore[attr-defined]
        assert all(flag in text for flag in option["flags"])


def test_every_command_takes_its_arguments_and_options() -> None:
    for command in described([])["commands"]:
        line = command["words"].split()
        for option in [*command["options"], *described([])["options"]]:
            value = [option["choices"][0] if option["choices"] else "1"]
            line += [option["flags"][-1], *(value if option["metavar"] else [])]
        line += ["x" for _ in command["arguments"]]
        parsed = typer_app.parse(line)
        assert parsed is not None
        assert parsed.command.words == command["words"]


def test_examples_are_read_by_the_quick_parser() -> None:
    import shlex

    from fastio_cli.cli.framework.parse import parse

    for command in described([])["commands"]:
        for example in command["examples"]:
            if any(c in example for c in "|$<") or command["words"] == "help":
                continue
            parsed = parse(shlex.split(example)[1:])
            assert parsed is not None, example
            assert parsed.command.words == command["words"]


def test_help_as_json_describes_operations_and_errors() -> None:
    whole = json.loads(json.dumps(described([])))
    names = {op["name"] for op in whole["operations"]}
    assert {"state.patch", "lock.acquire", "object.list"} <= names
    assert {name for c in whole["commands"] for name in c["operations"]} <= names
    assert {e["code"]: e["exit"] for e in whole["errors"]} == {
        code: kind.exit for code, kind in KINDS.items()
    }
    acquire = next(op for op in whole["operations"] if op["name"] == "lock.acquire")
    assert acquire["params"]["required"] == ["path"]
    assert acquire["params"]["properties"]["ttl_s"]["default"] == 60


def test_help_as_json_describes_one_group_or_command() -> None:
    whole = described([])
    assert list(described(["state"])) == list(whole)
    assert [c["words"] for c in described(["lock", "acquire"])["commands"]] == ["lock acquire"]
    assert [op["name"] for op in described(["lock", "renew"])["operations"]] == ["lock.renew"]
    with pytest.raises(FastioError, match="no command 'state st'"):
        described(["state", "st"])


def test_the_version_is_printed_the_same_way_by_both_parsers(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert [run(["--version"]), run(["--quiet", "--version"])] == [0, 0]
    assert capsys.readouterr().out == f"fastio {__version__}\n" * 2


def test_every_parameter_is_explained() -> None:
    for c in tree.every():
        assert c.help.endswith("."), c.words
        assert all(p.help for p in c.params), c.words
        many = [p for p in c.params if isinstance(p, Arg) and p.many]
        assert all(p is c.args[-1] for p in many), c.words
