"""fastio guard: local files, and the locks of others on their paths.

A file of a project is taken for the object at its path, relative to the project's root. What an
agent writes by a shell command is seen by no hook; a commit is the second line.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

from fastio_cli.cli.framework.command import Arg, Flag, Opt, command
from fastio_cli.cli.framework.exit import Exit
from fastio_cli.errors import KINDS, FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from fastio_cli import model
    from fastio_cli.cli.framework.session import Session

EVENT_BYTES_MAX = 16 * 1024 * 1024
# Where the tools of the programs say which file they are about to write.
FILE_KEYS = ("file_path", "notebook_path", "path", "filePath", "target_file", "absolute_path")
PATCHED = ("*** Update File: ", "*** Add File: ", "*** Delete File: ", "*** Move to: ")


def _claude(reason: str | None) -> dict[str, Any]:
    decision = {"hookEventName": "PreToolUse", "permissionDecision": "deny"}
    if reason is None:
        return {}
    return {"hookSpecificOutput": {**decision, "permissionDecisionReason": reason}}


def _cursor(reason: str | None) -> dict[str, Any]:
    if reason is None:
        return {"permission": "allow"}
    return {"permission": "deny", "user_message": reason, "agent_message": reason}


def _gemini(reason: str | None) -> dict[str, Any]:
    return {"decision": "allow"} if reason is None else {"decision": "deny", "reason": reason}


ANSWERS: dict[str, Callable[[str | None], dict[str, Any]]] = {
    "claude": _claude,
    "codex": _claude,
    "cursor": _cursor,
    "gemini": _gemini,
}


@command(
    "guard check",
    Arg("file", "Local files that are about to be written", many=True, required=False),
    Opt("--hook", help=f"Read a hook's event from stdin: {', '.join(ANSWERS)}", metavar="PROGRAM"),
    Flag("--staged", help="Check what git is about to commit"),
    op="lock.show",
    help="Deny a write to a file whose path somebody else has locked.",
)
def check(cli: Session, file: list[str], hook: str | None, staged: bool) -> None:
    """Exits with 6 (locked) and says who holds the lock, why and until when. With --hook it
    answers as the program expects and exits with 0. A store that cannot be reached denies nothing.
    Shell commands get past a program's hooks: let git check once more, as its pre-commit hook.

    Examples:
    fastio guard check src/app.py
    fastio guard check --staged
    """
    if hook is not None:
        if hook not in ANSWERS:
            names = ", ".join(ANSWERS)
            raise FastioError("invalid", f"{hook!r} is not known.", f"There are: {names}")
        folder, files = _event()
        print(json.dumps(ANSWERS[hook](_reason(cli, folder, files))))
        return
    folder = os.getcwd()
    reason = _reason(cli, folder, [*file, *(_staged() if staged else ())])
    if reason is not None:
        print(f"error: {reason}", file=sys.stderr)
        raise Exit(KINDS["locked"].exit)


def _reason(cli: Session, folder: str, files: Iterable[str]) -> str | None:
    """Why one of these files must not be written; None if all may."""
    root = _root(folder)
    for file in files:
        path = os.path.relpath(os.path.realpath(os.path.join(folder, file)), os.path.realpath(root))
        if path.startswith(".."):
            continue  # of another project
        lock = _lock_of_others(cli, path.replace(os.sep, "/"))
        if lock is not None:
            why = f" ({lock['purpose']})" if lock["purpose"] else ""
            return (
                f"{path} is locked by {lock['holder']}{why} until {lock['expires_at']}, as "
                f"{lock['path']} in workspace {cli.workspace}. Wait for it: "
                f"fastio lock acquire {lock['path']} --wait 60"
            )
    return None


def _lock_of_others(cli: Session, path: str) -> model.Lock | None:
    """The lock on a path, unless it is one's own; none where that cannot be told."""
    try:
        lock: model.Lock = cli.call("lock.show", path=path)
    except FastioError as e:
        if e.code not in ("not_found", "invalid"):
            cli.out.note(f"The locks could not be looked at: {e.message}")
        return None
    own_path = os.environ.get("FASTIO_LOCK_PATH")
    is_own = lock["holder"] == cli.config.actor() or lock["path"] == own_path
    return None if is_own else lock


def _event() -> tuple[str, list[str]]:
    """The folder and files of a hook's event; none of an event that writes no file."""
    try:
        event = json.loads(sys.stdin.buffer.read(EVENT_BYTES_MAX))
        tool = event.get("tool_input") or event.get("toolInput") or event.get("args") or event
        files = [tool[key] for key in FILE_KEYS if isinstance(tool.get(key), str)]
        files += [f for edit in tool.get("edits", ()) for f in _files_of(edit)]
        files += _patched(tool.get("patch") or tool.get("input") or tool.get("command"))
        folder = event.get("cwd") or event.get("workspace_root") or os.getcwd()
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise FastioError("invalid", "The event on stdin is no JSON object.") from None
    return str(folder), files


def _files_of(edit: object) -> list[str]:
    if not isinstance(edit, dict):
        return []
    return [edit[key] for key in FILE_KEYS if isinstance(edit.get(key), str)]


def _patched(patch: object) -> list[str]:
    """The files that a patch of Codex names."""
    text = "\n".join(map(str, patch)) if isinstance(patch, list) else str(patch or "")
    return [
        line.removeprefix(mark).strip()
        for line in text.splitlines()
        for mark in PATCHED
        if line.startswith(mark)
    ]


def _root(folder: str) -> str:
    """The project that a folder is in: the nearest with a store or a repository."""
    place = os.path.abspath(folder)
    while True:
        if any(os.path.exists(os.path.join(place, name)) for name in (".fastio", ".git")):
            return place
        parent = os.path.dirname(place)
        if parent == place:
            return os.path.abspath(folder)
        place = parent


def _staged() -> list[str]:
    """The files that git is about to commit, by their places."""
    git = ["git", "rev-parse", "--show-toplevel"]
    try:
        top = subprocess.run(git, capture_output=True, check=True).stdout.rstrip(b"\n")
        names = subprocess.run(
            ["git", "diff", "--cached", "--name-only", "--no-renames", "-z"],
            capture_output=True,
            check=True,
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        raise FastioError("invalid", "This is no git repository.") from None
    return [os.fsdecode(os.path.join(top, name)) for name in names.split(b"\0") if name]
