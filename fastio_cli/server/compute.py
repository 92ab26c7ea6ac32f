"""Helper processes of a server: for pure work on documents that would hold up its event loop.

Python runs one thread at a time, and parsing a large JSON text is one step of it: 13 MB take more
than 100 ms, whatever the thread. So the functions of ``operations/documents.py`` run here if what
they are given is large, and always if how long they take is up to a program of their user's.

A helper is a child with bounded memory that is handed one call at a time. One that takes too long
is killed, one that died is replaced; there are few, and who would wait for them in too long a line
is told to come again.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from queue import Empty, SimpleQueue

from fastio_cli.errors import FastioError
from fastio_cli.operations.documents import is_slow

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

HELPERS = 2
CPU_S_MAX = 10.0
CALL_S_MAX = 60.0
QUEUE_S_MAX = 10.0
MEMORY_BYTES_MAX = 2 * 1024**3
LENGTH_BYTES = 8
TOO_MUCH: tuple[str, str, str, dict[str, object]] = (
    "too_large",
    "The work on this document took too much time or memory.",
    "Ask for less of it, split the document, or write a simpler query, schema or patch.",
    {},
)


class Helper:
    """One process; it is started when it is first needed, and whenever it is gone."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, function: Callable[..., object], args: tuple[object, ...]) -> object:
        """The result of a function. Raises what it raises; ``too_large`` when it takes too long.

        A call of a helper that died meanwhile is made once more, as the functions are pure.
        """
        request = pickle.dumps((function, args), protocol=5)
        for _ in range(2):
            process = self._process = self._alive() or _start()
            timer = threading.Timer(CALL_S_MAX, process.kill)
            timer.start()
            try:
                is_error, outcome = _exchange(process, request)
            except (OSError, EOFError):
                if process.wait() == -signal.SIGPROF or timer.finished.is_set():
                    break
                continue
            finally:
                timer.cancel()
            if is_error:
                raise _error(*outcome)
            return outcome
        raise _error(*TOO_MUCH)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            for pipe in (self._process.stdin, self._process.stdout):
                if pipe is not None:
                    with suppress(BrokenPipeError):  # of what a dead process did not take
                        pipe.close()

    def _alive(self) -> subprocess.Popen[bytes] | None:
        if self._process is None or self._process.poll() is None:
            return self._process
        self.close()
        return None


class HelperPool:
    """What computes for the operations of a server (``Engine.compute``)."""

    def __init__(self, count: int = HELPERS) -> None:
        self._idle: SimpleQueue[Helper] = SimpleQueue()
        self._all = [Helper() for _ in range(count)]
        for helper in self._all:
            self._idle.put(helper)

    def __call__(self, function: Callable[..., object], *args: object) -> object:
        """The result of a function of documents, of which the caller's thread may run the small.

        Raises what the function raises, ``too_large`` when it takes too long, ``unavailable`` when
        too many wait.
        """
        if not is_slow(function, args):
            return function(*args)
        try:
            helper = self._idle.get(timeout=QUEUE_S_MAX)
        except Empty:
            raise FastioError(
                "unavailable", "Too many large documents are being worked on.", retry_after_s=1
            ) from None
        try:
            return helper.call(function, args)
        finally:
            self._idle.put(helper)

    def close(self) -> None:
        """End the processes. No call may be under way."""
        for helper in self._all:
            helper.close()


def _start() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fastio_cli.server.compute", str(CPU_S_MAX)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )


def _exchange(process: subprocess.Popen[bytes], request: bytes) -> tuple[bool, Any]:
    assert process.stdin is not None
    assert process.stdout is not None
    _write(process.stdin, request)
    outcome: tuple[bool, object] = pickle.loads(_read(process.stdout))
    return outcome


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(LENGTH_BYTES, "big"))
    pipe.write(message)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    """One message. Raises ``EOFError`` when the other side is gone."""
    length = pipe.read(LENGTH_BYTES)
    message = pipe.read(int.from_bytes(length, "big"))
    if len(length) < LENGTH_BYTES or len(message) < int.from_bytes(length, "big"):
        raise EOFError
    return message


def main() -> None:
    """Work for the process that started this one, until it is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the server
    _bound_memory()
    while True:
        _bound_time(0)
        try:
            function, args = pickle.loads(_read(sys.stdin.buffer))
        except EOFError:
            return
        _bound_time(float(sys.argv[1]))
        _write(sys.stdout.buffer, pickle.dumps(_outcome(function, args), protocol=5))


def _outcome(function: Callable[..., object], args: tuple[object, ...]) -> tuple[bool, object]:
    """Whether a function failed, and what it returned, or the parts of its error."""
    try:
        return False, function(*args)
    except FastioError as e:
        return True, (e.code, e.message, e.hint, e.details)
    except MemoryError:
        return True, TOO_MUCH


def _error(code: str, message: str, hint: str, details: dict[str, object]) -> FastioError:
    error = FastioError(code, message, hint, **details)
    error.hint = hint  # which was quoted already
    return error


def _bound_time(cpu_s: float) -> None:
    """Have the system end this process after so much more work; never for 0."""
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_PROF, cpu_s)


def _bound_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))


if __name__ == "__main__":
    main()
