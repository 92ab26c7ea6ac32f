"""What a client is shown of the catalogue, and what it costs."""

from __future__ import annotations

import json
import re

import pytest

from fastio_cli.cli.framework import tree
from fastio_cli.errors import KINDS, FastioError
from fastio_cli.mcp.profiles import CORE, profile, profile_names
from fastio_cli.mcp.results import tool_hint
from fastio_cli.operations import every
from fastio_cli.search.context_pack import TokenCounter

CORE_TOOLS_MAX = 20
CORE_TOKENS_MAX = 5_000
NAME_LENGTH_MAX = 64


def definitions(name):
    shown = profile(name).tools.values()
    return [tool.definition.model_dump(by_alias=True, exclude_none=True) for tool in shown]


def test_core_is_small():
    tools = definitions("core")
    assert len(tools) <= CORE_TOOLS_MAX
    assert TokenCounter()(json.dumps(tools, separators=(",", ":"))) <= CORE_TOKENS_MAX


def test_all_has_a_tool_for_every_operation():
    assert len(definitions("all")) == len(every())
    by_noun = [tool["name"] for name in profile_names()[3:] for tool in definitions(name)]
    assert sorted(by_noun) == sorted(tool["name"] for tool in definitions("all"))


@pytest.mark.parametrize("name", ["core", "all"])
def test_every_tool_says_what_it_may_do(name):
    for tool in definitions(name):
        assert len(tool["name"]) <= NAME_LENGTH_MAX
        assert tool["title"]
        assert tool["description"]
        assert tool["inputSchema"]["type"] == "object"
        hints = tool["annotations"]
        assert {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"} <= set(hints)


@pytest.mark.parametrize("name", ["core", "all", "memory"])
def test_schemas_say_every_type_and_one_at_a_time(name):
    """Clients that know one ``type`` a schema drop what has several, or a tool that has none."""

    def check(schema, where):
        assert isinstance(schema, dict), where
        assert isinstance(schema.get("type"), str) or schema.keys() & {"anyOf", "enum"}, where
        for option in schema.get("anyOf", []):
            check(option, where)
        for key in ("items", "additionalProperties"):
            if isinstance(schema.get(key), dict):
                check(schema[key], f"{where}.{key}")
        for field, inner in schema.get("properties", {}).items():
            check(inner, f"{where}.{field}")

    for tool in definitions(name):
        check(tool["inputSchema"], tool["name"])
        check(tool.get("outputSchema", {"type": "object"}), f"{tool['name']} answers")


def test_who_may_only_read_is_shown_nothing_that_writes():
    for name in profile_names():
        for tool in profile(name, is_read_only=True).tools.values():
            assert tool.definition.annotations.read_only_hint or tool.name == "ops_call"


def test_core_names_operations():
    assert set(CORE.values()) <= {operation.name for operation in every()}


def test_an_unknown_profile_is_refused_with_those_there_are():
    with pytest.raises(FastioError, match="no profile") as caught:
        profile("nothing")
    assert "core" in caught.value.hint


def test_hints_name_tools_and_not_commands():
    """What has no tool is said to be for a shell."""
    name_of = profile("core").name_of
    for kind in KINDS.values():
        told = tool_hint(kind.hint, name_of)
        assert not re.search(r"(?<!in a shell, )fastio [a-z]", told), told
    assert tool_hint("Read it: fastio state get a.json.", name_of) == (
        "Read it: state_get with path='a.json'."
    )
    assert tool_hint("Wait: fastio lock acquire 'a b' --wait 60", name_of) == (
        "Wait: lock_acquire with path='a b', wait_s='60'"
    )
    assert "in a shell, fastio doctor" in tool_hint("Look: fastio doctor", name_of)


def test_a_command_in_a_hint_becomes_its_own_tool_or_stays_a_command():
    names = profile("all")
    for command in (c for c in tree.every() if c.words != "help"):
        told = tool_hint(f"Try: fastio {command.words}", names.name_of)
        tools = {operation.replace(".", "_") for operation in command.operations}
        assert told.startswith("Try: in a shell, fastio") or told.split()[1] in tools, told
