"""``fastio mcp`` as a program, spoken to by the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading

import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError

from tests.engines import open_engine

HELLO = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "tests", "version": "1"},
    },
}
REQUESTS = 10_000
READY = {"jsonrpc": "2.0", "method": "notifications/initialized"}


@pytest.fixture
def program(tmp_path):
    """How a client starts it, on a store of its own."""
    open_engine(tmp_path / "store").close()
    env = {**os.environ, "FASTIO_STORE": str(tmp_path / "store"), "HOME": str(tmp_path)}
    return StdioServerParameters(
        command=sys.executable, args=["-m", "fastio_cli", "mcp"], env=env, cwd=tmp_path
    )


def spoken(program, talk, *arguments):
    """What a conversation with a fresh process gives."""
    program = program.model_copy(update={"args": [*program.args, *arguments]})

    async def run():
        async with Client(program) as client:
            return await talk(client)

    return asyncio.run(run())


async def told(client, tool, **arguments):
    """The structured content of a call that has to succeed."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


async def refusal(client, tool, **arguments):
    """The error of a call that has to fail."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.content
    return result.structured_content["error"]


def test_an_agents_loop(program):
    async def talk(client):
        await told(client, "state_init", path="log.json", value={"done": []})
        lock = await told(client, "lock_acquire", path="log.json", purpose="entry")
        await told(client, "state_append", path="log.json", at="/done", value="cleaned the tigers")
        await told(client, "lock_release", path="log.json", lock_token=lock["token"])
        found = await told(client, "search", query="tigers", mode="lexical")
        assert [item["path"] for item in found["items"]] == ["log.json"]
        assert (await told(client, "state_get", path="log.json"))["version"] == 2

    spoken(program, talk)


def test_a_session_offers_the_version_that_it_last_read(program):
    async def talk(client):
        await told(client, "state_set", path="a", value={"n": 1})
        async with Client(program) as other:
            await told(other, "state_get", path="a")
            await told(other, "state_set", path="a", value={"n": 2})
        error = await refusal(client, "state_patch", path="a", patch={"m": 1})
        assert error["code"] == "version_conflict"
        assert error["details"]["current_version"] == 2
        await told(client, "state_get", path="a")
        await told(client, "state_patch", path="a", patch={"m": 1})
        await told(client, "state_set", path="a", value=0, if_version=None)

    spoken(program, talk)


def test_it_can_be_told_not_to(program):
    async def talk(client):
        await told(client, "state_set", path="a", value={"n": 1})
        async with Client(program) as other:
            await told(other, "state_set", path="a", value={"n": 2})
        await told(client, "state_patch", path="a", patch={"m": 1})

    spoken(program, talk, "--forget")


def test_a_locked_object_says_who_and_until_when(program):
    async def talk(client):
        await told(client, "lock_acquire", path="a", purpose="to tidy")
        async with Client(program) as other:
            error = await refusal(other, "state_set", path="a", value=1)
        assert error["code"] == "locked"
        assert {"holder", "purpose", "expires_at", "retry_after_s"} <= set(error["details"])
        await told(client, "state_set", path="a", value=1)  # the session lends its token

    spoken(program, talk)


def test_long_answers_come_in_parts(program):
    text = "".join(f"line {n} of a long text\n" for n in range(20_000))

    async def talk(client):
        await told(client, "file_put", path="long.txt", text=text)
        parts, offset = [], 0
        while offset is not None:
            part = await told(client, "file_get", path="long.txt", offset=offset)
            parts.append(part["text"])
            offset = part["next_offset"]
        assert "".join(parts) == text
        assert len(parts) > 1
        await told(client, "state_set", path="long.json", value={"lines": text.split("\n")})
        error = await refusal(client, "state_get", path="long.json")
        assert error["code"] == "too_large"
        assert "keys(@)" in error["hint"]
        assert (await told(client, "state_get", path="long.json", at="/lines/7"))["value"]

    spoken(program, talk)


def test_bytes_that_are_no_text_come_in_base64(program):
    async def talk(client):
        await told(client, "file_put", path="b", base64="/wD/")
        assert (await told(client, "file_get", path="b"))["base64"] == "/wD/"
        for bad in ({"base64": "?"}, {"text": "a", "base64": "YQ=="}, {}):
            assert (await refusal(client, "file_put", path="b", **bad))["code"] == "invalid"

    spoken(program, talk)


def test_what_has_no_tool_is_called_by_its_name(program):
    async def talk(client):
        await told(client, "state_set", path="a", value=1)
        found = await told(client, "ops_search", words="history")
        assert found["items"][0]["name"] == "object.history"
        described = await told(client, "ops_describe", name="object.history")
        assert "path" in described["params"]["properties"]
        answer = await told(client, "ops_call", name="object.history", params={"path": "a"})
        assert answer["items"][0]["version"] == 1
        assert (await refusal(client, "ops_call", name="object.hist"))["code"] == "not_found"

    spoken(program, talk)


def test_who_may_only_read_cannot_write_by_name_either(program):
    async def talk(client):
        assert "state_set" not in {tool.name for tool in (await client.list_tools()).tools}
        params = {"path": "a", "value": 1}
        error = await refusal(client, "ops_call", name="state.set", params=params)
        assert error["code"] == "forbidden"

    spoken(program, talk, "--read-only")


@pytest.mark.parametrize("arguments", [{"path": 5}, {}, {"path": "a", "more": 1}, {"path": None}])
def test_wrong_arguments_are_told_as_results(program, arguments):
    async def talk(client):
        assert (await refusal(client, "state_get", **arguments))["code"] == "invalid"

    spoken(program, talk)


def test_a_tool_that_there_is_not_is_an_error_of_the_protocol(program):
    async def talk(client):
        with pytest.raises(MCPError, match="state_get"):
            await client.call_tool("State_Get", {"path": "a"})

    spoken(program, talk)


def test_objects_are_resources(program):
    async def talk(client):
        await told(client, "file_put", path="notes/a b.md", text="hello")
        await told(client, "file_put", path="c", base64="/wD/")
        listed = (await client.list_resources()).resources
        listed = [r for r in listed if str(r.uri).startswith("fio:")]
        assert [str(r.uri) for r in listed] == ["fio://default/c", "fio://default/notes/a%20b.md"]
        read = await client.read_resource(listed[1].uri)
        assert read.contents[0].text == "hello"
        assert (await client.read_resource(listed[0].uri)).contents[0].blob == "/wD/"
        for uri in ("fio://default/none", "fio://none/a", "http://default/c", "fio://default"):
            with pytest.raises(MCPError):
                await client.read_resource(uri)

    spoken(program, talk)


def test_prompts_take_their_arguments(program):
    async def talk(client):
        prompts = (await client.list_prompts()).prompts
        assert {prompt.name for prompt in prompts} == {"resume", "hand_over", "review"}
        for prompt in prompts:
            given = {argument.name: "the harbour" for argument in prompt.arguments}
            message = (await client.get_prompt(prompt.name, given)).messages[0]
            assert "the harbour" in message.content.text
            with pytest.raises(MCPError, match="needs"):
                await client.get_prompt(prompt.name, {})

    spoken(program, talk)


def request(number, method, **params):
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode()


def test_nothing_but_the_protocol_is_on_stdout(program):
    lines = [b"garbage", b"[]", b'{"jsonrpc":"2.0"}', b"\xff\xfe", b"{" * 10_000]
    hello = [json.dumps(HELLO).encode(), json.dumps(READY).encode()]
    with subprocess.Popen(
        [program.command, *program.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=program.env,
        cwd=program.cwd,
    ) as process:
        process.stdin.write(b"\n".join([*hello, *lines, request(2, "tools/list")]) + b"\n")
        process.stdin.flush()
        answered = set()
        while answered != {1, 2}:
            answer = json.loads(process.stdout.readline())
            answered |= {answer["id"]} if "result" in answer else set()
        rest, problems = process.communicate()
        assert all(json.loads(line)["jsonrpc"] == "2.0" for line in rest.splitlines())
    assert b"Traceback" not in problems


def test_many_requests_at_once_are_all_answered(program):
    lines = [json.dumps(HELLO).encode(), json.dumps(READY).encode()]
    lines.append(request(2, "tools/call", name="state_set", arguments={"path": "n", "value": 0}))
    increment = {"name": "state.increment", "params": {"path": "n"}}
    numbers = range(10, 10 + REQUESTS)
    lines += [request(n, "tools/call", name="ops_call", arguments=increment) for n in numbers]
    with subprocess.Popen(
        [program.command, *program.args],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=program.env,
        cwd=program.cwd,
    ) as process:
        writer = threading.Thread(target=process.stdin.write, args=[b"\n".join(lines) + b"\n"])
        writer.start()
        answers = [json.loads(process.stdout.readline()) for _ in range(2 + REQUESTS)]
        writer.join()
        process.stdin.flush()
        process.stdin.close()
        assert process.wait() == 0
    assert not [answer for answer in answers if answer["result"].get("isError")]

    async def talk(client):
        return (await told(client, "state_get", path="n"))["value"]

    assert spoken(program, talk) == REQUESTS
