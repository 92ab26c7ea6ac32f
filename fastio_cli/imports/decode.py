"""Decoding content codings (RFC 9110, 8.4) in bounded chunks.

fastio asks for the identity coding; some servers compress all the same. No decoder here yields more
than one megabyte at once, so that a decompression bomb reaches the size limit before it fills the
memory.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import IO, cast

from fastio_cli.errors import FastioError

CHUNK_BYTES = 1 << 20
CODINGS_MAX = 2
ZSTD_WINDOW_BYTES_MAX = 8 << 20  # what RFC 8878 asks every decoder to support
# Endings of names, and media types, of files that are in the format of a coding.
_FORMATS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "gzip": (
        (".gz", ".gzip", ".tgz", ".taz", ".svgz", ".emz", ".wmz", ".crate"),
        (
            "application/gzip", "application/x-gzip", "application/x-gunzip",
            "application/gzipped", "application/gzip-compressed", "application/x-compressed",
            "application/x-compress", "application/x-compressed-tar", "application/x-gtar",
            "application/x-gtar-compressed", "application/x-tgz", "gzip/document",
        ),
    ),
    "br": ((".br",), ()),
    "zstd": ((".zst", ".tzst"), ("application/zstd", "application/x-zstd")),
}  # fmt: skip


def coding_names(header: str) -> list[str]:
    """The codings in a ``Content-Encoding``, in the order in which they were applied."""
    names = [name.strip().lower() for name in header.split(",") if name.strip()]
    return [name for name in names if name != "identity"]


def is_own_format(coding: str, name: str, media_type: str) -> bool:
    """Whether a coding is the format of the file itself, by its name or type, and so no coding.

    Servers label a ``.tar.gz`` as gzip-coded; undone, it would no longer be what was published.
    Browsers leave it as well when they save a file.
    """
    endings, types = _FORMATS.get(coding.removeprefix("x-"), ((), ()))
    return name.lower().endswith(endings) or media_type in types


def decoded(chunks: Iterator[bytes], names: list[str]) -> Iterator[bytes]:
    """The decoded bytes; ``names`` are the codings in the order in which they were applied.

    Raises ``unavailable`` for broken data and ``invalid`` for codings that are not known.
    """
    if len(names) > CODINGS_MAX or any(name not in _DECODERS for name in names):
        codings = ", ".join(names)[:80]
        raise FastioError("invalid", f"The answer is coded as {codings!r}, which is unknown.")
    for name in reversed(names):
        chunks = _named(name, _DECODERS[name](chunks))
    return chunks


def _named(name: str, chunks: Iterator[bytes]) -> Iterator[bytes]:
    import brotli
    import zstandard

    try:
        yield from chunks
    except (zlib.error, brotli.error, zstandard.ZstdError, EOFError):
        raise FastioError(
            "unavailable", f"The answer's {name} coding is broken.", "Try again later."
        ) from None


def _gzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return _zlib(chunks, 31)


def _deflate(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return _zlib(chunks, 15)


def _zlib(chunks: Iterator[bytes], window: int) -> Iterator[bytes]:
    decoder = zlib.decompressobj(window)
    for chunk in chunks:
        while chunk:
            if decoder.eof:  # a further gzip member
                decoder = zlib.decompressobj(window)
            yield decoder.decompress(chunk, CHUNK_BYTES)
            chunk = decoder.unused_data or decoder.unconsumed_tail
    while not decoder.eof and (rest := decoder.decompress(b"", CHUNK_BYTES)):
        yield rest
    if not decoder.eof:
        raise EOFError


def _brotli(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import brotli

    decoder = brotli.Decompressor()
    for chunk in chunks:
        yield decoder.process(chunk, output_buffer_limit=CHUNK_BYTES)
        while not decoder.is_finished() and not decoder.can_accept_more_data():
            yield decoder.process(b"", output_buffer_limit=CHUNK_BYTES)
    while not decoder.is_finished():  # it may hold output back when the input has ended
        rest = decoder.process(b"", output_buffer_limit=CHUNK_BYTES)
        if not rest:
            raise EOFError
        yield rest


def _zstd(chunks: Iterator[bytes]) -> Iterator[bytes]:
    import zstandard

    # It does not detect truncation; the framing of the transfer does (see ``fetch``).
    decoder = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_BYTES_MAX)
    with decoder.stream_reader(
        cast("IO[bytes]", _Reader(chunks)), read_across_frames=True
    ) as reader:
        while chunk := reader.read(CHUNK_BYTES):
            yield chunk


class _Reader:
    """Chunks as a file to read from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        while not self._rest and (chunk := next(self._chunks, None)) is not None:
            self._rest = chunk
        taken, self._rest = self._rest[:size], self._rest[size:]
        return taken


_DECODERS = {
    "gzip": _gzip,
    "x-gzip": _gzip,
    "deflate": _deflate,
    "br": _brotli,
    "zstd": _zstd,
}
