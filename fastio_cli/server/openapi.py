"""The OpenAPI 3.1 document of the catalogue: routes, parameters, records and errors."""

from __future__ import annotations

import functools
import json
import types
import typing

from fastio_cli import __version__, model
from fastio_cli.errors import KINDS
from fastio_cli.operations import every
from fastio_cli.operations.params import UploadRule
from fastio_cli.server.http import BODYLESS, IN_HEADERS

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.operations.operation import Operation

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
BINARY: dict[str, object] = {"application/octet-stream": {}}


@functools.cache
def document_bytes() -> bytes:
    """The document as JSON."""
    return json.dumps(document(), separators=(",", ":")).encode()


def document() -> dict[str, Any]:
    """The whole document."""
    paths: dict[str, Any] = {}
    for operation in every():
        path = operation.route.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    paths["/v1/workspaces/{workspace}/events/stream"] = {"get": _stream()}
    paths["/v1/workspaces/{workspace}/uploads/{id}"] = _uploads()
    schemas = {
        name: _record(value)
        for name, value in vars(model).items()
        if typing.is_typeddict(value) and name != "TypedDict"
    }
    schemas["Problem"] = _problem()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "fastio",
            "version": __version__,
            "description": "Durable, shared state for agents.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, Any]:
    doc = (operation.run.__doc__ or "").strip()
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.help,
        "description": "\n".join(line.strip() for line in doc.splitlines()),
        "tags": [operation.name.partition(".")[0]],
        "x-role": operation.role,
        "parameters": list(_parameters(operation)),
        "responses": _responses(operation),
    }
    body = _body(operation)
    if body is not None:
        described["requestBody"] = body
    if operation.role == "anyone":
        described["security"] = []
    return described


def _parameters(operation: Operation) -> Any:
    in_path = [
        segment.strip("{}").partition(":")[0]
        for segment in operation.route.split("/")
        if segment.startswith("{")
    ]
    for name in in_path:
        schema = operation.rules[name].schema if name in operation.rules else _workspace_schema()
        yield {"name": name, "in": "path", "required": True, "schema": schema}
    url_only = operation.method in BODYLESS or _upload(operation) is not None
    for name, rule in operation.rules.items():
        if name in in_path or isinstance(rule, UploadRule):
            continue
        if name in IN_HEADERS:
            required = url_only and name not in operation.defaults
            yield _header("Lock-Token", "The token of the lock that is held", required)
        elif url_only:
            yield {
                "name": name,
                "in": "query",
                "required": name not in operation.defaults,
                "schema": _not_null(rule.schema),
            }
    if operation.effect == "write":
        yield _header("Idempotency-Key", "Repeating the request with it changes nothing more")


def _header(name: str, description: str, required: bool = False) -> dict[str, Any]:
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    }


def _body(operation: Operation) -> dict[str, Any] | None:
    if _upload(operation) is not None:
        return {"content": BINARY}
    names = [
        name
        for name in operation.rules
        if f"{{{name}}}" not in operation.route and f"{{{name}:path}}" not in operation.route
    ]
    if operation.method in BODYLESS or not names:
        return None
    schema = {
        "type": "object",
        "properties": {name: operation.rules[name].schema for name in names},
        "required": [name for name in names if name not in operation.defaults],
        "additionalProperties": False,
    }
    required = bool(schema["required"])
    return {"required": required, "content": {"application/json": {"schema": schema}}}


def _responses(operation: Operation) -> dict[str, Any]:
    result = str(operation.run.__annotations__.get("return", ""))
    if "Download" in result:
        ok: dict[str, Any] = {"description": "The bytes", "content": BINARY}
        return {"200": ok, "206": ok, "304": {"description": "Not modified"}, **_problems()}
    name = result.partition("|")[0].strip().removeprefix("model.")
    schema = {"$ref": f"#/components/schemas/{name}"}
    ok = {"description": "Done", "content": {"application/json": {"schema": schema}}}
    if operation.method == "GET":
        return {"200": ok, "304": {"description": "Not modified"}, **_problems()}
    return {"200": ok, **_problems()}


def _problems() -> dict[str, Any]:
    schema = {"$ref": "#/components/schemas/Problem"}
    codes: dict[int, list[str]] = {}
    for code, kind in KINDS.items():
        codes.setdefault(kind.http, []).append(code)
    return {
        str(status): {
            "description": ", ".join(names),
            "content": {"application/problem+json": {"schema": schema}},
        }
        for status, names in sorted(codes.items())
        if status != 499
    }


def _problem() -> dict[str, Any]:
    return {
        "description": "Problem details (RFC 9457).",
        "type": "object",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "instance": {"type": "string"},
            "code": {"type": "string", "enum": list(KINDS)},
            "message": {"type": "string"},
            "hint": {"type": "string"},
            "details": {"type": "object"},
            "retryable": {"type": "boolean"},
        },
        "required": ["type", "title", "status", "detail", "code", "message", "hint"],
    }


def _stream() -> dict[str, Any]:
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    fields = [
        {"name": name, "in": "query", "required": False, "schema": schema}
        for name, schema in (
            ("after", {"type": "integer", "minimum": 0}),
            ("type", {"type": "string"}),
            ("path", {"type": "string"}),
        )
    ]
    return {
        "operationId": "event.stream",
        "summary": "Follow the events as they happen (Server-Sent Events).",
        "tags": ["event"],
        "parameters": [
            {"name": "workspace", "in": "path", "required": True, "schema": _workspace_schema()},
            *fields,
            _header("Last-Event-ID", "Go on after this event"),
        ],
        "responses": {"200": {"description": "The stream", "content": events}, **_problems()},
    }


def _uploads() -> dict[str, Any]:
    id_schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
    shared = [
        {"name": "workspace", "in": "path", "required": True, "schema": _workspace_schema()},
        {"name": "id", "in": "path", "required": True, "schema": id_schema},
    ]
    schema = {"type": "object", "properties": {"offset": {"type": "integer"}}}
    ok = {"description": "How far it is", "content": {"application/json": {"schema": schema}}}
    offset = _header("Upload-Offset", "Where this part begins", required=True)
    return {
        "parameters": shared,
        "get": {
            "operationId": "upload.show",
            "summary": "How many bytes of an upload in parts have come.",
            "tags": ["file"],
            "responses": {"200": ok, **_problems()},
        },
        "patch": {
            "operationId": "upload.add",
            "summary": "Send a part of a file; name it as Upload-Id in file.put then.",
            "tags": ["file"],
            "parameters": [offset],
            "requestBody": {"content": BINARY},
            "responses": {"200": ok, **_problems()},
        },
    }


def _record(record: Any) -> dict[str, Any]:
    """The JSON Schema of one of the records in ``model.py``."""
    hints = typing.get_type_hints(record)
    return {
        "description": (record.__doc__ or "").strip(),
        "type": "object",
        "properties": {name: _schema(hint) for name, hint in hints.items()},
        "required": list(hints),
    }


def _schema(hint: Any) -> dict[str, Any]:
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if typing.is_typeddict(hint):
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"type": "string", "enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _schema(args[0])}
    if origin is dict:
        return {"type": "object"}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(arg) for arg in args]}
    return {}


def _upload(operation: Operation) -> str | None:
    uploads = (name for name, rule in operation.rules.items() if isinstance(rule, UploadRule))
    return next(uploads, None)


def _not_null(schema: Any) -> Any:
    """What a URL can say of a schema: there is no null in it."""
    if "anyOf" in schema:
        return next(part for part in schema["anyOf"] if part.get("type") != "null")
    return schema


def _workspace_schema() -> Any:
    from fastio_cli.operations.params import NAME_RULE

    return NAME_RULE.schema
