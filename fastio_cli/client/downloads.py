"""Bytes on their way from a server: resumed after a cut, and compared with their hash."""

from __future__ import annotations

from typing import cast

import httpx

from fastio_cli.client.requests import RemoteCall, digest_header
from fastio_cli.client.responses import parse_record, unexpected_response, unreachable
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from fastio_cli import model
    from fastio_cli.client.transport import Transport

    Resume = Callable[[RemoteCall], "RemoteDownload"]

# What readers of a download use of its record.
_USED = {"path": str, "version": int, "size_bytes": int}


class RemoteDownload:
    """The answer of ``file.get``: the object's record, and a response with its bytes unread."""

    def __init__(self, call: RemoteCall, response: httpx.Response, record: model.Object) -> None:
        self.call = call
        self.response = response
        self.record = record
        offset = call.params.get("offset")
        self.start = offset if isinstance(offset, int) else 0


def open_download(call: RemoteCall, response: httpx.Response, url: str) -> RemoteDownload:
    """The download in a successful response."""
    try:
        record = parse_record(response.headers.get("fastio-record", ""), response, url)
        if any(not isinstance(record.get(name), kind) for name, kind in _USED.items()):
            raise unexpected_response(response, url)
    except FastioError:
        response.close()
        raise
    return RemoteDownload(call, response, cast("model.Object", record))


def read_chunks(transport: Transport, download: RemoteDownload, resume: Resume) -> Iterator[bytes]:
    """The bytes of a download; ``resume`` runs a call for the rest after a cut.

    Raises ``unavailable`` when the server stays unavailable or a whole file has another hash.
    """
    import hashlib

    digest, position = hashlib.sha256(), download.start
    response, attempts = download.response, transport.retries()
    try:
        while True:
            try:
                for chunk in response.iter_bytes():
                    digest.update(chunk)
                    position += len(chunk)
                    yield chunk
                    attempts.reset()
                break
            except httpx.RequestError as e:
                response.close()
                attempts.wait_or_raise(unreachable(transport.url, e))
                response = resume(_rest_of(download, position)).response
    finally:
        response.close()
    stated = download.response.headers.get("repr-digest", "")
    is_whole = not download.start and "length" not in download.call.params
    if is_whole and stated and stated != digest_header(digest.hexdigest()):
        raise FastioError("unavailable", "The bytes that arrived are damaged.", "Try again.")


def _rest_of(download: RemoteDownload, position: int) -> RemoteCall:
    """A call for the rest of a download, from a position on, of the same version."""
    call = download.call
    params = {**call.params, "offset": position, "version": download.record["version"]}
    if isinstance(length := call.params.get("length"), int):
        params["length"] = max(0, download.start + length - position)
    return RemoteCall(call.operation, params, call.workspace, None)
