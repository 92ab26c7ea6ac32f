"""fastio: durable, shared state for agents.

Use it as a command (``fastio``), or from Python::

    from fastio_cli import connect

    with connect("state") as store:
        plan = store.workspace("default", actor="planner")
        plan.state.set("plan.json", {"step": 1})
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.sdk.asynchronous import AsyncStore, aconnect
    from fastio_cli.sdk.store import Store, connect
    from fastio_cli.version import __version__

    __all__ = ["AsyncStore", "Store", "__version__", "aconnect", "connect"]

_LAZY = {
    "connect": "sdk.store",
    "Store": "sdk.store",
    "aconnect": "sdk.asynchronous",
    "AsyncStore": "sdk.asynchronous",
    "__version__": "version",
}


def __getattr__(name: str) -> object:
    """What Python programs import, loaded when they do: commands start without it."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"fastio_cli.{_LAZY[name]}"), name)
