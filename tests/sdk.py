"""Stores that are called through the Python SDK: each as another backend of the contract."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from fastio_cli.blobs.content import Content
from fastio_cli.operations import find
from fastio_cli.operations.operation import Operation
from fastio_cli.sdk.generate import place
from fastio_cli.sdk.store import Store


class ThroughSdk:
    """An engine whose operations are called as methods of the SDK."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def call(
        self,
        name: str,
        params: dict[str, Any] | None = None,
        *,
        workspace: str = "default",
        actor: str = "",
        idempotency_key: str | None = None,
    ) -> Any:
        acting = getattr(self._engine, "acting", None)
        client = self._engine if acting is None else acting(actor)
        operation = find(name)
        owner: Any = Store(client, actor=actor)
        if operation.in_workspace:
            owner = owner.workspace(workspace)
        attribute, verb = place(operation)
        method = getattr(getattr(owner, attribute) if attribute else owner, verb)
        given = dict(params or {})
        if idempotency_key is not None:
            given["idempotency_key"] = idempotency_key
        if not _accepts(operation, method, given):
            return client.call(
                name,
                params,
                workspace=workspace,
                actor=actor,
                idempotency_key=idempotency_key,
            )
        return method(**given)

    def chunks(self, download: Any) -> Iterator[bytes]:
        return iter(download)


def _accepts(operation: Operation, method: Any, given: dict[str, Any]) -> bool:
    """Whether the method can be called so; what the contract says otherwise is of the port.

    Python itself refuses other parameters, and the SDK uploads more kinds of contents.
    """
    try:
        inspect.signature(method).bind(**given)
    except TypeError:
        return False
    content = operation.upload_param
    return content is None or isinstance(given[content], Content)


def through_sdk(backend: type) -> type:
    """The same backend, called through the SDK."""

    class Through(backend):  # type: ignore[misc]
        def open(self, *args: Any, **options: Any) -> Any:
            return ThroughSdk(super().open(*args, **options))

    return Through
