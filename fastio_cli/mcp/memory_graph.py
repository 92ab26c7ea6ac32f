"""A knowledge graph over objects: what the tools of the profile ``memory`` read and change.

An entity is one state object below ``memory/``, with the relations that begin at it, so that each
has versions, and search finds it. A change reads the objects that it is about, and writes them in
one transaction with the versions that it read; when somebody was faster it begins anew. So two
processes never discard each other's changes.
"""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.operations import find
from fastio_cli.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from fastio_cli.mcp.calls import Caller

    Entity = dict[str, Any]
    Relation = dict[str, str]
    Edit = Callable[["Graph"], Awaitable[Any]]

FOLDER = "memory"
NAME_BYTES_MAX = 160  # of an entity in a path
PAGE = 1000
READS_AT_ONCE = 16
CONFLICTS = RetryPolicy(first_s=0.01, pause_s_max=0.5, attempts_max=50)


def path_of(name: str) -> str:
    """Where the entity of this name stands."""
    coded = quote(name, safe=" -_@+=,")
    if len(coded) > NAME_BYTES_MAX or coded.strip(".") == "":
        coded = f"{coded.strip('.')[:NAME_BYTES_MAX]}~{sha256(name.encode()).hexdigest()[:16]}"
    return f"{FOLDER}/{coded}.json"


class Graph:
    """The entities that one call has read, and those that it will write."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._versions: dict[str, int] = {}
        self._nodes: dict[str, Entity] = {}
        self._changed: dict[str, None] = {}

    async def node(self, name: str) -> Entity:
        """The object of an entity; that of one that there is not yet has no type."""
        if name not in self._nodes:
            try:
                document = await self._call("state.get", path=path_of(name))
            except FastioError as e:
                if e.code != "not_found":
                    raise
                document = {"version": 0, "value": None}
            self._enter(name, document)
        return self._nodes[name]

    async def all(self) -> list[Entity]:
        """Every object of the graph, the oldest first."""
        cursor: str | None = ""
        records: list[dict[str, Any]] = []
        while cursor is not None:
            page = await self._call("object.list", prefix=f"{FOLDER}/", limit=PAGE, cursor=cursor)
            records += page["items"]
            cursor = page["next_cursor"]
        records.sort(key=lambda record: record["created_at"])
        documents: dict[str, Any] = {}
        limiter = anyio.Semaphore(READS_AT_ONCE)

        async def read(path: str) -> None:
            async with limiter:
                try:
                    documents[path] = await self._call("state.get", path=path)
                except FastioError as e:
                    if e.code not in ("not_found", "invalid"):  # deleted meanwhile; a file
                        raise

        async with anyio.create_task_group() as reads:
            for record in records:
                reads.start_soon(read, record["path"])
        found = [documents[record["path"]] for record in records if record["path"] in documents]
        for document in found:
            if is_node(document["value"]):
                self._enter(document["value"]["name"], document)
        return list(self._nodes.values())

    def change(self, name: str) -> None:
        """Write this entity, which was read, at the end."""
        self._changed[name] = None

    async def save(self) -> None:
        """Write what changed. Raises ``version_conflict`` when somebody was faster."""
        changes = [self._written(name) for name in self._changed]
        if changes:
            await self._call("state.transact", changes=changes)

    def _written(self, name: str) -> dict[str, Any]:
        node = self._nodes[name]
        place: dict[str, Any] = {"path": path_of(name), "if_version": self._versions[name]}
        if node["entityType"] is None and not node["relations"]:
            return {"op": "delete", **place}
        return {"op": "set", "value": node, **place}

    def _enter(self, name: str, document: dict[str, Any]) -> None:
        value = document["value"]
        if value is not None and not (is_node(value) and value["name"] == name):
            raise FastioError("invalid", f"{path_of(name)} is no entity of the graph.")
        empty: Entity = {"name": name, "entityType": None, "observations": [], "relations": []}
        self._versions[name] = document["version"]
        self._nodes[name] = value if value is not None else empty

    async def _call(self, name: str, **params: object) -> Any:
        return await self._caller.port.call(find(name), params, self._caller.workspace)


def is_node(value: object) -> bool:
    """Whether a state object has the form of an entity."""
    return (
        isinstance(value, dict)
        and isinstance(value.get("name"), str)
        and isinstance(value.get("observations"), list)
        and isinstance(value.get("relations"), list)
        and "entityType" in value
    )


async def changed(caller: Caller, edit: Edit) -> Any:
    """What an edit of the graph answers, once it is written.

    It is repeated on what there is then, when somebody else changed one of its entities meanwhile.
    """
    failures = 0
    while True:
        graph = Graph(caller)
        result = await edit(graph)
        try:
            await graph.save()
        except FastioError as e:
            failures += 1
            if e.code != "version_conflict" or CONFLICTS.is_exhausted(failures):
                raise
            await anyio.sleep(random.uniform(0, CONFLICTS.bound_s(failures)))
        else:
            return result


def relations_of(nodes: Iterable[Entity]) -> list[Relation]:
    """The relations that begin at these entities."""
    return [
        {"from": node["name"], "to": relation["to"], "relationType": relation["relationType"]}
        for node in nodes
        for relation in node["relations"]
    ]


def entity_of(node: Entity) -> Entity:
    """An entity as a client is told it."""
    return {key: node[key] for key in ("name", "entityType", "observations")}


def lines_of(text: str) -> tuple[list[Entity], list[Relation]]:
    """The entities and relations in a file of JSON lines, each with its ``type``.

    Raises ``invalid`` with the line that is neither.
    """
    entities, relations = [], []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            item = json.loads(line)
            if item["type"] == "entity":
                keys = ("name", "entityType", "observations")
                entities.append({key: item[key] for key in keys})
            elif item["type"] == "relation":
                keys = ("from", "to", "relationType")
                relations.append({key: item[key] for key in keys})
        except (ValueError, TypeError, KeyError):
            message = f"Line {number} is no entity and no relation."
            raise FastioError("invalid", message, line=number) from None
    return entities, relations
