"""A workspace as a Python object: its operations by noun, and what makes them comfortable."""

from __future__ import annotations

import os

from fastio_cli.errors import NotFound, VersionConflict
from fastio_cli.sdk import generated
from fastio_cli.sdk.calls import Caller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, BinaryIO

    from fastio_cli import model
    from fastio_cli.sdk.calls import Connection
    from fastio_cli.sdk.lease import Lease

NO_DEFAULT = object()
ATTEMPTS_MAX = 20


class State(generated.State):
    """Operations on state objects."""

    def get(
        self,
        path: str,
        *,
        default: object = NO_DEFAULT,
        at: str | None = None,
        query: str | None = None,
        version: int | None = None,
    ) -> model.StateDoc:
        """Read one state object, whole or a part of it.

        ``at`` is a JSON Pointer (RFC 6901), ``query`` a JMESPath expression over what it points to.
        Where nothing is found, ``default`` is the value of an object of version 0; without one it
        raises ``NotFound``. A write with ``if_version=0`` succeeds only where still nothing is.
        """
        try:
            return super().get(path, at=at, query=query, version=version)
        except NotFound:
            if default is NO_DEFAULT:
                raise
            return {"path": path, "version": 0, "etag": "", "value": default}

    def value(self, path: str, default: object = NO_DEFAULT, *, at: str | None = None) -> Any:
        """The value of a state object alone."""
        return self.get(path, default=default, at=at)["value"]


class Files(generated.Files):
    """Operations on files."""

    def read(self, path: str, *, version: int | None = None) -> bytes:
        """All bytes of a file."""
        with self.get(path, version=version) as download:
            return download.readall()

    def open(self, path: str, *, version: int | None = None) -> BinaryIO:
        """A file, open for reading bytes, that loads them as they are read."""
        import io

        return io.BufferedReader(self.get(path, version=version))

    def save(
        self, path: str, target: str | os.PathLike[str], *, version: int | None = None
    ) -> model.Version:
        """Write the bytes of a file to a file of this machine, whole or not at all."""
        from fastio_cli.filesystem import write_whole

        with self.get(path, version=version) as download:
            write_whole(os.fspath(target), download)
            return download.record


class Workspace(generated.WorkspaceOperations):
    """One workspace of a store, in the name of one actor.

    Its attributes are the nouns, their methods the operations: ``workspace.state.set(...)``.
    """

    state: State
    files: Files

    def __init__(self, connection: Connection, name: str, actor: str) -> None:
        super().__init__(Caller(connection, name, actor))
        self.name = name
        self.actor = actor
        self.state = State(self._caller)
        self.files = Files(self._caller)

    def lock(self, path: str, *, ttl: float = 60, wait: float = 0, purpose: str = "") -> Lease:
        """Hold the lock on a path in a ``with`` block; see :class:`Lease`."""
        from fastio_cli.sdk.lease import Lease

        return Lease(self._caller, path, ttl, wait, purpose)

    def edit(self, path: str, *, default: object = NO_DEFAULT) -> Edit:
        """Change a state object in a ``with`` block, if nobody else did meanwhile.

        The block gets an :class:`Edit`, whose ``value`` is written when it is left, unless it is as
        it was or an error leaves the block. Raises ``VersionConflict`` on leaving when the object
        was changed meanwhile: a block cannot be run again. ``update`` can.
        """
        return Edit(self.state, path, default)

    def update(
        self,
        path: str,
        change: Callable[[Any], object],
        *,
        default: object = NO_DEFAULT,
        attempts_max: int = ATTEMPTS_MAX,
    ) -> model.Object:
        """Write what ``change`` makes of an object's value, again while others change it.

        ``change`` is given the value, a copy of its own, and returns the new one; it may be called
        several times. Nothing is written if the value is as it was. Raises ``VersionConflict``
        after ``attempts_max`` attempts.
        """
        for _ in range(attempts_max - 1):
            try:
                return self._update_once(path, change, default)
            except VersionConflict:
                continue
        return self._update_once(path, change, default)

    def _update_once(
        self, path: str, change: Callable[[Any], object], default: object
    ) -> model.Object:
        doc = self.state.get(path, default=_copied(default))
        before = _encoded(doc["value"])
        value = change(doc["value"])
        if doc["version"] and _encoded(value) == before:
            return self.objects.info(path)
        return self.state.set(path, value, if_version=doc["version"])

    def transaction(self) -> Transaction:
        """Collect changes in a ``with`` block, which are made together when it is left."""
        return Transaction(self._caller)

    def watch(
        self,
        *,
        after: int | None = None,
        timeout: float | None = None,
        type: str | None = None,
        path: str | None = None,
        by: str | None = None,
    ) -> Iterator[model.Event]:
        """Iterate over the events of the workspace as they happen.

        Begins after the event ``after``, without it now; ends after ``timeout`` seconds, without it
        never. ``type``, ``path`` and ``by`` are patterns, as of ``events.list``.
        """
        filters = {"type": type, "path": path, "by": by}
        given = {name: value for name, value in filters.items() if value is not None}
        return self._caller.client.watch(self.name, after=after, timeout_s=timeout, **given)


class Edit:
    """A state object that is being changed; ``value`` is to be changed or replaced.

    ``edit[key]`` is short for ``edit.value[key]``. ``result`` is the object once it is written,
    None before, and where nothing was changed.
    """

    def __init__(self, state: State, path: str, default: object) -> None:
        self.path = path
        self.value: Any = None
        self.version = 0
        self.result: model.Object | None = None
        self._state = state
        self._default = default
        self._before = b""

    def __enter__(self) -> Edit:
        doc = self._state.get(self.path, default=_copied(self._default))
        self.value, self.version = doc["value"], doc["version"]
        self._before = _encoded(self.value)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None and (self.version == 0 or _encoded(self.value) != self._before):
            self.result = self._state.set(self.path, self.value, if_version=self.version)

    def __getitem__(self, key: Any) -> Any:
        return self.value[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        self.value[key] = value

    def __delitem__(self, key: Any) -> None:
        del self.value[key]

    def __contains__(self, key: object) -> bool:
        return key in self.value


class Transaction(generated.Changes):
    """Changes of state objects that are made all or none; ``result`` is there afterwards."""

    def __init__(self, caller: Caller) -> None:
        super().__init__()
        self._caller = caller
        self.result: model.Transaction | None = None

    def __enter__(self) -> Transaction:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None or not self._changes:
            return
        for change in self._changes:
            token = self._caller.lock_token_for(str(change["path"]))
            if token is not None:
                change.setdefault("lock_token", token)
        self.result = self._caller.call("state.transact", {"changes": self._changes})


def _copied(default: object) -> object:
    """A default that may be changed without changing the caller's."""
    import copy

    return default if default is NO_DEFAULT else copy.deepcopy(default)


def _encoded(value: object) -> bytes:
    from fastio_cli.json_text import canonical

    return canonical(value)
