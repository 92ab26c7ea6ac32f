"""Parameters that many commands share."""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt
from fastio_cli.cli.framework.values import integer, seconds, secret

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PATH = Arg("path", "Path of the object, or fio://workspace/path", complete="path")
PREFIX = Arg(
    "prefix", "Only paths that start with this, or match it if it has * or ?", required=False
)
IF_VERSION = Opt(
    "--if-version",
    help="Only if the object is at this version (0: does not exist)",
    metavar="N",
    convert=integer,
)
LOCK_TOKEN = Opt(
    "--lock-token",
    help="Token of the lock you hold; @FILE or - to read it (default: FASTIO_LOCK_TOKEN)",
    metavar="TOKEN",
    convert=secret,
)
KEY = Opt(
    "--idempotency-key",
    help="Repeating the command with this key changes nothing more, for a day",
    metavar="KEY",
)
VERSION = Opt("--version", help="This version instead of the newest", metavar="N", convert=integer)
ALL = Flag("--all", help="Every page, until the list ends")
LIMIT = Opt("--limit", help="At most this many (default: 50)", metavar="N", convert=integer)
CURSOR = Opt("--cursor", help="Continue where the last page ended", metavar="CURSOR")
STATE = Opt(
    "--state",
    help="Only those in this state",
    choices=("queued", "running", "done", "failed", "cancelled"),
)
YES = Flag("--yes", "-y", help="Do not ask")
TTL = Opt(
    "--ttl",
    help="Expires after (default: 60s)",
    metavar="DURATION",
    convert=seconds,
    param="ttl_s",
)
WAIT = Opt(
    "--wait", help="Wait for the lock, at most", metavar="DURATION", convert=seconds, param="wait_s"
)
IN_WORKSPACE = Opt(
    "--in-workspace", help="Only in this workspace", metavar="NAME", complete="workspace"
)
EXPIRES = Opt(
    "--expires",
    help="Expires after",
    metavar="DURATION",
    convert=seconds,
    param="ttl_s",
)


def given(**params: Any) -> dict[str, Any]:
    """The parameters that were given; the operation has defaults for the others."""
    return {name: value for name, value in params.items() if value is not None}
