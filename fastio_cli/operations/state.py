"""State objects: JSON that is read and changed where it is, one change at a time."""

from fastio_cli.blobs.local import inline
from fastio_cli.errors import FastioError
from fastio_cli.json_text import encode, stored
from fastio_cli.operations.operation import Pending, operation
from fastio_cli.operations.types import (
    Changes,
    Expression,
    Json,
    Number,
    ObjectPath,
    PatchFormat,
    Pointer,
    Token,
    Version,
    Wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli import model
    from fastio_cli.blobs.local import Content
    from fastio_cli.operations.context import Context, Slot
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}/state"
MEDIA_TYPE = "application/json"


@operation("state.get", f"GET {BASE}/{{path:path}}", effect="read", role="viewer", inline=True)
def get(
    ctx: "Context",
    *,
    path: ObjectPath,
    at: Pointer | None = None,
    query: Expression | None = None,
    version: Version | None = None,
) -> "model.StateDoc":
    """Read one state object, whole or a part of it.

    ``at`` is a JSON Pointer (RFC 6901), ``query`` a JMESPath expression over what it points to.
    """
    row = ctx.content(path, version)
    value = _value(row)
    if at:
        from fastio_cli.operations.pointer import resolve

        value = resolve(value, at, path)
    if query is not None:
        from fastio_cli.operations.query import search

        value = search(query, value)
    return {"path": path, "version": row["version"], "etag": row["etag"], "value": value}


@operation("state.set", f"PUT {BASE}/{{path:path}}", effect="write", role="editor", inline=True)
def set_(
    ctx: "Context",
    *,
    path: ObjectPath,
    value: Json,
    at: Pointer | None = None,
    schema: Json | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Write one state object, or the value at a pointer inside it.

    ``schema`` attaches a JSON Schema that this and every later write has to satisfy.
    """
    slot = ctx.guard(path, lock_token, if_version)
    if not at:
        return _put(ctx, slot, "set", value.content, lambda: value.value, schema=schema)
    from fastio_cli.operations.pointer import assign

    document = assign(_current(ctx, slot), at, value.value, path)
    return _put_value(ctx, slot, "set", document, {"at": at}, schema)


@operation(
    "state.init", f"POST {BASE}-init/{{path:path}}", effect="write", role="editor", inline=True
)
def init(
    ctx: "Context",
    *,
    path: ObjectPath,
    value: Json,
    schema: Json | None = None,
    lock_token: Token | None = None,
) -> "model.StateInit":
    """Write a default only if nothing is there; read what is there otherwise."""
    head = ctx.tx.unit.head(ctx.workspace_id, path)
    if head is not None and not head["deleted"]:
        row = ctx.content(path, head["version"])
        return {
            "path": path,
            "version": row["version"],
            "etag": row["etag"],
            "value": _value(row),
            "created": False,
        }
    slot = ctx.guard(path, lock_token)
    put = _put(ctx, slot, "init", value.content, lambda: value.value, schema=schema)
    return {
        "path": path,
        "version": put["version"],
        "etag": put["etag"],
        "value": value.value,
        "created": True,
    }


@operation("state.patch", f"PATCH {BASE}/{{path:path}}", effect="write", role="editor", inline=True)
def patch(
    ctx: "Context",
    *,
    path: ObjectPath,
    patch: Json,
    format: PatchFormat = "merge",
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Change parts of one state object, leaving the rest as it is.

    ``format`` is ``merge`` (RFC 7396: objects merge, null removes) or ``json-patch`` (RFC 6902: a
    list of operations, all or none; a ``test`` that fails is a ``version_conflict``).
    """
    slot = ctx.guard(path, lock_token, if_version)
    document = _current(ctx, slot)
    if format == "merge":
        document = merge(document, patch.value)
    else:
        from fastio_cli.operations.pointer import apply_patch

        document = apply_patch(document, patch.value, slot)
    return _put_value(ctx, slot, "patch", document)


@operation(
    "state.append", f"POST {BASE}-append/{{path:path}}", effect="write", role="editor", inline=True
)
def append(
    ctx: "Context",
    *,
    path: ObjectPath,
    value: Json,
    at: Pointer | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Append a value to an array of a state object."""
    slot = ctx.guard(path, lock_token, if_version)
    document = _current(ctx, slot)
    target = document
    if at:
        from fastio_cli.operations.pointer import resolve

        target = resolve(document, at, path)
    if not isinstance(target, list):
        raise FastioError(
            "invalid",
            f"There is no array at {at or 'the root'} of {path}.",
            f"Point at an array with --at: fastio state get {path}",
        )
    target.append(value.value)
    return _put_value(ctx, slot, "append", document, {"at": at} if at else None)


@operation(
    "state.increment",
    f"POST {BASE}-increment/{{path:path}}",
    effect="write",
    role="editor",
    inline=True,
)
def increment(
    ctx: "Context",
    *,
    path: ObjectPath,
    at: Pointer | None = None,
    by: Number = 1,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.StateDoc":
    """Add to a number in a state object, and read the sum."""
    if at:
        from fastio_cli.operations.pointer import assign, resolve

    slot = ctx.guard(path, lock_token, if_version)
    document = _current(ctx, slot)
    number = resolve(document, at, path) if at else document
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise FastioError(
            "invalid",
            f"There is no number at {at or 'the root'} of {path}.",
            f"Point at a number with --at: fastio state get {path}",
        )
    try:
        total = number + by
    except OverflowError:
        raise FastioError("invalid", "The sum is too large to be a JSON number.") from None
    document = assign(document, at, total, path) if at else total
    put = _put_value(ctx, slot, "increment", document, {"at": at} if at else None)
    return {"path": path, "version": put["version"], "etag": put["etag"], "value": total}


@operation("state.schema", f"GET {BASE}-schema/{{path:path}}", effect="read", role="viewer")
def schema(ctx: "Context", *, path: ObjectPath) -> "model.StateDoc":
    """Read the JSON Schema that a state object has to satisfy (null: none)."""
    head = ctx.live(path)
    value = None if head["schema"] is None else stored(head["schema"])
    return {"path": path, "version": head["version"], "etag": head["etag"], "value": value}


@operation(
    "state.transact", "POST /v1/workspaces/{workspace}/transact", effect="write", role="editor"
)
def transact(ctx: "Context", *, changes: Changes) -> "model.Transaction":
    """Apply several changes to several objects of one workspace, all or nothing.

    A change is the parameters of a ``state`` operation with its verb as ``op``: ``{"op": "set",
    "path": "a.json", "value": 1, "if_version": 3}``. Verbs: set, init, patch, append, increment,
    delete. They apply in order; each sees what those before it did.
    """
    from fastio_cli.operations import find

    items = []
    for number, change in enumerate(changes):
        params = dict(change)
        verb = params.pop("op", None)
        name = _TRANSACT_VERBS.get(verb) if isinstance(verb, str) else None
        if name is None:
            verbs = ", ".join(_TRANSACT_VERBS)
            raise FastioError("invalid", f"Change {number}: op must be one of {verbs}.")
        operation = find(name)
        try:
            params = operation.decode(params)
            operation.run(ctx, **params)
        except FastioError as e:
            e.message = f"Change {number} ({verb} {params.get('path', '?')}): {e.message}"
            e.details = {**e.details, "change": number}
            raise
        items.append(params["path"])
    heads = [ctx.tx.unit.head(ctx.workspace_id, path) for path in items]
    from fastio_cli.operations.records import object_record

    return {"items": [object_record(head) for head in heads if head], "seq": ctx.seq}


_TRANSACT_VERBS = {
    "set": "state.set",
    "init": "state.init",
    "patch": "state.patch",
    "append": "state.append",
    "increment": "state.increment",
    "delete": "object.delete",
}


@operation("state.wait", f"POST {BASE}-wait/{{path:path}}", effect="read", role="viewer")
def wait(
    ctx: "Context", *, path: ObjectPath, expression: Expression, timeout_s: Wait = 60
) -> "model.StateDoc | Pending":
    """Wait until a JMESPath expression over a state object is true, and read the object.

    True is what JMESPath calls true: not false, null, or empty. An object that is not there (yet)
    is waited for. Raises ``timeout`` when ``timeout_s`` passes first.
    """
    from fastio_cli.operations.query import search, truth

    head = ctx.tx.unit.head(ctx.workspace_id, path)
    if head is not None and not head["deleted"]:
        row = ctx.content(path, head["version"])
        value = _value(row)
        if truth(search(expression, value)):
            return {"path": path, "version": row["version"], "etag": row["etag"], "value": value}
    else:
        search(expression, None)  # a wrong expression fails now, not when the object appears
    return Pending(
        timeout_s,
        FastioError(
            "timeout",
            f"{path} did not come to satisfy {expression!r} in time.",
            f"See how it stands: fastio state get {path}",
            path=path,
        ),
    )


def merge(document: "Any", patch: "Any") -> "Any":
    """The result of a JSON Merge Patch, by the algorithm of RFC 7396 §2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(document) if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _value(row: "Row") -> "Any":
    if row["deleted"]:
        raise FastioError(
            "not_found",
            f"Version {row['version']} of {row['path']} is a deletion.",
            f"See its history: fastio state history {row['path']}",
            path=row["path"],
        )
    if row["kind"] != "state":
        raise FastioError(
            "invalid",
            f"{row['path']} is a file, not a state object.",
            f"Read it as a file: fastio file get {row['path']}",
            path=row["path"],
        )
    return stored(row["body"].decode())


def _current(ctx: "Context", slot: "Slot") -> "Any":
    if slot.live is None:
        error = ctx.not_found(slot.path, slot.head)
        if slot.head is None:
            error.hint = f"Create it first: fastio state init {slot.path} '{{}}'"
        raise error
    return _value(ctx.content(slot.path, slot.live["version"]))


def _put_value(
    ctx: "Context",
    slot: "Slot",
    change: str,
    value: "Any",
    data: "dict[str, Any] | None" = None,
    schema: "Any" = None,
) -> "model.Object":
    return _put(ctx, slot, change, inline(encode(value)), lambda: value, data, schema)


def _put(
    ctx: "Context",
    slot: "Slot",
    change: str,
    content: "Content",
    value: "Any",
    data: "dict[str, Any] | None" = None,
    schema: "Any" = None,
) -> "model.Object":
    """Write a state object; ``value()`` gives its value when there is a schema to satisfy."""
    if slot.live is not None and slot.live["kind"] != "state":
        raise FastioError(
            "invalid",
            f"{slot.path} is a file; it cannot become a state object.",
            f"Choose another path, or delete it first: fastio file delete {slot.path}",
            path=slot.path,
        )
    schema_text = slot.live["schema"] if slot.live is not None else None
    if schema is not None:
        schema_text = schema.content.body.decode()
    if schema_text is not None:
        from fastio_cli.operations.schema import check

        check(value(), schema_text, slot.path)
    return ctx.put(
        slot,
        change=change,
        kind="state",
        content=content,
        media_type=MEDIA_TYPE,
        schema=schema_text,
        data=data,
    )
