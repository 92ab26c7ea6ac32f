"""How answers and errors are told to a client: as structured content and as text, each complete.

Some clients read only the one, some only the other. A result never has more than ``TOKENS_MAX``
tokens, as clients cut off what is longer, or refuse it: lists come in smaller pages, files in
ranges, and a JSON value that is larger is refused with the ways to read a part of it.
"""

from __future__ import annotations

import base64
import codecs
import json
import re
import shlex
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from mcp_types import CallToolResult, TextContent

from fastio_cli.errors import FastioError
from fastio_cli.json_text import record_text
from fastio_cli.operations import every, find
from fastio_cli.search.context_pack import CHARACTERS_PER_TOKEN_MAX, TokenCounter

if TYPE_CHECKING:
    from collections.abc import Callable

TOKENS_MAX = 16_000
# A command in a hint, up to the end of its sentence: names of files have dots in them.
_COMMAND = re.compile(r"fastio ((?:[a-z][a-z-]*)(?: [a-z][a-z-]*)?)((?:(?![.;,](?:\s|$)).)*)")
# What the command line calls otherwise: objects are of two kinds there.
_OBJECT_VERBS = ("list", "info", "history", "diff", "delete", "move", "copy", "restore")
_VERBS = {
    "query": "search.query",
    "ask": "search.ask",
    "context": "search.context",
    "whoami": "access.whoami",
}


def told(structured: object) -> CallToolResult:
    """A result as structured content and as text."""
    text = record_text(structured).decode()
    return CallToolResult(
        content=[TextContent(type="text", text=text)], structured_content=structured
    )


def failed(error: FastioError, name_of: Callable[[str], str | None]) -> CallToolResult:
    """An error as a result, with what a client needs to go on.

    ``name_of`` gives the tool of an operation, for hints; None where it has none.
    """
    stated = error.as_dict() | {"hint": tool_hint(error.hint, name_of)}
    result = told({"error": stated})
    return result.model_copy(update={"is_error": True})


def is_too_long(structured: object) -> bool:
    """Whether a result is more than a client should be given at once."""
    text = record_text(structured).decode()
    if len(text) <= TOKENS_MAX and text.isascii():  # a token is a byte at least
        return False
    return len(text) > CHARACTERS_PER_TOKEN_MAX * TOKENS_MAX or _counter()(text) > TOKENS_MAX


def too_long(hint: str) -> FastioError:
    """The error for an answer that is more than a client should be given at once."""
    message = f"The answer has more than {TOKENS_MAX} tokens."
    return FastioError("too_large", message, hint, tokens_max=TOKENS_MAX)


def file_range(record: dict[str, Any], data: bytes, offset: int, end: int) -> dict[str, object]:
    """A range of a file, as text if it is UTF-8; a character that is cut off begins the next."""
    size: int = record["size_bytes"]
    decoder = codecs.getincrementaldecoder("utf-8")()
    stated: dict[str, object] = {"path": record["path"], "version": record["version"]}
    stated["size_bytes"] = size
    try:
        text = decoder.decode(data, final=end >= size)
        end -= len(decoder.getstate()[0])
        stated["text"] = text
    except UnicodeDecodeError:
        stated["base64"] = base64.b64encode(data).decode()
    return stated | {"next_offset": end if end < size else None}


def tool_hint(hint: str, name_of: Callable[[str], str | None]) -> str:
    """A hint with tools in place of commands."""

    def named(found: re.Match[str]) -> str:
        if found[1] == "help":
            return "ops_describe"
        operation = _operation_of(found[1])
        if operation is None:
            return f"in a shell, {found[0]}"
        tool, arguments = name_of(operation), _arguments(operation, found[2])
        if tool is None:
            return f"ops_call with name={operation!r}, params={json.dumps(arguments)}"
        stated = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
        return f"{tool} with {stated}" if stated else tool

    return _COMMAND.sub(named, hint)


def _arguments(name: str, text: str) -> dict[str, str | bool]:
    """A command's first argument and options, as far as they are parameters of its operation."""
    try:
        words = shlex.split(text)
    except ValueError:
        return {}
    operation = find(name)
    rules = list(operation.rules)
    stated: dict[str, str | bool] = {}
    if words and rules and not words[0].startswith("-"):
        stated[rules[0]] = words.pop(0)
    for option, value in pairwise([*words, ""]):
        rule = next(
            (r for r in rules if option.startswith("--") and r.startswith(_name(option))), ""
        )
        if rule and operation.rules[rule].schema.get("type") == "boolean":
            stated[rule] = True
        elif rule and value:
            stated[rule] = value
    return stated


def _name(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")


def _operation_of(command: str) -> str | None:
    """The operation of a command, by its words."""
    noun, _, verb = command.partition(" ")
    if noun in _VERBS:
        return _VERBS[noun]
    if noun in ("file", "state") and verb in _OBJECT_VERBS:
        noun = "object"
    if noun == "import" and verb in ("", "add", "http", "https"):
        verb = "create"
    operation = f"{noun}.{verb}"
    return operation if operation in _names() else None


@cache
def _names() -> frozenset[str]:
    return frozenset(operation.name for operation in every())


@cache
def _counter() -> TokenCounter:
    return TokenCounter()
