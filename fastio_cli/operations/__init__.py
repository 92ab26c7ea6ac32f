"""The catalogue: everything fastio can do, one module per noun. To learn fastio, read this folder.

Modules are imported when an operation of theirs is first asked for.
"""

import os
from importlib import import_module

from fastio_cli.errors import FastioError
from fastio_cli.operations.operation import CATALOGUE, Operation

# The operations on a "note" are in notes.py; here are the words that have no plural, or no file.
MODULES = {
    "access": "tokens",
    "account": "logins",
    "audit": "events",
    "index": "search",
    "search": "search",
    "state": "state",
    "transfer": "org_transfers",
}


def find(name: str) -> Operation:
    """The operation of this name. Raises ``not_found`` with the nearest names as hint."""
    operation = CATALOGUE.get(name)
    if operation is not None:
        return operation
    noun = name.partition(".")[0]
    module = MODULES.get(noun, f"{noun}s")
    if module in _modules():
        import_module(f"{__name__}.{module}")
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
    for module in _modules():
        import_module(f"{__name__}.{module}")
    return [CATALOGUE[name] for name in sorted(CATALOGUE)]


def _modules() -> list[str]:
    """The names of the modules in this folder."""
    files = os.listdir(__path__[0])
    return sorted(f[:-3] for f in files if f.endswith(".py") and f != "__init__.py")
