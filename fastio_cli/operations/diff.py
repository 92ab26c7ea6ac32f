"""What changed between two versions of an object."""

from __future__ import annotations

import difflib
import json

import jsonpatch

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

SIZE_BYTES_MAX = 1024 * 1024


def compare(
    ctx: Context, old: Row | None, new: Row | None
) -> tuple[list[dict[str, object]] | None, str | None]:
    """An RFC 6902 patch if both are JSON, and a unified diff of their text.

    A side that is absent or deleted counts as empty.
    """
    old_text, new_text = _text(ctx, old), _text(ctx, new)
    json_patch = None
    if old is not None and new is not None and _is_state(old) and _is_state(new):
        json_patch = jsonpatch.make_patch(json.loads(old["body"]), json.loads(new["body"])).patch
    lines = difflib.unified_diff(
        old_text.splitlines(), new_text.splitlines(), _label(old), _label(new), lineterm=""
    )
    return json_patch, "\n".join(lines)


def _is_state(row: Row) -> bool:
    return bool(row["kind"] == "state" and not row["deleted"])


def _label(row: Row | None) -> str:
    return f"{row['path']}@{row['version']}" if row is not None else "nothing"


def _text(ctx: Context, row: Row | None) -> str:
    if row is None or row["deleted"]:
        return ""
    if row["size_bytes"] > SIZE_BYTES_MAX:
        raise FastioError(
            "too_large", f"{_label(row)} is over {SIZE_BYTES_MAX} bytes: too large to compare."
        )
    if row["kind"] == "state":
        return json.dumps(json.loads(row["body"]), ensure_ascii=False, indent=2)
    from fastio_cli.operations.files import read_all

    try:
        return read_all(ctx, row).decode("utf-8")
    except UnicodeDecodeError:
        raise FastioError("invalid", f"{_label(row)} is not text.") from None
