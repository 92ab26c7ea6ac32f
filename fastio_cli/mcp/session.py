"""One client's session: its profile, on whose behalf it calls, and how its calls are answered."""

from __future__ import annotations

import difflib
import logging
from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS, CallToolResult

from fastio_cli.errors import FastioError
from fastio_cli.mcp import results
from fastio_cli.mcp.tool import FunctionTool

if TYPE_CHECKING:
    from fastio_cli.mcp.calls import Caller
    from fastio_cli.mcp.profiles import Profile
    from fastio_cli.mcp.resources import Subscriptions
    from fastio_cli.mcp.tool import OperationTool

    AnyTool = OperationTool | FunctionTool

log = logging.getLogger("fastio.mcp")


class ClientSession:
    """What the handlers of the protocol know of the client that asks.

    ``subscriptions`` are those of a client with a connection that lasts.
    """

    subscriptions: Subscriptions | None = None

    def __init__(self, profile: Profile, caller: Caller) -> None:
        self.profile = profile
        self.caller = caller

    async def call_tool(self, name: str, arguments: dict[str, Any]) -> CallToolResult:
        """The result of a tool; a failure that the caller can mend is a result too.

        Raises ``MCPError`` for a tool that there is not.
        """
        tool = self.profile.tools.get(name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, self._unknown(name))
        try:
            return results.told(await self._answer(tool, arguments))
        except FastioError as e:
            return results.failed(e, self.profile.name_of)
        except Exception:
            log.exception("tool %s failed", name)
            problem = FastioError("internal", "Something in fastio itself went wrong.")
            return results.failed(problem, self.profile.name_of)

    async def _answer(self, tool: AnyTool, arguments: dict[str, Any]) -> object:
        answer = await tool.run(self.caller, arguments)
        if isinstance(tool, FunctionTool) and results.is_too_long(answer):
            raise results.too_long("Ask for less of it.")
        return answer

    def _unknown(self, name: str) -> str:
        near = difflib.get_close_matches(name.lower(), list(self.profile.tools), 3)
        meant = f" Did you mean: {', '.join(near)}?" if near else ""
        return f"There is no tool {name!r}.{meant}"
