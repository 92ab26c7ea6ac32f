"""fastio mcp"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Flag, Opt, command
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


@command(
    "mcp",
    Opt(
        "--tools",
        help="Tools to show: core, all, memory, or a noun (default: core)",
        metavar="NAME",
    ),
    Flag("--read-only", help="Show no tool that changes anything"),
    Flag("--forget", help="Do not offer the version last read as if_version"),
    Opt(
        "--import-memory",
        help="First add what a memory server kept in this file of JSON lines",
        metavar="FILE",
        complete="file",
    ),
    help="Speak the Model Context Protocol with an agent, over stdin and stdout.",
)
def mcp(
    cli: Session, tools: str | None, read_only: bool, forget: bool, import_memory: str | None
) -> None:
    """Agents start it themselves, on the store that the settings name: nothing else has to run.

    Example:
    fastio mcp --tools all --read-only
    """
    try:
        from fastio_cli.mcp.profiles import profile
        from fastio_cli.mcp.stdio import Options, serve
    except ImportError:
        raise FastioError(
            "unavailable",
            "The Model Context Protocol is not installed.",
            "Install it: pip install 'fastio-durable[mcp]'",
        ) from None
    options = Options(
        profile(tools or "core", is_read_only=read_only),
        cli.workspace,
        cli.config.actor(),
        remembers=not forget,
        graph=None if import_memory is None else _text_of(import_memory),
    )
    serve(cli.engine, options)


def _text_of(file: str) -> str:
    try:
        with open(file, encoding="utf-8-sig") as f:
            return f.read()
    except (OSError, UnicodeDecodeError) as e:
        raise FastioError("invalid", f"{file} cannot be read: {e}.", "Name a JSONL file.") from None
