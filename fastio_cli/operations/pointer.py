"""JSON Pointer (RFC 6901) and JSON Patch (RFC 6902), by the libraries of those names."""

from __future__ import annotations

from jsonpointer import EndOfList, JsonPointer, JsonPointerException

from fastio_cli.errors import FastioError
from fastio_cli.json_text import SIZE_BYTES_MAX, Measure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

MOVED_ELEMENTS_MAX = 100_000_000
CONTAINER_BYTES = 64  # what copying an array or object costs beside its content, as bytes


class PatchBudget:
    """What patches may cost together: few bytes can copy what was copied before, again and again.

    ``copied_bytes`` is the size of what they may copy, ``moved_elements`` counts the elements of
    arrays behind the one that is put in or taken out.
    """

    def __init__(
        self, copied_bytes: int = SIZE_BYTES_MAX, moved_elements: int = MOVED_ELEMENTS_MAX
    ) -> None:
        self.copied_bytes = copied_bytes
        self.moved_elements = moved_elements

    @property
    def is_spent(self) -> bool:
        """Whether there is nothing left."""
        return self.copied_bytes < 0 or self.moved_elements < 0

    def pay(self, change: dict[str, Any], document: object) -> None:
        """Pay for one operation of a patch before it is applied. Raises ``too_large``.

        What does not fit the document costs nothing, as it will be refused.
        """
        if change["op"] == "test":
            return
        try:
            if change["op"] == "copy":
                measure = Measure()
                self.copied_bytes -= measure.of(JsonPointer(change["from"]).resolve(document))
                self.copied_bytes -= measure.containers * CONTAINER_BYTES
            for name in ("from", "path"):
                if name in change:
                    parent, _ = JsonPointer(change[name]).to_last(document)
                    self.moved_elements -= len(parent) if isinstance(parent, list) else 0
        except (JsonPointerException, TypeError):
            return
        if self.is_spent:
            raise FastioError(
                "too_large",
                "The patch copies or moves more than a JSON value may hold.",
                "Read the value, change it, and write it with fastio state set.",
            )


def resolve(document: object, pointer: str, path: str) -> object:
    """The value at a pointer. Raises ``invalid`` (not a pointer) or ``not_found``."""
    try:
        value = _parse(pointer).resolve(document)
    except JsonPointerException:
        raise _missing(pointer, path) from None
    if isinstance(value, EndOfList):  # "-" is where the next element would go
        raise _missing(pointer, path)
    return value


def assign(document: object, pointer: str, value: object, path: str) -> object:
    """Set the value at a pointer whose parent exists, in place; ``-`` appends to an array."""
    parsed = _parse(pointer)
    try:
        parent, part = parsed.to_last(document)
        if isinstance(parent, list):
            if part == "-" or part == len(parent):
                parent.append(value)
            elif isinstance(part, int) and part < len(parent):
                parent[part] = value
            else:
                raise _missing(pointer, path)
        elif isinstance(parent, dict):
            parent[part] = value
        else:
            raise _missing(pointer, path)
    except (JsonPointerException, IndexError, TypeError):
        raise _missing(pointer, path) from None
    return document


def fill(document: object, pointer: str, value: object, path: str) -> None:
    """Put a value where a pointer leads to nothing, with objects for the members on the way.

    What is there stays. Raises ``not_found`` where the way leads through anything but objects and
    the elements of arrays, ``invalid`` for what is no pointer.
    """
    parsed = _parse(pointer)
    node = document
    for part, is_last in zip(parsed.parts, [*[False] * (len(parsed.parts) - 1), True], strict=True):
        if isinstance(node, dict):
            node = node.setdefault(part, value if is_last else {})
            continue
        try:
            node = parsed.walk(node, part)
        except JsonPointerException:
            raise _missing(pointer, path) from None
        if isinstance(node, EndOfList):
            raise _missing(pointer, path)


def apply_patch(
    document: object, patch: object, path: str, version: int, budget: PatchBudget | None = None
) -> object:
    """Apply an RFC 6902 patch, all or none.

    Raises ``invalid`` for what is not a patch, ``not_found`` for a pointer that leads nowhere,
    ``version_conflict`` when a ``test`` fails, ``too_large`` when the budget does not suffice.
    """
    import jsonpatch  # more than pointers alone need

    if not isinstance(patch, list):
        raise FastioError(
            "invalid",
            "A JSON Patch is a list of operations (RFC 6902).",
            "To merge an object, leave --json-patch out (format merge).",
        )
    try:
        for change in patch:
            if "from" in change:
                _parse(change["from"])
        jsonpatch.JsonPatch(patch)
    except (jsonpatch.JsonPatchException, JsonPointerException, TypeError, AttributeError) as e:
        raise _not_a_patch(e) from None
    budget = budget or PatchBudget()
    try:
        for change in patch:
            budget.pay(change, document)
            document = jsonpatch.JsonPatch([change]).apply(document, in_place=True)
        return document
    except jsonpatch.JsonPatchTestFailed:
        raise FastioError(
            "version_conflict",
            f"A test in the patch does not hold for {path}.",
            f"Read it again and repeat the change: fastio state get {path}",
            path=path,
            current_version=version,
        ) from None
    except (jsonpatch.JsonPatchConflict, JsonPointerException, TypeError) as e:
        raise FastioError(
            "not_found",
            f"The patch does not fit {path}: {_reason(e)}.",
            f"See what it holds: fastio state get {path}",
            path=path,
        ) from None
    except jsonpatch.JsonPatchException as e:
        raise _not_a_patch(e) from None


def _not_a_patch(e: Exception) -> FastioError:
    return FastioError("invalid", f"This is not a JSON Patch (RFC 6902): {_reason(e)}.")


def _reason(e: Exception) -> str:
    text = str(e).rstrip(".")[:200]
    if isinstance(e, TypeError) or "does not support indexing" in text:  # said in terms of Python
        return "a path in it leads through a value that is no object or array"
    return text


def _parse(pointer: str) -> JsonPointer:
    try:
        return JsonPointer(pointer)
    except JsonPointerException:
        raise FastioError(
            "invalid",
            f"{pointer!r} is not a JSON Pointer (RFC 6901).",
            "Write it as /key/0/key, with ~1 for '/' and ~0 for '~'.",
        ) from None


def _missing(pointer: str, path: str) -> FastioError:
    return FastioError(
        "not_found",
        f"{path} has nothing at {pointer}.",
        f"See what it holds: fastio state get {path}",
        path=path,
        pointer=pointer,
    )
