"""How an operation of the catalogue looks as a tool: name, description, schemas, annotations.

Definitions are what every conversation pays for, so schemas are told in their shortest form: the
engine checks parameters by the operation's own rules anyway, and says precisely what is wrong.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcp_types import Tool, ToolAnnotations

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastio_cli.operations.operation import Operation

    Schema = dict[str, Any]

# What only tells how long or how shaped a text may be, which errors say as well.
_VERBOSE = (
    "pattern",
    "minLength",
    "maxLength",
    "maximum",
    "minimum",
    "maxItems",
    "minItems",
    "propertyNames",
)
# Any JSON value. Models write a string for what has no type, and some clients refuse it.
_TYPES = ("object", "array", "string", "number", "boolean", "null")
ANY: Schema = {"anyOf": [{"type": name} for name in _TYPES]}
# What these are for is in the server's instructions, once.
WORKSPACE: Schema = {"type": "string"}
KEY: Schema = {"type": "string"}
TEXT: Schema = {"type": "string", "description": "The bytes as UTF-8 text"}
BASE64: Schema = {"type": "string", "description": "The bytes in base64, instead of text"}


def tool_name(operation: Operation) -> str:
    """What the tool of an operation is called: ``state.get`` is ``state_get``."""
    return operation.name.replace(".", "_")


def definition(name: str, operation: Operation) -> Tool:
    """The tool of an operation, under a name."""
    title = operation.name.replace(".", " ").replace("_", " ").capitalize()
    return Tool(
        name=name,
        title=title,
        description=_plain(operation.run.__doc__ or operation.help),
        input_schema=input_schema(operation),
        output_schema=output_schema(operation),
        annotations=hints(operation),
    )


def hints(operation: Operation) -> ToolAnnotations:
    """Hints for who decides whether a tool may be called."""
    is_read = operation.effect == "read"
    return ToolAnnotations(
        read_only_hint=is_read,
        destructive_hint=operation.method == "DELETE",
        idempotent_hint=is_read or operation.method in ("PUT", "DELETE"),
        open_world_hint=any(rule.reaches_out for rule in operation.rules.values()),
    )


def input_schema(operation: Operation) -> Schema:
    """The parameters of an operation's tool, with those that every tool has."""
    properties = {
        name: _short(rule.schema, operation.defaults.get(name))
        for name, rule in operation.rules.items()
        if name != operation.upload_param
    }
    required = [name for name in properties if name not in operation.defaults]
    if operation.upload_param is not None:
        properties |= {"text": TEXT, "base64": BASE64}
    if operation.in_workspace:
        properties["workspace"] = WORKSPACE
    if operation.effect == "write":
        properties["idempotency_key"] = KEY
    return _object(properties, required)


def output_schema(operation: Operation) -> Schema:
    """What an operation's tool answers with."""
    schema = operation.result_schema
    if schema is None:
        return _object(
            {
                "path": {"type": "string"},
                "version": {"type": "integer"},
                "size_bytes": {"type": "integer"},
                "text": {"type": "string"},
                "base64": {"type": "string"},
                "next_offset": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            },
            [],
        )
    fields = _without(schema, ("description", "format"))["properties"]
    return _object({name: _flat(field) for name, field in fields.items()}, [])


def _flat(field: Any) -> Any:
    """A field without what the records within it consist of: an answer shows that."""
    if isinstance(field, dict):
        return {
            key: {"type": "object"} if key == "items" and "$ref" in value else _flat(value)
            for key, value in ({"type": "object"} if "$ref" in field else field).items()
        }
    return [_flat(item) for item in field] if isinstance(field, list) else field


def _object(properties: Mapping[str, Schema], required: list[str]) -> Schema:
    schema: Schema = {"type": "object", "properties": dict(properties)}
    return {**schema, "required": required} if required else schema


def _short(schema: Mapping[str, Any], default: object) -> Schema:
    """A parameter's schema without what makes it long; one left out says the same as null."""
    stated = dict(schema)
    options = [option for option in stated.pop("anyOf", []) if option != {"type": "null"}]
    if len(options) == 1:
        stated = {**options[0], **stated}
    elif options:
        stated["anyOf"] = options
    stated.pop("default", None)
    short: Schema = _without(stated, _VERBOSE)
    return short if default is None else {**short, "default": default}


def _without(value: Any, keys: tuple[str, ...]) -> Any:
    """A schema without these keywords; a property may have the name of one."""
    if value == {}:
        return ANY
    if isinstance(value, list):
        return [_without(item, keys) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: _without(inner, keys) for name, inner in item.items()}
        if key in ("properties", "$defs")
        else _without(item, keys)
        for key, item in value.items()
        if key not in keys
    }


def _plain(docstring: str) -> str:
    """A docstring as one paragraph a paragraph."""
    paragraphs = docstring.strip().split("\n\n")
    return "\n".join(" ".join(part.split()) for part in paragraphs).replace("``", "`")
