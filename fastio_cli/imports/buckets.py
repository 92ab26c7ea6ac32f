"""``s3://``, ``gs://``, ``az://``: objects in a bucket, with credentials of the environment.

A URL names only the bucket and the key; endpoint and credentials come from the environment. They
have to be stated there, because without them the cloud libraries would ask the metadata service of
the machine, which nothing here may reach. A server uses the credentials of its environment only for
the buckets that its operator lists.
"""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from fastio_cli.blobs.bucket import CREDENTIALS, connect
from fastio_cli.errors import FastioError
from fastio_cli.imports.naming import clean
from fastio_cli.imports.transfer import (
    HEAD_BYTES,
    Fetched,
    Transfer,
    TransferLimits,
    Validators,
    check_sum,
    receive,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from obstore import GetResult
    from obstore.store import ClientConfig, ObjectStore

    from fastio_cli.blobs.content import Content
    from fastio_cli.blobs.staging import StagedBlob

CHUNK_BYTES = 64 * 1024  # lost at most when a connection is cut
_ENVIRONMENT = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
# No proxy: without these options, one from the environment would be used.
_NO_PROXY: ClientConfig = {
    "proxy_url": "http://127.0.0.1:9",
    "proxy_excludes": "*,0.0.0.0/0,::/0",
}


def is_bucket(url: str) -> bool:
    """Whether a URL names an object of a bucket."""
    return url.partition("://")[0].lower() in CREDENTIALS


def check_bucket_allowed(url: str, listed: str) -> None:
    """Raise ``forbidden`` unless the object is listed (``s3://bucket, gs://bucket/folder``)."""
    scheme, bucket, key = _parts(url)
    prefixes = [entry.strip().rstrip("/") + "/" for entry in listed.split(",") if entry.strip()]
    if not any(f"{scheme}://{bucket}/{key}".startswith(prefix) for prefix in prefixes):
        raise FastioError(
            "forbidden",
            f"The server reads nothing from {scheme}://{bucket} for others.",
            "Its operator may allow it: fastio config set import_buckets s3://BUCKET,…",
        )


def fetch_object(
    url: str,
    staged: StagedBlob,
    transfer: Transfer,
    limits: TransferLimits,
    *,
    known: Validators | None = None,
    sha256: str | None = None,
) -> Fetched:
    """Like ``fetch.fetch``, for an object of a bucket. Raises the same errors."""
    scheme, bucket, key = _parts(url)
    store, obstore = _store(scheme, bucket, limits)
    options: dict[str, object] = {}
    strong = transfer.validators.strong
    # A range beyond the end cannot be requested, so a complete object is fetched again.
    if staged.size_bytes and staged.size_bytes != transfer.total and strong is not None:
        options = {"range": {"offset": staged.size_bytes}, "if_match": strong}
    else:
        transfer.start_anew(staged, Validators())
        if known is not None and known.etag is not None:
            options = {"if_none_match": known.etag}
    at = f"{scheme}://{bucket}"
    try:
        result: GetResult = obstore.get(store, key, options=options)
    except obstore.exceptions.NotModifiedError:
        return _fetched(url, key, None, known or Validators())
    except Exception as e:
        if isinstance(e, obstore.exceptions.PreconditionError):
            raise _changed_object(at, staged, transfer) from None
        raise _failure(at, e, obstore) from None
    # Some services ignore the conditions; the ETag shows whether they did.
    etag = result.meta["e_tag"]
    if known is not None and known.etag == etag is not None and not staged.size_bytes:
        return _fetched(url, key, None, known)
    if not staged.size_bytes:
        transfer.start_anew(staged, Validators(etag))
    elif (etag, result.range[0]) != (strong, staged.size_bytes) or (
        transfer.total not in (None, result.meta["size"])
    ):
        raise _changed_object(at, staged, transfer)
    receive(
        _chunks(result, at, obstore),
        staged,
        transfer,
        limits,
        expected=result.meta["size"],
        resumable=transfer.validators.strong is not None,
        at=at,
    )
    check_sum(staged, transfer, sha256)
    head = staged.head(HEAD_BYTES)
    fetched = _fetched(url, key, staged.finish(), transfer.validators)
    fetched.head = head
    fetched.media_type = str(result.attributes.get("Content-Type") or "").partition(";")[0].lower()
    return fetched


def _changed_object(at: str, staged: StagedBlob, transfer: Transfer) -> FastioError:
    """The error for an object that changed since the last attempt; the next one starts again."""
    transfer.start_anew(staged, Validators())
    return FastioError("unavailable", f"{at} has other bytes than before.")


def _fetched(url: str, key: str, content: Content | None, validators: Validators) -> Fetched:
    name = clean(key) or "download"
    return Fetched(content, name=name, media_type="", final_url=url, validators=validators)


def _parts(url: str) -> tuple[str, str, str]:
    parts = urlsplit(url)
    key = unquote(parts.path.lstrip("/"))
    plain = re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}", parts.netloc)
    if plain is None or not key or {"", ".", ".."} & set(key.split("/")):
        raise FastioError(
            "invalid", "This is not the URL of an object.", "Write it as s3://bucket/key"
        )
    return parts.scheme.lower(), parts.netloc, key


def _store(scheme: str, bucket: str, limits: TransferLimits) -> tuple[ObjectStore, ModuleType]:
    plainly = os.environ.get(f"{_ENVIRONMENT[scheme]}_ALLOW_HTTP", "").lower() == "true"
    options: ClientConfig = {
        "timeout": f"{limits.total_s:.0f}s",
        "read_timeout": f"{limits.stall_s:.0f}s",
        "allow_http": plainly,
        **_NO_PROXY,
    }
    return connect(scheme, bucket, 0, options)


def _chunks(result: GetResult, at: str, obstore: ModuleType) -> Iterator[bytes]:
    try:
        for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
            yield bytes(chunk)
    except Exception as e:
        raise _failure(at, e, obstore) from None


def _failure(at: str, e: Exception, obstore: ModuleType) -> FastioError:
    kinds = obstore.exceptions
    if isinstance(e, FileNotFoundError):
        return FastioError("not_found", f"{at} has no such object.", "Check the URL.")
    if isinstance(e, kinds.PermissionDeniedError | kinds.UnauthenticatedError):
        return FastioError(
            "forbidden", f"{at} does not allow it.", "Check the credentials in the environment."
        )
    return FastioError(
        "unavailable", f"{at} could not be read.", "Try again later: fastio import retry ID"
    )
