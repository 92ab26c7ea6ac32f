"""What the official conformance suite calls by name: its tools, resources and prompts.

They are added to fastio's own by ``extend``; each does what the description of a scenario of the
suite (``conformance server --scenario NAME``) asks for.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types import (
    CLIENT_CAPABILITIES_META_KEY,
    MISSING_REQUIRED_CLIENT_CAPABILITY,
    AudioContent,
    BlobResourceContents,
    CallToolRequestParams,
    CallToolResult,
    CompleteRequestParams,
    CompleteResult,
    Completion,
    EmbeddedResource,
    EmptyResult,
    GetPromptRequestParams,
    GetPromptResult,
    ImageContent,
    InputRequiredResult,
    ListPromptsResult,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ListToolsResult,
    PaginatedRequestParams,
    Prompt,
    PromptArgument,
    PromptMessage,
    ReadResourceRequestParams,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    SetLevelRequestParams,
    TextContent,
    TextResourceContents,
    Tool,
)

Context = ServerRequestContext[Any, Any]
Answer = CallToolResult | InputRequiredResult
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()  # no more than how they begin
WAV = base64.b64encode(b"RIFF\x04\0\0\0WAVE").decode()
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
HEADER_SCHEMA = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
}
SCHEMA_2020_12 = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}


def said(text: str) -> CallToolResult:
    return CallToolResult(content=[text_of(text)])


def text_of(text: str) -> TextContent:
    return TextContent(type="text", text=text)


def image() -> ImageContent:
    return ImageContent(type="image", data=PNG, mime_type="image/png")


def embedded(uri: str, text: str) -> EmbeddedResource:
    resource = TextResourceContents(uri=uri, mime_type="text/plain", text=text)
    return EmbeddedResource(type="resource", resource=resource)


def question(message: str, **properties: str) -> dict[str, Any]:
    """A request of the user's input."""
    schema = {
        "type": "object",
        "properties": {name: {"type": kind} for name, kind in properties.items()},
        "required": list(properties),
    }
    return {
        "method": "elicitation/create",
        "params": {"mode": "form", "message": message, "requestedSchema": schema},
    }


def sample(text: str, tokens: int = 100) -> dict[str, Any]:
    """A request of the client's model."""
    message = {"role": "user", "content": {"type": "text", "text": text}}
    return {
        "method": "sampling/createMessage",
        "params": {"messages": [message], "maxTokens": tokens},
    }


ROOTS = {"method": "roots/list", "params": {}}


def asking(state: str | None = None, **requests: dict[str, Any]) -> InputRequiredResult:
    return InputRequiredResult.model_validate({"inputRequests": requests, "requestState": state})


def given(params: CallToolRequestParams | GetPromptRequestParams, *names: str) -> bool:
    """Whether the client answered all of these."""
    responses = params.input_responses or {}
    return all(name in responses for name in names)


async def call_tool(ctx: Context, params: CallToolRequestParams) -> Answer:
    return await TOOLS[params.name](ctx, params)


async def _simple(ctx: Context, params: CallToolRequestParams) -> Answer:
    return said("This is a simple text response for testing.")


async def _image(ctx: Context, params: CallToolRequestParams) -> Answer:
    return CallToolResult(content=[image()])


async def _audio(ctx: Context, params: CallToolRequestParams) -> Answer:
    audio = AudioContent(type="audio", data=WAV, mime_type="audio/wav")
    return CallToolResult(content=[audio])


async def _embedded(ctx: Context, params: CallToolRequestParams) -> Answer:
    text = "This is an embedded resource content."
    return CallToolResult(content=[embedded("test://embedded-resource", text)])


async def _mixed(ctx: Context, params: CallToolRequestParams) -> Answer:
    content = embedded("test://mixed-content-resource", '{"test": "data", "value": 123}')
    return CallToolResult(content=[text_of("Multiple content types test:"), image(), content])


async def _logging(ctx: Context, params: CallToolRequestParams) -> Answer:
    for stage in ("started", "processing data", "completed"):
        await ctx.session.send_log_message(
            "info", f"Tool {stage}", related_request_id=ctx.request_id
        )
    return said("Logged.")


async def _progress(ctx: Context, params: CallToolRequestParams) -> Answer:
    for progress in (0, 50, 100):
        await ctx.session.report_progress(progress, 100)
        await anyio.sleep(0.01)
    return said("Done.")


async def _error(ctx: Context, params: CallToolRequestParams) -> Answer:
    result = said("This tool intentionally returns an error for testing")
    return result.model_copy(update={"is_error": True})


async def _needs_sampling(ctx: Context, params: CallToolRequestParams) -> Answer:
    if "sampling" not in capabilities(ctx):
        data = {"requiredCapabilities": {"sampling": {}}}
        raise MCPError(MISSING_REQUIRED_CLIENT_CAPABILITY, "The client has no sampling.", data)
    return said("The client has sampling.")


async def _elicitation(ctx: Context, params: CallToolRequestParams) -> Answer:
    if not given(params, "user_name"):
        return asking(user_name=question("What is your name?", name="string"))
    return said("Hello!")


async def _sampling(ctx: Context, params: CallToolRequestParams) -> Answer:
    if not given(params, "capital_question"):
        return asking(capital_question=sample("What is the capital of France?"))
    return said("The model has answered.")


async def _roots(ctx: Context, params: CallToolRequestParams) -> Answer:
    if not given(params, "client_roots"):
        return asking(client_roots=ROOTS)
    return said("The client has roots.")


async def _state(ctx: Context, params: CallToolRequestParams) -> Answer:
    if params.request_state != "asked" or not given(params, "confirm"):
        return asking("asked", confirm=question("Please confirm", ok="boolean"))
    return said("state-ok")


async def _multiple(ctx: Context, params: CallToolRequestParams) -> Answer:
    if not given(params, "user_name", "greeting", "client_roots"):
        name, greeting = question("What is your name?", name="string"), sample("Greet", 50)
        return asking("asked", user_name=name, greeting=greeting, client_roots=ROOTS)
    return said("All is known.")


async def _rounds(ctx: Context, params: CallToolRequestParams) -> Answer:
    if params.request_state == "second" and given(params, "step2"):
        return said("All is known.")
    if params.request_state == "first" and given(params, "step1"):
        return asking("second", step2=question("Step 2: What is your colour?", color="string"))
    return asking("first", step1=question("Step 1: What is your name?", name="string"))


async def _capable(ctx: Context, params: CallToolRequestParams) -> Answer:
    """Asks only what the client says that it can answer."""
    possible = {
        "elicitation": question("What is your name?", name="string"),
        "sampling": sample("Greet"),
        "roots": ROOTS,
    }
    asked = {name: request for name, request in possible.items() if name in capabilities(ctx)}
    return asking(**asked)


def capabilities(ctx: Context) -> dict[str, Any]:
    """What the client of a request says that it can do."""
    meta = (ctx.params or {}).get("_meta") or {}
    stated: dict[str, Any] = meta.get(CLIENT_CAPABILITIES_META_KEY) or {}
    return stated


TOOLS: dict[str, Callable[[Context, CallToolRequestParams], Awaitable[Answer]]] = {
    "test_simple_text": _simple,
    "test_image_content": _image,
    "test_audio_content": _audio,
    "test_embedded_resource": _embedded,
    "test_multiple_content_types": _mixed,
    "test_tool_with_logging": _logging,
    "test_logging_tool": _logging,
    "test_tool_with_progress": _progress,
    "test_error_handling": _error,
    "test_missing_capability": _needs_sampling,
    "test_streaming_elicitation": _elicitation,
    "test_input_required_result_elicitation": _elicitation,
    "test_input_required_result_sampling": _sampling,
    "test_input_required_result_list_roots": _roots,
    "test_input_required_result_request_state": _state,
    "test_input_required_result_tampered_state": _state,
    "test_input_required_result_multiple_inputs": _multiple,
    "test_input_required_result_multi_round": _rounds,
    "test_input_required_result_capabilities": _capable,
    "test_header": _simple,
    "json_schema_2020_12_tool": _simple,
}
SCHEMAS = {"test_header": HEADER_SCHEMA, "json_schema_2020_12_tool": SCHEMA_2020_12}
RESOURCES: dict[str, TextResourceContents | BlobResourceContents] = {
    uri: TextResourceContents(uri=uri, mime_type="text/plain", text="Static text.")
    for uri in ("test://static-text", "test://watched-resource")
}
RESOURCES["test://static-binary"] = BlobResourceContents(
    uri="test://static-binary", mime_type="image/png", blob=PNG
)
PROMPTS: dict[str, list[str]] = {
    "test_simple_prompt": [],
    "test_prompt_with_arguments": ["arg1", "arg2"],
    "test_prompt_with_embedded_resource": ["resourceUri"],
    "test_prompt_with_image": [],
    "test_input_required_result_prompt": [],
}


async def get_prompt(
    ctx: Context, params: GetPromptRequestParams
) -> GetPromptResult | InputRequiredResult:
    told = params.arguments or {}
    stated = ", ".join(f"{name}={told.get(name)!r}" for name in PROMPTS[params.name])
    content: list[Any] = [text_of(f"A prompt for tests: {stated}")]
    if params.name == "test_prompt_with_embedded_resource":
        content.insert(0, embedded(told["resourceUri"], "Embedded resource content for testing."))
    if params.name == "test_prompt_with_image":
        content.insert(0, image())
    if params.name == "test_input_required_result_prompt" and not given(params, "user_context"):
        return asking(user_context=question("What context?", context="string"))
    return GetPromptResult(messages=[PromptMessage(role="user", content=c) for c in content])


async def read_resource(ctx: Context, params: ReadResourceRequestParams) -> ReadResourceResult:
    uri = str(params.uri)
    if uri in RESOURCES:
        return ReadResourceResult(contents=[RESOURCES[uri]])
    number = uri.removeprefix("test://template/").removesuffix("/data")
    text = json.dumps({"id": number, "templateTest": True, "data": f"Data for ID: {number}"})
    contents = TextResourceContents(uri=uri, mime_type="application/json", text=text)
    return ReadResourceResult(contents=[contents])


async def complete(ctx: Context, params: CompleteRequestParams) -> CompleteResult:
    return CompleteResult(completion=Completion(values=[], total=0, has_more=False))


async def set_level(ctx: Context, params: SetLevelRequestParams) -> EmptyResult:
    return EmptyResult()


def extend(server: Server[Any]) -> None:
    """Add all of it to a server."""
    # What comes back from a client as the state of a request is sealed, as the protocol asks.
    security = RequestStateSecurity.ephemeral()
    server.middleware.append(RequestStateBoundary(security, default_audience="tests"))
    server.get_tool_input_schema = SCHEMAS.get
    server.add_request_handler("logging/setLevel", SetLevelRequestParams, set_level)
    _add_to_list(server, "tools/list", _tools)
    _add_to_list(server, "prompts/list", _prompts)
    _add_to_list(server, "resources/list", _resources)
    _add_to_list(server, "resources/templates/list", _templates)
    _prefer(server, "tools/call", call_tool, lambda params: params.name in TOOLS)
    _prefer(server, "prompts/get", get_prompt, lambda params: params.name in PROMPTS)
    _prefer(server, "resources/read", read_resource, lambda params: _is_ours(str(params.uri)))
    _prefer(server, "completion/complete", complete, _is_of_our_prompt)


def _is_ours(uri: str) -> bool:
    return uri in RESOURCES or uri.startswith("test://template/")


def _is_of_our_prompt(params: CompleteRequestParams) -> bool:
    return getattr(params.ref, "name", None) in PROMPTS


def _tools(page: ListToolsResult) -> dict[str, Any]:
    added = [
        Tool(name=name, description=name, input_schema=SCHEMAS.get(name, SCHEMA)) for name in TOOLS
    ]
    return {"tools": [*page.tools, *added]}


def _prompts(page: ListPromptsResult) -> dict[str, Any]:
    added = [
        Prompt(
            name=name,
            description=name,
            arguments=[PromptArgument(name=argument, required=True) for argument in arguments],
        )
        for name, arguments in PROMPTS.items()
    ]
    return {"prompts": [*page.prompts, *added]}


def _resources(page: ListResourcesResult) -> dict[str, Any]:
    added = [Resource(uri=uri, name=uri, mime_type=c.mime_type) for uri, c in RESOURCES.items()]
    return {"resources": [*page.resources, *added]}


def _templates(page: ListResourceTemplatesResult) -> dict[str, Any]:
    added = ResourceTemplate(name="template", uri_template="test://template/{id}/data")
    return {"resource_templates": [*page.resource_templates, added]}


def _add_to_list(server: Server[Any], method: str, added: Callable[[Any], dict[str, Any]]) -> None:
    """Have a list hold fixtures beside what fastio has."""
    own = server.get_request_handler(method)
    assert own is not None

    async def handle(ctx: Context, params: PaginatedRequestParams) -> Any:
        page: Any = await own.handler(ctx, params)
        return page.model_copy(update=added(page))

    server.add_request_handler(method, own.params_type, handle)


def _prefer(
    server: Server[Any],
    method: str,
    fixture: Callable[[Context, Any], Awaitable[Any]],
    is_fixture: Callable[[Any], bool],
) -> None:
    """Have a method answered by fixtures where they are named, and else by fastio."""
    own = server.get_request_handler(method)
    assert own is not None

    async def handle(ctx: Context, params: Any) -> Any:
        return await (fixture if is_fixture(params) else own.handler)(ctx, params)

    server.add_request_handler(method, own.params_type, handle)
