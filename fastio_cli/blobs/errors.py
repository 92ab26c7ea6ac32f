"""What can go wrong with stored bytes."""

from __future__ import annotations

from fastio_cli.errors import FastioError


def damaged_blob(sha256: str, how: str) -> FastioError:
    """The error for stored bytes that are ``missing``, ``shorter than they were``, ``damaged``."""
    sha256 = str(sha256)  # what a damaged database holds may be anything
    return FastioError(
        "unavailable",
        f"The stored bytes {sha256[:12]}… are {how}.",
        "See what is damaged: fastio doctor",
    )


def not_stored(e: OSError) -> FastioError:
    """The error for bytes that the disk did not take."""
    return FastioError(
        "unavailable",
        f"The file could not be stored: {e.strerror or e}.",
        "Free some disk space and try again: fastio doctor",
        kind="disk",
    )


def too_large(size_bytes_max: int) -> FastioError:
    """The error for a file that is larger than the limit."""
    return FastioError(
        "too_large",
        f"The file is larger than the limit of {size_bytes_max:,} bytes.",
        "Split it, or raise the limit: fastio config set file_bytes_max BYTES",
        size_bytes_max=size_bytes_max,
    )
