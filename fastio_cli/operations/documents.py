"""Work on whole JSON documents: stored bytes in, bytes to store out.

These functions are pure, and what goes in and out can be pickled: operations call them through
``ctx.compute``, which does so in place, or in a helper process of a server when the document is
large or the work is a program that its user wrote (:data:`PROGRAMS`).
"""

from __future__ import annotations

from fastio_cli.errors import FastioError
from fastio_cli.json_text import RawJson, decode, encode, stored

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


def select(body: bytes, at: str | None, path: str) -> bytes:
    """The value at a JSON Pointer. Raises ``invalid`` (no pointer) or ``not_found``."""
    value = stored(body.decode())
    if at:
        from fastio_cli.operations.pointer import resolve

        value = resolve(value, at, path)
    return encode(value)


def query(body: bytes, at: str | None, expression: str, path: str) -> bytes:
    """The result of a JMESPath expression over the value at a pointer."""
    from fastio_cli.operations.query import search

    return encode(search(expression, stored(select(body, at, path).decode())))


def holds(body: bytes, expression: str) -> bool:
    """Whether JMESPath calls the result of an expression true."""
    from fastio_cli.operations.query import search, truth

    return truth(search(expression, stored(body.decode())))


def assign(body: bytes, at: str, value: bytes, path: str) -> bytes:
    """The document with another value at a pointer, whose parent must exist."""
    from fastio_cli.operations.pointer import assign

    return encode(assign(stored(body.decode()), at, stored(value.decode()), path))


def append(body: bytes, at: str | None, value: bytes, path: str, create: bool = False) -> bytes:
    """The document with a further value at the end of an array in it.

    ``create`` begins an array where nothing is.
    """
    document = target = stored(body.decode())
    if at:
        from fastio_cli.operations.pointer import fill, resolve

        if create:
            fill(document, at, [], path)
        target = resolve(document, at, path)
    if not isinstance(target, list):
        raise FastioError(
            "invalid",
            f"There is no array at {at or 'the root'} of {path}.",
            f"Point at an array with --at: fastio state get {path}",
        )
    target.append(stored(value.decode()))
    return encode(document)


def increment(
    body: bytes, at: str | None, by: float, path: str, create: bool = False
) -> tuple[bytes, float]:
    """The document with a number in it increased, and the sum; ``create`` counts nothing as 0."""
    document = number = stored(body.decode())
    if at:
        from fastio_cli.operations.pointer import assign, fill, resolve

        if create:
            fill(document, at, 0, path)
        number = resolve(document, at, path)
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
    return encode(assign(document, at, total, path) if at else total), total


def merge_patch(body: bytes, patch: bytes) -> bytes:
    """The document with a JSON Merge Patch (RFC 7396) applied."""
    return encode(merge(stored(body.decode()), stored(patch.decode())))


def json_patch(body: bytes, patch: bytes, path: str, version: int) -> bytes:
    """The document, which is at ``version``, with a JSON Patch (RFC 6902) applied."""
    from fastio_cli.operations.pointer import apply_patch

    document = stored(body.decode())
    return encode(apply_patch(document, stored(patch.decode()), path, version))


def check_schema(body: bytes, schema: bytes, path: str) -> None:
    """Raise ``schema_violation`` if the document breaks a JSON Schema."""
    from fastio_cli.operations.schema import check

    check(stored(body.decode()), schema.decode(), path)


def read_params(
    body: bytes, more_bytes: int, more_depth: int, json_params: dict[str, tuple[str, ...]]
) -> dict[str, object]:
    """The parameters in the body of a request, of which the JSON values are kept as their text.

    So they are parsed, and their depth is checked, once and here. ``json_params`` names parameters
    that are JSON values, or that are lists of records with such values by these keys. Raises as
    ``json_text.decode`` does, and ``invalid`` if the body is no JSON object.
    """
    params = decode(body, "body", more_bytes, more_depth)
    if not isinstance(params, dict):
        raise FastioError("invalid", "The body must be a JSON object with the parameters.")
    for name, keys in json_params.items():
        if name not in params:
            continue
        value = params[name]
        if not keys:
            params[name] = RawJson(encode(value, name, is_decoded=True))
        elif isinstance(value, list):
            for record in filter(lambda item: isinstance(item, dict), value):
                for key in keys:
                    if key in record:
                        record[key] = RawJson(encode(record[key], key, is_decoded=True))
    return params


def merge(document: object, patch: object) -> object:
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


def run_in_place(function: Callable[..., object], *args: object) -> object:
    """What ``ctx.compute`` does where nobody else has to be spared."""
    return function(*args)


# How long these take, and how much memory, is up to what their user wrote.
PROGRAMS = (query, holds, json_patch, check_schema)
