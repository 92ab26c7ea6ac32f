"""The catalogue: everything fastio can do, one module per noun. To learn fastio, read this folder.

Modules are imported when an operation of theirs is first asked for.
"""

from importlib import import_module

from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import CATALOGUE, Operation

MODULES = {
    "workspace": "workspaces",
    "object": "objects",
    "state": "state",
    "file": "files",
    "lock": "locks",
    "event": "events",
    "audit": "events",
    "org": "orgs",
    "member": "members",
    "token": "tokens",
    "transfer": "org_transfers",
    "access": "tokens",
    "account": "logins",
    "search": "search",
    "index": "search",
    "import": "imports",
    "job": "jobs",
}


def find(name: str) -> Operation:
    """The operation of this name. Raises ``not_found`` with the nearest names as hint."""
    operation = CATALOGUE.get(name)
    if operation is not None:
        return operation
    module = MODULES.get(name.partition(".")[0])
    if module is not None:
        import_module(f"fastio_cli.operations.{module}")
    operation = CATALOGUE.get(name)
    if operation is None:
        from difflib import get_close_matches

        near = get_close_matches(name, [op.name for op in every()], 3)
        raise FastioError(
            "not_found",
            f"There is no operation {name!r}.",
            f"Did you mean: {', '.join(near)}?" if near else "See them all: fastio help --json",
        )
    return operation


def every() -> list[Operation]:
    """The whole catalogue, by name."""
    for module in set(MODULES.values()):
        import_module(f"fastio_cli.operations.{module}")
    return [CATALOGUE[name] for name in sorted(CATALOGUE)]
