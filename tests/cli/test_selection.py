"""``--fields`` and ``--query`` work on every output, and no wrong name is answered with silence."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.engines import made_store

FORMATS = ("json", "jsonl", "csv", "table", "markdown", "raw")


class Shell:
    def __init__(self, folder: Path) -> None:
        store = made_store(folder / "store")
        self.folder = folder
        self.environ = {**os.environ, "HOME": str(folder), "FASTIO_STORE": store}

    def __call__(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "fastio_cli", *words],
            env=self.environ,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )

    def out(self, *words: str) -> str:
        done = self(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    shell = Shell(tmp_path_factory.mktemp("shell"))
    for n in range(4):
        shell.out("state", "set", f"v{n}.json", json.dumps({"price": n, "b": {"c": 2}}))
    shell.out("state", "set", "v0.json", '{"price": "a,\\"b\\""}')
    return shell


# Commands that print a record, a value or a list, and a field that each has.
COMMANDS = {
    "state get v0.json": "version",
    "state list": "version",
    "state history v0.json": "version",
    "state diff v0.json": "from_version",
    "state schema v0.json": "version",
    "state wait v0.json @": "version",
    "file info v0.json": "version",
    "event list": "seq",
    "lock list": "path",
    "query price": "score",
    "ask price": "answer",
    "context price": "tokens",
    "workspace list": "name",
    "workspace usage": "live_bytes",
    "audit verify": "events",
    "index status": "seq",
    "token list": "id",
    "import list": "url",
    "job list": "id",
    "config show": "setting",
    "doctor": "check",
}


@pytest.mark.parametrize("format", [*FORMATS, "quiet"])
@pytest.mark.parametrize("command", COMMANDS)
def test_only_the_named_fields_are_printed(shell: Shell, command: str, format: str) -> None:
    field = COMMANDS[command]
    chosen = ["-q"] if format == "quiet" else ["--format", format]
    shown = shell.out(*command.split(), "--fields", field, *chosen)
    if format == "json":
        record = json.loads(shown)
        for item in record.get("items", [record]):
            assert list(item) == [field]
    if format == "csv":
        assert shown.splitlines()[0] == field
        assert all(len(row) == 1 for row in csv.reader(shown.splitlines()))
    assert "created_at" not in shown


@pytest.mark.parametrize("format", [*FORMATS, "quiet"])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_unknown_field_is_refused_with_those_that_there_are(
    shell: Shell, command: str, format: str
) -> None:
    chosen = ["-q"] if format == "quiet" else ["--format", format]
    done = shell(*command.split(), "--fields", f"{COMMANDS[command]},nosuch", *chosen)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'nosuch'" in done.stderr
    assert COMMANDS[command] in done.stderr.partition("The fields are: ")[2]


@pytest.mark.parametrize("path", ["location.nosuch", "path.deeper", "highlights.x", "nosuch.x"])
def test_an_unknown_nested_field_is_refused(shell: Shell, path: str) -> None:
    assert shell("query", "price", "--fields", path).returncode == 2


def test_nested_fields_and_free_keys(shell: Shell) -> None:
    shown = json.loads(shell.out("state", "get", "v1.json", "--fields", "version,value.b.c"))
    assert shown == {"version": 1, "value.b.c": 2}
    page = json.loads(shell.out("event", "list", "--fields", "seq,data.etag,data.reason"))
    assert {item["data.reason"] for item in page["items"]} == {None}
    shell.out("query", "price", "--fields", "location.line")


def test_nothing_is_changed_by_a_command_whose_output_makes_no_sense(shell: Shell) -> None:
    before = shell.out("workspace", "show", "--fields", "seq")
    for wrong in (["--fields", "nosuch"], ["--fields", ","], ["--query", "items["]):
        for command in (
            ["state", "set", "new.json", "1"],
            ["state", "delete", "v3.json"],
            ["lock", "acquire", "new.json"],
            ["file", "append", "new.txt", "x"],
        ):
            assert shell(*command, *wrong).returncode == 2
    assert shell.out("workspace", "show", "--fields", "seq") == before


@pytest.mark.parametrize("format", FORMATS)
def test_a_query_is_about_the_whole_result(shell: Shell, format: str) -> None:
    words = ("state", "list", "--query", "items[].path", "--format", format)
    assert json.loads(shell.out(*words)) == [f"v{n}.json" for n in range(4)] or format == "jsonl"
    text = shell.out("state", "list", "--query", "items[0].path", "-q")
    assert text == "v0.json\n"
    chosen = ("--fields", "path,version", "--query", "items[0]")
    assert json.loads(shell.out("state", "list", *chosen)) == {"path": "v0.json", "version": 2}
    assert json.loads(shell.out("--query", "value.price", "state", "get", "v1.json")) in (1, None)
    assert shell.out("event", "watch", "--after", "0", "--count", "1", "--query", "seq") == "1\n"


def test_csv_can_be_read_back(shell: Shell) -> None:
    shown = shell.out("state", "get", "v0.json", "--fields", "path,value.price", "--format", "csv")
    assert list(csv.DictReader(shown.splitlines())) == [{"path": "v0.json", "value.price": 'a,"b"'}]


@pytest.mark.parametrize("format", ["table", "jsonl", "csv", "markdown", "raw", "quiet"])
@pytest.mark.parametrize(
    ("command", "option"), [("state list", "--cursor"), ("event list", "--after")]
)
def test_no_list_ends_in_silence(shell: Shell, command: str, option: str, format: str) -> None:
    chosen = ["-q"] if format == "quiet" else ["--format", format]
    done = shell(*command.split(), "--limit", "2", *chosen)
    assert option in done.stderr
    following = done.stderr.split()[-1]
    rest = shell(*command.split(), "--cursor", following, *chosen)
    assert rest.returncode == 0
    assert rest.stdout
    assert rest.stderr == ""
    every = shell(*command.split(), "--limit", "2", "--all", *chosen)
    assert every.stderr == ""
    assert len(every.stdout) > len(rest.stdout)


def test_what_has_no_record_says_that_it_has_none(shell: Shell) -> None:
    assert "had no effect" in shell("complete", "bash", "--fields", "path").stderr
