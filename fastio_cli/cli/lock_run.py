"""Running a command while holding a lock."""

from __future__ import annotations

import os
import signal
import subprocess
import time

from fastio_cli.cli.framework.exit import Exit
from fastio_cli.errors import FastioError
from fastio_cli.sdk.lease import renew

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.cli.framework.session import Session

STOP_S = 5.0
FORWARDED_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")
NOT_FOUND, NOT_RUNNABLE = 127, 126  # as shells report it


def run_locked(cli: Session, path: str, command: list[str], lock: Any) -> None:
    """Run the command, renewing the lock every third of its ttl; exit with its exit code.

    Raises ``lock_lost`` if the lock was lost, after the command was stopped.
    """
    token = lock["token"]
    environment = {
        **os.environ,
        "FASTIO_LOCK_TOKEN": token,
        "FASTIO_LOCK_PATH": lock["path"],
        "FASTIO_LOCK_FENCE": str(lock["fence"]),
    }
    try:
        child = subprocess.Popen(command, env=environment)
    except OSError as e:
        cli.call("lock.release", path=path, lock_token=token)
        cli.out.note(f"fastio: {command[0]}: {e.strerror}")
        raise Exit(NOT_FOUND if isinstance(e, FileNotFoundError) else NOT_RUNNABLE) from None
    _forward_signals(child)
    try:
        code = _wait_renewing(cli, path, token, lock["ttl_s"], child)
    except BaseException:
        _stop(child)
        raise
    _release(cli, path, token)
    raise Exit(code if code >= 0 else 128 - code)


def _wait_renewing(
    cli: Session, path: str, token: str, ttl_s: float, child: subprocess.Popen[bytes]
) -> int:
    params = {"path": path, "lock_token": token, "ttl_s": ttl_s}
    safe_until = time.monotonic() + ttl_s
    while True:
        try:
            return child.wait(timeout=ttl_s / 3)
        except subprocess.TimeoutExpired:
            pass
        call = cli.prepare("lock.renew", dict(params), None)
        safe_until = renew(cli.engine, call, ttl_s, safe_until)


def _release(cli: Session, path: str, token: str) -> None:
    try:
        cli.call("lock.release", path=path, lock_token=token)
    except FastioError as e:
        if e.code != "lock_lost":
            raise
        raise FastioError(
            "lock_lost",
            f"The command ended, but the lock on {path} had been lost before.",
            f"See who changed it meanwhile: fastio event list --path {path}",
            path=path,
        ) from None


def _forward_signals(child: subprocess.Popen[bytes]) -> None:
    def forward(number: int, frame: object) -> None:
        child.send_signal(number)

    for name in FORWARDED_SIGNALS:
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), forward)


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(timeout=STOP_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
