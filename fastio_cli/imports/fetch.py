"""One attempt to fetch one file into the blob store, in constant memory.

An attempt goes on where an earlier one stopped, if the server can prove that it still has the same
bytes (``Range`` with ``If-Range``, RFC 9110 13.1.5); it never sleeps and never tries again: what
failed, and whether it may pass, is in the error. Who calls decides (``jobs/worker.py``).
"""

from __future__ import annotations

import re
import time

from fastio_cli.egress.client import shown, translated
from fastio_cli.errors import FastioError
from fastio_cli.imports import naming
from fastio_cli.imports.decode import decoded
from fastio_cli.retry import parse_retry_after

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from fastio_cli.blobs.local import Content, StagedBlob
    from fastio_cli.egress.client import Egress

SYNC_EVERY_S = 1.0
HEAD_BYTES = 4096
SPEED_BYTES_MIN = 1024  # a second, over the time a stalled body is given


class Source:
    """What to ask for. ``headers`` go anywhere, ``secrets`` to the URL's origin alone.

    ``login`` names the service of a share link: what it answers must be the file, never a page.
    """

    def __init__(
        self,
        url: str,
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        secrets: dict[str, str] | None = None,
        name: str | None = None,
        login: str | None = None,
    ) -> None:
        self.url = url
        self.method = method
        self.headers = headers or {}
        self.secrets = secrets or {}
        self.name = name
        self.login = login


class Validators:
    """What tells one state of a resource from another (RFC 9110, 8.8)."""

    def __init__(self, etag: str | None = None, last_modified: str | None = None) -> None:
        self.etag = etag
        self.last_modified = last_modified

    @property
    def strong(self) -> str | None:
        """What may stand in ``If-Range``."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified if self.etag is None else None

    def conditions(self) -> dict[str, str]:
        """The headers that ask for the resource only if it changed."""
        pairs = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified))
        return {name: value for name, value in pairs if value is not None}


class Transfer:
    """A running transfer, as others may watch it: ``received`` and ``total`` bytes, how many are
    ``durable_bytes`` (synced, under ``validators``), and ``stop`` to end it at the next chunk."""

    def __init__(
        self, durable_bytes: int = 0, validators: Validators | None = None, total: int | None = None
    ) -> None:
        self.received = durable_bytes
        self.total = total
        self.durable_bytes = durable_bytes
        self.validators = validators or Validators()
        self.resumed = False
        self.stop = False


class TransferLimits:
    """Limits of one transfer: bytes, seconds in all, and seconds that a body may stall."""

    def __init__(self, size_bytes_max: int, total_s: float, stall_s: float) -> None:
        self.size_bytes_max = size_bytes_max
        self.total_s = total_s
        self.stall_s = stall_s


class Fetched:
    """What came: ``content`` is None when the server says it is what the caller ``known``.

    ``media_type`` is as declared, ``head`` the first bytes; ``final_url`` holds no query, as those
    often hold a signature.
    """

    def __init__(
        self,
        content: Content | None,
        *,
        name: str,
        media_type: str,
        final_url: str,
        validators: Validators,
        head: bytes = b"",
    ) -> None:
        self.content = content
        self.name = name
        self.media_type = media_type
        self.final_url = final_url
        self.validators = validators
        self.head = head


class Cancelled(Exception):
    """Somebody set ``Transfer.stop``."""


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
            _refuse_page(source, response)
            _receive(response, staged, transfer, limits)
    head = staged.head(HEAD_BYTES)
    _refuse_login(source, response, head)
    check_sum(staged, transfer, sha256)
    return _fetched(source, response, staged.finish(), transfer.validators, head)


def check_sum(staged: StagedBlob, transfer: Transfer, sha256: str | None) -> None:
    """Raise unless the bytes have this checksum; then they are dropped."""
    if sha256 is None or staged.sha256 == sha256.lower():
        return
    wrong = FastioError(
        "invalid",
        f"The bytes have SHA-256 {staged.sha256}, not {sha256.lower()}.",
        "Check the checksum with whoever published it.",
        transient=transfer.resumed,  # perhaps the pieces do not belong together
    )
    staged.restart()
    transfer.durable_bytes = 0
    raise wrong


def receive(
    chunks: Iterator[bytes],
    staged: StagedBlob,
    transfer: Transfer,
    limits: TransferLimits,
    *,
    expected: int | None,
    resumable: bool,
    at: str,
) -> None:
    """A body into the staged: within limits, synced now and then, and whole.

    ``expected`` is the size of the whole file if it is known, ``at`` names the sender in errors.
    """
    transfer.resumed = staged.size_bytes > 0
    transfer.received = staged.size_bytes
    transfer.total = expected
    if expected is not None and expected > limits.size_bytes_max:
        raise _too_large(limits.size_bytes_max, expected)
    watchdog = ThroughputWatchdog(limits, at, staged.size_bytes)
    synced_at = time.monotonic()
    try:
        for chunk in chunks:
            if transfer.stop:
                raise Cancelled
            if staged.size_bytes + len(chunk) > limits.size_bytes_max:
                raise _too_large(limits.size_bytes_max, None)
            staged.append(chunk)
            transfer.received = staged.size_bytes
            now = watchdog.check(staged.size_bytes)
            if resumable and now - synced_at >= SYNC_EVERY_S:
                transfer.durable_bytes = staged.sync()
                synced_at = time.monotonic()
    except FastioError:
        transfer.durable_bytes = staged.sync() if resumable else 0
        raise
    if expected is not None and staged.size_bytes != expected:
        raise _transient(f"{at} sent {staged.size_bytes:,} of {expected:,} bytes, then ended.")


def is_transient(error: FastioError) -> bool:
    """Whether the same request may succeed later."""
    stated = error.details.get("transient")
    if isinstance(stated, bool):
        return stated
    permanent = error.code == "locked" or error.details.get("kind") in ("tls", "disk")
    return error.kind.retryable and not permanent


def _check_status(source: Source, response: httpx.Response, staged: StagedBlob) -> bool:
    """Raise unless a body follows; True if the staged is whole already."""
    status = response.status_code
    asked = staged.size_bytes > 0
    if status == 206 and asked:
        start, _ = _content_range(response)
        if start == staged.size_bytes:
            return False
        staged.restart()
        raise _transient(f"{_at(response)} sent another part than the one asked for.")
    if status == 416 and asked:
        if _content_range(response)[1] == staged.size_bytes:
            return True
        staged.restart()
        raise _transient(f"{_at(response)} has other bytes than before.")
    if status == 200:
        if asked:
            staged.restart()
        return False
    raise status_error(source, response)


def _receive(
    response: httpx.Response, staged: StagedBlob, transfer: Transfer, limits: TransferLimits
) -> None:
    coding = response.headers.get("content-encoding", "")
    # As it comes: a fixed size of chunks would wait for more.
    chunks = _translated(response)
    receive(
        decoded(chunks, coding) if coding else chunks,
        staged,
        transfer,
        limits,
        expected=None if coding else _expected(response, staged.size_bytes),
        resumable=not coding and transfer.validators.strong is not None,
        at=_at(response),
    )


def _translated(response: httpx.Response) -> Iterator[bytes]:
    with translated(str(response.url)):
        yield from response.iter_raw()


def _fetched(
    source: Source,
    response: httpx.Response,
    content: Content | None,
    validators: Validators,
    head: bytes = b"",
) -> Fetched:
    media_type = _media_type(response)
    disposition = response.headers.get("content-disposition")
    return Fetched(
        content,
        name=naming.clean(source.name or "")
        or naming.file_name(disposition, response.url.path, media_type),
        media_type=media_type,
        final_url=shown(response.url),
        validators=validators,
        head=head,
    )


class ThroughputWatchdog:
    """Sees to it that a body does not drip for ever."""

    def __init__(self, limits: TransferLimits, at: str, size_bytes: int) -> None:
        self._bounds = limits
        self._at = at
        self._size = size_bytes
        self._began = self._since = time.monotonic()

    def check(self, size_bytes: int) -> float:
        """The time now. Raises ``timeout`` when the body is too slow or takes too long."""
        now = time.monotonic()
        if now - self._began > self._bounds.total_s:
            raise FastioError(
                "timeout",
                f"The transfer took longer than {self._bounds.total_s:g} seconds.",
                "Give it longer: fastio config set import_timeout_s SECONDS",
                transient=False,
            )
        elapsed = now - self._since
        if elapsed >= self._bounds.stall_s:
            if size_bytes - self._size < SPEED_BYTES_MIN * elapsed:
                raise FastioError(
                    "timeout",
                    f"{self._at} sent less than {SPEED_BYTES_MIN:,} bytes a second for "
                    f"{elapsed:.0f} seconds.",
                    "Try again later: fastio import retry ID",
                )
            self._since, self._size = now, size_bytes
        return now


def _validators(response: httpx.Response) -> Validators | None:
    etag, modified = _ascii(response, "etag"), _ascii(response, "last-modified")
    return Validators(etag, modified) if etag or modified or response.status_code == 200 else None


def _ascii(response: httpx.Response, name: str) -> str | None:
    """A header that can be sent back as it is, else None."""
    value: str | None = response.headers.get(name)
    return value if value and value.isascii() and value.isprintable() else None


def _expected(response: httpx.Response, offset: int) -> int | None:
    """The size of the whole file, as far as the response tells."""
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


def status_error(source: Source, response: httpx.Response) -> FastioError:
    """The reason for an answer that brings no bytes."""
    status, at = response.status_code, _at(response)
    login = f"fastio import login {source.login}" if source.login else ""
    if status == 401:
        hint = f"Log in: {login}" if login else "Pass credentials with --header-file FILE"
        return FastioError("unauthenticated", f"{at} asks for a login (401).", hint, status=status)
    if status == 403:
        hint = f"Log in: {login}" if login else "Pass credentials with --header-file FILE"
        return FastioError("forbidden", f"{at} does not allow it (403).", hint, status=status)
    if status in (404, 410):
        return FastioError(
            "not_found", f"{at} has no such file ({status}).", "Check the URL.", status=status
        )
    if status in (408, 425, 429) or status >= 500:
        code = "rate_limited" if status == 429 else "unavailable"
        return FastioError(
            code,
            f"{at} answered {status} {response.reason_phrase}".rstrip() + ".",
            "Try again later: fastio import retry ID",
            status=status,
            retry_after_s=parse_retry_after(response.headers.get("retry-after")),
        )
    return FastioError(
        "invalid", f"{at} answered {status} instead of the file.", "Check the URL.", status=status
    )


_HTML = ("text/html", "application/xhtml+xml")
_SIGN_IN = re.compile(r"(^|[/.])(log-?in|sign-?in|sso|oauth2?|saml2?|auth)([/.]|$)", re.I)


def _refuse_page(source: Source, response: httpx.Response) -> None:
    """A share link leads to a file; a page there means that it is private, or gone."""
    if source.login is not None and _is_html(response) and not _asks_for_html(source):
        raise FastioError(
            "forbidden",
            f"{_at(response)} answered with a web page instead of the file: the link is not public,"
            " or no longer valid.",
            f"Open it to everybody with the link, or log in: fastio import login {source.login}",
        )


def _refuse_login(source: Source, response: httpx.Response, head: bytes) -> None:
    """A page that asks for a password is not what anybody wanted to import."""
    if not _is_html(response) and b"<html" not in head.lower():
        return
    page = head.lower()
    moved = str(response.url).partition("?")[0] != source.url.partition("?")[0]
    extension = source.url.partition("?")[0].rpartition("/")[2].rpartition(".")[2].lower()
    wanted_other = extension in _FILES
    asks = b'type="password"' in page or b"type='password'" in page or b"type=password" in page
    at_sign_in = _SIGN_IN.search(f"{response.url.host}{response.url.path}") is not None
    if asks or (moved and at_sign_in) or (wanted_other and _is_html(response)):
        what = "a login page" if asks or at_sign_in else "a web page"
        raise FastioError(
            "forbidden",
            f"{_at(response)} answered with {what} instead of the file.",
            "Pass credentials with --header-file FILE, or use a link that needs none.",
        )


_FILES = {"pdf", "csv", "tsv", "json", "jsonl", "zip", "gz", "tar", "png", "jpg", "jpeg", "gif",
          "webp", "xlsx", "docx", "pptx", "parquet", "mp3", "mp4", "bin", "epub"}  # fmt: skip


def _is_html(response: httpx.Response) -> bool:
    return _media_type(response) in _HTML


def _media_type(response: httpx.Response) -> str:
    declared: str = response.headers.get("content-type", "")
    return declared.partition(";")[0].strip().lower()


def _asks_for_html(source: Source) -> bool:
    return (source.name or "").lower().endswith((".html", ".htm"))


def _transient(message: str) -> FastioError:
    return FastioError("unavailable", message, "Try again later: fastio import retry ID")


def _too_large(limit: int, size: int | None) -> FastioError:
    what = f"The file has {size:,} bytes" if size is not None else "The file is larger than allowed"
    return FastioError(
        "too_large",
        f"{what}; the limit is {limit:,}.",
        "Raise it with --max-size, and: fastio config set file_bytes_max BYTES",
        size_bytes_max=limit,
    )


def _at(response: httpx.Response) -> str:
    return shown(response.url)
