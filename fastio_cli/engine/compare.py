"""Whether the workspaces of two stores hold the same, wherever they are: proof of a copy.

Everything is read through the operations, so a server is compared like a store of this machine:
the hash chains are recomputed on both sides, and every kept version's bytes are read and hashed.
"""

from __future__ import annotations

from fastio_cli.digest import sha256
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.engine.client import Client

DIFFERENCES_MAX = 100  # that are listed; all are counted
PAGE = 1000
NOT_COMPARED = [
    "locks",
    "members",
    "tokens",
    "offers of ownership",
    "imports",
    "idempotency keys",
    "deleted workspaces",
    "workspaces of other orgs",
]
"""What no operation tells of, or is of a store and not of what it holds."""


class Comparison:
    """Compares workspaces of two stores and collects what differs."""

    def __init__(self, first: Client, second: Client) -> None:
        self._clients = first, second
        self._names = "", ""
        self.differences: list[dict[str, object]] = []
        self.count = 0
        self.compared = {"workspaces": 0, "events": 0, "objects": 0, "versions": 0, "bytes": 0}

    def run(self, names: dict[str, str] | None, progress: Callable[[str], None]) -> dict[str, Any]:
        """Compare the named workspaces, or all; ``names`` are what they are called in both.

        ``progress`` is told the name of each. Returns the record: whether they are the ``same``,
        how much was compared, and the ``differences``, at most :data:`DIFFERENCES_MAX` of them.
        """
        for name, other in (names or self._all()).items():
            progress(name)
            self._names = name, other
            self._workspace()
        return {
            "same": not self.count,
            **self.compared,
            "differences": self.differences,
            "difference_count": self.count,
            "not_compared": NOT_COMPARED,
        }

    def _all(self) -> dict[str, str]:
        """The workspaces that both have; one that only one has is a difference."""
        ours, theirs = (
            {item["name"] for item in _pages(client, "workspace.list", "default")}
            for client in self._clients
        )
        for name in sorted(ours ^ theirs):
            self._names = name, name
            self._differ("workspace", None, name in ours, name in theirs)
        return {name: name for name in sorted(ours & theirs)}

    def _workspace(self) -> None:
        chains = [self._call(side, "audit.verify") for side in (0, 1)]
        self.compared["workspaces"] += 1
        self.compared["events"] += chains[0]["events"]
        for field in ("verified", "events", "head_seq", "head_hash"):
            self._check(field, None, *(chain[field] for chain in chains))
        if not all(chain["verified"] for chain in chains):
            self._differ("chain", None, *(chain["problem"] for chain in chains))
        if chains[0]["head_hash"] != chains[1]["head_hash"]:
            self._first_event()
        objects: list[dict[str, Any]] = [
            {item["path"]: item for item in self._list(side, "object.list")} for side in (0, 1)
        ]
        self.compared["objects"] += len(objects[0])
        self._check("objects", None, *map(len, objects))
        for path in sorted(self._paths() | objects[0].keys() | objects[1].keys()):
            self._check("object", path, *(found.get(path) for found in objects))
            self._versions(path)

    def _first_event(self) -> None:
        """Name the first event in which two logs differ."""
        after = 0
        while True:
            ours, theirs = (
                self._call(side, "event.list", after=after, limit=PAGE)["items"] for side in (0, 1)
            )
            for number in range(max(len(ours), len(theirs))):
                pair = [items[number] if number < len(items) else None for items in (ours, theirs)]
                if pair[0] != pair[1]:
                    self._differ("first different event", None, *pair)
                    return
            if not ours:
                return
            after = ours[-1]["seq"]

    def _paths(self) -> set[str]:
        """The paths that a log tells of: what was deleted is in no list."""
        paths, after = set(), 0
        while True:
            page = self._call(0, "event.list", after=after, limit=PAGE)
            paths |= {event["path"] for event in page["items"] if event["version"] is not None}
            if not page["items"]:
                return paths
            after = int(page["next_cursor"])

    def _versions(self, path: str) -> None:
        ours, theirs = (self._history(side, path) for side in (0, 1))
        for version in sorted(ours.keys() | theirs.keys()):
            self.compared["versions"] += 1
            one, other = ours.get(version), theirs.get(version)
            self._check("version", path, one, other, version)
            if one is not None and other is not None and not one["deleted"]:
                hashes = [self._hash(side, path, version) for side in (0, 1)]
                self._check("contents", path, hashes[0], hashes[1], version)

    def _hash(self, side: int, path: str, version: int) -> str:
        """The SHA-256 of a version's bytes, as they are read."""
        digest, client = sha256(), self._clients[side]
        try:
            download = self._call(side, "file.get", path=path, version=version)
            for chunk in client.chunks(download):
                digest.update(chunk)
                self.compared["bytes"] += len(chunk) if side == 0 else 0
        except FastioError as e:
            return f"{e.code}: {e.message}"
        return digest.hexdigest()

    def _call(self, side: int, operation: str, **params: object) -> Any:
        return self._clients[side].call(operation, params, workspace=self._names[side])

    def _list(self, side: int, operation: str, **params: object) -> Iterator[Any]:
        yield from _pages(self._clients[side], operation, self._names[side], **params)

    def _history(self, side: int, path: str) -> dict[int, Any]:
        """The kept versions of a path by their numbers: none where nothing ever was."""
        try:
            history = self._list(side, "object.history", path=path)
            return {version["version"]: version for version in history}
        except FastioError as e:
            if e.code != "not_found":
                raise
            return {}

    def _check(
        self, what: str, path: str | None, ours: object, theirs: object, version: int | None = None
    ) -> None:
        if ours != theirs:
            self._differ(what, path, ours, theirs, version)

    def _differ(
        self, what: str, path: str | None, ours: object, theirs: object, version: int | None = None
    ) -> None:
        self.count += 1
        if len(self.differences) < DIFFERENCES_MAX:
            self.differences.append(
                {
                    "workspace": self._names[0],
                    "path": path,
                    "version": version,
                    "what": what,
                    "first": ours,
                    "second": theirs,
                }
            )


def _pages(client: Client, operation: str, workspace: str, **params: object) -> Iterator[Any]:
    """The items of all pages of a list."""
    cursor: str | None = ""
    while cursor is not None:
        page = client.call(
            operation, {**params, "cursor": cursor, "limit": PAGE}, workspace=workspace
        )
        yield from page["items"]
        cursor = page["next_cursor"]
