"""fastio batch"""

from __future__ import annotations

import os

from fastio_cli.cli.framework.command import Flag, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.errors import KINDS, FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fastio_cli.cli.framework.session import Session
    from fastio_cli.engine.client import PreparedCall

GROUP_MAX = 128
READ_BYTES = 64 * 1024
LINE_BYTES_MAX = 17 * 1024 * 1024


@command(
    "batch",
    Flag("--stop", help="Stop at the first operation that fails"),
    help="Run operations from NDJSON on standard input, in one process.",
    fields=("ok", "result", "error"),
)
def batch(cli: Session, stop: bool) -> None:
    """A line is {"op": NAME, ...} with the operation's parameters, and optionally "workspace" and
    "idempotency_key". Each line is answered by one, in order: {"ok": true, "result": ...} or
    {"ok": false, "error": ...}. What arrives together is committed together, each operation
    failing alone, and answered once it is durable. Exits with the code of the first failure.

    Example:
    echo '{"op": "state.set", "path": "a.json", "value": 1}' | fastio batch
    """
    code = 0
    for lines in _groups(1 if stop else GROUP_MAX):
        for answer in _answers(cli, lines):
            cli.out.row(answer)
            if not answer["ok"]:
                code = code or KINDS[answer["error"]["code"]].exit
        if stop and code:
            break
    if code:
        raise Exit(code)


def _groups(size_max: int) -> Iterator[list[bytes]]:
    """The lines of standard input, grouped as they arrive."""
    pending = b""
    while chunk := os.read(0, READ_BYTES):
        *lines, pending = (pending + chunk).split(b"\n")
        if len(pending) > LINE_BYTES_MAX:
            raise FastioError("too_large", "A line of the batch is longer than 17 MiB.")
        lines = [line for line in lines if line.strip()]
        for start in range(0, len(lines), size_max):
            yield lines[start : start + size_max]
    if pending.strip():
        yield [pending]


def _answers(cli: Session, lines: list[bytes]) -> list[dict[str, Any]]:
    """The answers to a group: consecutive calls share a commit, calls that wait run alone."""
    answers: list[dict[str, object] | None] = []
    together: list[PreparedCall] = []

    def commit() -> None:
        outcomes = iter(cli.engine.call_many(together) if together else [])
        together.clear()
        for i, answer in enumerate(answers):
            if answer is None:
                answers[i] = _answer(next(outcomes))

    for line in lines:
        try:
            call = _prepared(cli, line)
        except FastioError as e:
            answers.append(_answer(e))
            continue
        if call.wait_s > 0:
            commit()
            answers.append(_answer(_run(cli, call)))
        else:
            together.append(call)
            answers.append(None)
    commit()
    return [answer for answer in answers if answer is not None]


def _prepared(cli: Session, line: bytes) -> PreparedCall:
    from fastio_cli.json_text import decode

    request = decode(line.strip(), "line")
    if not isinstance(request, dict) or not isinstance(request.get("op"), str):
        raise FastioError(
            "invalid",
            "A line of a batch is an object with the operation's name as op.",
            'As in: {"op": "state.get", "path": "plan.json"}',
        )
    params = dict(request)
    name, key = params.pop("op"), params.pop("idempotency_key", None)
    from fastio_cli.operations import find

    operation = find(name)
    if operation.upload_param is not None or operation.response == "bytes":
        raise FastioError(
            "invalid", f"{name} moves bytes and cannot be part of a batch.", "Use fastio file."
        )
    return cli.prepare(name, params, key)


def _run(cli: Session, call: PreparedCall) -> object:
    try:
        return cli.engine.run(call)
    except FastioError as e:
        return e


def _answer(outcome: object) -> dict[str, object]:
    if isinstance(outcome, Exception):
        from fastio_cli.cli.main import as_fastio_error

        return {"ok": False, "error": as_fastio_error(outcome).as_dict()}
    return {"ok": True, "result": outcome}
