"""How a method of the SDK becomes a call: what the generated classes are made on."""

from __future__ import annotations

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from fastio_cli.engine.client import Client, PreparedCall
    from fastio_cli.sdk.files import Download, Source


class Connection:
    """The client of a store, shared by all objects of it until the store is closed."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._is_closed = False

    @property
    def client(self) -> Client:
        """The client. Raises ``invalid`` once it is closed."""
        if self._is_closed:
            raise FastioError("invalid", "The store is closed.", "Open it again with connect.")
        return self._client

    def close(self) -> None:
        """Close the client; once more changes nothing."""
        self._is_closed = True
        self._client.close()


class Caller:
    """Calls operations in one workspace, as one actor.

    ``lock_tokens`` are those of the leases that are held, by path: a call that changes such a path
    is lent the token unless it brings one.
    """

    def __init__(self, connection: Connection, workspace: str, actor: str) -> None:
        self.connection = connection
        self.workspace = workspace
        self.actor = actor
        self.lock_tokens: dict[str, str] = {}

    @property
    def client(self) -> Client:
        """What runs the calls. Raises ``invalid`` once the store is closed."""
        return self.connection.client

    def call(
        self,
        name: str,
        params: dict[str, object],
        idempotency_key: str | None = None,
        on_chunk: Callable[[str], None] | None = None,
    ) -> Any:
        """Do an operation and return what it answers."""
        self._lend(params, "path" if "path" in params else "to", "lock_token")
        self._lend(params, "to", "to_lock_token")
        client = self.client
        call = client.prepare(name, params, self.workspace, self.actor, idempotency_key)
        call.on_chunk = on_chunk
        return client.run(call)

    def upload(
        self, name: str, params: dict[str, object], source: Source, idempotency_key: str | None
    ) -> Any:
        """Do an operation whose parameter ``content`` is the bytes of a source."""
        from fastio_cli.sdk.files import upload

        content = upload(self.client, source)
        try:
            return self.call(name, {**params, "content": content}, idempotency_key)
        finally:
            if content is not source:
                content.close()

    def prepare(self, name: str, params: dict[str, object]) -> PreparedCall:
        """A call checked and ready to run."""
        return self.client.prepare(name, params, self.workspace, self.actor)

    def lock_token_for(self, path: str) -> str | None:
        """The token of a lease that is held on a path, or on a folder of it."""
        if not self.lock_tokens:
            return None
        from fastio_cli.operations.lock_tokens import covering_paths

        tokens = self.lock_tokens
        return next((tokens[held] for held in covering_paths(path) if held in tokens), None)

    def _lend(self, params: dict[str, object], path: str, token: str) -> None:
        if params.get(token, "") is None:
            params[token] = self.lock_token_for(str(params.get(path, "")))


class Operations:
    """The methods of one noun."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    def _call(
        self,
        name: str,
        /,
        idempotency_key: str | None = None,
        on_chunk: Callable[[str], None] | None = None,
        **params: object,
    ) -> Any:
        return self._caller.call(name, params, idempotency_key, on_chunk)

    def _upload(
        self, name: str, /, *, content: Source, idempotency_key: str | None, **params: object
    ) -> Any:
        return self._caller.upload(name, params, content, idempotency_key)

    def _download(self, name: str, /, **params: object) -> Download:
        from fastio_cli.sdk.files import Download

        return Download(self._caller.client, self._caller.call(name, params))

    def _items(self, name: str, /, **params: object) -> Iterator[Any]:
        """The items of all pages of a list."""
        cursor: str | None = ""
        while cursor is not None:
            page = self._caller.call(name, {**params, "cursor": cursor})
            yield from page["items"]
            cursor = page["next_cursor"]


class Recorder:
    """Collects changes, to be made together."""

    def __init__(self) -> None:
        self._changes: list[dict[str, object]] = []

    def _add(self, verb: str, /, **params: object) -> None:
        given = {name: value for name, value in params.items() if value is not None}
        self._changes.append({"op": verb, **given})
