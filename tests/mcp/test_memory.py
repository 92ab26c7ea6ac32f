"""The profile ``memory``: as the memory server, but nothing is lost when several write."""

from __future__ import annotations

import asyncio
import json
import os
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp import StdioServerParameters
from mcp.client.client import Client

from fastio_cli.errors import FastioError
from fastio_cli.mcp.memory_graph import lines_of, path_of
from fastio_cli.mcp.profiles import profile
from fastio_cli.operations.types import PATH_RULE
from tests.engines import open_engine

WRITERS, ROUNDS = 4, 10


@pytest.fixture
def program(tmp_path):
    open_engine(tmp_path / "store").close()
    env = {**os.environ, "FASTIO_STORE": str(tmp_path / "store"), "HOME": str(tmp_path)}
    return StdioServerParameters(
        command=sys.executable,
        args=["-m", "fastio_cli", "mcp", "--tools", "memory"],
        env=env,
        cwd=tmp_path,
    )


async def told(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


def test_its_tools_are_those_of_the_memory_server():
    assert set(profile("memory").tools) == {
        "create_entities",
        "create_relations",
        "add_observations",
        "delete_entities",
        "delete_observations",
        "delete_relations",
        "read_graph",
        "search_nodes",
        "open_nodes",
    }


def test_a_graph_is_built_and_taken_apart(program):
    ada = {"name": "Ada", "entityType": "person", "observations": ["likes engines"]}
    loom = {"name": "Loom", "entityType": "machine", "observations": []}
    knows = {"from": "Ada", "to": "Loom", "relationType": "studies"}

    async def talk():
        async with Client(program) as client:
            assert await told(client, "create_entities", entities=[ada, loom]) == {
                "entities": [ada, loom]
            }
            assert await told(client, "create_entities", entities=[ada]) == {"entities": []}
            assert await told(client, "create_relations", relations=[knows]) == {
                "relations": [knows]
            }
            added = await told(
                client,
                "add_observations",
                observations=[{"entityName": "Ada", "contents": ["likes engines", "writes notes"]}],
            )
            assert added["results"][0]["addedObservations"] == ["writes notes"]
            grown = {**ada, "observations": ["likes engines", "writes notes"]}
            graph = await told(client, "read_graph")
            assert graph == {"entities": [grown, loom], "relations": [knows]}
            found = await told(client, "search_nodes", query="NOTES")
            assert found == {"entities": [grown], "relations": [knows]}
            opened = await told(client, "open_nodes", names=["Loom"])
            assert opened == {"entities": [loom], "relations": [knows]}
            gone = [{"entityName": "Ada", "observations": ["likes engines"]}]
            await told(client, "delete_observations", deletions=gone)
            await told(client, "delete_entities", entityNames=["Loom"])
            assert await told(client, "read_graph") == {
                "entities": [{**ada, "observations": ["writes notes"]}],
                "relations": [],
            }
            result = await client.call_tool(
                "add_observations", {"observations": [{"entityName": "X", "contents": []}]}
            )
            assert result.is_error
            for wrong in ({}, {"entities": 1}, {"entities": [{"name": "a"}]}):
                assert (await client.call_tool("create_entities", wrong)).is_error

    asyncio.run(talk())


def test_several_processes_lose_nothing(program):
    """What is written through several servers at once is all there."""

    async def write(writer):
        async with Client(program) as client:
            for n in range(ROUNDS):
                note = {"entityName": "shared", "contents": [f"{writer}.{n}"]}
                await told(client, "add_observations", observations=[note])

    async def talk():
        async with Client(program) as client:
            shared = {"name": "shared", "entityType": "thing", "observations": []}
            await told(client, "create_entities", entities=[shared])
            await asyncio.gather(*(write(writer) for writer in range(WRITERS)))
            graph = await told(client, "read_graph")
        noted = graph["entities"][0]["observations"]
        assert sorted(noted) == sorted(f"{w}.{n}" for w in range(WRITERS) for n in range(ROUNDS))

    asyncio.run(talk())


def test_what_a_memory_server_kept_is_added_once(program, tmp_path):
    lines = [
        {"type": "entity", "name": "a", "entityType": "t", "observations": ["x"]},
        {"type": "entity", "name": "../b", "entityType": "t", "observations": []},
        {"type": "relation", "from": "a", "to": "../b", "relationType": "r"},
    ]
    file = tmp_path / "memory.jsonl"
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8-sig")
    again = program.model_copy(update={"args": [*program.args, "--import-memory", str(file)]})

    async def talk():
        for _ in range(2):
            async with Client(again) as client:
                graph = await told(client, "read_graph")
        assert sorted(entity["name"] for entity in graph["entities"]) == ["../b", "a"]
        assert len(graph["relations"]) == 1

    asyncio.run(talk())


@pytest.mark.parametrize(
    "line", ["{", "1", '{"type": "entity"}', '{"type": "relation", "to": "a"}']
)
def test_a_line_that_is_neither_is_named(line):
    with pytest.raises(FastioError, match="Line 2"):
        lines_of("\n" + line)


@settings(max_examples=200)
@given(st.text(max_size=400), st.text(max_size=400))
def test_every_name_has_a_path_of_its_own(one, other):
    try:
        one.encode(), other.encode()
    except UnicodeEncodeError:
        return
    assert PATH_RULE.check(path_of(one), "path") == path_of(one)
    assert (path_of(one) == path_of(other)) == (one == other)
