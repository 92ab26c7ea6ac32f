"""Work on whole JSON documents: stored bytes in, bytes to store out.

These functions are pure, and what goes in and out can be pickled: operations call them through
``ctx.compute``, which does so in place, or in a helper process of a server when the document is
large or the work is a program that its user wrote (:data:`PROGRAMS`).
"""

from __future__ import annotations

from fastio_cli.errors import FastioError
from fastio_cli.json_text import RawJson, decode, encode, stored, values_in

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.operations.pointer import PatchBudget

    # Which of the changes of a call it is, if there are several; its verb; what is to be done.
    Change = tuple[int | None, str, str, tuple[Any, ...]]
    # The path, the version, the body (None: nothing stands there), the changes, the schema.
    Edited = tuple[str, int, bytes | None, tuple[Change, ...], bytes | None]

LARGE_BYTES = 256 * 1024  # from here on a helper pays for handing the work over
EDITED_BYTES_MAX = 64 * 1024 * 1024  # what one call may read to change it, and write
# What may be done while others wait to write: a few hundredths of a second.
CHECKS_MAX = 100_000
PATCHED_BYTES_MAX = 32 * 1024


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


def edit(objects: tuple[Edited, ...]) -> list[tuple[bytes | None, float | None]]:
    """What objects are after their changes: each body, or None, and the sum of the last increment.

    Raises what a change raises, which is named by its number if it has one; ``schema_violation``
    if an object breaks its schema in the end; ``too_large`` beyond :data:`EDITED_BYTES_MAX` of
    bodies in all, and when patches copy more than a value may hold.
    """
    from fastio_cli.operations.pointer import PatchBudget

    budget, left = PatchBudget(), EDITED_BYTES_MAX
    results: list[tuple[bytes | None, float | None]] = []
    errors: list[FastioError] = []
    for path, version, body, changes, schema in objects:
        try:
            body, total = _edited(body, changes, Place(path, version, budget))
            left -= len(body or b"")
            if left < 0:
                raise too_much_at_once()
            if schema is not None and body is not None:
                check_schema(body, schema, path)
            results.append((body, total))
        except FastioError as e:
            errors.append(e)
            if left < 0 or budget.is_spent:
                break
    if errors:  # the first change that fails is the one to name
        raise min(errors, key=_change_of)
    return results


def _change_of(error: FastioError) -> float:
    """The number of the change that failed; what is found in the end comes last."""
    number = error.details.get("change")
    return number if isinstance(number, int) else float("inf")


def too_much_at_once() -> FastioError:
    """The error for one call that reads or writes more than :data:`EDITED_BYTES_MAX`."""
    return FastioError(
        "too_large",
        f"The changes are about more than {EDITED_BYTES_MAX // 1024 // 1024} MiB at once.",
        "Make them in several transactions, or keep what changes often in small objects.",
    )


def _edited(
    body: bytes | None, changes: tuple[Change, ...], place: Place
) -> tuple[bytes | None, float | None]:
    document: object = None
    is_parsed = False
    for number, verb, kind, args in changes:
        try:
            if kind in _WHOLE:
                body = args[0] if kind == "replace" else None
                is_parsed = False
                continue
            if not is_parsed:
                document = _beginning(kind, args) if body is None else stored(body.decode())
                is_parsed = True
            document = _KINDS[kind](document, *args, place)
        except FastioError as e:
            raise e if number is None else named(e, number, verb, place.path) from None
    return encode(document) if is_parsed else body, place.total


def _beginning(kind: str, args: tuple[Any, ...]) -> object:
    """What a change begins with where nothing is: its default, or what it can add to."""
    if kind == "update":
        return stored(args[1].decode())
    if args[0]:  # a pointer
        return {}
    return [] if kind == "append" else 0


def named(error: FastioError, number: int, verb: object, path: object) -> FastioError:
    """An error that says which of several changes it is about."""
    error.message = f"Change {number} ({verb} {path}): {error.message}"
    error.details = {**error.details, "change": number}
    return error


class Place:
    """Where a change is made: what errors call it, what patches may still cost, the last sum."""

    def __init__(self, path: str, version: int, budget: PatchBudget) -> None:
        self.path = path
        self.version = version
        self.budget = budget
        self.total: float | None = None


def _assign(document: object, at: str, value: bytes, place: Place) -> object:
    from fastio_cli.operations.pointer import assign

    return assign(document, at, stored(value.decode()), place.path)


def _append(document: object, at: str | None, value: bytes, create: bool, place: Place) -> object:
    target = _target(document, at, place, [] if create else None)
    if not isinstance(target, list):
        raise FastioError(
            "invalid",
            f"There is no array at {at or 'the root'} of {place.path}.",
            f"Point at an array with --at: fastio state get {place.path}",
        )
    target.append(stored(value.decode()))
    return document


def _increment(document: object, at: str | None, by: float, create: bool, place: Place) -> object:
    number = _target(document, at, place, 0 if create else None)
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise FastioError(
            "invalid",
            f"There is no number at {at or 'the root'} of {place.path}.",
            f"Point at a number with --at: fastio state get {place.path}",
        )
    try:
        place.total = number + by
    except OverflowError:
        raise FastioError("invalid", "The sum is too large to be a JSON number.") from None
    if at:
        from fastio_cli.operations.pointer import assign

        return assign(document, at, place.total, place.path)
    return place.total


def _target(document: object, at: str | None, place: Place, beginning: object) -> object:
    """What a pointer leads to; ``beginning``, unless it is None, is put there if nothing is."""
    if not at:
        return document
    from fastio_cli.operations.pointer import fill, resolve

    if beginning is not None:
        fill(document, at, beginning, place.path)
    return resolve(document, at, place.path)


def _merge(document: object, patch: bytes, place: Place) -> object:
    """The document with a JSON Merge Patch (RFC 7396) applied.

    Raises ``invalid`` for a list of operations, which is the other kind of patch, and for what is
    no object where the document is one: by the RFC that replaces the whole document, which nobody
    who changes parts of it means to do.
    """
    changes = stored(patch.decode())
    if _are_operations(changes):
        raise FastioError(
            "invalid",
            "The patch is a list of operations (RFC 6902), not a merge patch (RFC 7396).",
            "Say that it is one: add --json-patch (format json-patch).",
            path=place.path,
        )
    if isinstance(document, dict) and not isinstance(changes, dict):
        raise FastioError(
            "invalid",
            f"{place.path} is an object; a patch that is none would replace the whole of it.",
            f"To replace it: fastio state set {place.path} VALUE",
            path=place.path,
        )
    return merge(document, changes)


def _json_patch(document: object, patch: bytes, place: Place) -> object:
    from fastio_cli.operations.pointer import apply_patch

    return apply_patch(document, stored(patch.decode()), place.path, place.version, place.budget)


def _update(document: object, expression: str, default: bytes | None, place: Place) -> object:
    """The result of a JMESPath expression over the document. Raises ``invalid`` if it is null."""
    from fastio_cli.operations.query import search

    result = search(expression, document)
    if result is None:
        raise FastioError(
            "invalid",
            f"The expression gives null for {place.path}; nothing was changed.",
            f"See what it would be made of: fastio state get {place.path}",
            path=place.path,
        )
    return result


def check_schema(body: bytes, schema: bytes, path: str) -> None:
    """Raise ``schema_violation`` if the document breaks a JSON Schema."""
    from fastio_cli.operations.schema import check

    text = body.decode()
    check(stored(text), schema.decode(), path, values_in(text))


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
    """The result of a JSON Merge Patch, by the algorithm of RFC 7396 §2, in place."""
    if not isinstance(patch, dict):
        return patch
    merged = document if isinstance(document, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge(merged.get(key), value)
    return merged


def _are_operations(patch: object) -> bool:
    """Whether a value is a JSON Patch: a list of objects that all say ``op`` and ``path``."""
    return (
        isinstance(patch, list)
        and len(patch) > 0
        and all(isinstance(item, dict) and item.keys() >= {"op", "path"} for item in patch)
    )


def run_in_place(function: Callable[..., object], *args: object) -> object:
    """What ``ctx.compute`` does where nobody else has to be spared."""
    return function(*args)


def is_slow(function: Callable[..., object], args: tuple[Any, ...]) -> bool:
    """Whether nobody should have to wait for a call, be it for its size or for what it runs."""
    return _bytes_in(args) >= LARGE_BYTES or _is_program(function, args)


def holds_up_writes(function: Callable[..., object], args: tuple[Any, ...]) -> bool:
    """Whether a call takes long enough that no write should wait for it.

    Raises ``too_large`` for a schema that nobody could wait for.
    """
    if _bytes_in(args) >= LARGE_BYTES:
        return True
    if not _is_program(function, args):
        return False
    if function is check_schema:
        body, schema, path = args
        return _checks((path, 0, body, (), schema)) >= CHECKS_MAX
    if function is not edit:
        return True
    checks = patched_bytes = 0
    for edited in args[0]:
        checks += _checks(edited)
        patches = [args[0] for _, _, kind, args in edited[3] if kind == "json-patch"]
        patched_bytes += _bytes_in(edited) if patches else 0
        if any(b'"copy"' in patch for patch in patches):
            return True
        if any(kind == "update" for _, _, kind, _ in edited[3]):
            return True
    return checks >= CHECKS_MAX or patched_bytes >= PATCHED_BYTES_MAX


def _checks(edited: Any) -> int:
    """How many checks a schema is good for, at most."""
    _, _, body, changes, schema = edited
    if schema is None:
        return 0
    from fastio_cli.operations.schema import cost

    texts = [body or b"", *(arg for change in changes for arg in change[3])]
    values = sum(values_in(text.decode()) for text in texts if isinstance(text, bytes))
    return values * cost(schema.decode())


def _is_program(function: Callable[..., object], args: tuple[Any, ...]) -> bool:
    if function is not edit:
        return function in PROGRAMS
    return any(
        schema is not None or any(kind in _OWN_PROGRAMS for _, _, kind, _ in changes)
        for _, _, _, changes, schema in args[0]
    )


def _bytes_in(value: object) -> int:
    if isinstance(value, bytes):
        return len(value)
    return sum(map(_bytes_in, value)) if isinstance(value, tuple) else 0


# How long these take, and how much memory, is up to what their user wrote.
PROGRAMS = (query, holds, check_schema)
_OWN_PROGRAMS = ("json-patch", "update")  # the changes of which that is so
_WHOLE = ("replace", "delete")
_KINDS: dict[str, Callable[..., object]] = {
    "assign": _assign,
    "append": _append,
    "increment": _increment,
    "merge": _merge,
    "json-patch": _json_patch,
    "update": _update,
}
