"""Running imports in a test: a store, the settings, and a runner that works until all is over."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.config.sources import Config
from fastio_cli.engine.engine import Engine
from fastio_cli.jobs.imports import Imports
from fastio_cli.jobs.runner import JobRunner
from fastio_cli.storage.sqlite.store import SqliteStore

DEADLINE_S = 60.0
QUICK = {"import_retry_ms": "1", "egress_allow": "127.0.0.1", "import_stall_s": "5"}


class Importing:
    """A store in a folder; ``settings`` are those of the configuration, as text."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.clock: Callable[[], float] = time.time
        self.tokens: dict[str, str] = {}
        self.settings(**settings)
        store = SqliteStore(str(folder), clock=lambda: self.clock())
        blobs, key_file = BlobStore(str(folder / "blobs")), str(folder / "secret.key")
        self.engine = Engine(store, blobs, Limits(), key_file=lambda: key_file)

    def settings(self, **settings: str) -> None:
        given = {**QUICK, **settings}
        environ = {f"FASTIO_{name.upper()}": value for name, value in given.items()}
        home = {"XDG_CONFIG_HOME": str(self.folder / "config"), "XDG_DATA_HOME": str(self.folder)}
        self.config = Config(environ={**environ, **home}, cwd=str(self.folder.parent))

    def call(self, operation: str, /, **params: Any) -> Any:
        return self.engine.call(operation, params, actor="ada")

    def queue(self, *urls: str, **params: Any) -> list[int]:
        return [i["id"] for i in self.call("import.create", urls=list(urls), **params)["items"]]

    def runner(self, actor: str | None = None) -> JobRunner:
        imports = Imports(self.engine, self.config, lambda row: self.tokens.get)
        return JobRunner(self.engine, [imports], actor)

    def work(self, *ids: int) -> list[Any]:
        """Work until these imports are over; their records."""
        runner = self.runner()
        deadline = time.monotonic() + DEADLINE_S
        try:
            while any(self.show(id)["state"] in ("queued", "running") for id in ids):
                assert time.monotonic() < deadline, [self.show(id) for id in ids]
                runner.step()
        finally:
            runner.close()
        return [self.show(id) for id in ids]

    def run(self, *urls: str, **params: Any) -> Any:
        """Import and give the record, or the records."""
        records = self.work(*self.queue(*urls, **params))
        return records[0] if len(urls) == 1 else records

    def show(self, id: int) -> Any:
        return self.call("import.show", id=id)

    def bytes(self, path: str) -> bytes:
        return b"".join(self.engine.chunks(self.call("file.get", path=path)))

    def paths(self) -> list[str]:
        return [o["path"] for o in self.call("object.list", limit=1000)["items"]]

    def leftovers(self) -> list[str]:
        """Files of transfers that are still, or for ever, in the making."""
        found = []
        for name in ("partial", "tmp"):
            folder = self.folder / "blobs" / name
            found += [f.name for f in folder.iterdir()] if folder.exists() else []
        return found
