"""The server of the protocol: which of its methods are answered, and by what."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.server.caching import CacheHint
from mcp.server.lowlevel import Server
from mcp_types import (
    INVALID_PARAMS,
    CallToolResult,
    CompleteResult,
    DiscoverResult,
    EmptyResult,
    GetPromptResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PromptsCapability,
    ReadResourceResult,
    RequestParams,
    SubscriptionsListenResult,
    ToolsCapability,
)
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from fastio_cli.mcp import completion, prompts, resources, skills
from fastio_cli.mcp.skill_files import SCHEME
from fastio_cli.version import __version__

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp.server.context import ServerRequestContext
    from mcp_types import (
        CallToolRequestParams,
        CompleteRequestParams,
        GetPromptRequestParams,
        PaginatedRequestParams,
        ReadResourceRequestParams,
        SubscribeRequestParams,
        SubscriptionsListenRequestParams,
        UnsubscribeRequestParams,
    )

    from fastio_cli.mcp.resources import Subscriptions
    from fastio_cli.mcp.session import ClientSession

    Context = ServerRequestContext[Any, Any]
    Extend = Callable[[Server[Any]], None]

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


class Handlers:
    """The methods of the protocol, each answered in the session of the client that asks."""

    def __init__(self, session_of: Callable[[Context], ClientSession]) -> None:
        self._session_of = session_of

    async def list_tools(
        self, ctx: Context, params: PaginatedRequestParams | None
    ) -> ListToolsResult:
        """``tools/list``."""
        tools = self._session_of(ctx).profile.tools.values()
        return ListToolsResult(tools=[tool.definition for tool in tools])

    async def call_tool(self, ctx: Context, params: CallToolRequestParams) -> CallToolResult:
        """``tools/call``."""
        return await self._session_of(ctx).call_tool(params.name, params.arguments or {})

    async def list_resources(
        self, ctx: Context, params: PaginatedRequestParams | None
    ) -> ListResourcesResult:
        """``resources/list``."""
        cursor = params.cursor if params is not None else None
        page = await resources.list_resources(self._session_of(ctx).caller, cursor)
        return page if cursor else page.model_copy(update=_with_skill(page))

    async def list_templates(
        self, ctx: Context, params: PaginatedRequestParams | None
    ) -> ListResourceTemplatesResult:
        """``resources/templates/list``."""
        return resources.list_templates()

    async def read_resource(
        self, ctx: Context, params: ReadResourceRequestParams
    ) -> ReadResourceResult:
        """``resources/read``."""
        uri = str(params.uri)
        if uri.startswith(SCHEME):
            return skills.read_skill(uri)
        is_modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        not_found = INVALID_PARAMS if is_modern else resources.NOT_FOUND_BEFORE_2026
        return await resources.read_resource(self._session_of(ctx).caller, uri, not_found)

    async def listen(
        self, ctx: Context, params: SubscriptionsListenRequestParams
    ) -> SubscriptionsListenResult:
        """``subscriptions/listen``, since 2026-07-28."""
        return await resources.listen(self._session_of(ctx).caller, ctx, params)

    async def subscribe(self, ctx: Context, params: SubscribeRequestParams) -> EmptyResult:
        """``resources/subscribe``, before 2026-07-28."""
        await self._subscriptions(ctx).add(str(params.uri), ctx.session)
        return EmptyResult()

    async def unsubscribe(self, ctx: Context, params: UnsubscribeRequestParams) -> EmptyResult:
        """``resources/unsubscribe``, before 2026-07-28."""
        self._subscriptions(ctx).remove(str(params.uri))
        return EmptyResult()

    async def list_prompts(
        self, ctx: Context, params: PaginatedRequestParams | None
    ) -> ListPromptsResult:
        """``prompts/list``."""
        return ListPromptsResult(prompts=prompts.list_prompts())

    async def get_prompt(self, ctx: Context, params: GetPromptRequestParams) -> GetPromptResult:
        """``prompts/get``."""
        return prompts.get_prompt(params.name, params.arguments or {})

    async def complete(self, ctx: Context, params: CompleteRequestParams) -> CompleteResult:
        """``completion/complete``."""
        caller = self._session_of(ctx).caller
        found = await completion.complete(caller, params.ref, params.argument, params.context)
        return CompleteResult(completion=found)

    def _subscriptions(self, ctx: Context) -> Subscriptions:
        subscriptions = self._session_of(ctx).subscriptions
        assert subscriptions is not None, "only a connection that lasts can subscribe"
        return subscriptions


def protocol_server(
    session_of: Callable[[Context], ClientSession],
    *,
    is_session: bool = False,
    extend: Extend | None = None,
) -> Server[Any]:
    """A server whose requests are answered in the session that ``session_of`` finds for them.

    ``is_session``: its clients have a connection that lasts, on which they can be told of changes
    also by revisions before 2026-07-28. ``extend``: given the server before it serves, to add or
    wrap handlers of its methods; fastio itself needs none.
    """
    handlers = Handlers(session_of)
    server: Server[Any] = Server(
        "fastio",
        version=__version__,
        title="fastio",
        instructions=INSTRUCTIONS,
        cache_hints={
            "tools/list": DEFINITIONS,
            "prompts/list": DEFINITIONS,
            "resources/templates/list": DEFINITIONS,
        },
        get_tool_input_schema=_no_header_parameters,
        on_list_tools=handlers.list_tools,
        on_call_tool=handlers.call_tool,
        on_list_resources=handlers.list_resources,
        on_list_resource_templates=handlers.list_templates,
        on_read_resource=handlers.read_resource,
        on_subscribe_resource=handlers.subscribe if is_session else None,
        on_unsubscribe_resource=handlers.unsubscribe if is_session else None,
        on_subscriptions_listen=handlers.listen,
        on_list_prompts=handlers.list_prompts,
        on_get_prompt=handlers.get_prompt,
        on_completion=handlers.complete,
    )
    server.add_request_handler("server/discover", RequestParams, _discover(server))
    skills.add_skills(server)
    if extend is not None:
        extend(server)
    return server


def _with_skill(page: ListResourcesResult) -> dict[str, object]:
    return {"resources": [*skills.skill_resources(), *page.resources]}


def _discover(server: Server[Any]) -> Callable[[Context, RequestParams], Awaitable[DiscoverResult]]:
    """``server/discover``: the SDK would say that tools and prompts change, as resources do."""

    async def discover(ctx: Context, params: RequestParams) -> DiscoverResult:
        stated = server.get_capabilities(protocol_version=ctx.protocol_version)
        fixed = {"tools": ToolsCapability(), "prompts": PromptsCapability()}
        return DiscoverResult(
            supported_versions=list(MODERN_PROTOCOL_VERSIONS),
            capabilities=stated.model_copy(update=fixed),
            instructions=server.instructions,
        )

    return discover


def _no_header_parameters(tool: str) -> None:
    """No tool takes a parameter as an HTTP header: the SDK need not list all tools to find out."""
