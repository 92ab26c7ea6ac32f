"""One attempt to fetch one file over HTTP into the blob store, in constant memory.

An attempt resumes where an earlier one stopped, if the server can prove that it still has the same
bytes (``Range`` with ``If-Range``, RFC 9110 13.1.5). It does not sleep or retry: that is the
caller's decision.
"""

from __future__ import annotations

import re

from fastio_cli.egress.client import as_fastio_errors
from fastio_cli.egress.rules import redact_url
from fastio_cli.imports import naming
from fastio_cli.imports.decode import decoded
from fastio_cli.imports.responses import (
    declared_type,
    refuse_login,
    refuse_page,
    sender,
    status_error,
)
from fastio_cli.imports.transfer import (
    HEAD_BYTES,
    Fetched,
    Transfer,
    TransferLimits,
    Validators,
    check_sum,
    interrupted,
    receive,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from fastio_cli.blobs.content import Content
    from fastio_cli.blobs.staging import StagedBlob
    from fastio_cli.egress.client import Egress
    from fastio_cli.imports.source import Source


def fetch(
    egress: Egress,
    source: Source,
    staged: StagedBlob,
    transfer: Transfer,
    limits: TransferLimits,
    *,
    known: Validators | None = None,
    sha256: str | None = None,
) -> Fetched:
    """Fetch ``source``, appending to ``staged``.

    ``known`` makes the request conditional; ``sha256`` is the checksum the bytes must have. Raises
    :class:`FastioError`: ask :func:`is_transient` whether to retry. ``staged`` keeps its bytes, for
    the caller to resume from or to discard.
    """
    if staged.size_bytes and transfer.validators.strong is None:
        staged.restart()
    headers = dict(source.headers)
    if staged.size_bytes:
        headers["Range"] = f"bytes={staged.size_bytes}-"
        headers["If-Range"] = transfer.validators.strong or ""
    elif known is not None:
        headers |= known.conditions()
    request = {"method": source.method, "headers": headers, "secrets": source.secrets}
    with egress.stream(source.url, **request) as response:  # type: ignore[arg-type]
        if response.status_code == 304 and known is not None:
            return _fetched(source, response, None, known)
        whole = _check_status(source, response, staged)
        transfer.validators = _validators(response) or transfer.validators
        if not whole:
            refuse_page(source, response)
            _receive(response, staged, transfer, limits)
    head = staged.head(HEAD_BYTES)
    refuse_login(source, response, head)
    check_sum(staged, transfer, sha256)
    return _fetched(source, response, staged.finish(), transfer.validators, head)


def _check_status(source: Source, response: httpx.Response, staged: StagedBlob) -> bool:
    """Raise unless a body follows; True if the staged blob is complete already."""
    status = response.status_code
    is_range = staged.size_bytes > 0
    if status == 206 and is_range:
        start, _ = _content_range(response)
        if start == staged.size_bytes:
            return False
        staged.restart()
        raise interrupted(f"{sender(response)} sent another part than the one asked for.")
    if status == 416 and is_range:
        if _content_range(response)[1] == staged.size_bytes:
            return True
        staged.restart()
        raise interrupted(f"{sender(response)} has other bytes than before.")
    if status == 200:
        if is_range:
            staged.restart()
        return False
    raise status_error(source, response)


def _receive(
    response: httpx.Response, staged: StagedBlob, transfer: Transfer, limits: TransferLimits
) -> None:
    coding = response.headers.get("content-encoding", "")
    # Chunks as they arrive: chunks of a fixed size would wait for more bytes.
    chunks = _read(response)
    receive(
        decoded(chunks, coding) if coding else chunks,
        staged,
        transfer,
        limits,
        expected=None if coding else _whole_size(response, staged.size_bytes),
        resumable=not coding and transfer.validators.strong is not None,
        at=sender(response),
    )


def _read(response: httpx.Response) -> Iterator[bytes]:
    with as_fastio_errors(str(response.url)):
        yield from response.iter_raw()


def _fetched(
    source: Source,
    response: httpx.Response,
    content: Content | None,
    validators: Validators,
    head: bytes = b"",
) -> Fetched:
    media_type = declared_type(response)
    disposition = response.headers.get("content-disposition")
    return Fetched(
        content,
        name=naming.clean(source.name or "")
        or naming.file_name(disposition, response.url.path, media_type),
        media_type=media_type,
        final_url=redact_url(response.url),
        validators=validators,
        head=head,
    )


def _validators(response: httpx.Response) -> Validators | None:
    etag, modified = _ascii(response, "etag"), _ascii(response, "last-modified")
    return Validators(etag, modified) if etag or modified or response.status_code == 200 else None


def _ascii(response: httpx.Response, name: str) -> str | None:
    """A header, if it can be sent back unchanged."""
    value: str | None = response.headers.get(name)
    return value if value and value.isascii() and value.isprintable() else None


def _whole_size(response: httpx.Response, offset: int) -> int | None:
    """The size of the whole file, if the response states it."""
    if response.status_code == 206:
        total = _content_range(response)[1]
        if total is not None:
            return total
    length = response.headers.get("content-length", "")
    return offset + int(length) if length.isdecimal() else None


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Start and total of ``Content-Range``."""
    text = response.headers.get("content-range", "")
    found = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)", text)
    if found is None:
        return None, None
    start, total = found.groups()
    return (int(start) if start else None), (int(total) if total != "*" else None)
