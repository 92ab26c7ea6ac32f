"""How an import goes from state to state, apart from what its owner asks for (``imports.py``).

A worker takes an import, fetches without any transaction, and comes back with what it got or with
why it failed. Each step here is one transaction, and does nothing if the import is no longer the
worker's: it was cancelled, or the worker was slow and another one took over.
"""

from __future__ import annotations

import base64
import json

from fastio_cli.blobs.local import Content
from fastio_cli.errors import FastioError
from fastio_cli.operations.context import Slot
from fastio_cli.operations.types import PATH_RULE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

NUMBERED_MAX = 1000


class Outcome:
    """What a worker fetched, and when if that was in an earlier run (in milliseconds since 1970).

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


def take(
    tx: Tx, worker: str, actor: str | None, lease_ms: int, limit: int
) -> list[tuple[Row, Row | None]]:
    """Take what is due: imports, each with the earlier one it may be unchanged against."""
    taken = []
    for due in tx.imports.due(tx.now_ms, actor, limit):
        row = tx.imports.take(due["workspace_id"], due["id"], worker, tx.now_ms, lease_ms)
        if row is not None:
            taken.append((row, _known(tx, row)))
    return taken


def complete(
    ctx: Context, id: int, worker: str, outcome: Outcome, numbered: Callable[[str, int], str]
) -> Row | None:
    """Write the object and end the import. Raises what forbids it: a lock, a conflict, a quota."""
    row = _own(ctx, id, worker)
    if row is None:
        return None
    path = _path(row, outcome.name)
    slot = _slot(ctx, row, path, numbered)
    live = slot.live
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
        known = _known(ctx.tx, row)
        if live is None or known is None or known["path"] != slot.path:
            raise FastioError(
                "unavailable", f"{slot.path} was changed while its source said it was unchanged."
            )
    if live is not None and (content is None or _is(live, content, outcome.media_type)):
        version, etag, media_type, unchanged = live["version"], live["etag"], live["media_type"], 1
        ctx.emit("import.unchanged", slot.path, version, {**data, "etag": etag})
    else:
        assert content is not None
        etag, media_type, unchanged = content.etag, outcome.media_type, 0
        version = ctx.put(
            slot, change="import", kind="file", content=content, media_type=media_type, data=data
        )["version"]
    return ctx.tx.imports.finish(
        ctx.workspace_id,
        id,
        path=slot.path,
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
    id: int,
    worker: str,
    error: FastioError,
    *,
    again_in_ms: int | None,
    failures: int,
    progress: dict[str, Any],
    outcome: Outcome | None,
) -> Row | None:
    """Note why it failed; queue it again in a while, from ``progress`` on, or end it.

    With an ``outcome`` only its commit has failed: it is kept, so that another run commits it.
    """
    row = _own(ctx, id, worker)
    if row is None:
        return None
    if again_in_ms is None:
        ctx.emit("import.fail", row["path"], data={"import": id, "reason": error.message})
    return ctx.tx.imports.set_back(
        ctx.workspace_id,
        id,
        state="queued" if again_in_ms is not None else "failed",
        due_at=None if again_in_ms is None else ctx.now_ms + again_in_ms,
        failures=failures,
        reason_code=error.code,
        reason=error.message,
        hint=error.hint.replace("retry ID", f"retry {id}"),
        headers=row["headers"] if again_in_ms is not None else without_values(row["headers"]),
        fetched=_as_text(outcome, ctx.now_ms) if outcome is not None else None,
        now_ms=ctx.now_ms,
        **progress,
    )


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


def refuse_forgotten(row: Row) -> None:
    """Raise ``invalid`` if an import would need headers that are no longer known."""
    forgotten = [k for k, v in json.loads(row["headers"] or "{}").items() if v is None]
    if forgotten:
        raise FastioError(
            "invalid",
            f"Import {row['id']} forgot its headers ({', '.join(forgotten)}) when it ended.",
            f"Give them again: fastio import retry {row['id']} --header-file FILE",
        )


def without_values(headers: str | None) -> str | None:
    """The headers of an import that is over: which there were, and no longer what they said."""
    return None if headers is None else json.dumps(dict.fromkeys(json.loads(headers)))


def checking(id: int, worker: str) -> Callable[[Context], None]:
    """Fails before the transfer where it is plain that its end would fail."""

    def check(ctx: Context) -> None:
        row = _own(ctx, id, worker)
        if row is not None:
            _slot(ctx, row, row["target"], lambda path, number: f"{path}.{number}")

    return check


def letting_go(id: int, worker: str) -> Callable[[Context], None]:
    """Gives an import back to the queue, due at once."""

    def let_go(ctx: Context) -> None:
        row = _own(ctx, id, worker)
        if row is not None:
            ctx.tx.imports.queue(
                ctx.workspace_id,
                id,
                failures=row["failures"],
                lock_hash=row["lock_hash"],
                headers=row["headers"],
                now_ms=ctx.now_ms,
            )

    return let_go


def is_exact(row: Row) -> bool:
    """Whether an import's path is known before its file's name is."""
    return bool(row["target"]) and not row["target"].endswith("/")


def _own(ctx: Context, id: int, worker: str) -> Row | None:
    row = ctx.tx.imports.get(ctx.workspace_id, id)
    mine = row is not None and row["state"] == "running" and row["worker"] == worker
    return row if mine else None


def _is(live: Row, content: Content, media_type: str) -> bool:
    return bool(live["etag"] == content.etag and live["media_type"] == media_type)


def _path(row: Row, name: str) -> str:
    target: str = row["target"]
    if is_exact(row):
        return target
    return str(PATH_RULE.check(target + name, "path"))


def _slot(ctx: Context, row: Row, path: str, numbered: Callable[[str, int], str]) -> Slot:
    """The place to write to, by the import's way with conflicts, if it may be written."""
    slot = Slot(path, ctx.tx.unit.head(ctx.workspace_id, path))
    if slot.live is not None and row["on_conflict"] == "rename":
        slot = _free(ctx, path, numbered)
    ctx.check_lock_hash(slot.path, row["lock_hash"])
    if slot.live is None:
        return slot
    if row["on_conflict"] == "fail":
        raise FastioError(
            "already_exists",
            f"{slot.path} exists already (version {slot.live['version']}).",
            "Choose another path with --to, or use --on-conflict version or rename.",
            path=slot.path,
        )
    if slot.live["kind"] != "file":
        raise FastioError(
            "invalid",
            f"{slot.path} is a state object; a file cannot be imported onto it.",
            "Choose another path with --to.",
        )
    return slot


def _free(ctx: Context, path: str, numbered: Callable[[str, int], str]) -> Slot:
    for number in range(2, NUMBERED_MAX):
        slot = Slot(
            numbered(path, number), ctx.tx.unit.head(ctx.workspace_id, numbered(path, number))
        )
        if slot.live is None:
            return slot
    raise FastioError(
        "already_exists", f"{path} and {NUMBERED_MAX} numbered names beside it are taken."
    )


def _known(tx: Tx, row: Row) -> Row | None:
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
