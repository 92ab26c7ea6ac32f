"""What operations return, as JSON Schema (2020-12), made from the records in ``model.py``.

OpenAPI and ``fastio help --json`` describe results with it. It is imported for that alone, as
it loads the typing machinery that no command needs.
"""

from __future__ import annotations

import types
import typing

from fastio_cli import model

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Schema = dict[str, typing.Any]

PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
REFERENCE = "#/$defs/"


def record_of(run: Callable[..., object]) -> type | None:
    """The record that a function of the catalogue returns; None if it returns bytes.

    It is the one among its return annotation's types that is a record, as in
    ``"model.HeldLock | Pending"``.
    """
    stated = run.__annotations__["return"]
    # The catalogue imports these for type checkers only; just the record counts.
    names = {"model": model, "Unprepared": None}
    hint = eval(stated, run.__globals__, names) if isinstance(stated, str) else stated
    return next((t for t in (hint, *typing.get_args(hint)) if typing.is_typeddict(t)), None)


def result_schema(record: type, reference: str = REFERENCE) -> Schema:
    """The schema of a result: the record, and those it consists of as ``$defs``."""
    found: dict[str, Schema] = {}
    _define(record, found, reference)
    own = found.pop(record.__name__)
    return {**own, "$defs": found} if found else own


def definitions(reference: str) -> dict[str, Schema]:
    """The schemas of all records by name, which refer to one another below ``reference``."""
    found: dict[str, Schema] = {}
    for value in vars(model).values():
        if typing.is_typeddict(value):
            _define(value, found, reference)
    return found


def is_time(field: str) -> bool:
    """Whether a field of a record holds a time, by its name."""
    return field == "at" or field.endswith("_at")


def _define(record: type, found: dict[str, Schema], reference: str) -> None:
    if record.__name__ in found:
        return
    hints = typing.get_type_hints(record)
    fields: Schema = {}
    found[record.__name__] = {
        "description": (record.__doc__ or "").strip(),
        "type": "object",
        "properties": fields,
        "required": list(hints),
    }
    for name, hint in hints.items():
        fields[name] = field = _schema(hint, found, reference)
        if is_time(name):
            field.get("anyOf", [field])[0]["format"] = "date-time"


def _schema(hint: typing.Any, found: dict[str, Schema], reference: str) -> Schema:
    """The schema of a field's type; records it names are added to ``found``."""
    if hint in PLAIN:
        return {"type": PLAIN[hint]}
    if typing.is_typeddict(hint):
        _define(hint, found, reference)
        return {"$ref": f"{reference}{hint.__name__}"}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return {"type": "string", "enum": list(args)}
    if origin is list:
        return {"type": "array", "items": _schema(args[0], found, reference)}
    if origin is dict:
        return {"type": "object"}
    if origin in (typing.Union, types.UnionType):
        return {"anyOf": [_schema(arg, found, reference) for arg in args]}
    return {}
