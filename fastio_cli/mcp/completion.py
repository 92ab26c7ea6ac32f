"""Completion: what a person may mean who types an argument of a prompt or a part of a URI."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, Completion, PromptReference

from fastio_cli.mcp.prompts import PROMPTS
from fastio_cli.mcp.resources import TEMPLATE, call

if TYPE_CHECKING:
    from mcp_types import CompletionArgument, CompletionContext, ResourceTemplateReference

    from fastio_cli.mcp.calls import Caller

VALUES_MAX = 100  # as the protocol bounds them
WORKSPACES_MAX = 1000  # that are looked through


async def complete(
    caller: Caller,
    ref: PromptReference | ResourceTemplateReference,
    argument: CompletionArgument,
    context: CompletionContext | None,
) -> Completion:
    """Paths and workspaces that begin as ``argument`` does; nothing for other arguments.

    Raises ``MCPError`` for a prompt or a template that there is not.
    """
    if isinstance(ref, PromptReference):
        if ref.name not in PROMPTS:
            raise MCPError(INVALID_PARAMS, f"There is no prompt {ref.name!r}.")
    elif ref.uri != TEMPLATE:
        raise MCPError(INVALID_PARAMS, f"There is no template {ref.uri!r}: it is {TEMPLATE}.")
    elif argument.name == "workspace":
        return await _workspaces(caller, argument.value)
    if argument.name != "path":
        return Completion(values=[], total=0, has_more=False)
    told = context.arguments if context is not None else None
    return await _paths(caller, argument.value, (told or {}).get("workspace", caller.workspace))


async def _paths(caller: Caller, prefix: str, workspace: str) -> Completion:
    params: dict[str, object] = {"prefix": prefix, "limit": VALUES_MAX}
    page = await call(caller, "object.list", params, workspace)
    values = [record["path"] for record in page["items"]]
    return Completion(values=values, has_more=page["next_cursor"] is not None)


async def _workspaces(caller: Caller, prefix: str) -> Completion:
    page = await call(caller, "workspace.list", {"limit": WORKSPACES_MAX}, caller.workspace)
    names = [record["name"] for record in page["items"] if record["name"].startswith(prefix)]
    has_more = len(names) > VALUES_MAX or page["next_cursor"] is not None
    return Completion(values=names[:VALUES_MAX], has_more=has_more)
