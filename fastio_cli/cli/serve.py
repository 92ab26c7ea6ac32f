"""fastio serve"""

from __future__ import annotations

import os

from fastio_cli.cli.framework.command import Flag, Opt, command
from fastio_cli.cli.framework.values import file_name, integer
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session
    from fastio_cli.engine.engine import Engine
    from fastio_cli.server.app import Surface

FILE = "FILE"


@command(
    "serve",
    Opt("--host", help="Address to listen on (default: 127.0.0.1)", metavar="ADDRESS"),
    Opt("--port", help="Port to listen on (default: 8787)", metavar="N", convert=integer),
    Opt("--workers", help="Processes (default: 1)", metavar="N", convert=integer),
    Opt(
        "--tls-certificate",
        help="PEM file with the certificate",
        metavar=FILE,
        convert=file_name,
        complete="file",
    ),
    Opt(
        "--tls-key",
        help="PEM file with its key",
        metavar=FILE,
        convert=file_name,
        complete="file",
    ),
    Opt(
        "--behind-proxy",
        help="Clients come through N proxies that encrypt and say who the client is",
        metavar="N",
        convert=integer,
    ),
    Flag("--no-access-log", help="Do not write a line for every request"),
    help="Turn this store into a service for a team.",
)
def serve(cli: Session, no_access_log: bool, **params: object) -> None:
    """The first time it prints the owner's token, once; with it: fastio login http://HOST:PORT

    Example:
    fastio serve --port 8787
    """
    try:
        from fastio_cli.server import run as server
    except ImportError:
        raise FastioError(
            "unavailable",
            "The server is not installed.",
            "Install it: pip install 'fastio-durable[server]'",
        ) from None
    from fastio_cli.cli.framework.options import given

    options = server.Options(**given(**params), access_log=not no_access_log)
    engine = cli.local_engine()
    if cli.config.blobs() is not None:
        engine.blobs.check_place()
    known = server.has_token(engine)
    server.check_address(options, known)
    scheme = "https" if options.tls_certificate else "http"
    url = f"{scheme}://{options.host}:{options.port}"
    if not known:
        token = server.first_token(engine, cli.config.actor())
        cli.out.note(f"The owner's token, shown this once:\n{token}\nLog in: fastio login {url}")
    cli.out.note(f"Serving at {url}. Stop with Ctrl-C.")
    # Further processes read the same choices.
    os.environ["FASTIO_STORE"] = cli.config.store()
    server.serve(engine, options, surfaces(engine))


def worker() -> object:
    """The application of one of several processes; the settings come from the environment."""
    from fastio_cli.cli.framework.session import Session
    from fastio_cli.server.run import Options, application

    options = Options(
        access_log=os.environ.get("FASTIO_SERVER_LOG") != "off",
        behind_proxy=int(os.environ.get("FASTIO_SERVER_PROXIES", "0")),
    )
    engine = Session({}).local_engine()
    return application(engine, options, surfaces(engine))


def surfaces(engine: Engine) -> list[Surface]:
    """What the server offers besides the catalogue, as far as its extras are installed."""
    try:
        from fastio_cli.mcp.http import McpSurface
    except ImportError:
        return []
    return [McpSurface(engine)]
