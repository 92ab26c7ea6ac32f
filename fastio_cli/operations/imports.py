"""Imports: files that the store fetches from URLs, asked for, watched, cancelled, tried again."""

import json

from fastio_cli.errors import FastioError
from fastio_cli.operations import lock_tokens
from fastio_cli.operations.operation import UNPREPARED, Pending, Unprepared, operation
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
    from collections.abc import Callable

    from fastio_cli import model
    from fastio_cli.config.secret_box import SecretBox
    from fastio_cli.operations.context import Context, Preparation
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
ROLE = "editor"  # what a member needs to import, also when it is done
# Of the URLs and headers that one call brings, each of which is kept with every import.
REQUEST_BYTES_MAX = 1024 * 1024
ROW_BYTES = 1024  # that an import is counted with besides: its row and its events


def _open_secret_box(preparation: "Preparation", **params: object) -> "SecretBox":
    return preparation.open_secret_box()  # its file may have to be made


@operation("import.create", f"POST {BASE}", effect="write", role=ROLE, prepare=_open_secret_box)
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
) -> "model.ImportList | Unprepared":
    """Fetch files from URLs into the workspace.

    ``to`` is a folder if it is empty or ends with ``/``, and the files are named by ``name``, by
    their servers or by their URLs; else it is the path. ``headers`` go to the URL's own host only,
    are sealed until then with a key that is not in the store, and forgotten when the import has
    ended. ``on_conflict`` says what to do where something
    stands: write the next version, choose a numbered name, or fail.
    """
    _check_target(to, name, sha256, urls)
    _check_headers(headers or {})
    for url in urls:
        _refuse_credentials(url)
    _check_size(urls, headers or {})
    if headers and ctx.prepared is None:
        return UNPREPARED
    rows = []
    for url in urls:
        id = ctx.emit("import.queue", data={"url": url, "to": to})
        _queue_job(ctx, id)
        sealed = _sealed(ctx, id, url, headers)
        counted_bytes = _counted_bytes(url, sealed)
        ctx.account(counted_bytes)
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
                headers=_names(headers),
                sealed_headers=sealed,
                actor=ctx.actor,
                member=ctx.member,
                counted_bytes=counted_bytes,
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
    return _cancel(ctx, id)


def cancel_for(ctx: "Context", id: int, error: FastioError) -> None:
    """Stop an import, unless it has ended, because of what was taken from its member."""
    row = ctx.tx.imports.get(ctx.workspace_id, id)
    if row is not None and row["state"] not in OVER:
        _cancel(ctx, id, error)


def _cancel(ctx: "Context", id: int, error: FastioError | None = None) -> "model.Import":
    row = _get(ctx, id)
    if row["state"] in OVER:
        raise FastioError(
            "invalid",
            f"Import {id} has ended already: it is {row['state']}.",
            f"See it: fastio import show {id}",
        )
    data = {"import": id} if error is None else {"import": id, "reason": error.message}
    ctx.emit("import.cancel", row["path"], data=data)
    ctx.tx.jobs.cancel(ctx.workspace_id, job_id(id), ctx.now_ms, error)
    ctx.account(-row["kept_bytes"])
    headers = without_values(row["headers"])
    return import_record(ctx.tx.imports.cancel(ctx.workspace_id, id, headers, ctx.now_ms, error))


@operation(
    "import.retry",
    f"POST {BASE}/{{id}}/retry",
    effect="write",
    role=ROLE,
    prepare=_open_secret_box,
)
def retry(
    ctx: "Context", *, id: Seq, headers: Headers | None = None, lock_token: Token | None = None
) -> "model.Import | Unprepared":
    """Try a failed or cancelled import again.

    A failed one goes on where it stopped if that is possible, and one that had everything but could
    not be written is only written; a queued one that waits for its next attempt is tried at once.
    One that ended has forgotten its headers, and needs them again to fetch. Whoever tries it again
    is who asks for it from then on: it begins anew if that is somebody else, with their logins,
    headers and lock.
    """
    _check_headers(headers or {})
    row = _get(ctx, id)
    if row["state"] in ("done", "running"):
        raise FastioError(
            "invalid",
            f"Import {id} is {row['state']}.",
            f"Import the URL anew instead: fastio import {row['url']}",
        )
    is_own = row["actor"] == ctx.actor
    if headers is None and not is_own:
        _refuse_anothers_headers(row)
    elif headers is None and row["fetched"] is None:
        refuse_forgotten(row)
    if headers and ctx.prepared is None:
        return UNPREPARED
    sealed, names = row["sealed_headers"], row["headers"]
    if headers is not None:
        sealed, names = _sealed(ctx, id, row["url"], headers), _names(headers)
    ctx.emit("import.retry", row["path"], data={"import": id})
    _queue_job(ctx, id)
    counted_bytes = max(row["counted_bytes"], _counted_bytes(row["url"], sealed))
    ctx.account(counted_bytes - row["counted_bytes"] - (0 if is_own else row["kept_bytes"]))
    own_hash = row["lock_hash"] if is_own else None
    return import_record(
        ctx.tx.imports.queue(
            ctx.workspace_id,
            id,
            lock_hash=lock_tokens.proof(lock_token) if lock_token else own_hash,
            headers=names,
            sealed_headers=sealed,
            actor=ctx.actor,
            member=ctx.member,
            counted_bytes=counted_bytes,
            now_ms=ctx.now_ms,
        )
    )


def job_id(id: int) -> str:
    """The id of the job that works on an import."""
    return f"{JOB_KIND}-{id}"


def refuse_forgotten(row: "Row") -> None:
    """Raise ``invalid`` if an import would need headers that are no longer known."""
    named = json.loads(row["headers"] or "{}")
    forgotten = [name for name, text in named.items() if text is None]
    if forgotten and row["sealed_headers"] is None:
        raise FastioError(
            "invalid",
            f"Import {row['id']} forgot its headers ({', '.join(forgotten)}) when it ended.",
            f"Give them again: fastio import retry {row['id']} --header-file FILE",
        )


def without_values(headers: str | None) -> str | None:
    """The headers of an import that is over: which there were, and no longer what they said."""
    return None if headers is None else json.dumps(dict.fromkeys(json.loads(headers)))


def headers_of(row: "Row", org: str, open_secret_box: "Callable[[], SecretBox]") -> dict[str, str]:
    """The headers that an import is to be fetched with.

    Raises ``unauthenticated`` when they were sealed with another key.
    """
    if row["sealed_headers"] is None:
        named = json.loads(row["headers"] or "{}")
        return {name: text for name, text in named.items() if text is not None}
    owner = _owner(org, row["actor"], row["id"], row["url"])
    headers: dict[str, str] = json.loads(open_secret_box().decrypt(row["sealed_headers"], owner))
    return headers


def _sealed(ctx: "Context", id: int, url: str, headers: dict[str, str] | None) -> str | None:
    if not headers:
        return None
    owner = _owner(ctx.workspace_org, ctx.actor, id, url)
    sealed: str = ctx.prepared.encrypt(json.dumps(headers), owner)
    return sealed


def _owner(org: str, actor: str, id: int, url: str) -> list[str]:
    """What sealed headers belong to: moved to another import they say nothing."""
    return ["import", org, actor, str(id), url]


def _names(headers: dict[str, str] | None) -> str | None:
    return json.dumps(dict.fromkeys(headers)) if headers else None


def _counted_bytes(url: str, sealed: str | None) -> int:
    """What an import takes: its URL stands in its row and in the log, for good."""
    return ROW_BYTES + 2 * len(url) + len(sealed or "")


def _check_size(urls: list[str], headers: dict[str, str]) -> None:
    each = sum(len(name) + len(text) for name, text in headers.items())
    size = sum(len(url) + each for url in urls)
    if size > REQUEST_BYTES_MAX:
        raise FastioError(
            "too_large",
            f"The URLs, each with its headers, have {size:,} bytes; the limit is "
            f"{REQUEST_BYTES_MAX:,}.",
            "Import them in several calls, with fewer URLs each.",
            limit_bytes=REQUEST_BYTES_MAX,
        )


def _refuse_anothers_headers(row: "Row") -> None:
    names = ", ".join(json.loads(row["headers"] or "{}"))
    if names:
        raise FastioError(
            "invalid",
            f"Import {row['id']} has headers of {row['actor']} ({names}), which are theirs alone.",
            f"Give your own: fastio import retry {row['id']} --header-file FILE",
        )


def _queue_job(ctx: "Context", id: int) -> None:
    ctx.tx.jobs.queue(
        ctx.workspace_id,
        job_id(id),
        kind=JOB_KIND,
        actor=ctx.actor,
        member=ctx.member,
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
