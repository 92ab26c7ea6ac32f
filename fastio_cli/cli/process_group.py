"""A command with all that it starts: one process group, which is signalled and ended as a whole.

A command that is at a terminal begins in its background, where it may write. Ctrl-C and Ctrl-Z then
reach us, and are passed on. When it wants to read from the terminal or to set it up, the kernel
stops it (SIGTTIN, SIGTTOU: "Terminal Access Control", POSIX.1-2017, 11.1.4), and it is given the
terminal, as a shell's ``fg`` does; from then on the keys reach it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

LINGER_S = 0.5  # for what is ending by itself, as the other end of a pipe
POLL_S = 0.01
IS_POSIX = os.name == "posix"


class ProcessGroup:
    """A running command. Raises ``OSError`` if it cannot be started.

    What leaves the group on purpose, as a daemon does (``setsid``), is no longer part of it.
    """

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._child = subprocess.Popen(
            command, env=environment, process_group=0 if IS_POSIX else None
        )
        self._id = self._child.pid
        self._code: int | None = None
        self._terminal = _controlling_terminal()
        self._had_terminal = False
        self._asked_to_stop = False
        if IS_POSIX:  # who gives the terminal away from the background would be stopped
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)

    def poll(self, may_go_on: Callable[[], bool]) -> int | None:
        """The command's exit code, as a shell tells it, or None while it runs.

        When it is stopped at the terminal, so are we, and both go on together; it stays stopped if
        ``may_go_on`` says no then.
        """
        if not IS_POSIX:
            return self._child.poll()
        while self._code is None:
            id, status = os.waitpid(self._id, os.WNOHANG | os.WUNTRACED)
            if id == 0:
                return None
            if not os.WIFSTOPPED(status):
                self._code = os.waitstatus_to_exitcode(status)
                self._child.returncode = self._code
            elif self._terminal is not None:
                self._on_stop(os.WSTOPSIG(status), self._terminal, may_go_on)
        return self._code if self._code >= 0 else 128 - self._code

    def signal(self, number: int) -> None:
        """Send a signal to every process of the group."""
        try:
            if IS_POSIX:
                self._asked_to_stop |= number == signal.SIGTSTP
                os.killpg(self._id, number)
            else:
                self._child.send_signal(number)
        except (ProcessLookupError, PermissionError):
            pass  # it has ended, or has become another user's

    def end(self, grace_s: float) -> None:
        """End what is still running: ask it to (TERM), and kill it after ``grace_s``."""
        if self._code is not None:
            self._wait(LINGER_S)
        if self._is_alive():
            self.signal(signal.SIGTERM)
            if IS_POSIX:
                self.signal(signal.SIGCONT)  # what is stopped hears no other signal
            self._wait(grace_s)
        if self._is_alive():
            self.signal(signal.SIGKILL if IS_POSIX else signal.SIGTERM)
            self._wait(LINGER_S)
        self._take_terminal_back()

    def _wait(self, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while self._is_alive() and time.monotonic() < deadline:
            time.sleep(POLL_S)

    def _is_alive(self) -> bool:
        """Whether any process of the group is there. The command itself is waited for."""
        if self._code is None:
            self._code = self._child.poll()
        if not IS_POSIX:
            return self._code is None
        try:
            os.killpg(self._id, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def _on_stop(self, number: int, terminal: int, may_go_on: Callable[[], bool]) -> None:
        """Do what a shell does when a job was stopped: lend it the terminal, or stop with it.

        What goes on (SIGCONT) forgets every stop that it has not come to ("Signal Generation and
        Delivery", POSIX.1-2017, 2.4.1): a Ctrl-Z that reached it while it was stopped already,
        waiting for the terminal, is said once more.
        """
        wants_terminal = number in (signal.SIGTTIN, signal.SIGTTOU)
        is_lent = wants_terminal and _foreground(terminal) == os.getpgrp()
        asks_again = is_lent and self._asked_to_stop
        self._asked_to_stop = False
        if not is_lent:
            self._take_terminal_back()
            _stop_like(signal.SIGTTIN if wants_terminal else signal.SIGTSTP)
            if not may_go_on():
                return
        if (wants_terminal or self._had_terminal) and _foreground(terminal) == os.getpgrp():
            os.tcsetpgrp(terminal, self._id)
            self._had_terminal = True
        self.signal(signal.SIGCONT)
        if asks_again:
            self.signal(signal.SIGTSTP)

    def _take_terminal_back(self) -> None:
        if self._terminal is None or not self._had_terminal:
            return
        if _foreground(self._terminal) == self._id:
            os.tcsetpgrp(self._terminal, os.getpgrp())
            if self._code == -signal.SIGINT:  # Ctrl-C was meant for all that ran before it
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                os.killpg(os.getpgrp(), signal.SIGINT)


def _controlling_terminal() -> int | None:
    try:
        return os.open("/dev/tty", os.O_RDWR) if IS_POSIX else None
    except OSError:
        return None


def _foreground(terminal: int) -> int | None:
    """The process group that the terminal's keys reach; None if it is gone."""
    try:
        return os.tcgetpgrp(terminal)
    except OSError:
        return None


def _stop_like(number: int) -> None:
    """Stop our own process group as the terminal would, until it is continued."""
    before = signal.signal(number, signal.SIG_DFL)
    os.killpg(os.getpgrp(), number)
    signal.signal(number, before)
