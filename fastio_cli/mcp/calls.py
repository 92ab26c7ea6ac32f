"""Calling an operation as a tool: arguments in, a result that fits, what a session remembers.

**What a session remembers.** Agents forget to say what they know. A session (one client of
``fastio mcp``, one connection of ``/sse``) keeps the version that it last read of each path, and
offers it as ``if_version`` of a change that replaces what was read, so that the change of somebody
else in between is a ``version_conflict`` and not lost. It keeps the tokens of the locks that it
took and lends them to the changes of their paths. Requests to ``/mcp`` have no session.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from fastio_cli.errors import FastioError
from fastio_cli.mcp import results
from fastio_cli.operations.lock_tokens import covering_paths

if TYPE_CHECKING:
    from fastio_cli.mcp.port import Port
    from fastio_cli.operations.operation import Operation

PATHS_REMEMBERED_MAX = 10_000
RANGE_BYTES = 48_000  # of a file that is read without a length
CONTEXT_TOKENS_MAX = results.TOKENS_MAX // 2  # a pack, beside what else its answer says


class Memory:
    """What a session knows of paths, by workspace; the oldest is forgotten first."""

    def __init__(self) -> None:
        self._versions: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._tokens: OrderedDict[tuple[str, str], str] = OrderedDict()

    def lend(self, operation: Operation, params: dict[str, object], workspace: str) -> None:
        """Add what the caller knows and did not say."""
        key = workspace, str(params.get("path"))
        rules = operation.rules
        if "lock_token" in rules and "lock_token" not in params:
            covering = covering_paths(key[1])
            held = next((path for path in covering if (workspace, path) in self._tokens), None)
            if held is not None:
                params["lock_token"] = self._tokens[workspace, held]
        if "if_version" not in rules or "if_version" in params or operation.commutative:
            return
        if key in self._versions:
            params["if_version"] = self._versions[key]

    def note(
        self, operation: Operation, params: dict[str, object], workspace: str, result: object
    ) -> None:
        """Remember what an answer tells."""
        path = params.get("path")
        if not isinstance(result, dict) or not isinstance(path, str):
            return
        key = workspace, path
        if operation.returns_secret is not None:
            _keep(self._tokens, key, result[operation.returns_secret])
        elif "lock_token" in operation.rules and "version" not in result:
            self._tokens.pop(key, None)  # it was released
        elif result.get("path") == path and "version" in result and "version" not in params:
            _keep(self._versions, key, result["version"])


def _keep(known: OrderedDict[tuple[str, str], Any], key: tuple[str, str], value: object) -> None:
    known[key] = value
    known.move_to_end(key)
    if len(known) > PATHS_REMEMBERED_MAX:
        known.popitem(last=False)


class Caller:
    """Calls operations for tools, in one workspace unless an argument names another.

    ``memory`` is the session's, if there is one.
    """

    def __init__(self, port: Port, workspace: str, memory: Memory | None = None) -> None:
        self.port = port
        self.workspace = workspace
        self._memory = memory

    async def call(self, operation: Operation, arguments: dict[str, Any]) -> object:
        """What an operation answers to a tool's arguments, no longer than a result may be.

        Raises what the operation raises, and ``too_large`` for one value that is too long.
        """
        params = dict(arguments)
        workspace = _text(params, "workspace") if operation.in_workspace else None
        workspace = self.workspace if workspace is None else workspace
        key = _text(params, "idempotency_key") if operation.effect == "write" else None
        if operation.upload_param is not None:
            params[operation.upload_param] = await self.port.upload(_bytes_of(params))
        if self._memory is not None:
            self._memory.lend(operation, params, workspace)
        if operation.response == "bytes":
            result = await self._read_range(operation, params, workspace)
        else:
            result = await self._read_page(operation, params, workspace, key)
        if self._memory is not None:
            self._memory.note(operation, params, workspace, result)
        return result

    async def _read_page(
        self, operation: Operation, params: dict[str, Any], workspace: str, key: str | None
    ) -> Any:
        """An answer; a list with fewer items where they would be too much at once."""
        if "budget" in operation.rules and isinstance(params.get("budget"), int):
            params["budget"] = min(params["budget"], CONTEXT_TOKENS_MAX)
        result = await self.port.call(operation, params, workspace, key)
        while operation.effect == "read" and results.is_too_long(result):
            limit = params.get("limit", operation.defaults.get("limit"))
            if not isinstance(limit, int) or limit <= 1:
                raise _too_long(operation)
            params["limit"] = max(1, min(limit, len(result["items"])) // 2)
            result = await self.port.call(operation, params, workspace, key)
        return result

    async def _read_range(
        self, operation: Operation, params: dict[str, Any], workspace: str
    ) -> dict[str, object]:
        """A range of a file, as much as fits."""
        length = params.get("length")
        params["length"] = min(length, RANGE_BYTES) if isinstance(length, int) else RANGE_BYTES
        while True:
            download = await self.port.call(operation, params, workspace)
            data = await self.port.read(download)
            start = params.get("offset") or 0
            record = download.record
            result = results.file_range(record, data, start, start + len(data))
            if not results.is_too_long(result):
                return result
            params["length"] = len(data) // 2


def _too_long(operation: Operation) -> FastioError:
    hint = "Ask for a part of it."
    if "query" in operation.rules and "at" in operation.rules:
        hint = "Read a part of it: at='/key', or query='keys(@)' to see what there is."
    return results.too_long(hint)


def _text(params: dict[str, Any], name: str) -> str | None:
    value = params.pop(name, None)
    if value is None or isinstance(value, str):
        return value
    raise FastioError("invalid", f"{name} must be a string.")


def _bytes_of(params: dict[str, Any]) -> bytes:
    """The bytes of an upload, which a tool takes as text or in base64."""
    text, coded = _text(params, "text"), _text(params, "base64")
    if (text is None) == (coded is None):
        raise FastioError("invalid", "Give the bytes as text, or in base64.")
    try:
        return text.encode() if text is not None else base64.b64decode(coded or "", validate=True)
    except (binascii.Error, ValueError):
        raise FastioError("invalid", "The base64 or the text is not valid.") from None
