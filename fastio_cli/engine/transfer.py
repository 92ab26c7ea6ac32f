"""A workspace copied through operations alone: what can be done where one end is a server.

Every kept version of every object is written again, in order. The log, authors, times and numbers
are those of the writes in the target, as no operation lets anybody write another's history.
Every write has an idempotency key made from the first event of the source's log, so that a copy
that was interrupted is repeated within a day without writing anything twice.
"""

from __future__ import annotations

import io

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.engine.client import Client

PAGE = 1000
NOT_COPIED = [
    "log",
    "authors",
    "times",
    "numbers",
    "deleted objects",
    "locks",
    "imports",
    "members",
]


class Transfer:
    """Copies workspaces from one client to another."""

    def __init__(self, source: Client, target: Client) -> None:
        self._source = source
        self._target = target

    def copy(self, name: str, new_name: str, progress: Callable[[str], None]) -> dict[str, int]:
        """Copy a workspace into a new one, or an untouched one.

        ``progress`` is told each path. Returns how many ``objects`` and ``versions`` were written,
        each found to have the source's contents, and how many ``live_locks`` the source has.
        Raises ``already_exists`` where the name is taken, ``not_found`` where nothing is copied.
        """
        self._name, self._new_name = name, new_name
        events = self._read("event.list", limit=1)["items"]
        self._key = f"copy:{events[0]['hash'][:32] if events else 'empty'}:{new_name}"
        self._make()
        objects = versions = 0
        for item in self._pages("object.list"):
            progress(item["path"])
            versions += self._copy_object(item)
            objects += 1
        locks = sum(1 for _ in self._pages("lock.list"))
        return {"objects": objects, "versions": versions, "live_locks": locks}

    def _make(self) -> None:
        """Make the workspace, unless nobody has used it yet."""
        try:
            found = self._target.call("workspace.show", workspace=self._new_name)
        except FastioError as e:
            if e.code != "not_found":
                raise
            found = None
        if found is not None and not found["seq"]:
            return
        try:
            self._target.call(
                "workspace.create", {"name": self._new_name}, idempotency_key=self._key
            )
        except FastioError as e:
            if e.code == "already_exists":
                e.hint = "Give the copy another name: --as NAME"
            raise

    def _copy_object(self, item: dict[str, Any]) -> int:
        """Write an object's versions, oldest first; their number."""
        path, count = item["path"], 0
        for version in sorted(self._pages("object.history", path=path), key=_number):
            if version["deleted"]:
                continue  # what was deleted and came back goes on as one history
            is_last = version["version"] == item["version"]
            schema = (
                self._read("state.schema", path=path)["value"]
                if is_last and item["schema"]
                else None
            )
            write = self._state if version["kind"] == "state" else self._file
            write(path, version, schema)
            count += 1
        return count

    def _state(self, path: str, version: dict[str, Any], schema: object) -> None:
        value = self._read("state.get", path=path, version=version["version"])["value"]
        given = {} if schema is None else {"schema": schema}
        written = self._write("state.set", version, path=path, value=value, **given)
        if written["etag"] != version["etag"]:
            raise _differs(path, version)

    def _file(self, path: str, version: dict[str, Any], schema: object) -> None:
        download = self._read("file.get", path=path, version=version["version"])
        hashed = _Hashed(self._source.chunks(download))
        content = self._target.upload(io.BufferedReader(hashed))
        try:
            written = self._write(
                "file.put", version, path=path, content=content, media_type=version["media_type"]
            )
        finally:
            content.close()
        if written["etag"] != hashed.digest.hexdigest():
            raise _differs(path, version)

    def _read(self, operation: str, **params: object) -> Any:
        return self._source.call(operation, params, workspace=self._name)

    def _write(self, operation: str, version: dict[str, Any], **params: object) -> Any:
        path = sha256(str(params["path"]).encode()).hexdigest()[:32]
        key = f"{self._key}:{path}:{version['version']}"
        return self._target.call(operation, params, workspace=self._new_name, idempotency_key=key)

    def _pages(self, operation: str, **params: object) -> Iterator[Any]:
        cursor: str | None = ""
        while cursor is not None:
            page = self._read(operation, **params, cursor=cursor, limit=PAGE)
            yield from page["items"]
            cursor = page["next_cursor"]


class _Hashed(io.RawIOBase):
    """Chunks as a stream of bytes, hashed as they are read."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self.digest = sha256()
        self._chunks = chunks
        self._rest = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as one chunk goes; 0 at the end."""
        while not self._rest:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._rest = chunk
        part, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(part)] = part
        self.digest.update(part)
        return len(part)


def _number(version: dict[str, Any]) -> int:
    number: int = version["version"]
    return number


def _differs(path: str, version: dict[str, Any]) -> FastioError:
    return FastioError(
        "internal",
        f"Version {version['version']} of {path} was not copied as it is.",
        "Stop the writers of both stores, then copy it under another name: --as NAME",
    )
