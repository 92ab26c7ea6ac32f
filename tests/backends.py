"""The stores that the contract runs on, and the caller that the tests speak to them through.

A backend is a class that opens engines on one store. Another one is its class and its line in
:data:`BACKENDS`; ``missing`` says why it cannot run here, and then its tests are skipped loudly.
"""

from __future__ import annotations

import copy
import io
import re
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.operations import find
from fastio_cli.storage.sqlite.connection import FILE
from tests import postgres
from tests.engines import URL_FILE, open_engine
from tests.mcp_client import through_mcp
from tests.remote import behind_server
from tests.requirements import lacking
from tests.sdk import through_sdk

DEADLINE_S = 30.0


class Clock:
    """The store's time, moved by hand."""

    def __init__(self) -> None:
        self.now_s = time.time()

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        self.now_s += seconds


class Sqlite:
    """The embedded store, in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    @classmethod
    def made(cls, folder: Path) -> Any:
        """A store as good as new: what a test of anything but the making of stores takes."""
        return cls(folder)

    def give_back(self) -> None:
        """Nobody uses the store any more."""

    @staticmethod
    def missing() -> str | None:
        return None

    def open(
        self, clock: Callable[[], float] | None = None, limits: Limits | None = None
    ) -> Engine:
        return open_engine(self.folder, clock, limits)

    def tamper(self, sql: str, **params: object) -> int:
        """Change rows behind the store's back; how many."""
        with closing(sqlite3.connect(f"{self.folder}/{FILE}", timeout=10)) as db, db:
            return db.execute(sql, params).rowcount


class Postgres:
    """A PostgreSQL schema of its own; the folder holds its URL and the large bodies."""

    programs: Path | None = None  # those of the first server that there is

    def __init__(self, folder: Path, url: str | None = None) -> None:
        folder.mkdir()
        self.folder = str(folder)
        self.url = url or postgres.new_namespace(postgres.server_url(self.programs) or "")
        (folder / URL_FILE).write_text(self.url)

    @classmethod
    def made(cls, folder: Path) -> Any:
        return cls(folder, postgres.namespaces(postgres.server_url(cls.programs) or "").take())

    def give_back(self) -> None:
        postgres.namespaces(postgres.server_url(self.programs) or "").give_back(self.url)

    @staticmethod
    def missing() -> str | None:
        return None if postgres.version() else "no PostgreSQL server was found"

    def open(
        self, clock: Callable[[], float] | None = None, limits: Limits | None = None
    ) -> Engine:
        return open_engine(self.folder, clock, limits)

    def tamper(self, sql: str, **params: object) -> int:
        """Change rows behind the store's back; how many."""
        import psycopg

        with psycopg.connect(self.url) as c:
            c.execute("lock table workspaces in row share mode")  # as every writer does first
            return c.execute(re.sub(r":([a-z_][a-z0-9_]*)", r"%(\1)s", sql), params).rowcount


BACKENDS = {
    "sqlite": Sqlite,
    "remote-sqlite": behind_server(Sqlite),
    "postgres": Postgres,
    "remote-postgres": behind_server(Postgres),
}


class SecondPostgres(Postgres):
    """The same on a server of another major version."""

    programs = postgres.second()


# Where there is one, it keeps the whole contract too.
SECOND = {f"postgres-{postgres.version_of(p)}": SecondPostgres for p in [postgres.second()] if p}


# The Python SDK keeps the contract too.
SDK = {f"sdk-{name}": through_sdk(BACKENDS[name]) for name in ("sqlite", "remote-sqlite")}
# And so do the tools of the Model Context Protocol.
MCP = {"mcp-sqlite": through_mcp(Sqlite)}


def kind_of(name: str) -> Any:
    """A kind of store; one that cannot run here is skipped, and in CI a failure."""
    kind = {**BACKENDS, **SECOND, **SDK, **MCP}[name]
    reason = kind.missing()
    if reason is not None:
        lacking(f"backend {name} is missing: {reason}")
    return kind


@cache
def result_validator(name: str) -> Any:
    """What holds results to the schema that an operation states; None for one of bytes."""
    schema = copy.deepcopy(find(name).result_schema)
    if schema is None:
        return None
    for record in (schema, *schema.get("$defs", {}).values()):
        record["additionalProperties"] = False
    return jsonschema_rs.validator_for(schema, validate_formats=True)


class Caller:
    """Calls operations on one store; ``caller("state.get", path="a.json")``."""

    def __init__(self, backend: Any, engine: Engine) -> None:
        self.backend = backend
        self.engine = engine

    def __call__(
        self,
        operation: str,
        /,
        workspace: str = "default",
        actor: str = "ada",
        key: str | None = None,
        **params: Any,
    ) -> Any:
        result = self.engine.call(
            operation, params, workspace=workspace, actor=actor, idempotency_key=key
        )
        validator = result_validator(operation)
        if validator is not None:
            validator.validate(result)
        return result

    def refused(self, code: str, operation: str, /, **params: Any) -> FastioError:
        """The error of a call that has to fail with this code and to change nothing."""
        workspace = params.get("workspace", "default")
        before = self.snapshot(workspace)
        with pytest.raises(FastioError) as caught:
            self(operation, **params)
        assert caught.value.code == code, caught.value.message
        assert caught.value.message
        assert caught.value.hint
        assert self.snapshot(workspace) == before
        return caught.value

    @property
    def tells_commands(self) -> bool:
        """Whether hints are commands; otherwise they are tools."""
        return getattr(self.engine, "tells_commands", True)

    def suggests(self, error: FastioError, words: str, argument: str) -> bool:
        """Whether a hint says to run this command, or to call its tool."""
        if self.tells_commands:
            return f"fastio {words} {argument}" in error.hint
        return words.replace(" ", "_") in error.hint and repr(argument) in error.hint

    def snapshot(self, workspace: str = "default") -> Any:
        """What every change of a workspace moves, or None where there is none."""
        try:
            return self("workspace.show", workspace=workspace)
        except FastioError:
            return None

    def put(self, path: str, body: bytes, **params: Any) -> Any:
        """``file.put`` of these bytes."""
        return self("file.put", path=path, content=self.upload(body), **params)

    def append(self, path: str, body: bytes, **params: Any) -> Any:
        """``file.append`` of these bytes."""
        return self("file.append", path=path, content=self.upload(body), **params)

    def read(self, path: str, **params: Any) -> bytes:
        """The bytes that ``file.get`` answers with."""
        return b"".join(self.engine.chunks(self("file.get", path=path, **params)))

    def upload(self, body: bytes) -> Any:
        return self.engine.upload(io.BytesIO(body))

    def value(self, path: str, **params: Any) -> Any:
        """A state object's value."""
        return self("state.get", path=path, **params)["value"]

    def events(self, workspace: str = "default", **params: Any) -> list[dict[str, Any]]:
        """All events of a workspace."""
        items: list[dict[str, Any]] = self("event.list", workspace=workspace, limit=1000, **params)[
            "items"
        ]
        return items

    def last_event(self, workspace: str = "default") -> dict[str, Any]:
        return self.events(workspace)[-1]


class Background(threading.Thread):
    """A call that waits, made by another thread; ``result()`` is its answer or raises its error."""

    def __init__(self, call: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._call = call
        self._outcome: Any = None
        self.start()

    def run(self) -> None:
        try:
            self._outcome = self._call()
        except BaseException as e:
            self._outcome = e

    def result(self) -> Any:
        self.join(DEADLINE_S)
        assert not self.is_alive(), "the call did not come back"
        if isinstance(self._outcome, BaseException):
            raise self._outcome
        return self._outcome


def until(condition: Callable[[], Any]) -> Any:
    """Poll a condition until it holds; its value. Fails after a generous deadline."""
    deadline = time.monotonic() + DEADLINE_S
    while not (value := condition()):
        assert time.monotonic() < deadline, "the condition never came to hold"
        time.sleep(0.005)
    return value
