"""Starting the server: what it may bind to, its first token, its processes."""

from __future__ import annotations

import ipaddress
import os
import signal
import sys
import tempfile
from contextlib import contextmanager, nullcontext

from fastio_cli.errors import FastioError
from fastio_cli.server.access_log import AccessLog
from fastio_cli.server.app import App
from fastio_cli.server.metrics import SHARED

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from fastio_cli.engine.engine import Engine
    from fastio_cli.server.app import Surface

CONNECTIONS_MAX = 10_000
FILES_OWN = 256  # what is open besides connections: the store, bodies on their way
# How long a thread that runs Python may keep the event loop waiting. With the interpreter's 5 ms an
# index being built made a request, which waits some ten times for the interpreter, take 90 ms.
SWITCH_INTERVAL_S = 0.0001
PORT_MAX = 65_535
WORKERS_MAX = 64
PROXIES_MAX = 16
GRACE_S = 5  # for requests under way when the server is told to stop
KEEP_ALIVE_S = 75


class Options:
    """How to serve. ``behind_proxy``: through how many proxies clients come."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 8787,
        workers: int = 1,
        tls_certificate: str | None = None,
        tls_key: str | None = None,
        behind_proxy: int = 0,
        access_log: bool = True,
    ) -> None:
        self.host = host
        self.port = port
        self.workers = workers
        self.tls_certificate = tls_certificate
        self.tls_key = tls_key
        self.behind_proxy = behind_proxy
        self.access_log = access_log


def check_address(options: Options, has_token: bool) -> None:
    """Refuse what cannot be listened on, and to be reached from elsewhere without encryption or
    without a token."""
    if not 1 <= options.port <= PORT_MAX:
        raise FastioError("invalid", f"--port is from 1 to {PORT_MAX}, not {options.port}.")
    if not 1 <= options.workers <= WORKERS_MAX:
        raise FastioError("invalid", f"--workers is from 1 to {WORKERS_MAX}.")
    if not 0 <= options.behind_proxy <= PROXIES_MAX:
        raise FastioError(
            "invalid", f"--behind-proxy is the number of proxies, 1 to {PROXIES_MAX}."
        )
    if (options.tls_certificate is None) != (options.tls_key is None):
        raise FastioError("invalid", "--tls-certificate and --tls-key belong together.")
    for file in filter(None, (options.tls_certificate, options.tls_key)):
        if not os.access(file, os.R_OK):
            raise FastioError("invalid", f"{file} is no file that can be read.")
    if is_loopback(options.host):
        return
    if options.tls_certificate is None and not options.behind_proxy:
        raise FastioError(
            "invalid",
            f"{options.host} can be reached from elsewhere, and tokens would travel in the clear.",
            "Add --tls-certificate FILE --tls-key FILE, or --behind-proxy 1 if a proxy encrypts.",
        )
    if not has_token:
        raise FastioError(
            "invalid",
            f"{options.host} can be reached from elsewhere, but no token exists yet.",
            "Make one first: fastio token create NAME --role owner",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def has_token(engine: Engine) -> bool:
    """Whether somebody could log in."""
    return engine.store.read(lambda tx: tx.tokens.any_live(tx.now_ms))


def first_token(engine: Engine, actor: str) -> str:
    """Make the owner's token of a store that has none yet."""
    params = {"member": actor, "role": "owner", "label": "first token"}
    token: str = engine.call("token.create", params, actor=actor)["token"]
    return token


def serve(engine: Engine, options: Options, surfaces: Sequence[Surface] = ()) -> None:
    """Serve until a signal says stop. Raises ``unavailable`` when the port is taken."""
    import uvicorn

    files_max = _allow_files()
    # Several processes cannot be handed the engine: each opens the store again, by environment.
    several = options.workers > 1
    app: Any = "fastio_cli.cli.serve:worker" if several else application(engine, options, surfaces)
    # uvicorn stops gracefully and then raises the signal again; being told to stop is no failure.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: None)
    # The threads of a server are many already: those of numpy would wait for them, spinning.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ["FASTIO_SERVER_LOG"] = "on" if options.access_log else "off"
    os.environ["FASTIO_SERVER_PROXIES"] = str(options.behind_proxy)
    try:
        with _shared_metrics() if several else nullcontext():
            uvicorn.run(
                app,
                factory=several,
                host=options.host,
                port=options.port,
                workers=options.workers,
                http="fastio_cli.server.protocol:Protocol",
                loop="uvloop",
                ws="none",
                lifespan="on",
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=True,
                proxy_headers=False,
                limit_concurrency=min(CONNECTIONS_MAX, files_max - FILES_OWN),
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=GRACE_S,
                ssl_certfile=options.tls_certificate,
                ssl_keyfile=options.tls_key,
            )
        if not several and not app.is_over:
            # A thread of it works on: it would be waited for, or use the store while that is
            # closed. What was acknowledged is durable.
            sys.stderr.flush()
            os._exit(0)
    except SystemExit as e:
        if e.code not in (0, None):
            raise FastioError(
                "unavailable",
                f"The server could not start on {options.host}:{options.port}.",
                "Is the port taken? Choose another: fastio serve --port 8788",
            ) from None


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """A folder for the processes to come, in which each counts where all can read it."""
    with tempfile.TemporaryDirectory(prefix="fastio-metrics-") as folder:
        os.environ[SHARED] = folder
        yield


def _allow_files() -> int:
    """As many open files as the system lets this process have; how many."""
    try:
        import resource
    except ImportError:  # Windows
        return CONNECTIONS_MAX + FILES_OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + FILES_OWN
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return max(wanted, 2 * FILES_OWN)


def application(engine: Engine, options: Options, surfaces: Sequence[Surface] = ()) -> App:
    """The ASGI application that a process serves, with the jobs that run while it does.

    Raises ``invalid`` when the settings for requests to elsewhere are wrong.
    """
    from fastio_cli.config.sources import Config
    from fastio_cli.jobs.kinds import runner_thread

    config = Config()
    rate_per_s = config.number("rate_per_s")
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    log = AccessLog(sys.stderr) if options.access_log else None
    jobs = runner_thread(engine, config)
    return App(
        engine,
        rate_per_s=rate_per_s,
        access_log=log,
        jobs=jobs,
        behind_proxy=options.behind_proxy,
        surfaces=surfaces,
    )
