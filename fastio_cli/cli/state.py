"""fastio state"""

from __future__ import annotations

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.options import (
    ALL,
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
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session

VALUE = Arg("value", "JSON, or @FILE, or - for standard input", convert=json_value)
AT = Opt("--at", help="JSON Pointer into the document, as /steps/0", metavar="POINTER")
CREATE = Flag("--create", help="Begin it where nothing is, and objects on the way to it")
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
    Flag("--with-version", help="Print path, version, etag and value in one record"),
    op="state.get",
)
def get(cli: Session, with_version: bool, **params: object) -> None:
    """Examples:
    fastio state get plan.json
    fastio state get plan.json --at /step
    fastio state get plan.json --query 'log[-1]'
    fastio state get plan.json --with-version
    """
    document = cli.call("state.get", **params)
    if with_version:
        cli.out.record(document, essential="version")
    else:
        cli.out.value(document)


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


@command("state append", PATH, VALUE, AT, CREATE, IF_VERSION, LOCK_TOKEN, KEY, op="state.append")
def append(cli: Session, **params: object) -> None:
    """Example:
    fastio state append plan.json '"fetched"' --at /log --create
    """
    cli.out.record(cli.call("state.append", **params), essential="version")


@command(
    "state increment",
    PATH,
    AT,
    Opt("--by", help="What to add (default: 1)", metavar="NUMBER", convert=number),
    CREATE,
    IF_VERSION,
    LOCK_TOKEN,
    KEY,
    op="state.increment",
)
def increment(cli: Session, by: int | float | None, **params: object) -> None:
    """Example:
    fastio state increment plan.json --at /step --create
    """
    cli.out.record(cli.call("state.increment", **given(by=by), **params), essential="value")


@command(
    "state update",
    PATH,
    Arg(
        "command",
        "The command and its arguments, after --",
        required=False,
        many=True,
        complete="command",
    ),
    Opt(
        "--expr",
        help="JMESPath expression for the new value, as 'merge(@, {done: `true`})'",
        metavar="EXPR",
        param="expression",
    ),
    Opt(
        "--default",
        help="The value to begin with where nothing stands: JSON, @FILE or -",
        metavar="JSON",
        convert=json_value,
    ),
    IF_VERSION,
    LOCK_TOKEN,
    KEY,
    op=("state.update", "state.get", "state.set", "object.info"),
    help="Replace a state object by what an expression or a command makes of it.",
)
def update(
    cli: Session,
    path: str,
    command: list[str],
    expr: str | None,
    default: object,
    if_version: int | None,
    lock_token: str | None,
    idempotency_key: str | None,
) -> None:
    """A command gets the value on its standard input and prints the new one. It is run again, 20
    times at most, if somebody else changed the object meanwhile. If it fails nothing is written,
    and its exit code is passed on.

    Examples:
    fastio state update plan.json --expr 'merge(@, {status: `"done"`, log: log[-10:]})'
    fastio state update plan.json --default '{"n": 0}' -- jq '.n += 1'
    """
    from fastio_cli.cli.state_update import update_by_command

    if bool(command) == (expr is not None):
        raise FastioError(
            "invalid",
            "Say how to update it: by --expr, or by a command after --.",
            "See how: fastio state update --help",
        )
    if expr is None:
        if idempotency_key is not None:
            raise FastioError(
                "invalid",
                "A command that runs again makes another request: it takes no idempotency key.",
                "Leave it out, or update by --expr.",
            )
        record = update_by_command(cli, path, command, default, if_version, lock_token)
    else:
        record = cli.call(
            "state.update",
            path=path,
            expression=expr,
            lock_token=lock_token,
            idempotency_key=idempotency_key,
            **given(default=default, if_version=if_version),
        )
    cli.out.record(record, essential="version")


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
    cli.out.value(cli.call("state.wait", **given(timeout_s=timeout), **params))


@command(
    "state list",
    PREFIX,
    LIMIT,
    CURSOR,
    ALL,
    op="object.list",
    help="List the state objects by path.",
)
def list_(cli: Session, **params: object) -> None:
    list_objects(cli, "state", **params)


@command("state schema", PATH, op="state.schema")
def schema(cli: Session, path: str) -> None:
    cli.out.value(cli.call("state.schema", path=path))


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
