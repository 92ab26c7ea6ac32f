"""Receiving the bytes of one file: progress, limits, checkpoints, and what is transient."""

from __future__ import annotations

import time

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.blobs.content import Content
    from fastio_cli.blobs.staging import StagedBlob

SYNC_EVERY_S = 1.0
HEAD_BYTES = 4096
SPEED_BYTES_MIN = 1024  # a second, on average over ``stall_s``


class Validators:
    """The ETag and modification time of a response (RFC 9110, 8.8)."""

    def __init__(self, etag: str | None = None, last_modified: str | None = None) -> None:
        self.etag = etag
        self.last_modified = last_modified

    @property
    def strong(self) -> str | None:
        """The validator for ``If-Range``, if there is a strong one."""
        if self.etag is not None and not self.etag.startswith("W/"):
            return self.etag
        return self.last_modified if self.etag is None else None

    @property
    def digest(self) -> str:
        """A short name for the state of the resource that they stand for."""
        return sha256(f"{self.etag}\n{self.last_modified}".encode()).hexdigest()[:16]

    def conditions(self) -> dict[str, str]:
        """The headers of a conditional request."""
        pairs = (("If-None-Match", self.etag), ("If-Modified-Since", self.last_modified))
        return {name: value for name, value in pairs if value is not None}


class Transfer:
    """A running transfer, which other threads may watch and stop.

    It counts ``received`` and ``total`` bytes. ``durable_bytes`` are synced and belong to the state
    of the resource that ``validators`` name. ``stop`` ends it at the next chunk.
    """

    def __init__(
        self, durable_bytes: int = 0, validators: Validators | None = None, total: int | None = None
    ) -> None:
        self.received = durable_bytes
        self.total = total
        self.durable_bytes = durable_bytes
        self.validators = validators or Validators()
        self.resumed = False
        self.stop = False

    def start_anew(self, staged: StagedBlob, validators: Validators) -> None:
        """Discard all bytes: those to come belong to the state that ``validators`` name.

        The staged file is named after that state too, so that a crash before it is recorded does
        not let the bytes of one state pass for those of another.
        """
        self.durable_bytes = 0
        self.total = None
        self.validators = validators
        staged.restart(validators.digest)


class TransferLimits:
    """Limits of one transfer: its size, its duration, and how long its body may stall."""

    def __init__(self, size_bytes_max: int, total_s: float, stall_s: float) -> None:
        self.size_bytes_max = size_bytes_max
        self.total_s = total_s
        self.stall_s = stall_s


class Fetched:
    """The result of a fetch: ``content`` is None if the server confirmed the ``known`` validators.

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
    """``Transfer.stop`` was set."""


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
    """Append a body to the staged blob, synced every second if it is ``resumable``.

    ``expected`` is the size of the whole file if it is known, ``at`` names the sender in errors.
    Raises ``too_large``, ``timeout``, ``unavailable`` for a truncated body, or :class:`Cancelled`.
    """
    transfer.resumed = staged.size_bytes > 0
    transfer.received = staged.size_bytes
    transfer.total = expected
    if expected is not None and expected > limits.size_bytes_max:
        raise too_large(limits.size_bytes_max, expected)
    watchdog = ThroughputWatchdog(limits, at, staged.size_bytes)
    synced_at = time.monotonic()
    try:
        for chunk in chunks:
            if transfer.stop:
                raise Cancelled
            if staged.size_bytes + len(chunk) > limits.size_bytes_max:
                raise too_large(limits.size_bytes_max, None)
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
        raise interrupted(f"{at} sent {staged.size_bytes:,} of {expected:,} bytes, then ended.")


def check_sum(staged: StagedBlob, transfer: Transfer, sha256: str | None) -> None:
    """Discard the bytes and raise ``invalid`` unless they have this checksum."""
    if sha256 is None or staged.sha256 == sha256.lower():
        return
    wrong = FastioError(
        "invalid",
        f"The bytes have SHA-256 {staged.sha256}, not {sha256.lower()}.",
        "Check the checksum where it was published.",
        transient=transfer.resumed,  # the parts of two attempts may not belong together
    )
    transfer.start_anew(staged, Validators())
    raise wrong


def is_transient(error: FastioError) -> bool:
    """Whether a retry of the same request may succeed."""
    stated = error.details.get("transient")
    if isinstance(stated, bool):
        return stated
    permanent = error.code == "locked" or error.details.get("kind") in ("tls", "disk")
    return error.kind.retryable and not permanent


class ThroughputWatchdog:
    """Detects bodies that arrive too slowly."""

    def __init__(self, limits: TransferLimits, at: str, size_bytes: int) -> None:
        self._bounds = limits
        self._at = at
        self._size_bytes = size_bytes
        self._began = self._since = time.monotonic()

    def check(self, size_bytes: int) -> float:
        """The current time. Raises ``timeout`` when the body is too slow or takes too long."""
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
            if size_bytes - self._size_bytes < SPEED_BYTES_MIN * elapsed:
                raise FastioError(
                    "timeout",
                    f"{self._at} sent less than {SPEED_BYTES_MIN:,} bytes a second for "
                    f"{elapsed:.0f} seconds.",
                    "Try again later: fastio import retry ID",
                )
            self._since, self._size_bytes = now, size_bytes
        return now


def interrupted(message: str) -> FastioError:
    return FastioError("unavailable", message, "Try again later: fastio import retry ID")


def too_large(limit: int, size: int | None) -> FastioError:
    what = f"The file has {size:,} bytes" if size is not None else "The file is larger than allowed"
    return FastioError(
        "too_large",
        f"{what}; the limit is {limit:,}.",
        "Raise it with --max-size, and: fastio config set file_bytes_max BYTES",
        size_bytes_max=limit,
    )
