"""Files: bytes at a path, written whole or appended to, read whole or in part."""

from fastio_cli.blobs.content import Content, inline
from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import operation
from fastio_cli.operations.types import Line, ObjectPath, OwnLine, Size, Token, Upload, Version

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastio_cli import model
    from fastio_cli.blobs.local import BlobStore
    from fastio_cli.operations.context import Context, WriteTarget
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

    Read = Callable[[Callable[[Tx], list[Row]]], list[Row]]

BASE = "/v1/workspaces/{workspace}/files"
SEGMENTS_PER_READ = 256
NEWLINE = inline(b"\n")


class Download:
    """The answer of ``file.get``: the object, the range asked for, and where the bytes are."""

    def __init__(
        self, record: "model.Version", content: Content, workspace_id: int, start: int, end: int
    ) -> None:
        self.record = record
        self.content = content
        self.workspace_id = workspace_id
        self.start = start
        self.end = end

    def chunks(self, read: "Read", blobs: "BlobStore") -> "Iterator[bytes]":
        """The bytes, in constant memory.

        ``read`` runs a function on a snapshot (``Store.read``). Contents never change, so that no
        transaction needs to be held from one chunk to the next.
        """
        if self.content.chain is None:
            yield from _slice(self.content, blobs, self.start, self.end)
            return
        position = self.start
        while position < self.end:
            segments = read(self._segments_from(position))
            if not segments:
                raise FastioError("internal", f"Segments of {self.record['path']} are missing.")
            for row in segments:
                offset = row["start"]
                piece = Content("", row["size_bytes"], row["body"], row["blob"])
                stop = min(self.end - offset, row["size_bytes"])
                yield from _slice(piece, blobs, position - offset, stop)
                position = offset + stop

    def _segments_from(self, position: int) -> "Callable[[Tx], list[Row]]":
        chain = self.content.chain or 0
        return lambda tx: tx.objects.segments(
            self.workspace_id, chain, position, self.end, SEGMENTS_PER_READ
        )


@operation("file.get", f"GET {BASE}/{{path:path}}", effect="read", role="viewer", response="bytes")
def get(
    ctx: "Context",
    *,
    path: ObjectPath,
    version: Version | None = None,
    offset: Size = 0,
    length: Size | None = None,
) -> Download:
    """Read the bytes of an object, whole or a range of them."""
    row = ctx.content(path, version)
    if row["deleted"]:
        raise FastioError(
            "not_found",
            f"Version {version} of {path} is a deletion.",
            f"See its history: fastio file history {path}",
            path=path,
        )
    return download(ctx, row, offset, length)


def _admit_put(
    ctx: "Context",
    size_bytes: int,
    *,
    path: str,
    if_version: int | None,
    lock_token: str | None,
    **others: object,
) -> None:
    _refuse_state(ctx.begin_change(path, lock_token, if_version))
    _check_size(ctx, path, size_bytes)
    ctx.account(max(1, size_bytes))


def _admit_append(
    ctx: "Context",
    size_bytes: int,
    *,
    path: str,
    if_version: int | None,
    lock_token: str | None,
    **others: object,
) -> None:
    target = ctx.begin_change(path, lock_token, if_version)
    _refuse_state(target)
    if target.live is not None:
        _check_size(ctx, path, target.live["size_bytes"] + size_bytes)
    ctx.account(max(1, size_bytes))


@operation(
    "file.put",
    f"PUT {BASE}/{{path:path}}",
    effect="write",
    role="editor",
    inline=True,
    admit=_admit_put,
)
def put(
    ctx: "Context",
    *,
    path: ObjectPath,
    content: Upload,
    media_type: Line | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Write a file.

    ``media_type`` defaults to what the name says.
    """
    target = ctx.begin_change(path, lock_token, if_version)
    _refuse_state(target)
    return ctx.write_version(
        target,
        change="put",
        kind="file",
        content=content,
        media_type=media_type or guess_media_type(path),
    )


@operation(
    "file.append",
    f"POST {BASE}-append/{{path:path}}",
    effect="write",
    role="editor",
    inline=True,
    commutative=True,
    admit=_admit_append,
)
def append(
    ctx: "Context",
    *,
    path: ObjectPath,
    content: Upload,
    own_line: OwnLine | None = None,
    if_version: Version | None = None,
    lock_token: Token | None = None,
) -> "model.Object":
    """Append bytes to a file, at the price of what is appended; creates it if need be.

    ``own_line`` puts a newline before them where the file does not end in one. The etag of an
    appended file is SHA-256 over its former etag and the hash of what was added.
    """
    target = ctx.begin_change(path, lock_token, if_version)
    _refuse_state(target)
    if target.live is None:
        return ctx.write_version(
            target,
            change="append",
            kind="file",
            content=content,
            media_type=guess_media_type(path),
        )
    old = ctx.content(path, target.live["version"])
    added = [content]
    if own_line and content.size_bytes and _ends_within_a_line(ctx, old):
        added.insert(0, NEWLINE)
    size = old["size_bytes"] + sum(piece.size_bytes for piece in added)
    _check_size(ctx, path, size)
    etag, end = old["etag"], old["size_bytes"]
    chain = _own_chain(ctx, old)
    for piece in added:
        etag = sha256(f"{etag}{piece.etag}".encode()).hexdigest()
        if piece.size_bytes:
            ctx.tx.objects.add_segment(ctx.workspace_id, chain, end, piece)
        end += piece.size_bytes
    return ctx.write_version(
        target,
        change="append",
        kind="file",
        content=Content(etag, size, chain=chain),
        media_type=old["media_type"],
        added_bytes=size - old["size_bytes"],
    )


def download(ctx: "Context", row: "Row", offset: int = 0, length: int | None = None) -> Download:
    """A version's bytes from ``offset``, at most ``length``; short at the end like a file read."""
    from fastio_cli.operations.records import version_record

    size = row["size_bytes"]
    start = min(offset, size)
    end = size if length is None else min(size, start + length)
    content = Content(row["etag"], size, row["body"], row["blob"], row["chain"])
    return Download(version_record(row), content, ctx.workspace_id, start, end)


def read_all(ctx: "Context", row: "Row") -> bytes:
    """A whole version in memory; for callers that have bounded its size."""
    return b"".join(download(ctx, row).chunks(lambda work: work(ctx.tx), ctx.blobs))


def guess_media_type(path: str) -> str:
    """The media type that a name suggests, without reading the machine's tables."""
    _, dot, extension = path.rpartition("/")[2].lower().rpartition(".")
    return _MEDIA_TYPES.get(dot and extension, "application/octet-stream")


_MEDIA_TYPES = {
    "csv": "text/csv",
    "css": "text/css",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "gif": "image/gif",
    "gz": "application/gzip",
    "htm": "text/html",
    "html": "text/html",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "js": "text/javascript",
    "json": "application/json",
    "jsonl": "application/jsonl",
    "log": "text/plain",
    "md": "text/markdown",
    "ndjson": "application/jsonl",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "py": "text/x-python",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "toml": "application/toml",
    "tsv": "text/tab-separated-values",
    "txt": "text/plain",
    "webp": "image/webp",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xml": "application/xml",
    "yaml": "application/yaml",
    "yml": "application/yaml",
    "zip": "application/zip",
}


def _ends_within_a_line(ctx: "Context", row: "Row") -> bool:
    """Whether a version has bytes, and the last is no newline."""
    end = download(ctx, row, max(0, row["size_bytes"] - 1))
    return b"".join(end.chunks(lambda work: work(ctx.tx), ctx.blobs)) not in (b"", b"\n")


def _own_chain(ctx: "Context", old: "Row") -> int:
    """A chain that ends where the file ends: its own, or a new one that begins with its bytes."""
    objects, workspace = ctx.tx.objects, ctx.workspace_id
    new_chain = ctx.next_chain()
    if old["chain"] is None:
        if old["size_bytes"]:
            first = Content(old["etag"], old["size_bytes"], old["body"], old["blob"])
            objects.add_segment(workspace, new_chain, 0, first)
        return new_chain
    chain: int = old["chain"]
    if objects.chain_end(workspace, chain) == old["size_bytes"]:
        return chain
    # A copy or an older version was appended to before: leave that chain to it.
    objects.fork_chain(workspace, chain, new_chain, old["size_bytes"])
    return new_chain


def _check_size(ctx: "Context", path: str, size_bytes: int) -> None:
    if size_bytes > ctx.limits.file_bytes_max:
        raise FastioError(
            "too_large",
            f"{path} would have {size_bytes:,} bytes; the limit is {ctx.limits.file_bytes_max:,}.",
            "Begin a new file, or raise the limit: fastio config set file_bytes_max BYTES",
        )


def _refuse_state(target: "WriteTarget") -> None:
    if target.live is not None and target.live["kind"] != "file":
        raise FastioError(
            "invalid",
            f"{target.path} is a state object; it cannot become a file.",
            f"Change it with fastio state, or delete it first: fastio state delete {target.path}",
            path=target.path,
        )


def _slice(content: Content, blobs: "BlobStore", start: int, end: int) -> "Iterator[bytes]":
    if content.body is not None:
        yield content.body[start:end]
    elif content.blob is not None:
        yield from blobs.read(content.blob, start, end)
