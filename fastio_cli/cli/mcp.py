"""fastio mcp"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Flag, Opt, command
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


@command(
    "mcp",
    Opt("--tools", help="Tools to show: core, all, or a noun (default: core)", metavar="NAME"),
    Flag("--read-only", help="Show no tool that changes anything"),
    Flag("--forget", help="Do not offer the version last read as if_version"),
    help="Speak the Model Context Protocol with an agent, over stdin and stdout.",
)
def mcp(cli: Session, tools: str | None, read_only: bool, forget: bool) -> None:
    """Agents start it themselves, on the store that the settings name: nothing else has to run.

    Example:
    fastio mcp --tools all --read-only
    """
    try:
        from fastio_cli.mcp.profiles import profile
        from fastio_cli.mcp.stdio import serve
    except ImportError:
        raise FastioError(
            "unavailable",
            "The Model Context Protocol is not installed.",
            "Install it: pip install 'fastio-durable[mcp]'",
        ) from None
    shown = profile(tools or "core", is_read_only=read_only)
    serve(cli.engine, shown, cli.workspace, cli.config.actor(), remembers=not forget)
