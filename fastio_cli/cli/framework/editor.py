"""Changing a state object in the user's editor."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile

from fastio_cli.cli.framework.values import json_value
from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.cli.framework.session import Session


def edit_state(cli: Session, path: str, lock_token: str | None) -> None:
    """Open the object's JSON in the editor; write it back if it changed, at the version read.

    Edited text is never lost: if it cannot be written, the error names the file that holds it.
    """
    if not sys.stdin.isatty():
        raise FastioError(
            "invalid",
            "An editor needs a terminal.",
            f"Change it without one: fastio state patch {path} JSON",
        )
    document = cli.call("state.get", path=path)
    before = (json.dumps(document["value"], ensure_ascii=False, indent=2) + "\n").encode()
    fd, name = tempfile.mkstemp(suffix=".json", prefix="fastio-")
    with open(fd, "wb") as f:
        f.write(before)
    try:
        _open_editor(name)
        if _read(name) == before:
            cli.out.note("Nothing changed.")
        else:
            value = json_value("@" + name, "edited text")
            version = document["version"]
            record = cli.call(
                "state.set", path=path, value=value, if_version=version, lock_token=lock_token
            )
            cli.out.record(record, essential="version")
    except FastioError as e:
        if _read(name) != before:
            e.hint = f"What you typed is in {name}. {e.hint}"
            raise
        os.unlink(name)
        raise
    os.unlink(name)


def _read(name: str) -> bytes:
    with open(name, "rb") as f:
        return f.read()


def _open_editor(name: str) -> None:
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        code = subprocess.call([*shlex.split(editor), name])
    except OSError as e:
        raise FastioError(
            "invalid", f"The editor {editor!r} cannot be run: {e.strerror}.", "Set EDITOR."
        ) from None
    if code != 0:
        raise FastioError("invalid", f"The editor ended with {code}; nothing was changed.")
