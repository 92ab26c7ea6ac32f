"""Objects of either kind: look, list, history, diff, restore, delete, move, copy."""

from fastio_cli.blobs.content import Content
from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import operation
from fastio_cli.operations.paging import page_of_paths
from fastio_cli.operations.records import object_record, version_record
from fastio_cli.operations.types import (
    Boolean,
    Cursor,
    KindName,
    Limit,
    ObjectPath,
    OtherWorkspace,
    PathPattern,
    Prefix,
    Token,
    Version,
    number_before,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.operations.context import Context, WriteTarget
    from fastio_cli.storage.db import Row

BASE = "/v1/workspaces/{workspace}/objects"
SEGMENTS_PER_READ = 128


@operation("object.info", f"GET {BASE}/{{path:path}}", effect="read", role="viewer", inline=True)
def info(ctx: "Context", *, path: ObjectPath) -> "model.Object":
    """Show what is at a path: kind, version, etag, size, author and times."""
    return object_record(ctx.live(path))


@operation("object.list", f"GET {BASE}", effect="read", role="viewer")
def list_(
    ctx: "Context",
    *,
    prefix: Prefix = "",
    path: PathPattern | None = None,
    kind: KindName | None = None,
    limit: Limit = 50,
    cursor: Cursor = "",
) -> "model.ObjectList":
    """List objects by path, a page at a time.

    ``prefix`` is what the paths begin with, ``path`` a pattern: ``*`` matches anything, also ``/``,
    ``?`` one character, after a backslash both stand for themselves. With a pattern a page may be
    short or empty and yet not the last, which is the one whose ``next_cursor`` is null.
    """

    def read(prefix: str, after: str, count: int) -> "list[Row]":
        return ctx.tx.objects.page(ctx.workspace_id, prefix, after, kind, count)

    rows, next_cursor = page_of_paths(read, prefix, path, cursor, limit)
    return {"items": [object_record(row) for row in rows], "next_cursor": next_cursor}


@operation("object.history", f"GET {BASE}-history/{{path:path}}", effect="read", role="viewer")
def history(
    ctx: "Context", *, path: ObjectPath, limit: Limit = 50, cursor: Cursor = ""
) -> "model.VersionList":
    """List the versions of an object, newest first."""
    rows = ctx.tx.objects.versions(ctx.workspace_id, path, number_before(cursor), limit + 1)
    if not rows and not cursor:
        raise ctx.not_found(path, None)
    return {
        "items": [version_record(row) for row in rows[:limit]],
        "next_cursor": str(rows[limit - 1]["version"]) if len(rows) > limit else None,
    }


@operation("object.diff", f"GET {BASE}-diff/{{path:path}}", effect="read", role="viewer")
def diff(
    ctx: "Context",
    *,
    path: ObjectPath,
    from_version: Version | None = None,
    to_version: Version | None = None,
) -> "model.Diff":
    """Show what changed between two versions of an object (default: the last two).

    State objects give an RFC 6902 patch and a unified diff of their indented JSON; text files a
    unified diff. Raises ``invalid`` for files that are not UTF-8 text or are over 1 MiB.
    """
    if to_version is None:
        head = ctx.tx.objects.head(ctx.workspace_id, path)
        if head is None:
            raise ctx.not_found(path, None)
        to_version = head["version"]
    if from_version is None:
        from_version = _version_before(ctx, path, to_version)
    from fastio_cli.operations.diff import compare

    rows = [ctx.content(path, n) if n else None for n in (from_version, to_version)]
    json_patch, text = compare(ctx, *rows)
    return {
        "path": path,
        "from_version": from_version,
        "to_version": to_version,
        "json_patch": json_patch,
        "text": text,
    }


@operation(
    "object.delete", f"DELETE {BASE}/{{path:path}}", effect="write", role="editor", inline=True
)
def delete(
    ctx: "Context",
    *,
    path: ObjectPath,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Delete an object; its history stays and it can be restored."""
    target = ctx.begin_change(path, lock_token, if_version)
    if target.live is None:
        raise ctx.not_found(path, target.head)
    return ctx.write_deletion(target, "delete")


@operation("object.restore", f"POST {BASE}-restore/{{path:path}}", effect="write", role="editor")
def restore(
    ctx: "Context",
    *,
    path: ObjectPath,
    version: Version | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Bring back an earlier version of an object as its newest.

    Without ``version`` a deleted object gets back what it was before the deletion, and a live one
    its previous version.
    """
    target = ctx.begin_change(path, lock_token, if_version)
    if target.head is None:
        raise ctx.not_found(path, None)
    if version is None:
        version = _version_before(ctx, path, target.head["version"])
    row = ctx.content(path, version)
    if row["deleted"]:
        raise FastioError(
            "invalid",
            f"Version {version} of {path} is a deletion: there is nothing to bring back.",
            f"Choose another: fastio file history {path}",
            path=path,
        )
    schema = _fitting_schema(ctx, target, row, target.head["schema"])
    return _put_copy(ctx, target, row, "restore", {"from_version": version}, schema)


@operation("object.move", f"POST {BASE}-move/{{path:path}}", effect="write", role="editor")
def move(
    ctx: "Context",
    *,
    path: ObjectPath,
    to: ObjectPath,
    to_workspace: OtherWorkspace | None = None,
    overwrite: Boolean = False,
    if_version: Version | None = None,
    lock_token: Token | None = None,
    to_lock_token: Token | None = None,
) -> "model.Object":
    """Move an object to another path, of its workspace or of another, in one commit.

    The old path keeps its history and ends in a deletion; the new one begins with the content.
    Moving to another workspace needs the role editor in both.
    """
    source = ctx.begin_change(path, lock_token, if_version)
    if source.live is None:
        raise ctx.not_found(path, source.head)
    there, elsewhere = _place(ctx, path, to, to_workspace)
    target = _free_target(there, to, overwrite, to_lock_token)
    row = ctx.content(path, source.live["version"])
    schema = _fitting_schema(there, target, row, source.live["schema"])
    ctx.write_deletion(source, "delete", {"moved_to": to, **_named(there, elsewhere)})
    data = {"moved_from": path, **_named(ctx, elsewhere)}
    return _put_copy(there, target, _brought(ctx, there, row), "move", data, schema)


@operation("object.copy", f"POST {BASE}-copy/{{path:path}}", effect="write", role="viewer")
def copy(
    ctx: "Context",
    *,
    path: ObjectPath,
    to: ObjectPath,
    to_workspace: OtherWorkspace | None = None,
    overwrite: Boolean = False,
    to_lock_token: Token | None = None,
) -> "model.Object":
    """Copy an object to another path, of its workspace or of another; large bytes are shared.

    It needs the role viewer where the object is, and editor where the copy goes.
    """
    head = ctx.live(path)
    there, elsewhere = _place(ctx, path, to, to_workspace)
    if not elsewhere:
        ctx.require_here("editor")
    target = _free_target(there, to, overwrite, to_lock_token)
    row = ctx.content(path, head["version"])
    schema = _fitting_schema(there, target, row, head["schema"])
    data = {"copied_from": path, **_named(ctx, elsewhere)}
    return _put_copy(there, target, _brought(ctx, there, row), "copy", data, schema)


def _version_before(ctx: "Context", path: str, version: int) -> int:
    """The number of the kept version before another; not every number is one's."""
    rows = ctx.tx.objects.versions(ctx.workspace_id, path, version, 1)
    return rows[0]["version"] if rows else 0


def _place(ctx: "Context", path: str, to: str, to_workspace: str | None) -> "tuple[Context, bool]":
    """The context of the workspace where a copy goes, and whether that is another one."""
    elsewhere = to_workspace not in (None, ctx.workspace_name)
    if path == to and not elsewhere:
        raise FastioError("invalid", f"{path} cannot be moved or copied onto itself.")
    return (ctx.beside(str(to_workspace), "editor") if elsewhere else ctx), elsewhere


def _named(ctx: "Context", elsewhere: bool) -> "dict[str, object]":
    """The workspace's name, for an event of another one."""
    return {"workspace": ctx.workspace_name} if elsewhere else {}


def _brought(ctx: "Context", there: "Context", row: "Row") -> "Row":
    """A version's content as another workspace may have it: an appended file's parts are copied."""
    if row["chain"] is None or there is ctx:
        return row
    chain, start = there.next_chain(), 0
    while start < row["size_bytes"]:
        parts = ctx.tx.objects.segments(
            ctx.workspace_id, row["chain"], start, row["size_bytes"], SEGMENTS_PER_READ
        )
        for part in parts:
            content = Content("", part["size_bytes"], part["body"], part["blob"])
            there.tx.objects.add_segment(there.workspace_id, chain, part["start"], content)
            start = part["start"] + part["size_bytes"]
    return {**row, "chain": chain}


def _free_target(ctx: "Context", to: str, overwrite: bool, lock_token: str | None) -> "WriteTarget":
    target = ctx.begin_change(to, lock_token)
    if target.live is not None and not overwrite:
        raise FastioError(
            "already_exists",
            f"{to} exists already (version {target.live['version']}).",
            "Choose another path, or replace it with --overwrite.",
            path=to,
            current_version=target.live["version"],
        )
    return target


def _fitting_schema(
    ctx: "Context", target: "WriteTarget", row: "Row", schema: str | None
) -> str | None:
    """The schema of a content at its new path: that which it had, or that of the path.

    Raises ``schema_violation`` if it does not fit. To be called before anything is changed.
    """
    if row["kind"] != "state":
        return None
    if schema is None and target.live is not None:
        schema = target.live["schema"]
    if schema is not None:
        from fastio_cli.operations.documents import check_schema

        ctx.compute(check_schema, row["body"], schema.encode(), target.path)
    return schema


def _put_copy(
    ctx: "Context",
    target: "WriteTarget",
    row: "Row",
    change: str,
    data: "dict[str, object]",
    schema: str | None,
) -> "model.Object":
    content = Content(row["etag"], row["size_bytes"], row["body"], row["blob"], row["chain"])
    return ctx.write_version(
        target,
        change=change,
        kind=row["kind"],
        content=content,
        media_type=row["media_type"],
        schema=schema,
        data=data,
    )
