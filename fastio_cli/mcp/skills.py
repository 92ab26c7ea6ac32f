"""The Skills extension of the protocol (SEP-2640): the skill, over the connection itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    ReadResourceResult,
    RequestParams,
    Resource,
    TextResourceContents,
)

from fastio_cli.mcp.skill_files import MAIN, SCHEME, frontmatter, manifest, skill_files

if TYPE_CHECKING:
    from mcp.server.context import ServerRequestContext
    from mcp.server.lowlevel import Server

    Context = ServerRequestContext[Any, Any]

EXTENSION = "io.modelcontextprotocol/skills"
MARKDOWN = "text/markdown"
FRESH = {"ttlMs": 3_600_000, "cacheScope": "public"}  # it changes with the version alone


class ListParams(RequestParams):
    """Of ``skills/list``."""

    cursor: str | None = None


class UriParams(RequestParams):
    """Of ``skills/get`` and ``resources/directory/read``."""

    uri: str
    cursor: str | None = None


def add_skills(server: Server[Any]) -> None:
    """Have a server answer the methods of the extension, and say so."""
    server.extensions[EXTENSION] = {"directoryRead": True}
    server.add_request_handler("skills/list", ListParams, _list)
    server.add_request_handler("skills/get", UriParams, _get)
    server.add_request_handler("resources/directory/read", UriParams, _read_directory)


def skill_resources() -> list[Resource]:
    """The files of the skill as resources."""
    stated = frontmatter()
    return [
        Resource(
            uri=SCHEME + name,
            name=stated["name"] if name == MAIN else name.rpartition("/")[2],
            description=stated["description"] if name == MAIN else None,
            mime_type=MARKDOWN,
            size=len(text.encode()),
        )
        for name, text in skill_files().items()
    ]


def read_skill(uri: str) -> ReadResourceResult:
    """A file of the skill. Raises ``MCPError`` for what it does not have."""
    text = skill_files().get(uri.removeprefix(SCHEME))
    if text is None:
        raise MCPError(INVALID_PARAMS, f"The skill has no file {uri!r}.", {"uri": uri})
    contents = TextResourceContents(uri=uri, mime_type=MARKDOWN, text=text)
    return ReadResourceResult(contents=[contents])


async def _list(ctx: Context, params: ListParams) -> dict[str, Any]:
    return {"skills": [manifest()], **FRESH}


async def _get(ctx: Context, params: UriParams) -> dict[str, Any]:
    if params.uri != SCHEME + MAIN:
        raise MCPError(INVALID_PARAMS, f"There is no skill {params.uri!r}.")
    return {"skill": manifest(), **FRESH}


async def _read_directory(ctx: Context, params: UriParams) -> dict[str, Any]:
    """The files and folders directly within a folder of the skill."""
    base = params.uri.rstrip("/") + "/"
    found: dict[str, dict[str, str]] = {}
    for name in skill_files():
        uri = SCHEME + name
        if uri.startswith(base):
            entry, _, rest = uri.removeprefix(base).partition("/")
            kind = "inode/directory" if rest else MARKDOWN
            found[entry] = {"uri": base + entry, "name": entry, "mimeType": kind}
    if not found:
        raise MCPError(INVALID_PARAMS, f"{params.uri!r} is no folder of a skill.")
    return {"resources": list(found.values()), **FRESH}
