"""Blobs of a database's store in a bucket: ``s3://``, ``gs://`` or ``az://``, by their SHA-256.

A body is staged in a local file while it is hashed, and then put under its name: readers never see
half of one, and memory stays constant. Credentials come from the environment only. They have to be
stated, because without them the cloud libraries would ask the metadata service of the machine. A
bucket's prefix belongs to one store, whose sweep removes what that store does not use.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import time

from fastio_cli.blobs.content import CHUNK_BYTES
from fastio_cli.blobs.errors import damaged_blob
from fastio_cli.blobs.local import GRACE_S, BlobStore, check_name
from fastio_cli.blobs.reader import ChunkReader
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import ModuleType
    from typing import BinaryIO

    from obstore import GetResult, ObjectMeta
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

# A body up to this size is one conditional request; a larger one is put in parts.
SINGLE_BYTES_MAX = 16 * 1024 * 1024
PART_BYTES = 8 * 1024 * 1024
PARTS_AT_ONCE = 4
# An older blob is put again: no sweep may remove it before the new version refers to it.
RENEW_S = GRACE_S / 2
RETRIES_MAX = 8
RETRY_S = 30
MARKER = "create-only"
UNUSED = "unused"
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._=-]+)*/?")
_NAME = re.compile(r"(?:[0-9a-f]{2}|unused)/([0-9a-f]{64})")
# Any one of these sets is sufficient.
CREDENTIALS = {
    "s3": (("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),),
    "gs": (("GOOGLE_SERVICE_ACCOUNT",), ("GOOGLE_APPLICATION_CREDENTIALS",)),
    "az": (
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_SAS_KEY"),
    ),
}


def connect(
    scheme: str, place: str, retries_max: int, options: ClientConfig | None = None
) -> tuple[ObjectStore, ModuleType]:
    """A client for a bucket (``place`` is ``bucket`` or ``bucket/prefix``), and its library.

    ``options`` are those of the library's HTTP client.

    Raises ``unauthenticated`` when the environment holds no credentials, ``invalid`` when the
    library is not installed.
    """
    wanted = CREDENTIALS[scheme]
    if not any(all(os.environ.get(name) for name in names) for names in wanted):
        raise FastioError(
            "unauthenticated",
            f"There are no credentials for {scheme}:// in the environment.",
            f"Set {' and '.join(wanted[0])}.",
        )
    try:
        import obstore
        from obstore.store import from_url
    except ImportError:
        raise FastioError(
            "invalid",
            f"{scheme}:// needs an extra package.",
            "Install it: pip install 'fastio-durable[buckets]'",
        ) from None
    from datetime import timedelta

    retries: RetryConfig = {"max_retries": retries_max, "retry_timeout": timedelta(seconds=RETRY_S)}
    return from_url(f"{scheme}://{place}", retry_config=retries, client_options=options), obstore


class BucketBlobStore(BlobStore):
    """Blobs in a bucket. ``staging_folder`` is a local folder for unfinished ones.

    Raises ``invalid`` for a URL that names no bucket; the bucket is contacted when it is used.
    """

    def __init__(self, url: str, staging_folder: str) -> None:
        super().__init__(staging_folder)
        self._scheme, _, self._place = url.partition("://")
        bucket, slash, prefix = self._place.partition("/")
        known = self._scheme in CREDENTIALS and _BUCKET.fullmatch(bucket)
        if not known or not _PREFIX.fullmatch(slash + prefix):
            raise FastioError(
                "invalid",
                "The place of large files is neither a folder nor a bucket.",
                "Name one: fastio config set blobs s3://BUCKET/PREFIX (or gs://, az://, a folder)",
            )
        self._client: tuple[ObjectStore, ModuleType] | None = None
        self._is_checked = False

    def check_place(self) -> None:
        """Check that the bucket exists and honours conditional writes.

        Raises ``invalid`` if it does not exist or replaces an object that was to be created only
        (some servers ignore the condition), ``forbidden`` if it refuses the credentials.
        """
        if self._is_checked:
            return
        for _ in range(2):  # the first user of the bucket creates the marker, then it exists
            if not self._create(MARKER, b"Made by fastio to see that it cannot be made twice.\n"):
                self._is_checked = True
                return
        raise FastioError(
            "invalid",
            f"The bucket {self._scheme}://{self._place} replaces an object where it was asked to "
            "create one only.",
            "Use a service that honours If-None-Match, or a folder: fastio config set blobs FOLDER",
        )

    def _commit(self, temporary: str, name: str) -> None:
        """Move a local file into the bucket as the blob of this name."""
        self.check_place()
        key = _key(name)
        size = os.path.getsize(temporary)
        with open(temporary, "rb") as f:
            body = _hashed(f, name) if size > SINGLE_BYTES_MAX else b"".join(_hashed(f, name))
            if isinstance(body, bytes) and self._create(key, body):
                pass
            elif not self._is_fresh(key, size):
                self._put(key, body)
        os.unlink(temporary)

    def open(self, sha256: str) -> BinaryIO:
        """Open a blob for reading. Raises ``unavailable`` when it is missing."""
        return io.BufferedReader(_Chunks(self._stream(sha256, None)), CHUNK_BYTES)

    def read(self, sha256: str, start: int, end: int) -> Iterator[bytes]:
        """The bytes ``start`` to ``end`` (exclusive) of a blob, in chunks.

        The hash of a whole blob is verified before its last chunk is yielded.
        """
        if start < end:
            yield from self._stream(sha256, (start, end))

    def has(self, sha256: str, size_bytes: int) -> bool:
        """Whether a blob exists, in its full size."""
        found = self._head(_key(sha256))
        return found is not None and found["size"] == size_bytes

    def names(self) -> Iterator[str]:
        """The SHA-256 of every blob that can be read."""
        for folder in ("", UNUSED):
            for name, _ in self._list(folder):
                yield name

    def sweep(self, used: set[str]) -> int:
        """Move unused blobs to ``unused/`` after a day, remove them after another; bytes freed.

        If a version refers to the same bytes meanwhile, they are moved back; readers look in both
        places.
        """
        freed = self.sweep_temporary()
        for name, meta in self._list(UNUSED):
            if _age_s(meta) <= GRACE_S:
                continue
            if name in used and self._head(_key(name)) is None:
                self._copy(_unused_key(name), _key(name))
            else:
                freed += meta["size"]
            self._delete(_unused_key(name))
        for name, meta in self._list(""):
            if name not in used and _age_s(meta) > GRACE_S:
                self._copy(_key(name), _unused_key(name))
                self._delete(_key(name))
        return freed

    def _remove(self, name: str) -> None:
        """Move a blob to ``unused/``, as another machine may be storing the same bytes just now:
        readers look there too, and the sweep that ends what is unused brings it back."""
        self._copy(_key(name), _unused_key(name))
        self._delete(_key(name))

    def _stream(self, sha256: str, span: tuple[int, int] | None) -> Iterator[bytes]:
        """A blob's bytes; the last chunk of a whole one is held back until its hash is verified."""
        try:
            result = self._get(_key(sha256), span)
        except FileNotFoundError:
            try:
                result = self._get(_unused_key(sha256), span)
            except FileNotFoundError:
                raise damaged_blob(sha256, "missing") from None
        start, end = span or (0, result.meta["size"])
        whole = end - start == result.meta["size"]
        digest = hashlib.sha256()
        held = b""
        for chunk in self._chunks(result):
            if held:
                yield held
            held = chunk
            start += len(chunk)
            digest.update(chunk)
        if start != end:
            raise damaged_blob(sha256, "shorter than they were")
        if whole and digest.hexdigest() != sha256:
            raise damaged_blob(sha256, "damaged")
        yield held

    def _get(self, key: str, span: tuple[int, int] | None) -> GetResult:
        client, obstore = self._connected()
        try:
            result: GetResult = obstore.get(client, key, options={"range": span} if span else None)
        except FileNotFoundError:
            raise
        except Exception as e:
            raise self._failure(e) from None
        return result

    def _chunks(self, result: GetResult) -> Iterator[bytes]:
        try:
            for chunk in result.stream(min_chunk_size=CHUNK_BYTES):
                yield bytes(chunk)
        except Exception as e:
            raise self._failure(e) from None

    def _create(self, key: str, body: bytes) -> bool:
        """Create an object; False if it exists."""
        client, obstore = self._connected()
        try:
            obstore.put(client, key, body, mode="create")
        except obstore.exceptions.AlreadyExistsError:
            return False
        except Exception as e:
            raise self._failure(e) from None
        return True

    def _put(self, key: str, body: bytes | Iterable[bytes]) -> None:
        self._do("put", key, body, chunk_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)

    def _copy(self, key: str, to: str) -> None:
        self._do("copy", key, to)

    def _delete(self, key: str) -> None:
        self._do("delete", key)

    def _is_fresh(self, key: str, size_bytes: int) -> bool:
        found = self._head(key)
        return found is not None and found["size"] == size_bytes and _age_s(found) < RENEW_S

    def _head(self, key: str) -> ObjectMeta | None:
        """An object's metadata; None if it does not exist."""
        client, obstore = self._connected()
        try:
            meta: ObjectMeta = obstore.head(client, key)
        except FileNotFoundError:
            return None
        except Exception as e:
            raise self._failure(e) from None
        return meta

    def _list(self, folder: str) -> Iterator[tuple[str, ObjectMeta]]:
        """The blobs below a prefix (none, or ``unused``), each with its metadata."""
        client, obstore = self._connected()
        try:
            for page in obstore.list(client, folder or None, chunk_size=1000):
                for meta in page:
                    found = _NAME.fullmatch(meta["path"])
                    if found and meta["path"].startswith(UNUSED) == (folder == UNUSED):
                        yield found[1], meta
        except Exception as e:
            raise self._failure(e) from None

    def _do(self, what: str, *args: object, **options: object) -> None:
        client, obstore = self._connected()
        try:
            getattr(obstore, what)(client, *args, **options)
        except Exception as e:
            raise self._failure(e) from None

    def _connected(self) -> tuple[ObjectStore, ModuleType]:
        if self._client is None:
            self._client = connect(self._scheme, self._place, RETRIES_MAX)
        return self._client

    def _failure(self, e: Exception) -> FastioError:
        """The error for the library's, without its text, which quotes requests."""
        if isinstance(e, FastioError):
            return e
        at = f"{self._scheme}://{self._place}"
        kinds = self._connected()[1].exceptions
        if isinstance(e, FileNotFoundError):
            return FastioError(
                "invalid",
                f"The bucket of {at} does not exist.",
                "Create it, or name another: fastio config set blobs s3://BUCKET/PREFIX",
            )
        if isinstance(e, kinds.PermissionDeniedError | kinds.UnauthenticatedError):
            return FastioError(
                "forbidden",
                f"{at} refused the credentials of the environment.",
                f"Check {' and '.join(CREDENTIALS[self._scheme][0])}, and their permissions there.",
            )
        return FastioError(
            "unavailable",
            f"{at} did not answer as a bucket does.",
            "Check the network and the service's address (for S3: AWS_ENDPOINT, AWS_REGION), then "
            "try again: fastio doctor",
        )


class _Chunks(ChunkReader):
    """Chunks as a file to read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks

    def next_chunk(self) -> bytes | None:
        return next(self._chunks, None)


def _hashed(f: BinaryIO, sha256: str) -> Iterator[bytes]:
    """A file's bytes; raises before the last chunk if the disk returned other ones."""
    digest = hashlib.sha256()
    chunk = f.read(CHUNK_BYTES)
    while chunk:
        digest.update(chunk)
        following = f.read(CHUNK_BYTES)
        if not following and digest.hexdigest() != sha256:
            raise damaged_blob(sha256, "damaged")
        yield chunk
        chunk = following


def _key(sha256: str) -> str:
    check_name(sha256)
    return f"{sha256[:2]}/{sha256}"


def _unused_key(sha256: str) -> str:
    check_name(sha256)
    return f"{UNUSED}/{sha256}"


def _age_s(meta: ObjectMeta) -> float:
    return time.time() - meta["last_modified"].timestamp()
