"""Changing a state object by a command that reads its value and prints the new one."""

from __future__ import annotations

import subprocess
import tempfile

from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.framework.values import TEXT_BYTES_MAX
from fastio_cli.cli.lock_run import NOT_FOUND, NOT_RUNNABLE
from fastio_cli.errors import FastioError
from fastio_cli.json_text import canonical, decode, encode
from fastio_cli.retry import Retries, RetryPolicy

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.cli.framework.session import Session

POLICY = RetryPolicy(0.01, 0.5, attempts_max=20)


def update_by_command(
    cli: Session,
    path: str,
    command: list[str],
    default: object,
    if_version: int | None,
    lock_token: str | None,
) -> model.Object:
    """Write what a command makes of an object's value, unless the object changed meanwhile.

    The command runs again while others change the object, unless ``if_version`` names the version
    to be changed. Raises ``Exit`` with its exit code if it fails, ``invalid`` if what it prints is
    no JSON, ``version_conflict`` after the last attempt; nothing is written then.
    """
    retries = Retries(POLICY)
    while True:
        version, value = _read(cli, path, default)
        printed = _run(cli, command, encode(value))
        new = _decoded(printed)
        if version and canonical(new) == canonical(value) and if_version in (None, version):
            cli.out.note("Nothing changed.")
            info: model.Object = cli.call("object.info", path=path)
            return info
        expected = version if if_version is None else if_version
        try:
            record: model.Object = cli.call(
                "state.set", path=path, value=new, if_version=expected, lock_token=lock_token
            )
            return record
        except FastioError as e:
            if e.code != "version_conflict" or if_version is not None:
                raise
            retries.wait_or_raise(e)


def _read(cli: Session, path: str, default: object) -> tuple[int, object]:
    """The version and value of an object; 0 and the default where nothing stands."""
    try:
        document = cli.call("state.get", path=path)
    except FastioError as e:
        if e.code != "not_found" or default is None or "path" not in e.details:
            raise
        return 0, default
    return document["version"], document["value"]


def _decoded(printed: bytes) -> object:
    try:
        return decode(printed, "command's output")
    except FastioError as e:
        e.hint = "Nothing was written. Let the command print one JSON value, as jq does."
        raise


def _run(cli: Session, command: list[str], value: bytes) -> bytes:
    """What a command prints that reads a value. Raises ``Exit`` with its exit code if it fails."""
    with tempfile.TemporaryFile() as stdin:
        stdin.write(value + b"\n")
        stdin.seek(0)
        try:
            child = subprocess.Popen(command, stdin=stdin, stdout=subprocess.PIPE)
        except OSError as e:
            cli.out.note(f"fastio: {command[0]}: {e.strerror}")
            code = NOT_FOUND if isinstance(e, FileNotFoundError) else NOT_RUNNABLE
            raise Exit(code) from None
        assert child.stdout is not None
        with child, child.stdout:
            try:
                printed = child.stdout.read(TEXT_BYTES_MAX)
            except BaseException:
                child.kill()
                raise
            # Who prints more than can be written gets SIGPIPE; the size is refused afterwards.
    if child.returncode and len(printed) < TEXT_BYTES_MAX:
        cli.out.note("The command failed; nothing was written.")
        raise Exit(child.returncode if child.returncode > 0 else 128 - child.returncode)
    return printed
