"""Running a command while holding a lock: all that it starts, and never past the lock's end."""

from __future__ import annotations

import os
import select
import signal
import socket
import time

from fastio_cli.cli.framework.exit import Exit
from fastio_cli.cli.process_group import ProcessGroup
from fastio_cli.errors import FastioError
from fastio_cli.sdk.lease import LeaseKeeper, safe_until

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli import model
    from fastio_cli.cli.framework.session import Session

STOP_S = 5.0
FORWARDED_SIGNALS = (
    *("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGTSTP", "SIGWINCH", "SIGUSR1", "SIGUSR2"),
)
NOT_FOUND, NOT_RUNNABLE = 127, 126  # as shells report it


def run_locked(cli: Session, command: list[str], params: dict[str, object]) -> None:
    """Run the command in its own process group while a lock is held; exit with its exit code.

    ``params`` are those of ``lock.acquire``. The lock is renewed meanwhile, and the log says when
    somebody took it away. When the command has ended, and before the lock is released, what it
    started is ended too. Raises ``lock_lost`` if the lock was lost, or could not be renewed in
    time, after everything was stopped.
    """
    asked = time.monotonic()
    call = cli.prepare("lock.acquire", params, None)
    lock: model.HeldLock = cli.engine.run(call)
    until = safe_until(asked, lock["ttl_s"])
    bell = Bell()
    environment = {
        **os.environ,
        "FASTIO_LOCK_TOKEN": lock["token"],
        "FASTIO_LOCK_PATH": lock["path"],
        "FASTIO_LOCK_FENCE": str(lock["fence"]),
    }
    keeper = LeaseKeeper(
        cli.engine, call.workspace, cli.config.actor(), lock, until, on_loss=bell.ring
    )
    try:
        group = ProcessGroup(command, environment)
    except OSError as e:
        keeper.release()
        cli.out.note(f"fastio: {command[0]}: {e.strerror}")
        raise Exit(NOT_FOUND if isinstance(e, FileNotFoundError) else NOT_RUNNABLE) from None
    keeper.start(follow=True)
    grace_s = min(STOP_S, lock["ttl_s"] / 4)
    code = None
    try:
        code = _wait(group, keeper, bell, grace_s)
    finally:
        group.end(grace_s if code is None else STOP_S)
        keeper.stop()
    _release(keeper, lock["path"])
    raise Exit(code)


class Bell:
    """Wakes one thread when a signal arrives or another thread rings, and says which signals."""

    def __init__(self) -> None:
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        names = [*FORWARDED_SIGNALS, "SIGCHLD"]
        self.numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
        for number in self.numbers:
            if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it, for the command too
                signal.signal(number, lambda *_: None)

    def ring(self) -> None:
        """Wake the thread that listens."""
        try:
            self._sender.send(b"\0")
        except BlockingIOError:
            pass  # it is awake already

    def listen(self, timeout_s: float) -> list[int]:
        """Wait for the bell; the signals that arrived, in order."""
        select.select([self._receiver], [], [], max(0.0, timeout_s))
        try:
            return [number for number in self._receiver.recv(4096) if number in self.numbers]
        except BlockingIOError:
            return []


def _wait(group: ProcessGroup, keeper: LeaseKeeper, bell: Bell, grace_s: float) -> int:
    """Wait for the end of the command, passing signals on. Raises ``lock_lost``.

    It has to be stopped ``grace_s`` before the lock may be another's.
    """

    def is_safe() -> bool:
        return time.monotonic() < keeper.safe_until - grace_s

    while True:
        keeper.check()
        if not is_safe():
            raise keeper.lost("it could not be renewed in time")
        code = group.poll(may_go_on=is_safe)
        if code is not None:
            return code
        left_s = keeper.safe_until - grace_s - time.monotonic()
        for number in bell.listen(left_s):
            if number != getattr(signal, "SIGCHLD", None):
                group.signal(number)


def _release(keeper: LeaseKeeper, path: str) -> None:
    try:
        keeper.release()
    except FastioError as e:
        if e.code != "lock_lost":
            raise
        raise FastioError(
            "lock_lost",
            f"The command ended, but the lock on {path} had been lost before.",
            f"See who changed it meanwhile: fastio event list --path {path}",
            path=path,
        ) from None
