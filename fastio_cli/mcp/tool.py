"""A tool: what a client is told of it, and what is done when it is called."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from fastio_cli.mcp import tools

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from mcp_types import Tool

    from fastio_cli.mcp.calls import Caller
    from fastio_cli.operations.operation import Operation

    Arguments = dict[str, Any]
    Run = Callable[[Caller, Arguments], Awaitable[object]]


class OperationTool:
    """An operation of the catalogue as a tool."""

    def __init__(self, name: str, operation: Operation) -> None:
        self.name = name
        self.operation = operation
        self.is_read_only = operation.effect == "read"

    @cached_property
    def definition(self) -> Tool:
        """What a client is told."""
        return tools.definition(self.name, self.operation)

    async def run(self, caller: Caller, arguments: Arguments) -> object:
        """What the operation answers."""
        return await caller.call(self.operation, arguments)


class FunctionTool:
    """A tool that is no operation, but made of some."""

    def __init__(self, definition: Tool, run: Run, *, is_read_only: bool) -> None:
        self.name = definition.name
        self.definition = definition
        self.run = run
        self.is_read_only = is_read_only
