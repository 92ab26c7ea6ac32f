"""The server of the protocol: which of its methods are answered, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolResult,
    EmptyResult,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    ReadResourceResult,
    SubscriptionsListenResult,
)

from fastio_cli.mcp import prompts, resources
from fastio_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcp.server.context import ServerRequestContext
    from mcp_types import (
        CallToolRequestParams,
        GetPromptRequestParams,
        PaginatedRequestParams,
        ReadResourceRequestParams,
        SubscribeRequestParams,
        SubscriptionsListenRequestParams,
        UnsubscribeRequestParams,
    )

    from fastio_cli.mcp.session import ClientSession

    Context = ServerRequestContext[Any, Any]

# Definitions change with the version of fastio alone.
DEFINITIONS = CacheHint(ttl_ms=3_600_000, scope="public")
INSTRUCTIONS = """\
fastio keeps state that outlives this conversation and is shared with other agents and people: \
JSON objects and files at paths in a workspace, each with versions; locks; a log of every event.
Begin with context or event_list to learn where things stand. Before a change that others may make \
too: lock_acquire, read, change with lock_token, lock_release; or change with if_version of what \
you read and read again on version_conflict. Append and increment need neither.
Every tool takes workspace (default: the session's); every tool that writes takes idempotency_key, \
with which a repeat changes nothing more. Errors say what to do next in hint. What has no tool \
here is an operation: ops_search, ops_describe, ops_call."""


def protocol_server(
    session_of: Callable[[Context], ClientSession], *, is_session: bool = False
) -> Server[Any]:
    """A server whose requests are answered in the session that ``session_of`` finds for them.

    ``is_session``: its clients have a connection that lasts, on which they can be told of changes
    also by revisions before 2026-07-28.
    """

    async def list_tools(ctx: Context, params: PaginatedRequestParams | None) -> ListToolsResult:
        tools = session_of(ctx).profile.tools.values()
        return ListToolsResult(tools=[tool.definition for tool in tools])

    async def call_tool(ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        return await session_of(ctx).call_tool(params.name, params.arguments or {})

    async def list_resources(
        ctx: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        cursor = params.cursor if params is not None else None
        return await resources.list_resources(session_of(ctx).caller, cursor)

    async def list_templates(
        ctx: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        return resources.list_templates()

    async def read_resource(ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
        return await resources.read_resource(session_of(ctx).caller, str(params.uri))

    async def listen(
        ctx: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        return await resources.listen(session_of(ctx).caller, ctx, params)

    async def list_prompts(
        ctx: Context, params: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        return ListPromptsResult(prompts=prompts.list_prompts())

    async def get_prompt(ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
        return prompts.get_prompt(params.name, params.arguments or {})

    async def subscribe(ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        subscriptions = session_of(ctx).subscriptions
        assert subscriptions is not None
        await subscriptions.add(str(params.uri), ctx.session)
        return EmptyResult()

    async def unsubscribe(ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        subscriptions = session_of(ctx).subscriptions
        assert subscriptions is not None
        subscriptions.remove(str(params.uri))
        return EmptyResult()

    return Server(
        "fastio",
        version=__version__,
        title="fastio",
        instructions=INSTRUCTIONS,
        cache_hints={
            "tools/list": DEFINITIONS,
            "prompts/list": DEFINITIONS,
            "resources/templates/list": DEFINITIONS,
        },
        on_list_tools=list_tools,
        on_call_tool=call_tool,
        on_list_resources=list_resources,
        on_list_resource_templates=list_templates,
        on_read_resource=read_resource,
        on_subscribe_resource=subscribe if is_session else None,
        on_unsubscribe_resource=unsubscribe if is_session else None,
        on_subscriptions_listen=listen,
        on_list_prompts=list_prompts,
        on_get_prompt=get_prompt,
    )
