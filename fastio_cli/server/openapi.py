"""The OpenAPI 3.1 document of the catalogue: routes, parameters, records and errors."""

from __future__ import annotations

import functools
import json

from fastio_cli.errors import KINDS, FastioError
from fastio_cli.operations import every
from fastio_cli.operations.record_schema import definitions
from fastio_cli.operations.types import NAME_RULE
from fastio_cli.server import examples
from fastio_cli.server.http import ETAG, IN_HEADERS
from fastio_cli.server.responses import BODYLESS, problem
from fastio_cli.server.uploads import DIGEST, UPLOAD_ID
from fastio_cli.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fastio_cli.operations.operation import Operation
    from fastio_cli.operations.types import Rule

SCHEMAS = "#/components/schemas/"
BINARY: dict[str, object] = {"application/octet-stream": {}}
# What only a change can meet: quota, name taken, precondition, schema, lock.
OF_WRITES = (402, 409, 412, 422, 423)
NOT_STATED = (499,)  # nobody is there to read it


@functools.cache
def document_bytes() -> bytes:
    """The document as JSON."""
    return json.dumps(document(), separators=(",", ":")).encode()


def document() -> dict[str, object]:
    """The whole document."""
    paths: dict[str, dict[str, object]] = {}
    for operation in every():
        path = operation.route.replace(":path}", "}")
        paths.setdefault(path, {})[operation.method.lower()] = _operation(operation)
    paths["/v1/workspaces/{workspace}/events/stream"] = {"get": _stream()}
    paths["/v1/workspaces/{workspace}/uploads/{id}"] = _uploads()
    schemas = {**definitions(SCHEMAS), "Problem": _problem(), "Locked": _locked()}
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
            "responses": {str(n): _problem_response(n, codes) for n, codes in _statuses().items()},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(operation: Operation) -> dict[str, object]:
    doc = (operation.run.__doc__ or "").strip()
    described: dict[str, object] = {
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


def _parameters(operation: Operation) -> Iterator[dict[str, object]]:
    in_path = [
        segment.strip("{}").partition(":")[0]
        for segment in operation.route.split("/")
        if segment.startswith("{")
    ]
    for name in in_path:
        rule = operation.rules.get(name, NAME_RULE)
        yield _parameter(name, "path", rule, required=True)
    url_only = operation.method in BODYLESS or operation.upload_param is not None
    for name, rule in operation.rules.items():
        if name in in_path or name == operation.upload_param:
            continue
        if name in IN_HEADERS:
            required = name not in operation.defaults
            held = _header("Lock-Token", "The token of the lock that is held", required)
            yield {**held, "schema": _not_null(rule.schema)}
        elif url_only:
            yield _parameter(name, "query", rule, required=name not in operation.defaults)
    yield from _headers(operation)


def _headers(operation: Operation) -> Iterator[dict[str, object]]:
    """The headers of HTTP's own that an operation takes."""
    if operation.effect == "write":
        yield _header("Idempotency-Key", "Repeating the request with it changes nothing more")
    if "if_version" in operation.rules:
        yield _header("If-Match", "The ETag of the version to change", pattern=ETAG.pattern)
    if operation.response == "bytes":
        yield _header("Range", "A part of the bytes: bytes=0-99; others are ignored")
    if operation.upload_param is not None:
        yield _header("Content-Digest", "SHA-256 of the bytes, verified", pattern=DIGEST.pattern)
        yield _header("Upload-Id", "Takes what came in parts before", pattern=UPLOAD_ID.pattern)


def _parameter(name: str, place: str, rule: Rule, required: bool) -> dict[str, object]:
    stated = {"name": name, "in": place, "required": required, "schema": _not_null(rule.schema)}
    example = examples.parameter(name, rule)
    if example is not None and (required or name in examples.SHOWN):
        stated["example"] = example
    return stated


def _header(
    name: str, description: str, required: bool = False, pattern: str | None = None
) -> dict[str, object]:
    schema: dict[str, object] = {"type": "string", "minLength": 1, "maxLength": 255}
    if pattern is not None:
        schema = {"type": "string", "pattern": f"^{pattern}$"}
    return {
        "name": name,
        "in": "header",
        "required": required,
        "description": description,
        "schema": schema,
    }


def _body(operation: Operation) -> dict[str, object] | None:
    if operation.upload_param is not None:
        return {"content": BINARY}
    names = [
        name
        for name in operation.rules
        if f"{{{name}}}" not in operation.route
        and f"{{{name}:path}}" not in operation.route
        and name not in IN_HEADERS
    ]
    if operation.method in BODYLESS or not names:
        return None
    schema = {
        "type": "object",
        "properties": {name: operation.rules[name].schema for name in names},
        "required": [name for name in names if name not in operation.defaults],
        "additionalProperties": False,
    }
    media = {"schema": schema, "example": examples.body(operation, names)}
    return {"required": bool(schema["required"]), "content": {"application/json": media}}


def _responses(operation: Operation) -> dict[str, object]:
    problems = _problems(operation.effect == "write")
    unchanged = {"304": {"description": "Not modified"}} if operation.method == "GET" else {}
    record = operation.record
    if record is None:
        ok: dict[str, object] = {
            "description": "The bytes, as what they are",
            "content": {"*/*": {}},
        }
        part = {**ok, "description": "The range of bytes that was asked for"}
        beyond = {"description": "The range begins beyond the end"}
        return {"200": ok, "206": part, "416": beyond, **unchanged, **problems}
    media = {"schema": _reference(record.__name__), "example": examples.record(record)}
    content: dict[str, object] = {"application/json": media}
    ok = {"description": "Done", "content": content}
    if operation.response == "chunks":
        ok["description"] = (
            "Done. As text/event-stream: messages of type piece, each a string in JSON, as they "
            "are made; then one without a type, the record; or one of type error, a problem."
        )
        content["text/event-stream"] = {"schema": {"type": "string"}}
    if {"version", "etag"} <= set(record.__annotations__):
        ok["headers"] = {"ETag": _text_header("Names this version in If-Match and If-None-Match")}
    return {"200": ok, **unchanged, **problems}


def _problems(write: bool) -> dict[str, object]:
    """What may go wrong."""
    return {
        str(status): {"$ref": f"#/components/responses/{status}"}
        for status in _statuses()
        if write or status not in OF_WRITES
    }


def _statuses() -> dict[int, list[str]]:
    """The statuses of problems, each with the codes that it stands for."""
    codes: dict[int, list[str]] = {}
    for code, kind in KINDS.items():
        if kind.http not in NOT_STATED:
            codes.setdefault(kind.http, []).append(code)
    return dict(sorted(codes.items()))


def _problem_response(status: int, codes: list[str]) -> dict[str, object]:
    error = FastioError(codes[0], "What is wrong, in a sentence.")
    if status == 423:
        error.details = examples.LOCKED
    example = json.loads(problem(error, "3f0c2a9d1b7e4c55")[2])
    schema = _reference("Locked" if status == 423 else "Problem")
    response: dict[str, object] = {
        "description": ", ".join(codes),
        "content": {"application/problem+json": {"schema": schema, "example": example}},
    }
    if status in (423, 429, 503):
        response["headers"] = {"Retry-After": _text_header("Seconds after which to try again")}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": _text_header("How to authenticate")}
    return response


def _text_header(description: str) -> dict[str, object]:
    return {"description": description, "required": True, "schema": {"type": "string"}}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"{SCHEMAS}{name}"}


def _problem() -> dict[str, object]:
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
        "required": ["type", "title", "status", "detail", "code", "message", "hint", "details"],
    }


def _locked() -> dict[str, object]:
    """The problem of a path that somebody else holds: who, why, until when, how many wait."""
    details = {
        "type": "object",
        "properties": {
            "path": {"type": "string"},
            "holder": {"type": "string"},
            "purpose": {"type": "string"},
            "fence": {"type": ["integer", "null"]},
            "expires_at": {"type": "string", "format": "date-time"},
            "retry_after_s": {"type": "number", "minimum": 0},
            "queue_position": {"type": "integer", "minimum": 1},
        },
        "required": list(examples.LOCKED),
    }
    return {
        "description": "The path is locked (423).",
        "allOf": [_reference("Problem")],
        "properties": {"details": details},
    }


def _stream() -> dict[str, object]:
    events = {"text/event-stream": {"schema": {"type": "string"}}}
    ok: dict[str, object] = {"description": "The stream", "content": events}
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
            _parameter("workspace", "path", NAME_RULE, required=True),
            *fields,
            _header("Last-Event-ID", "Go on after this event", pattern="[0-9]{1,15}"),
        ],
        "responses": {"200": ok, **_problems(write=False)},
    }


def _uploads() -> dict[str, object]:
    id_schema = {"type": "string", "pattern": f"^{UPLOAD_ID.pattern}$"}
    shared = [
        _parameter("workspace", "path", NAME_RULE, required=True),
        {"name": "id", "in": "path", "required": True, "schema": id_schema, "example": "0" * 32},
    ]
    schema = {
        "type": "object",
        "properties": {"offset": {"type": "integer", "minimum": 0}},
        "required": ["offset"],
    }
    media = {"schema": schema, "example": {"offset": 1048576}}
    ok: dict[str, object] = {
        "description": "How far it is",
        "content": {"application/json": media},
        "headers": {"Upload-Offset": _text_header("How many bytes there are")},
    }
    responses = {"200": ok, **_problems(write=False)}
    offset = _header("Upload-Offset", "Where this part begins", True, "[0-9]{1,16}")
    offset["example"] = "0"
    return {
        "parameters": shared,
        "get": {
            "operationId": "upload.show",
            "summary": "How many bytes of an upload in parts have come.",
            "tags": ["file"],
            "responses": responses,
        },
        "patch": {
            "operationId": "upload.add",
            "summary": "Send a part of a file; name it as Upload-Id in file.put then.",
            "tags": ["file"],
            "parameters": [offset],
            "requestBody": {"content": BINARY},
            "responses": responses,
        },
    }


def _not_null(schema: dict[str, Any]) -> dict[str, Any]:
    """What a URL can say of a schema: there is no null in it."""
    if "anyOf" in schema:
        return next(part for part in schema["anyOf"] if part.get("type") != "null")
    return schema
