"""One attempt to fetch one file over HTTP into the blob store, in constant memory.

An attempt resumes where an earlier one stopped, if the server can prove that it still has the same
bytes (``Range`` with ``If-Range``, RFC 9110 13.1.5); the answer is compared with what was kept.
It does not sleep or retry: that is the caller's decision.
"""

from __future__ import annotations

import re
import time

from fastio_cli.egress.client import as_fastio_errors, new_cookies
from fastio_cli.egress.rules import redact_url
from fastio_cli.imports import naming
from fastio_cli.imports.decode import coding_names, decoded, is_own_format
from fastio_cli.imports.responses import (
    declared_type,
    page_onward,
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
from fastio_cli.retry import parse_http_date

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from fastio_cli.blobs.content import Content
    from fastio_cli.blobs.staging import StagedBlob
    from fastio_cli.egress.client import Egress
    from fastio_cli.imports.source import Source


PAGES_MAX = 2  # web pages before a file that lead on to it


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
    if not _may_resume(staged, transfer):
        transfer.start_anew(staged, Validators())
    cookies = new_cookies()
    for _ in range(PAGES_MAX + 1):
        headers = dict(source.headers)
        if staged.size_bytes:
            headers["Range"] = f"bytes={staged.size_bytes}-"
            headers["If-Range"] = transfer.validators.strong or ""
        elif known is not None:
            headers |= known.conditions()
        with egress.stream(
            source.url,
            method=source.method,
            headers=headers,
            secrets=source.secrets,
            cookies=cookies,
        ) as response:
            onward = page_onward(source, response)
            if onward is None:
                return _take(source, response, staged, transfer, limits, known, sha256)
        source = onward
    raise status_error(source, response)


def _may_resume(staged: StagedBlob, transfer: Transfer) -> bool:
    """Whether there is a part to go on from, and a rest that can be asked for."""
    size_bytes = staged.size_bytes
    return size_bytes not in (0, transfer.total) and transfer.validators.strong is not None


def _take(
    source: Source,
    response: httpx.Response,
    staged: StagedBlob,
    transfer: Transfer,
    limits: TransferLimits,
    known: Validators | None,
    sha256: str | None,
) -> Fetched:
    """The file in a response."""
    if response.status_code == 304 and known is not None:
        return _fetched(source, response, None, known)
    _check_status(source, response, staged, transfer)
    refuse_page(source, response)
    _receive(source, response, staged, transfer, limits)
    head = staged.head(HEAD_BYTES)
    refuse_login(source, response, head)
    check_sum(staged, transfer, sha256)
    return _fetched(source, response, staged.finish(), transfer.validators, head)


def _check_status(
    source: Source, response: httpx.Response, staged: StagedBlob, transfer: Transfer
) -> None:
    """Raise unless a body follows that belongs after the staged bytes, which go if it is whole."""
    status = response.status_code
    if status in (206, 416) and staged.size_bytes:
        why = _why_not_the_rest(source, response, staged, transfer)
        if why is not None:
            transfer.start_anew(staged, Validators())
            raise interrupted(f"{sender(response)} {why}.")
    elif status == 200:
        transfer.start_anew(staged, _validators(response))
    else:
        raise status_error(source, response)


def _why_not_the_rest(
    source: Source, response: httpx.Response, staged: StagedBlob, transfer: Transfer
) -> str | None:
    """Why a part must not be put after the staged bytes; None if it may.

    Parts belong together only with the same strong validator (RFC 9110, 15.3.7.3). A server that
    ignores ``If-Range`` sends the rest of another state, and one that sends no validator leaves
    that open.
    """
    if response.status_code == 416:
        return "has other bytes than before"
    start, total = _content_range(response)
    if start != staged.size_bytes or _codings(source, response):
        return "sent another part than the one asked for"
    before, now = transfer.validators, _validators(response)
    is_same = now.etag == before.etag if before.etag else now.last_modified == before.last_modified
    if not is_same or (None not in (total, transfer.total) and total != transfer.total):
        return "has other bytes than before"
    return None


def _receive(
    source: Source,
    response: httpx.Response,
    staged: StagedBlob,
    transfer: Transfer,
    limits: TransferLimits,
) -> None:
    codings = _codings(source, response)
    # Chunks as they arrive: chunks of a fixed size would wait for more bytes.
    chunks = _read(response)
    receive(
        decoded(chunks, codings) if codings else chunks,
        staged,
        transfer,
        limits,
        expected=None if codings else _whole_size(response, staged.size_bytes, transfer.total),
        resumable=not codings and (staged.size_bytes > 0 or _is_resumable(response)),
        at=sender(response),
    )


def _codings(source: Source, response: httpx.Response) -> list[str]:
    """The content codings to undo: not the one that is the file's own format."""
    codings = coding_names(response.headers.get("content-encoding", ""))
    media_type = declared_type(response)
    name = _name(source, response, media_type)
    return codings[1:] if codings and is_own_format(codings[0], name, media_type) else codings


def _is_resumable(response: httpx.Response) -> bool:
    """Whether a later request can name the state that these bytes are a part of.

    A modification time does so only if it was over when the response was made: within one second
    the file may have changed twice (RFC 9110, 8.8.2.2 and 13.1.5).
    """
    validators = _validators(response)
    if validators.etag is not None or validators.last_modified is None:
        return validators.strong is not None
    modified = parse_http_date(validators.last_modified)
    made = parse_http_date(response.headers.get("date", "")) or time.time()  # RFC 9110, 6.6.1
    return modified is not None and made - modified >= 1


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
    return Fetched(
        content,
        name=_name(source, response, media_type),
        media_type=media_type,
        final_url=redact_url(response.url),
        validators=validators,
        head=head,
    )


def _name(source: Source, response: httpx.Response, media_type: str) -> str:
    disposition = response.headers.get("content-disposition")
    return naming.clean(source.name or "") or naming.file_name(
        disposition, response.url.path, media_type
    )


def _validators(response: httpx.Response) -> Validators:
    return Validators(_ascii(response, "etag"), _ascii(response, "last-modified"))


def _ascii(response: httpx.Response, name: str) -> str | None:
    """A header, if it can be sent back unchanged."""
    value: str | None = response.headers.get(name)
    return value if value and value.isascii() and value.isprintable() else None


def _whole_size(response: httpx.Response, offset: int, known: int | None) -> int | None:
    """The size of the whole file, if the response or an earlier one states it."""
    if response.status_code == 206:
        total = _content_range(response)[1]
        if total is not None:
            return total
    length = response.headers.get("content-length", "")
    return offset + int(length) if length.isdecimal() else known


def _content_range(response: httpx.Response) -> tuple[int | None, int | None]:
    """Start and total of ``Content-Range``."""
    text = response.headers.get("content-range", "")
    found = re.fullmatch(r"bytes (?:(\d{1,18})-\d{1,18}|\*)/(\d{1,18}|\*)", text)
    if found is None:
        return None, None
    start, total = found.groups()
    return (int(start) if start else None), (int(total) if total != "*" else None)
