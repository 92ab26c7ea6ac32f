"""fastio: durable, shared state for agents.

Use it as a command (``fastio``), or from Python through :class:`fastio_cli.engine.engine.Engine`.
"""

__version__ = "0.1.0"
__released__ = "2026-11-22"
