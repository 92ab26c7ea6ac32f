"""State objects: JSON that is read and changed where it is, one change at a time."""

from fastio_cli.errors import FastioError
from fastio_cli.json_text import stored
from fastio_cli.operations import documents
from fastio_cli.operations.operation import Pending, about, operation
from fastio_cli.operations.state_edit import StateEdit, body_of, work_on, write_edits
from fastio_cli.operations.types import (
    Boolean,
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
    from typing import Any

    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}/state"


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
    body = body_of(row)
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
    edit = StateEdit(ctx, path, lock_token, if_version)
    edit.set(value, at, schema)
    return write_edits(ctx, [edit])[0]


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
        return {**_document(ctx, row, body_of(row)), "created": False}
    edit = StateEdit(ctx, path, lock_token)
    edit.init(value, schema)
    put = write_edits(ctx, [edit])[0]
    assert value.body is not None
    return {**_document(ctx, put, value.body), "created": True}


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
    list of operations, all or none; a ``test`` that fails is a ``version_conflict``). A patch of
    the other kind, or one that would replace an object as a whole, is ``invalid``.
    """
    edit = StateEdit(ctx, path, lock_token, if_version)
    edit.patch(patch, format)
    return write_edits(ctx, [edit])[0]


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
    create: Boolean = False,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Append a value to an array of a state object.

    ``create`` begins the array, and the object, where nothing is, with objects for what ``at``
    names on the way.
    """
    edit = StateEdit(ctx, path, lock_token, if_version)
    edit.append(value, at, create)
    return write_edits(ctx, [edit])[0]


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
    create: Boolean = False,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.StateDoc":
    """Add to a number in a state object, and read the sum.

    ``create`` begins with 0 where nothing is, with objects for what ``at`` names on the way.
    """
    edit = StateEdit(ctx, path, lock_token, if_version)
    edit.increment(at, by, create)
    put = write_edits(ctx, [edit])[0]
    return {"path": path, "version": put["version"], "etag": put["etag"], "value": edit.total}


@operation("state.update", f"POST {BASE}-update/{{path:path}}", effect="write", role="editor")
def update(
    ctx: "Context",
    *,
    path: ObjectPath,
    expression: Expression,
    default: Json | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Replace a state object by what a JMESPath expression makes of it, in one step.

    The expression sees the present value, or ``default`` where nothing stands, and nobody else's
    change comes between. Raises ``invalid``, with nothing changed, when it gives null: that is what
    a misspelt name gives.
    """
    edit = StateEdit(ctx, path, lock_token, if_version)
    edit.update(expression, default)
    return write_edits(ctx, [edit])[0]


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
    update, delete. They apply in order; each sees what those before it did. An object gets one new
    version, however many changes are about it, and has to satisfy its schema in the end.
    """
    edits: dict[str, StateEdit] = {}
    for number, change in enumerate(changes):
        try:
            _add_change(ctx, edits, number, change)
        except FastioError as e:
            work_on(ctx, edits.values())  # in which a change before this one may fail
            verb, path = change.get("op"), change.get("path", "?")
            raise documents.named(e, number, verb, path) from None
    write_edits(ctx, list(edits.values()))
    heads = [ctx.tx.unit.head(ctx.workspace_id, path) for path in edits]
    from fastio_cli.operations.records import object_record

    return {"items": [object_record(head) for head in heads if head], "seq": ctx.seq}


def _add_change(
    ctx: "Context", edits: "dict[str, StateEdit]", number: int, change: "dict[str, object]"
) -> None:
    """Take one change of a transaction, after those before it."""
    from fastio_cli.operations import find

    given = dict(change)
    verb = given.pop("op", None)
    name = TRANSACT_VERBS.get(verb) if isinstance(verb, str) else None
    if name is None:
        raise FastioError("invalid", f"op must be one of {', '.join(TRANSACT_VERBS)}.")
    params: dict[str, Any] = find(name).decode(given)
    path, token = params.pop("path"), params.pop("lock_token")
    if_version = params.pop("if_version", None)
    edit = edits.get(path)
    if edit is None:
        edit = edits[path] = StateEdit(ctx, path, token, if_version, number)
    else:
        edit.go_on(number, token, if_version)
    getattr(edit, str(verb))(**params)


TRANSACT_VERBS = {
    "set": "state.set",
    "init": "state.init",
    "patch": "state.patch",
    "append": "state.append",
    "increment": "state.increment",
    "update": "state.update",
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
            body = body_of(ctx.content(path, version))
            return bool(ctx.compute(documents.holds, body, expression))

        # A version never changes, and many may wait for the same.
        if ctx.verdict((ctx.workspace_id, path, version, expression), holds):
            row = ctx.content(path, version)
            return _document(ctx, row, body_of(row))
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
