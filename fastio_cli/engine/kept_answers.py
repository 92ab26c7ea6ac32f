"""Large answers as they are kept for requests that are repeated: by reference.

Where an answer holds a large value that a version holds too, that version is named instead: a small
request could otherwise have large copies kept, which nobody counts.
"""

from __future__ import annotations

from collections import Counter

from fastio_cli.json_text import RawJson, compact, record_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.operations.context import Context

VALUE_BYTES_MAX = 4096  # of a value that is copied
IN_VERSION = "value_is_in_version"  # stands where the value of a path and version would


def by_reference(answer: dict[str, Any]) -> bytes:
    """An answer as it is kept, as JSON."""
    items = answer.get("items")
    if not isinstance(items, list):
        return record_text(_with_reference(answer))
    paths = Counter(item.get("path") for item in items if isinstance(item, dict))
    # An object that several changes of a call are about is at its last version after all of them.
    kept = [_with_reference(i) if paths[i.get("path")] == 1 else i for i in items]
    return record_text({**answer, "items": kept})


def resolved(ctx: Context, kept: Any) -> Any:
    """The answer that was kept. Raises ``not_found`` if a version is no longer in the history."""
    if not isinstance(kept, dict):
        return kept
    if isinstance(kept.get("items"), list):
        return {**kept, "items": [resolved(ctx, item) for item in kept["items"]]}
    if IN_VERSION not in kept:
        return kept
    version = ctx.content(kept["path"], kept["version"])
    return _replaced(kept, IN_VERSION, "value", ctx.json_value(version["body"]))


def _with_reference(record: dict[str, Any]) -> dict[str, Any]:
    """A record whose value, if it is the whole of a version, is named instead of held.

    What an operation answers with a number is a part of the version.
    """
    value = record.get("value")
    if "version" not in record or not isinstance(value, RawJson | str | list | dict):
        return record
    text = value.text if isinstance(value, RawJson) else compact(value)
    if len(text) <= VALUE_BYTES_MAX:
        return record
    return _replaced(record, "value", IN_VERSION, True)


def _replaced(record: dict[str, Any], old: str, new: str, value: object) -> dict[str, Any]:
    """A record with another entry in the place of one, for the order is part of an answer."""
    return {(new if k == old else k): (value if k == old else v) for k, v in record.items()}
