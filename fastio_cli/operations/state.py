"""State objects: JSON that is read and changed where it is, one change at a time."""

from fastio_cli.blobs.content import inline
from fastio_cli.errors import FastioError
from fastio_cli.json_text import stored
from fastio_cli.operations import documents
from fastio_cli.operations.operation import Pending, about, operation
from fastio_cli.operations.types import (
    Changes,
    Expression,
    Json,
    Number,
    ObjectPath,
    PastVersion,
    PatchFormat,
    Pointer,
    Schema,
    Token,
    Version,
    Wait,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.blobs.content import Content
    from fastio_cli.operations.context import Context, WriteTarget
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
    version: PastVersion | None = None,
) -> "model.StateDoc":
    """Read one state object, whole or a part of it.

    ``at`` is a JSON Pointer (RFC 6901), ``query`` a JMESPath expression over what it points to.
    """
    row = ctx.content(path, version)
    body = _body(row)
    if query is not None:
        body = ctx.compute(documents.query, body, at, query, path)
    elif at:
        body = ctx.compute(documents.select, body, at, path)
    return _document(ctx, row, body)


@operation("state.set", f"PUT {BASE}/{{path:path}}", effect="write", role="editor", inline=True)
def set_(
    ctx: "Context",
    *,
    path: ObjectPath,
    value: Json,
    at: Pointer | None = None,
    schema: Schema | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Write one state object, or the value at a pointer inside it.

    ``schema`` attaches a JSON Schema that this and every later write has to satisfy.
    """
    target = ctx.begin_change(path, lock_token, if_version)
    if not at:
        return _put(ctx, target, "set", value, schema=schema)
    body = ctx.compute(documents.assign, _current(ctx, target), at, value.body, path)
    return _put(ctx, target, "set", inline(body), {"at": at}, schema)


@operation(
    "state.init", f"POST {BASE}-init/{{path:path}}", effect="write", role="editor", inline=True
)
def init(
    ctx: "Context",
    *,
    path: ObjectPath,
    value: Json,
    schema: Schema | None = None,
    lock_token: Token | None = None,
) -> "model.StateInit":
    """Write a default only if nothing is there; read what is there otherwise."""
    head = ctx.tx.unit.head(ctx.workspace_id, path)
    if head is not None and not head["deleted"]:
        row = ctx.content(path, head["version"])
        return {**_document(ctx, row, _body(row)), "created": False}
    target = ctx.begin_change(path, lock_token)
    put = _put(ctx, target, "init", value, schema=schema)
    assert value.body is not None
    return {**_document(ctx, put, value.body), "created": True}


@operation("state.patch", f"PATCH {BASE}/{{path:path}}", effect="write", role="editor")
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
    target = ctx.begin_change(path, lock_token, if_version)
    document = _current(ctx, target)
    if format == "merge":
        body = ctx.compute(documents.merge_patch, document, patch.body)
    else:
        version = target.live["version"] if target.live is not None else 0
        body = ctx.compute(documents.json_patch, document, patch.body, path, version)
    return _put(ctx, target, "patch", inline(body))


@operation(
    "state.append",
    f"POST {BASE}-append/{{path:path}}",
    effect="write",
    role="editor",
    inline=True,
    commutative=True,
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
    target = ctx.begin_change(path, lock_token, if_version)
    body = ctx.compute(documents.append, _current(ctx, target), at, value.body, path)
    return _put(ctx, target, "append", inline(body), {"at": at} if at else None)


@operation(
    "state.increment",
    f"POST {BASE}-increment/{{path:path}}",
    effect="write",
    role="editor",
    inline=True,
    commutative=True,
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
    target = ctx.begin_change(path, lock_token, if_version)
    body, total = ctx.compute(documents.increment, _current(ctx, target), at, by, path)
    put = _put(ctx, target, "increment", inline(body), {"at": at} if at else None)
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
        name = TRANSACT_VERBS.get(verb) if isinstance(verb, str) else None
        if name is None:
            verbs = ", ".join(TRANSACT_VERBS)
            raise FastioError("invalid", f"Change {number}: op must be one of {verbs}.")
        operation = find(name)
        try:
            params = operation.decode(params)
            operation.run(ctx, **params)
        except FastioError as e:
            e.message = f"Change {number} ({verb} {params.get('path', '?')}): {e.message}"
            e.details = {**e.details, "change": number}
            raise
        items.append(str(params["path"]))
    heads = [ctx.tx.unit.head(ctx.workspace_id, path) for path in items]
    from fastio_cli.operations.records import object_record

    return {"items": [object_record(head) for head in heads if head], "seq": ctx.seq}


TRANSACT_VERBS = {
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
    head = ctx.tx.unit.head(ctx.workspace_id, path)
    if head is not None and not head["deleted"]:
        version = head["version"]

        def holds() -> bool:
            body = _body(ctx.content(path, version))
            return bool(ctx.compute(documents.holds, body, expression))

        # A version never changes, and many may wait for the same.
        if ctx.verdict((ctx.workspace_id, path, version, expression), holds):
            row = ctx.content(path, version)
            return _document(ctx, row, _body(row))
    else:
        # A wrong expression fails now, not when the object appears.
        ctx.compute(documents.holds, b"null", expression)
    return Pending(
        timeout_s,
        FastioError(
            "timeout",
            f"{path} did not satisfy {expression!r} in time.",
            f"See what it is now: fastio state get {path}",
            path=path,
        ),
        concerns=about(path),
    )


def _document(ctx: "Context", version: "Row | model.Object", value: bytes) -> "model.StateDoc":
    """The record of a version, with a value from it."""
    return {
        "path": version["path"],
        "version": version["version"],
        "etag": version["etag"],
        "value": ctx.json_value(value),
    }


def _body(row: "Row") -> bytes:
    """The text of a version that is a state object."""
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
    body: bytes = row["body"]
    return body


def _current(ctx: "Context", target: "WriteTarget") -> bytes:
    if target.live is None:
        error = ctx.not_found(target.path, target.head)
        if target.head is None:
            error.hint = f"Create it first: fastio state init {target.path} '{{}}'"
        raise error
    return _body(ctx.content(target.path, target.live["version"]))


def _put(
    ctx: "Context",
    target: "WriteTarget",
    change: str,
    content: "Content",
    data: "dict[str, object] | None" = None,
    schema: "Content | None" = None,
) -> "model.Object":
    """Write a state object, if it satisfies its schema."""
    if target.live is not None and target.live["kind"] != "state":
        raise FastioError(
            "invalid",
            f"{target.path} is a file; it cannot become a state object.",
            f"Choose another path, or delete it first: fastio file delete {target.path}",
            path=target.path,
        )
    schema_text = target.live["schema"] if target.live is not None else None
    if schema is not None and schema.body is not None:
        schema_text = schema.body.decode()
    if schema_text is not None:
        ctx.compute(documents.check_schema, content.body, schema_text.encode(), target.path)
    return ctx.write_version(
        target,
        change=change,
        kind="state",
        content=content,
        media_type=MEDIA_TYPE,
        schema=schema_text,
        data=data,
    )
