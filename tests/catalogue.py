"""A well-formed request for any operation, built from what the catalogue says of it."""

from __future__ import annotations

from typing import Any

from fastio_cli.client.requests import expand_route
from fastio_cli.operations.operation import Operation
from fastio_cli.server import examples

VALUES = {  # where the example would be refused, or would end what others test
    "name": "someone",
    "changes": [{"op": "delete", "path": "plan.json"}],
    "role": "viewer",
    "claim": "claim_none",
    "id": "none",
    "urls": ["https://example.org/a"],
}


def request_of(operation: Operation, workspace: str = "default") -> tuple[str, str, dict[str, Any]]:
    """A well-formed request for any operation: method, path and options for httpx."""
    names = [name for name in operation.rules if name not in operation.defaults]
    params = {
        name: VALUES[name] if name in VALUES else examples.parameter(name, operation.rules[name])
        for name in names
        if name != "content"
    }
    if operation.in_workspace and "id" in params:
        params["id"] = 1
    if "timeout_s" in operation.rules:
        params["timeout_s"] = 0
    path = expand_route(operation, params, workspace)
    headers: dict[str, Any] = {}
    if "lock_token" in params:
        headers["lock-token"] = params.pop("lock_token")
    if "content" in names:
        return operation.method, path, {"content": b"bytes", "headers": headers}
    if operation.method in ("GET", "DELETE"):
        return operation.method, path, {"params": params, "headers": headers}
    return operation.method, path, {"json": params, "headers": headers}
