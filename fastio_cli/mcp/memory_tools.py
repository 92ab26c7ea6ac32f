"""The nine tools of the widely used memory server, with its names and shapes, over objects.

Shapes are those of ``@modelcontextprotocol/server-memory``, so that agents and their prompts go on
as they are; what is different is that nothing is lost when several agents write (``memory_graph``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import Tool, ToolAnnotations

from fastio_cli.errors import FastioError
from fastio_cli.mcp.memory_graph import (
    Graph,
    changed,
    entity_of,
    lines_of,
    relations_of,
)
from fastio_cli.mcp.tool import FunctionTool

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.mcp.calls import Caller
    from fastio_cli.mcp.memory_graph import Entity, Relation
    from fastio_cli.mcp.tool import Arguments, Run
    from fastio_cli.mcp.tools import Schema


TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
IMPORT_BATCH = 100


def _object(**properties: Any) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(item: Schema) -> Schema:
    return {"type": "array", "items": item}


ENTITY = _object(name=TEXT, entityType=TEXT, observations=TEXTS)
RELATION = _object(**{"from": TEXT, "to": TEXT, "relationType": TEXT})
GRAPH = _object(entities=_list(ENTITY), relations=_list(RELATION))
DONE = _object(success={"type": "boolean"}, message=TEXT)


async def create_entities(caller: Caller, arguments: Arguments) -> object:
    """Create multiple new entities in the knowledge graph"""
    asked = _records(arguments, "entities", ENTITY)

    async def edit(graph: Graph) -> list[Entity]:
        created = []
        for entity in asked:
            node = await graph.node(entity["name"])
            if node["entityType"] is None:
                node.update(entityType=entity["entityType"], observations=entity["observations"])
                graph.change(entity["name"])
                created.append(entity_of(node))
        return created

    return {"entities": await changed(caller, edit)}


async def create_relations(caller: Caller, arguments: Arguments) -> object:
    """Create multiple new relations between entities, in active voice"""
    asked = _records(arguments, "relations", RELATION)

    async def edit(graph: Graph) -> list[Relation]:
        created = []
        for relation in asked:
            node = await graph.node(relation["from"])
            added = {"to": relation["to"], "relationType": relation["relationType"]}
            if added not in node["relations"]:
                node["relations"].append(added)
                graph.change(relation["from"])
                created.append(relation)
        return created

    return {"relations": await changed(caller, edit)}


async def add_observations(caller: Caller, arguments: Arguments) -> object:
    """Add new observations to existing entities in the knowledge graph"""
    asked = _records(arguments, "observations", ADDED)

    async def edit(graph: Graph) -> list[Schema]:
        results = []
        for observation in asked:
            name = observation["entityName"]
            node = await graph.node(name)
            if node["entityType"] is None:
                raise FastioError(
                    "not_found",
                    f"Entity with name {name} not found",
                    "Create it first: create_entities",
                )
            new = [c for c in observation["contents"] if c not in node["observations"]]
            if new:
                node["observations"] += new
                graph.change(name)
            results.append({"entityName": name, "addedObservations": new})
        return results

    return {"results": await changed(caller, edit)}


async def delete_entities(caller: Caller, arguments: Arguments) -> object:
    """Delete multiple entities and their associated relations from the knowledge graph"""
    names = _texts(arguments, "entityNames")

    async def edit(graph: Graph) -> None:
        for node in await graph.all():
            if node["name"] in names:
                node.update(entityType=None, observations=[], relations=[])
                graph.change(node["name"])
                continue
            kept = [r for r in node["relations"] if r["to"] not in names]
            if len(kept) < len(node["relations"]):
                node["relations"] = kept
                graph.change(node["name"])

    await changed(caller, edit)
    return {"success": True, "message": "Entities deleted successfully"}


async def delete_observations(caller: Caller, arguments: Arguments) -> object:
    """Delete specific observations from entities in the knowledge graph"""
    asked = _records(arguments, "deletions", DELETED)

    async def edit(graph: Graph) -> None:
        for deletion in asked:
            node = await graph.node(deletion["entityName"])
            kept = [o for o in node["observations"] if o not in deletion["observations"]]
            if len(kept) < len(node["observations"]):
                node["observations"] = kept
                graph.change(deletion["entityName"])

    await changed(caller, edit)
    return {"success": True, "message": "Observations deleted successfully"}


async def delete_relations(caller: Caller, arguments: Arguments) -> object:
    """Delete multiple relations from the knowledge graph"""
    asked = _records(arguments, "relations", RELATION)

    async def edit(graph: Graph) -> None:
        for relation in asked:
            node = await graph.node(relation["from"])
            gone = {"to": relation["to"], "relationType": relation["relationType"]}
            if gone in node["relations"]:
                node["relations"].remove(gone)
                graph.change(relation["from"])

    await changed(caller, edit)
    return {"success": True, "message": "Relations deleted successfully"}


async def read_graph(caller: Caller, arguments: Arguments) -> object:
    """Read the entire knowledge graph"""
    return _told(await Graph(caller).all(), lambda node: True)


async def search_nodes(caller: Caller, arguments: Arguments) -> object:
    """Search for nodes in the knowledge graph by a part of their names, types or observations"""
    query = _text(arguments, "query").lower()

    def matches(node: Entity) -> bool:
        texts = (node["name"], node["entityType"] or "", *node["observations"])
        return any(query in text.lower() for text in texts)

    return _told(await Graph(caller).all(), matches)


async def open_nodes(caller: Caller, arguments: Arguments) -> object:
    """Open specific nodes in the knowledge graph by their names"""
    names = _texts(arguments, "names")
    return _told(await Graph(caller).all(), lambda node: node["name"] in names)


async def import_lines(caller: Caller, text: str) -> dict[str, int]:
    """Add what the memory server kept in a file of JSON lines; how much of it was new."""
    entities, relations = lines_of(text)
    counts = {"entities": 0, "relations": 0}
    for key, items, create in (
        ("entities", entities, create_entities),
        ("relations", relations, create_relations),
    ):
        for start in range(0, len(items), IMPORT_BATCH):
            created: Any = await create(caller, {key: items[start : start + IMPORT_BATCH]})
            counts[key] += len(created[key])
    return counts


def _told(nodes: list[Entity], is_asked: Callable[[Entity], bool]) -> dict[str, object]:
    """The entities that are asked for, and the relations at either end of which one of them is."""
    entities = [node for node in nodes if node["entityType"] is not None and is_asked(node)]
    names = {node["name"] for node in entities}
    relations = [r for r in relations_of(nodes) if r["from"] in names or r["to"] in names]
    return {"entities": [entity_of(node) for node in entities], "relations": relations}


def _records(arguments: Arguments, key: str, schema: Schema) -> list[Schema]:
    """A list of records, each with the fields that its schema asks for and no others."""
    records = arguments.get(key)
    fields: Schema = schema["properties"]
    if not isinstance(records, list):
        raise FastioError("invalid", f"{key} must be a list of objects.")
    for record in records:
        for name, field in fields.items():
            value = record.get(name) if isinstance(record, dict) else None
            if not (_are_texts(value) if field is TEXTS else isinstance(value, str)):
                wanted = "a list of strings" if field is TEXTS else "a string"
                raise FastioError("invalid", f"{name} in {key} must be {wanted}.")
    return [{name: record[name] for name in fields} for record in records]


def _texts(arguments: Arguments, key: str) -> list[str]:
    texts = arguments.get(key)
    if not _are_texts(texts):
        raise FastioError("invalid", f"{key} must be a list of strings.")
    return list(texts or ())


def _text(arguments: Arguments, key: str) -> str:
    text = arguments.get(key)
    if not isinstance(text, str):
        raise FastioError("invalid", f"{key} must be a string.")
    return text


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


ADDED = _object(entityName=TEXT, contents=TEXTS)
DELETED = _object(entityName=TEXT, observations=TEXTS)
_ENTITIES, _RELATIONS = _object(entities=_list(ENTITY)), _object(relations=_list(RELATION))
_RESULTS = _object(results=_list(_object(entityName=TEXT, addedObservations=TEXTS)))
# Each with its input, its output, and whether it reads, or takes something away.
_TOOLS: tuple[tuple[Run, Schema, Schema, str], ...] = (
    (create_entities, _ENTITIES, _ENTITIES, "adds"),
    (
        create_relations,
        _object(relations=_list(RELATION)),
        _object(relations=_list(RELATION)),
        "adds",
    ),
    (add_observations, _object(observations=_list(ADDED)), _RESULTS, "adds"),
    (delete_entities, _object(entityNames=TEXTS), DONE, "deletes"),
    (delete_observations, _object(deletions=_list(DELETED)), DONE, "deletes"),
    (delete_relations, _RELATIONS, DONE, "deletes"),
    (read_graph, _object(), GRAPH, "reads"),
    (search_nodes, _object(query=TEXT), GRAPH, "reads"),
    (open_nodes, _object(names=TEXTS), GRAPH, "reads"),
)


def memory_tools() -> list[FunctionTool]:
    """The tools of the profile ``memory``."""
    return [
        FunctionTool(
            Tool(
                name=run.__name__,
                title=run.__name__.replace("_", " ").title(),
                description=run.__doc__,
                input_schema=asked,
                output_schema=answered,
                annotations=ToolAnnotations(
                    read_only_hint=kind == "reads",
                    destructive_hint=kind == "deletes",
                    idempotent_hint=kind != "adds",
                    open_world_hint=False,
                ),
            ),
            run,
            is_read_only=kind == "reads",
        )
        for run, asked, answered, kind in _TOOLS
    ]
