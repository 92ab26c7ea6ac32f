"""The commands that ``fastio state`` and ``fastio file`` have in common."""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Opt, command
from fastio_cli.cli.framework.listing import show_list
from fastio_cli.cli.framework.options import (
    ALL,
    CURSOR,
    IF_VERSION,
    KEY,
    LIMIT,
    LOCK_TOKEN,
    PATH,
    VERSION,
    given,
)
from fastio_cli.cli.framework.values import integer
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

PATHS = Arg("path", "Paths of objects, or fio://workspace/path", many=True, complete="path")
FROM = Opt(
    "--from",
    name="from_version",  # "from" cannot be a parameter in Python
    help="The older version (default: the one before)",
    metavar="N",
    convert=integer,
)
TO = Opt(
    "--to",
    name="to_version",
    help="The newer version (default: the newest)",
    metavar="N",
    convert=integer,
)


def register_common(noun: str) -> None:
    """Register the commands that are the same for ``state`` and ``file``."""
    change = (IF_VERSION, LOCK_TOKEN, KEY)
    command(f"{noun} history", PATH, LIMIT, CURSOR, ALL, op="object.history")(history)
    command(f"{noun} diff", PATH, FROM, TO, op="object.diff")(diff)
    command(f"{noun} restore", PATH, VERSION, *change, op="object.restore")(restore)
    command(f"{noun} delete", PATHS, *change, op="object.delete", fields=("error",))(delete)


def list_objects(cli: Session, kind: str | None, **params: object) -> None:
    columns = "path,kind,version,size_bytes,author,updated_at"
    show_list(cli, "object.list", {"kind": kind, **params}, columns=columns, essential="path")


def history(cli: Session, **params: object) -> None:
    columns = "version,change,size_bytes,author,at,etag"
    show_list(cli, "object.history", params, columns=columns, essential="version")


def diff(cli: Session, **params: object) -> None:
    diff = cli.call("object.diff", **given(**params))
    if cli.out.format in ("json", "jsonl", "csv") or not cli.out.is_whole:
        cli.out.record(diff, essential="text")
    elif diff["text"]:
        cli.out.line(diff["text"])


def restore(cli: Session, **params: object) -> None:
    cli.out.record(cli.call("object.restore", **params), essential="version")


def delete(cli: Session, path: list[str], **params: object) -> None:
    """Each of many is deleted by itself: one that is refused does not stop the others."""
    if len(path) == 1:
        cli.out.record(cli.call("object.delete", path=path[0], **params), essential="version")
        return
    from fastio_cli.cli.framework.outcomes import Outcomes

    if params["if_version"] is not None or params["idempotency_key"] is not None:
        raise FastioError("invalid", "--if-version and --idempotency-key are for a single object.")
    outcomes = Outcomes(cli.out, "deleted")
    outcomes.each(
        ({"path": p} for p in path), lambda one: cli.call("object.delete", **one, **params)
    )
    outcomes.finish("path,version", "path")
