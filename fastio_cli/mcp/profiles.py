"""Profiles: which tools a client is shown. Each tool costs every conversation some tokens.

``core`` (the default) is what an agent needs, named by intent, and the way to all else; ``all`` is
a tool for each operation; the name of a noun (``state``, ``lock`` …) gives the tools of that noun;
``memory`` is a knowledge graph, with the tools that agents know from the memory server.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from fastio_cli.errors import FastioError
from fastio_cli.mcp.catalogue_tools import catalogue_tools
from fastio_cli.mcp.memory_tools import memory_tools
from fastio_cli.mcp.tool import OperationTool
from fastio_cli.mcp.tools import tool_name
from fastio_cli.operations import every, find

if TYPE_CHECKING:
    from fastio_cli.mcp.tool import FunctionTool

CORE = {
    "state_get": "state.get",
    "state_set": "state.set",
    "state_init": "state.init",
    "state_patch": "state.patch",
    "state_append": "state.append",
    "state_wait": "state.wait",
    "file_get": "file.get",
    "file_put": "file.put",
    "file_append": "file.append",
    "object_list": "object.list",
    "lock_acquire": "lock.acquire",
    "lock_release": "lock.release",
    "event_list": "event.list",
    "search": "search.query",
    "context": "search.context",
}


class Profile:
    """The tools that a client is shown, by name."""

    def __init__(self, name: str, tools: list[OperationTool | FunctionTool]) -> None:
        self.name = name
        self.tools = {tool.name: tool for tool in tools}
        self._names = {t.operation.name: t.name for t in tools if isinstance(t, OperationTool)}

    def name_of(self, operation: str) -> str | None:
        """The tool of an operation, if a client is shown one."""
        return self._names.get(operation)


@cache
def profile(name: str = "core", *, is_read_only: bool = False) -> Profile:
    """The profile of this name; ``is_read_only`` leaves out what changes something.

    Raises ``not_found`` with the names that there are.
    """
    tools = _tools(name, is_read_only)
    return Profile(name, [tool for tool in tools if tool.is_read_only or not is_read_only])


def profile_names() -> list[str]:
    """All profiles."""
    return ["core", "all", "memory", *sorted({op.name.partition(".")[0] for op in every()})]


def _tools(name: str, is_read_only: bool) -> list[OperationTool | FunctionTool]:
    if name == "core":
        stated = [OperationTool(tool, find(operation)) for tool, operation in CORE.items()]
        return [*stated, *catalogue_tools(is_read_only=is_read_only)]
    if name == "memory":
        return [*memory_tools()]
    if name not in profile_names():
        raise FastioError(
            "not_found",
            f"There is no profile {name!r}.",
            f"There are: {', '.join(profile_names())}",
        )
    chosen = [op for op in every() if name in ("all", op.name.partition(".")[0])]
    return [OperationTool(tool_name(op), op) for op in chosen]
