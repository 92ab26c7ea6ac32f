"""What an import fetched, or why it failed, written into its workspace.

Each function is called in the transaction that ends the import's job (``imports.py``).
"""

from __future__ import annotations

import base64
import json

from fastio_cli.blobs.content import Content
from fastio_cli.errors import FastioError
from fastio_cli.imports.naming import numbered
from fastio_cli.operations.context import WriteTarget
from fastio_cli.operations.imports import without_values
from fastio_cli.operations.types import PATH_RULE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

NUMBERED_MAX = 1000


class Outcome:
    """What an attempt fetched, and when if that was in an earlier run (in milliseconds since 1970).

    ``content`` None: the source said that nothing changed.
    """

    def __init__(
        self,
        content: Content | None,
        *,
        name: str,
        media_type: str,
        final_url: str,
        etag: str | None,
        last_modified: str | None,
        fetched_at: int | None = None,
    ) -> None:
        self.content = content
        self.name = name
        self.media_type = media_type
        self.final_url = final_url
        self.etag = etag
        self.last_modified = last_modified
        self.fetched_at = fetched_at


def complete(ctx: Context, id: int, outcome: Outcome) -> None:
    """Write the object and end the import. Raises what forbids it: a lock, a conflict, a quota."""
    row = ctx.tx.imports.get(ctx.workspace_id, id)
    assert row is not None
    ctx.account(-row["kept_bytes"])
    target = _target(ctx, row, _path(row, outcome.name))
    live = target.live
    fetched_at = ctx.now_ms if outcome.fetched_at is None else outcome.fetched_at
    data = {
        "import": id,
        "source_url": row["url"],
        "final_url": outcome.final_url,
        "fetched_at_ms": fetched_at,
        "source_etag": outcome.etag,
        "source_last_modified": outcome.last_modified,
    }
    content = outcome.content
    if content is None:
        known = last_fetch(ctx.tx, row)
        if live is None or known is None or known["path"] != target.path:
            raise FastioError(
                "unavailable", f"{target.path} was changed while its source said it was unchanged."
            )
    if live is not None and (content is None or _is(live, content, outcome.media_type)):
        version, etag, media_type, unchanged = live["version"], live["etag"], live["media_type"], 1
        ctx.emit("import.unchanged", target.path, version, {**data, "etag": etag})
    else:
        assert content is not None
        etag, media_type, unchanged = content.etag, outcome.media_type, 0
        version = ctx.write_version(
            target, change="import", kind="file", content=content, media_type=media_type, data=data
        )["version"]
    ctx.tx.imports.finish(
        ctx.workspace_id,
        id,
        path=target.path,
        version=version,
        content_etag=etag,
        media_type=media_type,
        unchanged=unchanged,
        size_bytes=content.size_bytes if content is not None else 0,
        source_etag=outcome.etag,
        source_modified=outcome.last_modified,
        final_url=outcome.final_url,
        fetched_at=fetched_at,
        now_ms=ctx.now_ms,
    )


def fail(
    ctx: Context,
    row: Row,
    error: FastioError,
    *,
    is_final: bool,
    progress: dict[str, Any],
    outcome: Outcome | None,
) -> bool:
    """Note why it failed: it is queued again, to go on from ``progress``, or it has failed.

    With an ``outcome`` only its commit has failed: it is kept, so that another run commits it, if
    there is room for it. Whether it is kept.
    """
    kept_bytes = _room_for(ctx, row, outcome)
    is_kept = kept_bytes is not None
    if is_final:
        data = {"import": row["id"], "reason": error.message}
        ctx.emit("import.fail", row["path"], data=data)
    ctx.tx.imports.set_back(
        ctx.workspace_id,
        row["id"],
        state="failed" if is_final else "queued",
        reason_code=error.code,
        reason=error.message,
        hint=error.hint,
        headers=without_values(row["headers"]) if is_final else row["headers"],
        sealed_headers=None if is_final else row["sealed_headers"],
        fetched=_as_text(outcome, ctx.now_ms) if outcome is not None and is_kept else None,
        kept_bytes=row["kept_bytes"] if kept_bytes is None else kept_bytes,
        now_ms=ctx.now_ms,
        **progress,
    )
    return is_kept


def _room_for(ctx: Context, row: Row, outcome: Outcome | None) -> int | None:
    """Count what is kept of an outcome for the workspace; None if nothing of it is, or can be."""
    content = outcome.content if outcome is not None else None
    if content is None:
        return None
    size = content.size_bytes
    try:
        ctx.account(size - row["kept_bytes"])
    except FastioError:
        ctx.account(row["kept_bytes"] - size)
        return None
    return size


def kept(row: Row) -> Outcome | None:
    """What an earlier run fetched and could not commit. Its blob may be gone by now."""
    if row["fetched"] is None:
        return None
    known = json.loads(row["fetched"])
    body = known.pop("body")
    content = Content(
        known.pop("sha256"),
        known.pop("size_bytes"),
        body=None if body is None else base64.b64decode(body),
        blob=known.pop("blob"),
    )
    return Outcome(content, **known)


def _as_text(outcome: Outcome, now_ms: int) -> str | None:
    """An outcome as ``kept`` reads it. Small bytes are in it, as they are nowhere else."""
    content = outcome.content
    if content is None:
        return None
    body = content.body
    return json.dumps(
        {
            "sha256": content.etag,
            "size_bytes": content.size_bytes,
            "body": None if body is None else base64.b64encode(body).decode(),
            "blob": content.blob,
            "name": outcome.name,
            "media_type": outcome.media_type,
            "final_url": outcome.final_url,
            "etag": outcome.etag,
            "last_modified": outcome.last_modified,
            "fetched_at": now_ms if outcome.fetched_at is None else outcome.fetched_at,
        }
    )


def check(ctx: Context, row: Row) -> None:
    """Fail before the transfer where it is plain that its end would fail."""
    if is_exact(row):
        _target(ctx, row, row["target"])


def is_exact(row: Row) -> bool:
    """Whether an import's path is known before its file's name is."""
    return bool(row["target"]) and not row["target"].endswith("/")


def _is(live: Row, content: Content, media_type: str) -> bool:
    return bool(live["etag"] == content.etag and live["media_type"] == media_type)


def _path(row: Row, name: str) -> str:
    target: str = row["target"]
    if is_exact(row):
        return target
    return str(PATH_RULE.check(target + name, "path"))


def _target(ctx: Context, row: Row, path: str) -> WriteTarget:
    """The place to write to, by the import's way with conflicts, if it may be written."""
    target = WriteTarget(path, ctx.tx.unit.head(ctx.workspace_id, path))
    if target.live is not None and row["on_conflict"] == "rename":
        target = _free(ctx, path)
    ctx.check_lock(target.path, proof=row["lock_hash"])
    if target.live is None:
        return target
    if row["on_conflict"] == "fail":
        raise FastioError(
            "already_exists",
            f"{target.path} exists already (version {target.live['version']}).",
            "Choose another path with --to, or use --on-conflict version or rename.",
            path=target.path,
        )
    if target.live["kind"] != "file":
        raise FastioError(
            "invalid",
            f"{target.path} is a state object; a file cannot be imported onto it.",
            "Choose another path with --to.",
        )
    return target


def _free(ctx: Context, path: str) -> WriteTarget:
    for number in range(2, NUMBERED_MAX):
        free = numbered(path, number)
        target = WriteTarget(free, ctx.tx.unit.head(ctx.workspace_id, free))
        if target.live is None:
            return target
    raise FastioError(
        "already_exists", f"{path} and {NUMBERED_MAX} numbered names beside it are taken."
    )


def last_fetch(tx: Tx, row: Row) -> Row | None:
    """The last import of this URL to this place, if what it brought still stands there."""
    if row["on_conflict"] != "version" or row["received_bytes"]:
        return None
    known = tx.imports.last_done(row["workspace_id"], row["url"], row["target"], row["id"])
    if known is None or (row["sha256"] or known["content_etag"]) != known["content_etag"]:
        return None
    if row["name"] is not None and row["name"] != known["name"]:
        return None
    head = tx.objects.head(row["workspace_id"], known["path"])
    stands = head is not None and not head["deleted"] and head["etag"] == known["content_etag"]
    return known if stands else None
