"""Large answers as they are kept for requests that are repeated: by reference.

Where an answer holds a large value that a version holds too, that version is named instead: a small
request could otherwise have large copies kept, which nobody counts.
"""

from __future__ import annotations

from fastio_cli.json_text import RawJson, compact, record_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.operations.context import Context

VALUE_BYTES_MAX = 4096  # of a value that is copied
IN_VERSION = "value_is_in_version"  # stands where the value of a path and version would


def by_reference(answer: dict[str, Any]) -> bytes:
    """An answer as it is kept, as JSON: without its value if that is the whole of a version.

    What an operation answers with a number is a part of the version.
    """
    value = answer.get("value")
    if "version" not in answer or not isinstance(value, RawJson | str | list | dict):
        return record_text(answer)
    text = value.text if isinstance(value, RawJson) else compact(value)
    if len(text) <= VALUE_BYTES_MAX:
        return record_text(answer)
    return record_text(_replaced(answer, "value", IN_VERSION, True))


def resolved(ctx: Context, kept: Any) -> Any:
    """The answer that was kept. Raises ``not_found`` if a version is no longer in the history."""
    if not isinstance(kept, dict) or IN_VERSION not in kept:
        return kept
    version = ctx.content(kept["path"], kept["version"])
    return _replaced(kept, IN_VERSION, "value", ctx.json_value(version["body"]))


def _replaced(record: dict[str, Any], old: str, new: str, value: object) -> dict[str, Any]:
    """A record with another entry in the place of one, for the order is part of an answer."""
    return {(new if k == old else k): (value if k == old else v) for k, v in record.items()}
