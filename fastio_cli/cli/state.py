"""fastio state"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.options import (
    CURSOR,
    IF_VERSION,
    KEY,
    LIMIT,
    LOCK_TOKEN,
    PATH,
    PREFIX,
    VERSION,
    given,
)
from fastio_cli.cli.framework.values import json_value, number, seconds
from fastio_cli.cli.objects import list_objects, register_common

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

VALUE = Arg("value", "JSON, or @FILE, or - for standard input", convert=json_value)
AT = Opt("--at", help="JSON Pointer into the document, as /steps/0", metavar="POINTER")
SCHEMA = Opt(
    "--schema",
    help="JSON Schema that every version has to satisfy: JSON, @FILE or -",
    metavar="JSON",
    convert=json_value,
)


@command(
    "state get",
    PATH,
    AT,
    Opt("--query", help="JMESPath expression, as log[-1]", metavar="EXPR"),
    VERSION,
    op="state.get",
)
def get(cli: Session, **params: object) -> None:
    """Examples:
    fastio state get plan.json
    fastio state get plan.json --at /step
    fastio state get plan.json --query 'log[-1]'
    """
    cli.out.document(cli.call("state.get", **params)["value"])


@command("state set", PATH, VALUE, AT, SCHEMA, IF_VERSION, LOCK_TOKEN, KEY, op="state.set")
def set_(cli: Session, **params: object) -> None:
    """Examples:
    fastio state set plan.json '{"step": 1}'
    fastio state set plan.json '"done"' --at /status --if-version 3
    """
    cli.out.record(cli.call("state.set", **params), essential="version")


@command("state init", PATH, VALUE, SCHEMA, LOCK_TOKEN, KEY, op="state.init")
def init(cli: Session, **params: object) -> None:
    """Example:
    fastio state init plan.json @default.json --schema @schema.json
    """
    cli.out.record(cli.call("state.init", **params), essential="version")


@command(
    "state patch",
    PATH,
    Arg("patch", "JSON, or @FILE, or - for standard input", convert=json_value),
    Flag("--json-patch", help="The patch is an RFC 6902 list of operations"),
    IF_VERSION,
    LOCK_TOKEN,
    KEY,
    op="state.patch",
)
def patch(cli: Session, json_patch: bool, **params: object) -> None:
    """Examples:
    fastio state patch plan.json '{"step": 2, "draft": null}'
    fastio state patch plan.json '[{"op": "test", "path": "/step", "value": 2}]' --json-patch
    """
    format = "json-patch" if json_patch else "merge"
    cli.out.record(cli.call("state.patch", format=format, **params), essential="version")


@command("state append", PATH, VALUE, AT, IF_VERSION, LOCK_TOKEN, KEY, op="state.append")
def append(cli: Session, **params: object) -> None:
    """Example:
    fastio state append plan.json '"fetched"' --at /log
    """
    cli.out.record(cli.call("state.append", **params), essential="version")


@command(
    "state increment",
    PATH,
    AT,
    Opt("--by", help="What to add (default: 1)", metavar="NUMBER", convert=number),
    IF_VERSION,
    LOCK_TOKEN,
    KEY,
    op="state.increment",
)
def increment(cli: Session, by: int | float | None, **params: object) -> None:
    """Example:
    fastio state increment plan.json --at /step
    """
    cli.out.record(cli.call("state.increment", **given(by=by), **params), essential="value")


@command(
    "state transact",
    Arg("changes", "JSON list of changes, or @FILE, or -", convert=json_value),
    KEY,
    op="state.transact",
)
def transact(cli: Session, changes: object, idempotency_key: str | None) -> None:
    """Example:
    fastio state transact '[{"op": "increment", "path": "a.json", "at": "/n"},
                            {"op": "set", "path": "b.json", "value": 1, "if_version": 0}]'
    """
    result = cli.call("state.transact", changes=changes, idempotency_key=idempotency_key)
    cli.out.record(result, essential="seq")


@command(
    "state wait",
    PATH,
    Arg("expression", "JMESPath expression, as \"status == 'approved'\""),
    Opt(
        "--timeout",
        help="Give up after (default: 60s)",
        metavar="DURATION",
        convert=seconds,
        param="timeout_s",
    ),
    op="state.wait",
)
def wait(cli: Session, timeout: float | None, **params: object) -> None:
    """Exits with 0 when it is true, with 7 when the time is up.

    Example:
    fastio state wait plan.json "status == 'approved'" --timeout 1h
    """
    cli.out.document(cli.call("state.wait", **given(timeout_s=timeout), **params)["value"])


@command(
    "state list",
    PREFIX,
    LIMIT,
    CURSOR,
    op="object.list",
    help="List the state objects by path.",
)
def list_(cli: Session, **params: object) -> None:
    list_objects(cli, "state", **params)


@command("state schema", PATH, op="state.schema")
def schema(cli: Session, path: str) -> None:
    cli.out.document(cli.call("state.schema", path=path)["value"])


@command(
    "state edit",
    PATH,
    LOCK_TOKEN,
    op=("state.set", "state.get"),
    help="Change a state object in your editor ($VISUAL or $EDITOR).",
)
def edit(cli: Session, path: str, lock_token: str | None) -> None:
    """What you save is written only if nobody else changed the object meanwhile."""
    from fastio_cli.cli.framework.editor import edit_state

    edit_state(cli, path, lock_token)


register_common("state")
