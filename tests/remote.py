"""Stores behind a server: each as another backend of the contract, over a real socket."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn

from fastio_cli.client.remote import Remote
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.identity import digest_of, new_token
from fastio_cli.operations.types import ACTOR_RULE
from fastio_cli.server.app import App

GRACE_S = 1.0  # for answers that are still on their way


class _Prompt(uvicorn.Server):
    """uvicorn's server, which ends when it is told to and not some tenths of a second later."""

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        self._told = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        await super().serve(sockets)

    async def main_loop(self) -> None:
        await self.on_tick(0)  # sets the headers that every answer has
        await self._told.wait()

    def end(self) -> None:
        """Called from another thread."""
        self._loop.call_soon_threadsafe(self._told.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for server in self.servers:
            server.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        deadline = self._loop.time() + GRACE_S
        while self.server_state.connections or self.server_state.tasks:
            if self._loop.time() > deadline:
                for task in self.server_state.tasks:
                    task.cancel()
                break
            await asyncio.sleep(0.002)
        for server in self.servers:  # a connection counts until its transport is closed
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(server.wait_closed(), GRACE_S)
        await self.lifespan.shutdown()


def make_token(engine: Engine, member: str, role: str = "owner", org: str = "") -> str:
    """A token made behind the engine's back, so that no event tells of it."""
    token = new_token()

    def make(tx: Any) -> None:
        tx.members.put(org, member, 0, role, tx.now_ms)
        tx.tokens.add(
            id=os.urandom(4).hex(),
            digest=digest_of(token),
            org=org,
            member=member,
            label="test",
            role=role,
            scopes='["*"]',
            workspace_id=None,
            created_by="test",
            expires_at=None,
            now_ms=tx.now_ms,
        )

    engine.store.write(make)
    return token


class Running:
    """A server on a free port, in a thread of this process; ``front`` stands before its app."""

    def __init__(
        self,
        engine: Engine,
        connections_max: int | None = None,
        grace_s: int | None = 1,
        port: int = 0,
        front: Callable[[App], Any] = lambda app: app,
        **options: Any,
    ) -> None:
        self.engine = engine
        self.app = App(engine, rate_per_s=1_000_000, **options)
        self.socket = socket.create_server(("127.0.0.1", port))
        self.url = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        config = uvicorn.Config(
            front(self.app),
            http="fastio_cli.server.protocol:Protocol",
            loop="asyncio",
            ws="none",
            lifespan="on",
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            limit_concurrency=connections_max,
            timeout_graceful_shutdown=grace_s,
        )
        self.server = _Prompt(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self.server.started:
            assert self._thread.is_alive(), "the server did not start"
            time.sleep(0.002)

    def _run(self) -> None:
        asyncio.run(self.server.serve(sockets=[self.socket]))

    def token(self, member: str, role: str = "owner", org: str = "") -> str:
        return make_token(self.engine, member, role, org)

    def stop(self) -> None:
        self.server.end()
        self._thread.join(30)
        assert not self._thread.is_alive(), "the server did not stop"
        self.socket.close()


class ActingRemote:
    """A remote engine that acts as whoever a call names, each with a token of their own.

    ``tokens`` are those that were made for the same store before.
    """

    def __init__(self, server: Running, tokens: dict[str, str] | None = None) -> None:
        self.server = server
        self._tokens = {} if tokens is None else tokens
        self.store = self  # what the fixtures close
        self._remotes: dict[str, Remote] = {}

    def call(self, name: str, params: Any = None, *, actor: str = "", **options: Any) -> Any:
        return self.acting(actor).call(name, params, **options)

    def upload(self, stream: Any) -> Any:
        return self.acting("ada").upload(stream)

    def chunks(self, download: Any) -> Any:
        return self.acting("ada").chunks(download)

    def acting(self, actor: str) -> Remote:
        ACTOR_RULE.check(actor, "actor")
        if actor not in self._remotes:
            if actor not in self._tokens:
                self._tokens[actor] = self.server.token(actor)
            self._remotes[actor] = Remote(self.server.url, self._tokens[actor], retry_s=2)
        return self._remotes[actor]

    def close(self) -> None:
        for remote in self._remotes.values():
            remote.close()
        self.server.stop()
        self.server.engine.store.close()


def behind_server(backend: type) -> type:
    """The same backend, reached through a server."""

    class Behind(backend):  # type: ignore[misc]
        def open(self, clock: Callable[[], float] = time.time, limits: Limits | None = None) -> Any:
            tokens = self.__dict__.setdefault("tokens", {})
            return ActingRemote(Running(super().open(clock, limits)), tokens)

    return Behind
