"""Objects as resources: ``fio://workspace/path``, listed, read, and watched by the event log."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import anyio
from mcp.server.subscriptions import (
    InMemorySubscriptionBus,
    ListenHandler,
    ResourcesListChanged,
    ResourceUpdated,
)
from mcp.shared.exceptions import MCPError
from mcp_types import (
    INVALID_PARAMS,
    Annotations,
    BlobResourceContents,
    ListResourcesResult,
    ListResourceTemplatesResult,
    ReadResourceResult,
    Resource,
    ResourceTemplate,
    TextResourceContents,
)

from fastio_cli.errors import FastioError
from fastio_cli.mcp import results
from fastio_cli.operations import find

if TYPE_CHECKING:
    from anyio.abc import TaskGroup
    from mcp.server.context import ServerRequestContext
    from mcp.server.session import ServerSession
    from mcp.server.subscriptions import ServerEvent
    from mcp_types import SubscriptionsListenRequestParams, SubscriptionsListenResult

    from fastio_cli.mcp.calls import Caller

    Context = ServerRequestContext[Any, Any]

SCHEME = "fio"
TEMPLATE = f"{SCHEME}://{{workspace}}/{{+path}}"
PAGE = 200
READ_BYTES_MAX = 4 * 1024 * 1024
WATCH_S = 25.0
NOT_FOUND_BEFORE_2026 = -32002  # of a resource, in revisions before 2026-07-28


def uri_of(workspace: str, path: str) -> str:
    """The URI of an object."""
    return f"{SCHEME}://{workspace}/{quote(path)}"


def parts_of(uri: str) -> tuple[str, str]:
    """The workspace and path that a URI names. Raises ``MCPError``."""
    scheme, _, rest = uri.partition("://")
    workspace, _, path = rest.partition("/")
    if scheme != SCHEME or not workspace or not path or "?" in uri or "#" in uri:
        message = f"No resource has the URI {uri!r}: it is fio://workspace/path."
        raise MCPError(INVALID_PARAMS, message, {"uri": uri})
    return workspace, unquote(path)


async def list_resources(caller: Caller, cursor: str | None) -> ListResourcesResult:
    """A page of the objects in the session's workspace."""
    params: dict[str, object] = {"limit": PAGE, "cursor": cursor or ""}
    page = await call(caller, "object.list", params, caller.workspace)
    found = [_resource(caller.workspace, record) for record in page["items"]]
    return ListResourcesResult(resources=found, next_cursor=page["next_cursor"])


def list_templates() -> ListResourceTemplatesResult:
    """How URIs of objects are made."""
    template = ResourceTemplate(
        name="object",
        title="An object of a workspace",
        uri_template=TEMPLATE,
        description="JSON state, or a file, in its newest version.",
    )
    return ListResourceTemplatesResult(resource_templates=[template])


async def read_resource(
    caller: Caller, uri: str, not_found: int = INVALID_PARAMS
) -> ReadResourceResult:
    """The content of an object; ``not_found`` is the error code where there is none (SEP-2164)."""
    workspace, path = parts_of(uri)
    try:
        info = await caller.port.call(find("object.info"), {"path": path}, workspace)
    except FastioError as e:
        code = not_found if e.code == "not_found" else INVALID_PARAMS
        raise _told(e, code, uri=uri) from None
    if info["size_bytes"] > READ_BYTES_MAX:
        raise MCPError(
            INVALID_PARAMS,
            f"{path} has {info['size_bytes']} bytes; a resource is read up to {READ_BYTES_MAX}. "
            "Read a range of it with file_get.",
        )
    download = await call(caller, "file.get", {"path": path}, workspace)
    data = await caller.port.read(download)
    media_type = info["media_type"]
    try:
        text = TextResourceContents(uri=uri, mime_type=media_type, text=data.decode())
        return ReadResourceResult(contents=[text])
    except UnicodeDecodeError:
        coded = base64.b64encode(data).decode()
        blob = BlobResourceContents(uri=uri, mime_type=media_type, blob=coded)
        return ReadResourceResult(contents=[blob])


async def listen(
    caller: Caller, ctx: Context, params: SubscriptionsListenRequestParams
) -> SubscriptionsListenResult:
    """Tell a client of changes of the objects that it asked for, until it leaves."""
    asked = params.notifications
    workspaces = {parts_of(str(uri))[0] for uri in asked.resource_subscriptions or ()}
    if asked.resources_list_changed:
        workspaces.add(caller.workspace)
    bus = InMemorySubscriptionBus()
    async with anyio.create_task_group() as watchers:
        for workspace in sorted(workspaces):
            after = (await call(caller, "workspace.show", {}, workspace))["seq"]
            watchers.start_soon(_publish, caller, workspace, after, bus)
        result = await ListenHandler(bus)(ctx, params)
        watchers.cancel_scope.cancel()
    return result


async def _publish(
    caller: Caller, workspace: str, after: int, bus: InMemorySubscriptionBus
) -> None:
    """Hand over what the event log of a workspace says of its objects."""
    while True:
        params: dict[str, object] = {"after": after, "wait_s": WATCH_S}
        page = await caller.port.call(find("event.list"), params, workspace)
        for event in page["items"]:
            if event["path"] is None:
                continue
            await bus.publish(ResourceUpdated(uri=uri_of(workspace, event["path"])))
            if workspace == caller.workspace:
                await bus.publish(ResourcesListChanged())
        after = int(page["next_cursor"] or 0)


class Subscriptions:
    """The objects that a session of a revision before 2026-07-28 asked to be told of.

    ``tasks`` is a group that lasts as long as the session.
    """

    def __init__(self, caller: Caller, tasks: TaskGroup) -> None:
        self._caller = caller
        self._tasks = tasks
        self._uris: set[str] = set()
        self._watched: set[str] = set()
        self._bus = InMemorySubscriptionBus()

    async def add(self, uri: str, session: ServerSession) -> None:
        """Tell this client of changes of an object from now on."""
        workspace = parts_of(uri)[0]
        if not self._uris:
            self._bus.subscribe(lambda event: self._tell(event, session))
        if workspace not in self._watched:
            after = (await call(self._caller, "workspace.show", {}, workspace))["seq"]
            self._watched.add(workspace)
            self._tasks.start_soon(_publish, self._caller, workspace, after, self._bus)
        self._uris.add(uri)

    def remove(self, uri: str) -> None:
        """Tell no more of an object."""
        self._uris.discard(uri)

    def _tell(self, event: ServerEvent, session: ServerSession) -> None:
        if isinstance(event, ResourceUpdated) and event.uri in self._uris:
            self._tasks.start_soon(session.send_resource_updated, event.uri)


def _resource(workspace: str, record: dict[str, Any]) -> Resource:
    return Resource(
        uri=uri_of(workspace, record["path"]),
        name=record["path"],
        mime_type=record["media_type"],
        size=record["size_bytes"],
        annotations=Annotations(last_modified=record["updated_at"]),
    )


async def call(caller: Caller, name: str, params: dict[str, object], workspace: str) -> Any:
    """An operation's answer; its errors as those of the protocol."""
    try:
        return await caller.port.call(find(name), params, workspace)
    except FastioError as e:
        raise _told(e, INVALID_PARAMS) from None


def _told(error: FastioError, code: int, **data: str) -> MCPError:
    hint = results.tool_hint(error.hint, str)
    return MCPError(code, error.message, {"code": error.code, "hint": hint, **data})
