"""Bytes up and down, in constant memory: the two things that are not plain calls.

An upload may come as the body of its request, or before it in parts that survive a cut connection:
``PATCH /v1/workspaces/{workspace}/uploads/{id}`` with ``Upload-Offset``, then the request itself
with ``Upload-Id`` and no body. ``Content-Digest`` (RFC 9530) is verified in both cases. Of parts
that come at the same time the one that is behind is refused, and told how far the upload is.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from contextlib import aclosing
from threading import Lock

from fastio_cli.blobs.content import INLINE_BYTES_MAX
from fastio_cli.errors import FastioError
from fastio_cli.server.fair_pool import FairPool
from fastio_cli.server.http import MEDIA_TYPE, etag_of, range_of
from fastio_cli.server.shares import share_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    import asyncio

    from fastio_cli.blobs.content import Content
    from fastio_cli.blobs.writer import BlobWriter
    from fastio_cli.engine.engine import Engine
    from fastio_cli.identity import Identity
    from fastio_cli.operations.files import Download
    from fastio_cli.server.request_context import RequestContext
    from fastio_cli.server.responses import Headers

TRANSFERS_MAX = 16  # threads
CLOSE_S = 1.0
UPLOAD_ID = re.compile(r"[0-9a-f]{32}")
DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


class Upload:
    """A blob writer for threads, one after the other: when a request is cancelled its last write
    may still be going on."""

    def __init__(self, writer: BlobWriter) -> None:
        self._writer = writer
        self._lock = Lock()

    def write(self, data: bytes) -> None:
        with self._lock:
            self._writer.write(data)

    def finish(self) -> Content:
        with self._lock:
            return self._writer.finish()

    def discard(self) -> None:
        with self._lock:
            self._writer.discard()


class ByteTransfers:
    """Moves bytes between connections and the blobs.

    Coroutines wait for the bytes; threads of its own, of which every org has its share, wait for
    the disk alone.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._threads = FairPool("transfer", TRANSFERS_MAX)

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        self._threads.start(loop)

    async def content(
        self, ctx: RequestContext, identity: Identity, size_bytes_max: int
    ) -> Content:
        """What a request uploads: its body, or the parts that came before.

        Raises ``quota_exceeded`` for a body that outgrows what there is room for while it comes.
        """
        ctx.refuse_encoding()
        if "upload-id" in ctx.headers:
            name = self._upload_name(ctx.headers["upload-id"], identity)
            finish = self._engine.blobs.finish_parts
            content: Content = await self._threads.run(share_of(identity), finish, name)
        else:
            content = await self._from_body(ctx, share_of(identity), size_bytes_max)
        try:
            _verify(content, ctx.headers.get("content-digest"))
        except FastioError:
            await self._threads.run(share_of(identity), self._engine.discard, content)
            await self.reopen(ctx, identity)
            raise
        return content

    async def announced_size(self, ctx: RequestContext, identity: Identity) -> int:
        """How many bytes an upload will have, as far as its request says; else 0."""
        if "upload-id" in ctx.headers:
            return await self.part_size(ctx.headers["upload-id"], identity)
        length = ctx.headers.get("content-length", "")
        return int(length) if length.isdecimal() else 0

    async def reopen(self, ctx: RequestContext, identity: Identity) -> None:
        """Let a refused upload's parts wait for another try, counted for its org."""
        if "upload-id" in ctx.headers:
            name = self._upload_name(ctx.headers["upload-id"], identity)
            reopen = self._engine.blobs.reopen_parts
            await self._threads.run(share_of(identity), reopen, name)

    async def add_part(self, ctx: RequestContext, id: str, identity: Identity) -> int:
        """One part of an upload; how many bytes there are then."""
        ctx.refuse_encoding()
        offset = ctx.headers.get("upload-offset", "")
        if not offset.isdecimal() or len(offset) > 16:
            raise FastioError("invalid", "Upload-Offset must say where the part begins.")
        name = self._upload_name(id, identity)
        run, owner, size = self._threads.run, share_of(identity), int(offset)
        size_bytes_max = await run(owner, self._part_bytes_max, identity.org, size)
        add = self._engine.blobs.add_part
        size = await run(owner, add, name, size, io.BytesIO(), size_bytes_max)
        async with aclosing(ctx.parts()) as parts:
            async for part in parts:
                size = await run(owner, add, name, size, io.BytesIO(part), size_bytes_max)
        return size

    def _part_bytes_max(self, org: str, offset: int) -> int:
        """How large an upload may become by a part. Parts count for their org's storage, which they
        are to be in."""
        limits, blobs = self._engine.limits, self._engine.blobs
        kept = self._engine.store.read(lambda tx: tx.usage.of_org(org)["size_bytes"])
        left = limits.org_bytes_max - kept - blobs.parts_size(_prefix(org))
        if left <= 0:
            raise FastioError(
                "quota_exceeded",
                "The org's storage is used up, with what is being uploaded to it.",
                "Delete what is not needed; uploads that were left end by themselves in a day.",
                limit_bytes=limits.org_bytes_max,
            )
        return int(min(limits.file_bytes_max, offset + left))

    async def part_size(self, id: str, identity: Identity) -> int:
        name = self._upload_name(id, identity)
        size: int = await self._threads.run(share_of(identity), self._engine.blobs.part_size, name)
        return size

    async def send(self, ctx: RequestContext, download: Download, owner: str) -> None:
        """Send what ``file.get`` answered with."""
        status, headers = _describe(download, range_of(ctx))
        if ctx.method == "HEAD":
            await ctx.begin(status, headers)
            await ctx.send({"type": "http.response.body", "body": b""})
            return
        if download.content.body is not None:
            await ctx.respond(status, headers, b"".join(self._engine.chunks(download)))
            return
        length = (b"content-length", str(download.end - download.start).encode())
        await ctx.begin(status, [*headers, length])
        chunks = self._engine.chunks(download)
        while chunk := await self._threads.run(owner, next, chunks, b""):
            await ctx.send({"type": "http.response.body", "body": chunk, "more_body": True})
        await ctx.send({"type": "http.response.body", "body": b""})

    def close(self) -> bool:
        """Drop what has not begun; whether all that has is over in a moment."""
        return self._threads.close(CLOSE_S)

    async def _from_body(self, ctx: RequestContext, owner: str, size_bytes_max: int) -> Content:
        length = ctx.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= INLINE_BYTES_MAX:
            return self._engine.upload(io.BytesIO(await ctx.body(INLINE_BYTES_MAX)))
        upload = Upload(self._engine.begin_upload(size_bytes_max))
        try:
            async with aclosing(ctx.parts()) as parts:
                async for part in parts:
                    await self._threads.run(owner, upload.write, part)
            return await self._threads.run(owner, upload.finish)
        except BaseException as e:  # its client has left, too
            self._threads.run(owner, upload.discard)
            is_too_large = isinstance(e, FastioError) and e.code == "too_large"
            if is_too_large and size_bytes_max < self._engine.limits.file_bytes_max:
                raise _no_room(size_bytes_max) from None
            raise

    def _upload_name(self, id: str, identity: Identity) -> str:
        if not UPLOAD_ID.fullmatch(id):
            raise FastioError("invalid", "An upload's id is 32 hex digits.")
        own = hashlib.sha256(f"{identity.digest}:{id}".encode()).hexdigest()[:32]
        return f"{_prefix(identity.org)}{own}"


def _prefix(org: str) -> str:
    """What the names of an org's uploads begin with."""
    return f"{hashlib.sha256(org.encode()).hexdigest()[:16]}-"


def _no_room(size_bytes: int) -> FastioError:
    return FastioError(
        "quota_exceeded",
        f"There is room for {size_bytes:,} bytes, and more came.",
        "Delete what is not needed; the limits are those of fastio org usage.",
    )


def _verify(content: Content, stated: str | None) -> None:
    if stated is None:
        return
    match = DIGEST.search(stated)
    if match is None or base64.b64decode(match[1]).hex() != content.etag:
        raise FastioError(
            "invalid",
            "The bytes that arrived are not those that Content-Digest names.",
            "Send them again.",
        )


def _describe(download: Download, asked: object) -> tuple[int, Headers]:
    """Status and headers of a download."""
    record = download.record
    media_type = record["media_type"]
    if not MEDIA_TYPE.fullmatch(media_type):
        media_type = "application/octet-stream"
    headers: Headers = [
        (b"content-type", media_type.encode()),
        (b"accept-ranges", b"bytes"),
        (b"etag", (etag_of(record) or "").encode()),
        (b"fastio-record", json.dumps(record, separators=(",", ":")).encode()),
        # What somebody stored must not act as a page of this server.
        (b"content-disposition", b"attachment"),
        (b"content-security-policy", b"sandbox; default-src 'none'"),
        (b"cache-control", b"private, no-cache"),
    ]
    size = download.content.size_bytes
    if download.content.chain is None:
        digest = base64.b64encode(bytes.fromhex(record["etag"])).decode()
        headers.append((b"repr-digest", f"sha-256=:{digest}:".encode()))
    if asked is None:
        return 200, headers
    span = f"{download.start}-{download.end - 1}" if download.end > download.start else "*"
    headers.append((b"content-range", f"bytes {span}/{size}".encode()))
    return 206 if download.end > download.start else 416, headers
