"""Three tools through which a client that is shown few of them reaches all operations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import Tool, ToolAnnotations

from fastio_cli.errors import FastioError
from fastio_cli.mcp import tools
from fastio_cli.mcp.tool import FunctionTool
from fastio_cli.operations import every, find

if TYPE_CHECKING:
    from fastio_cli.mcp.calls import Caller
    from fastio_cli.mcp.tool import Arguments
    from fastio_cli.operations.operation import Operation

TEXT = {"type": "string"}
SEARCH_MAX = 20


def catalogue_tools(*, is_read_only: bool) -> list[FunctionTool]:
    """The tools; those of a client that may only read call nothing that writes."""

    async def call(caller: Caller, arguments: Arguments) -> object:
        operation = _operation(arguments)
        params = arguments.get("params") or {}
        if not isinstance(params, dict):
            raise FastioError("invalid", "params must be an object.")
        if is_read_only and operation.effect != "read":
            raise FastioError("forbidden", "This connection only reads.")
        return await caller.call(operation, params)

    return [
        FunctionTool(
            _definition("ops_search", SEARCH, {"words": TEXT}, []), _search, is_read_only=True
        ),
        FunctionTool(
            _definition("ops_describe", DESCRIBE, {"name": TEXT}, ["name"]),
            _describe,
            is_read_only=True,
        ),
        FunctionTool(
            _definition(
                "ops_call",
                CALL,
                {"name": TEXT, "params": {"type": "object"}},
                ["name"],
                is_read_only=is_read_only,
            ),
            call,
            is_read_only=is_read_only,
        ),
    ]


SEARCH = "Find operations by words; without words, list all. Most have no tool of their own."
DESCRIBE = "Describe one operation: its parameters and its result as JSON Schema."
CALL = (
    "Call any operation by name with the parameters that ops_describe tells. workspace and "
    "idempotency_key may be among them."
)


async def _search(caller: Caller, arguments: Arguments) -> object:
    words = arguments.get("words") or ""
    if not isinstance(words, str):
        raise FastioError("invalid", "words must be a string.")
    asked = words.lower().split()
    ranked = sorted(every(), key=lambda operation: -_score(operation, asked))
    found = [op for op in ranked if not asked or _score(op, asked)]
    shown = found[:SEARCH_MAX] if asked else found
    return {"items": [{"name": op.name, "effect": op.effect, "help": op.help} for op in shown]}


def _score(operation: Operation, words: list[str]) -> int:
    """How well words fit; those in the name count more."""
    text = (operation.run.__doc__ or "").lower()
    return sum(3 * (word in operation.name) + (word in text) for word in words)


async def _describe(caller: Caller, arguments: Arguments) -> object:
    operation = _operation(arguments)
    described = tools.definition(operation.name, operation)
    return {
        "name": operation.name,
        "description": described.description,
        "role": operation.role,
        "params": described.input_schema,
        "result": described.output_schema,
    }


def _operation(arguments: Arguments) -> Operation:
    name = arguments.get("name")
    if not isinstance(name, str):
        raise FastioError("invalid", "name must be the name of an operation.")
    return find(name)


def _definition(
    name: str,
    description: str,
    properties: dict[str, Any],
    required: list[str],
    *,
    is_read_only: bool = True,
) -> Tool:
    title = name.replace("_", " ").capitalize()
    return Tool(
        name=name,
        title=title,
        description=description,
        input_schema={"type": "object", "properties": properties, "required": required},
        annotations=ToolAnnotations(
            read_only_hint=is_read_only,
            destructive_hint=not is_read_only,
            idempotent_hint=is_read_only,
            open_world_hint=not is_read_only,
        ),
    )
