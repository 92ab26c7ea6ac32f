"""``/mcp`` and ``/sse`` of a server: whose request it is, what it may do, what outlasts what."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

import httpx2
import pytest
from mcp.client.client import Client
from mcp.client.sse import sse_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp_types import PromptReference, ResourceTemplateReference

from fastio_cli.mcp.http import McpSurface
from tests.engines import open_engine
from tests.remote import Running

MODES = ["legacy", "2026-07-28"]
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"accept": "application/json, text/event-stream"}


@pytest.fixture
def running(tmp_path):
    """A server with the protocol mounted."""
    engine = open_engine(tmp_path / "store")
    server = Running(engine, surfaces=[McpSurface(engine)])
    yield server
    server.stop()
    engine.close()


@asynccontextmanager
async def connected(server, token, path="/mcp", mode="auto"):
    """The SDK's client of a server, with a token."""
    async with httpx2.AsyncClient(headers={"authorization": f"Bearer {token}"}) as http:
        transport = streamable_http_client(f"{server.url}{path}", http_client=http)
        async with Client(transport, mode=mode) as client:
            yield client


async def told(client, tool, **arguments):
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, result.content
    return result.structured_content


@pytest.mark.parametrize("mode", MODES)
def test_both_revisions_call_tools(running, mode):
    async def talk():
        async with connected(running, running.token("ada"), mode=mode) as client:
            await told(client, "state_set", path="a", value={"x": 1})
            assert (await told(client, "state_get", path="a"))["value"] == {"x": 1}
            listed = (await client.list_resources()).resources
            assert "fio://default/a" in {str(resource.uri) for resource in listed}

    asyncio.run(talk())


def test_the_url_names_the_profile_and_the_workspace(running):
    token = running.token("ada")

    async def talk():
        async with connected(running, token, "/mcp/all") as client:
            await told(client, "workspace_create", name="lab")
        async with connected(running, token, "/mcp?workspace=lab") as client:
            await told(client, "state_set", path="a", value=1)
        async with connected(running, token, "/mcp/state?read_only=1&workspace=lab") as client:
            names = {tool.name for tool in (await client.list_tools()).tools}
            assert names == {"state_get", "state_schema", "state_wait"}
            assert (await told(client, "state_get", path="a"))["value"] == 1

    asyncio.run(talk())


def test_a_role_bounds_tools_as_it_bounds_requests(running):
    running.token("ada")
    viewer = running.token("vera", role="viewer")

    async def talk():
        async with connected(running, viewer) as client:
            result = await client.call_tool("state_set", {"path": "a", "value": 1})
            assert result.structured_content["error"]["code"] == "forbidden"

    asyncio.run(talk())


@pytest.mark.parametrize("path", ["/mcp", "/mcp/all", "/sse", "/sse/messages"])
def test_nobody_gets_in_without_a_token_or_from_another_site(running, path):
    token = running.token("ada")
    method = "GET" if path == "/sse" else "POST"
    with httpx2.Client(base_url=running.url) as http:
        send = {"json": PING, "headers": ACCEPT} if method == "POST" else {}
        assert http.request(method, path, **send).status_code == 401
        headers = {**ACCEPT, "authorization": f"Bearer {token}", "origin": "https://evil.test"}
        assert http.request(method, path, **{**send, "headers": headers}).status_code == 403
        bad = {**ACCEPT, "authorization": f"Bearer {token[:-1]}x"}
        assert http.request(method, path, **{**send, "headers": bad}).status_code == 401


@pytest.mark.parametrize(
    ("host", "origin", "status"),
    [
        ("{own}", "http://{own}", 200),
        ("localhost:8787", "http://localhost:8787", 200),
        ("[::1]:8787", "http://[::1]:8787", 200),
        ("evil.test", "http://evil.test", 403),
        ("evil.test:8787", "http://evil.test:8787", 403),
        ("127.0.0.1.evil.test", "http://127.0.0.1.evil.test", 403),
        ("{own}", "http://evil.test", 403),
        ("{own}", "http://[", 403),
        ("{own}", "null", 403),
    ],
)
def test_a_page_whose_name_leads_to_this_machine_is_another_site(running, host, origin, status):
    own = running.url.partition("://")[2]
    headers = {
        **ACCEPT,
        "authorization": f"Bearer {running.token('ada')}",
        "host": host.format(own=own),
        "origin": origin.format(own=own),
    }
    with httpx2.Client(base_url=running.url) as http:
        assert http.post("/mcp", json=PING, headers=headers).status_code == status


def test_behind_a_proxy_a_page_of_the_same_site_may_ask(tmp_path):
    """The address that the proxy reached says nothing of the name that the page knows."""
    engine = open_engine(tmp_path / "store")
    server = Running(engine, surfaces=[McpSurface(engine)], behind_proxy=1)
    headers = {**ACCEPT, "authorization": f"Bearer {server.token('ada')}", "host": "fastio.test"}
    with httpx2.Client(base_url=server.url, headers=headers) as http:
        for origin, status in ("https://fastio.test", 200), ("https://evil.test", 403):
            asked = http.post("/mcp", json=PING, headers={"origin": origin})
            assert asked.status_code == status
    server.stop()
    engine.close()


def test_what_is_not_there_is_told_as_the_revision_says(running):
    async def talk(mode, code):
        async with connected(running, running.token("ada"), mode=mode) as client:
            with pytest.raises(MCPError, match="workspace must be"):
                await client.read_resource("fio://[/a")
            for uri in ("fio://default/nothing", "fio://nowhere/a"):
                with pytest.raises(MCPError) as refused:
                    await client.read_resource(uri)
                error = refused.value.error
                assert (error.code, error.data["uri"]) == (code, uri)

    asyncio.run(talk("2026-07-28", -32602))
    asyncio.run(talk("legacy", -32002))


@pytest.mark.parametrize("mode", MODES)
def test_arguments_are_completed(running, mode):
    async def talk():
        async with connected(running, running.token("ada"), mode=mode) as client:
            for path in ("plan.json", "play/a", "q"):
                await told(client, "state_set", path=path, value=1)
            review = PromptReference(name="review")
            template = ResourceTemplateReference(uri="fio://{workspace}/{+path}")
            for ref, name, value, expected in (
                (review, "path", "pla", ["plan.json", "play/a"]),
                (template, "path", "", ["plan.json", "play/a", "q"]),
                (template, "workspace", "def", ["default"]),
                (PromptReference(name="resume"), "task", "any", []),
            ):
                found = await client.complete(ref, {"name": name, "value": value})
                assert found.completion.values == expected
            elsewhere = {"name": "path", "value": ""}
            with pytest.raises(MCPError):
                await client.complete(template, elsewhere, {"workspace": "nowhere"})
            with pytest.raises(MCPError):
                await client.complete(PromptReference(name="nothing"), elsewhere)

    asyncio.run(talk())


def test_a_server_says_that_only_resources_change(running):
    async def talk():
        async with connected(running, running.token("ada")) as client:
            stated = client.server_capabilities
            assert stated.resources.list_changed
            assert not stated.tools.list_changed
            assert not stated.prompts.list_changed

    asyncio.run(talk())


def test_what_cannot_be_asked_is_refused(running):
    token = running.token("ada")
    headers = {**ACCEPT, "authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=running.url, headers=headers) as http:
        assert http.get("/mcp").status_code == 405
        assert http.delete("/mcp").status_code == 405
        assert http.post("/mcp/nothing", json=PING).status_code == 404
        assert http.post("/mcp?workspace=..", json=PING).status_code == 400
        assert http.post("/mcp", content=b"{", headers=JSON).status_code == 400
        large = b'{"x":"' + b"x" * 5_000_000 + b'"}'
        assert http.post("/mcp", content=large, headers=JSON).status_code == 413


JSON = {"content-type": "application/json"}


def test_a_restart_between_two_calls_harms_nothing(tmp_path):
    engine = open_engine(tmp_path / "store")
    first = Running(engine, surfaces=[McpSurface(engine)])
    token = first.token("ada")
    second = None

    async def talk():
        nonlocal second
        async with connected(first, token) as client:
            await told(client, "state_set", path="a", value=1)
            port = first.socket.getsockname()[1]
            await asyncio.to_thread(first.stop)
            second = Running(engine, port=port, surfaces=[McpSurface(engine)])
            assert (await told(client, "state_get", path="a"))["value"] == 1

    asyncio.run(talk())
    second.stop()
    engine.close()


def test_a_session_over_sse_is_its_owners_alone(running):
    ada, eve = running.token("ada"), running.token("eve", role="editor")

    async def talk():
        sessions = []
        headers = {"authorization": f"Bearer {ada}"}
        begun = sessions.append
        transport = sse_client(f"{running.url}/sse", headers=headers, on_session_created=begun)
        async with Client(transport, mode="legacy") as client:
            await told(client, "state_set", path="a", value=1)
            url = f"{running.url}/sse/messages?session_id={sessions[0]}"
            async with httpx2.AsyncClient(headers={"authorization": f"Bearer {eve}"}) as http:
                assert (await http.post(url, json=PING)).status_code == 404
            assert (await told(client, "state_get", path="a"))["value"] == 1

    asyncio.run(talk())


def test_changes_are_told_to_who_listens(running):
    token = running.token("ada")

    async def talk():
        async with connected(running, token) as client, connected(running, token) as other:
            uri = "fio://default/a"
            async with client.listen(resource_subscriptions=[uri]) as events:
                await told(other, "state_set", path="b", value=1)
                await told(other, "state_set", path="a", value=1)
                event = await asyncio.wait_for(anext(aiter(events)), 30)
                assert str(event.uri) == uri

    asyncio.run(talk())
