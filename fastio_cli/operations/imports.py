"""Imports: files that the store fetches from URLs, asked for, watched, cancelled, tried again."""

import json

from fastio_cli.errors import FastioError
from fastio_cli.operations import lock_tokens
from fastio_cli.operations.operation import Pending, operation
from fastio_cli.operations.records import import_record
from fastio_cli.operations.types import (
    PATH_RULE,
    Cursor,
    Headers,
    ImportState,
    Limit,
    Line,
    ObjectPath,
    OnConflict,
    Prefix,
    Seq,
    Sha256,
    Size,
    Token,
    Urls,
    Wait,
    number_before,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}/imports"
# What says where a request goes and how its answer is framed.
_OURS = {
    "accept-encoding",
    "connection",
    "content-length",
    "expect",
    "host",
    "if-match",
    "if-none-match",
    "if-range",
    "proxy-authorization",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
OVER = ("done", "failed", "cancelled")
JOB_KIND = "import"


@operation("import.create", f"POST {BASE}", effect="write", role="editor")
def create(
    ctx: "Context",
    *,
    urls: Urls,
    to: Prefix = "",
    name: Line | None = None,
    sha256: Sha256 | None = None,
    headers: Headers | None = None,
    on_conflict: OnConflict = "version",
    size_bytes_max: Size | None = None,
    lock_token: Token | None = None,
) -> "model.ImportList":
    """Fetch files from URLs into the workspace.

    ``to`` is a folder if it is empty or ends with ``/``, and the files are named by ``name``, by
    their servers or by their URLs; else it is the path. ``headers`` go to the URL's own host only,
    and are forgotten when the import has ended. ``on_conflict`` says what to do where something
    stands: write the next version, choose a numbered name, or fail.
    """
    _check_target(to, name, sha256, urls)
    _check_headers(headers or {})
    for url in urls:
        _refuse_credentials(url)
    rows = []
    for url in urls:
        id = ctx.emit("import.queue", data={"url": url, "to": to})
        _queue_job(ctx, id, ctx.actor)
        rows.append(
            ctx.tx.imports.add(
                ctx.workspace_id,
                id,
                url=url,
                target=to,
                name=name,
                on_conflict=on_conflict,
                sha256=sha256,
                size_bytes_max=size_bytes_max,
                lock_hash=lock_tokens.proof(lock_token) if lock_token else None,
                headers=json.dumps(headers) if headers else None,
                actor=ctx.actor,
                now_ms=ctx.now_ms,
            )
        )
    return {"items": [import_record(row) for row in rows], "next_cursor": None}


@operation("import.list", f"GET {BASE}", effect="read", role="viewer")
def list_(
    ctx: "Context",
    *,
    state: ImportState | None = None,
    path: ObjectPath | None = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> "model.ImportList":
    """List imports, newest first; with a path, where its contents came from."""
    rows = ctx.tx.imports.page(ctx.workspace_id, number_before(cursor), state, path, limit + 1)
    return {
        "items": [import_record(row) for row in rows[:limit]],
        "next_cursor": str(rows[limit - 1]["id"]) if len(rows) > limit else None,
    }


@operation("import.show", f"GET {BASE}/{{id}}", effect="read", role="viewer")
def show(ctx: "Context", *, id: Seq, wait_s: Wait = 0) -> "model.Import | Pending":
    """Show one import, waiting for its end if asked to."""
    row = _get(ctx, id)
    record = import_record(row)
    if wait_s > 0 and row["state"] not in OVER:

        def concerns(event: "Row") -> bool:
            is_elsewhere = event["path"] is not None and f'"import":{id}' not in event["data"]
            return not is_elsewhere

        return Pending(wait_s, record, concerns=concerns)
    return record


@operation("import.cancel", f"POST {BASE}/{{id}}/cancel", effect="write", role="editor")
def cancel(ctx: "Context", *, id: Seq) -> "model.Import":
    """Stop an import that has not ended; nothing of it is kept."""
    row = _get(ctx, id)
    if row["state"] in OVER:
        raise FastioError(
            "invalid",
            f"Import {id} has ended already: it is {row['state']}.",
            f"See it: fastio import show {id}",
        )
    ctx.emit("import.cancel", row["path"], data={"import": id})
    ctx.tx.jobs.cancel(ctx.workspace_id, job_id(id), ctx.now_ms)
    headers = without_values(row["headers"])
    return import_record(ctx.tx.imports.cancel(ctx.workspace_id, id, headers, ctx.now_ms))


@operation("import.retry", f"POST {BASE}/{{id}}/retry", effect="write", role="editor")
def retry(
    ctx: "Context", *, id: Seq, headers: Headers | None = None, lock_token: Token | None = None
) -> "model.Import":
    """Try a failed or cancelled import again.

    A failed one goes on where it stopped if that is possible, and one that had everything but could
    not be written is only written; a queued one that waits for its next attempt is tried at once.
    One that ended has forgotten its headers, and needs them again to fetch.
    """
    _check_headers(headers or {})
    row = _get(ctx, id)
    if row["state"] in ("done", "running"):
        raise FastioError(
            "invalid",
            f"Import {id} is {row['state']}.",
            f"Import the URL anew instead: fastio import {row['url']}",
        )
    if headers is None and row["fetched"] is None:
        refuse_forgotten(row)
    ctx.emit("import.retry", row["path"], data={"import": id})
    _queue_job(ctx, id, row["actor"])
    return import_record(
        ctx.tx.imports.queue(
            ctx.workspace_id,
            id,
            lock_hash=lock_tokens.proof(lock_token) if lock_token else row["lock_hash"],
            headers=row["headers"] if headers is None else json.dumps(headers),
            now_ms=ctx.now_ms,
        )
    )


def job_id(id: int) -> str:
    """The id of the job that works on an import."""
    return f"{JOB_KIND}-{id}"


def refuse_forgotten(row: "Row") -> None:
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


def _queue_job(ctx: "Context", id: int, actor: str) -> None:
    ctx.tx.jobs.queue(
        ctx.workspace_id,
        job_id(id),
        kind=JOB_KIND,
        actor=actor,
        payload=json.dumps({"import": id}),
        due_at=ctx.now_ms,
        now_ms=ctx.now_ms,
    )


def _get(ctx: "Context", id: int) -> "Row":
    row = ctx.tx.imports.get(ctx.workspace_id, id)
    if row is None:
        raise FastioError(
            "not_found",
            f"There is no import {id} in workspace {ctx.workspace_name}.",
            "See which there are: fastio import list",
        )
    return row


def _check_headers(headers: dict[str, str]) -> None:
    for name, value in headers.items():
        token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
        if not token or not value.isascii() or not value.isprintable():
            raise FastioError(
                "invalid", "A header is a name of letters and digits, and ASCII text."
            )
        if name.lower() in _OURS:
            raise FastioError("invalid", f"The header {name} is not yours to set.")


def _refuse_credentials(url: str) -> None:
    """Before it is written into a log that keeps it for ever."""
    if "@" in url.partition("://")[2].partition("/")[0].partition("?")[0]:
        raise FastioError(
            "blocked_url",
            "The URL holds a user name or password.",
            "Pass them as a header, in a file: --header-file FILE",
        )


def _check_target(to: str, name: str | None, sha256: str | None, urls: list[str]) -> None:
    if len(urls) > 1 and (name is not None or sha256 is not None):
        raise FastioError("invalid", "A name or a checksum is for one URL alone.")
    exact = to != "" and not to.endswith("/")
    if exact and len(urls) > 1:
        raise FastioError(
            "invalid",
            f"{len(urls)} files cannot all be {to}.",
            f"End it with a slash to name a folder: --to {to}/",
        )
    if exact and name is not None:
        raise FastioError("invalid", "The path names the file already; leave the name out.")
    PATH_RULE.check(f"{to}x" if to.endswith("/") else to or "x", "to")
    if name is not None:
        PATH_RULE.check(name.replace("/", "//"), "name")
