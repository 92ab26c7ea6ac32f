"""A lock's token and path as commands of a shell: ``eval "$(fastio lock acquire PATH --export)"``.

When the lock is not to be had, what is printed fails, so that ``eval`` does: of nothing at all it
would make a success.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model

SHELLS = ("sh", "fish", "powershell")
NAMES = ("FASTIO_LOCK_TOKEN", "FASTIO_LOCK_PATH", "FASTIO_LOCK_FENCE")


def remember(shell: str, lock: model.HeldLock) -> str:
    """The commands that set a lock's variables."""
    values = (lock["token"], lock["path"], str(lock["fence"]))
    form = {"sh": "export {}={}", "fish": "set -gx {} {}", "powershell": "$env:{} = {}"}[shell]
    pairs = zip(NAMES, values, strict=True)
    return "\n".join(form.format(name, _quoted(shell, value)) for name, value in pairs)


def forget(shell: str) -> str:
    """The commands that unset these variables."""
    form = {
        "sh": "unset {}",
        "fish": "set -e {}",
        "powershell": "Remove-Item Env:{} -ErrorAction SilentlyContinue",
    }[shell]
    return "\n".join(form.format(name) for name in NAMES)


def fail(shell: str, exit_code: int) -> str:
    """The command that fails with an exit code."""
    return {
        "sh": f"(exit {exit_code})",
        "fish": f"sh -c 'exit {exit_code}'",
        "powershell": f"throw 'fastio ended with {exit_code}'",
    }[shell]


def _quoted(shell: str, text: str) -> str:
    if shell == "powershell":
        return "'" + text.replace("'", "''") + "'"
    if shell == "fish":
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    import shlex

    return shlex.quote(text)
