"""Helper processes of a server: for pure work on documents that would hold up its event loop.

Python runs one thread at a time, and parsing a large JSON text is one step of it: 13 MB take more
than 100 ms, whatever the thread. So the functions of ``operations/documents.py`` run here if what
they are given is large, and always if how long they take is up to a program of their user's.

A helper is a child with bounded memory that is handed one call at a time. One that takes too long
is killed, one that died is replaced, and so is one whose client has left. There are few, of which
every org has its share (``shares.py``), and who would wait for them in too long a line is told to
come again.
"""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from typing import cast

from fastio_cli.errors import FastioError
from fastio_cli.operations.documents import is_slow
from fastio_cli.search.document_change import analyze
from fastio_cli.server.fair_pool import current_task
from fastio_cli.server.request_context import Disconnected
from fastio_cli.server.shares import SERVER, Places, Turns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO, Any

    from fastio_cli.search.document_change import Analysis
    from fastio_cli.server.fair_pool import Task

HELPERS = 4
CPU_S_MAX = 10.0
CALL_S_MAX = 60.0
QUEUE_S_MAX = 10.0
MEMORY_BYTES_MAX = 2 * 1024**3
INDEXING_BYTES_MIN = 32 * 1024  # from here on analysing takes several hundredths of a second
INDEXING_CPU_S_MAX = 60.0
INDEXING_CALL_S_MAX = 180.0
LENGTH_BYTES = 8
TOO_MUCH: tuple[str, str, str, dict[str, object]] = (
    "too_large",
    "The work on this document took too much time or memory.",
    "Ask for less of it, split the document, or write a simpler query, schema or patch.",
    {},
)


class Helper:
    """One process; it is started when it is first needed, and whenever it is gone."""

    def __init__(self, cpu_s_max: float = CPU_S_MAX, call_s_max: float = CALL_S_MAX) -> None:
        self._cpu_s_max = cpu_s_max
        self._call_s_max = call_s_max
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped: FastioError | None = None

    def call(self, function: Callable[..., object], args: tuple[object, ...]) -> object:
        """The result of a function. Raises what it raises; ``too_large`` when it takes too long.

        A call of a helper that died meanwhile is made once more, as the functions are pure; not
        one that was given up (``stop``).
        """
        self._stopped = None
        request = pickle.dumps((function, args), protocol=5)
        for _ in range(2):
            process = self._process = self._alive() or _start(self._cpu_s_max)
            timer = threading.Timer(self._call_s_max, process.kill)
            timer.start()
            try:
                is_error, outcome = _exchange(process, request)
            except (OSError, EOFError):
                if self._stopped is not None:
                    raise self._stopped from None
                if process.wait() == -signal.SIGPROF or timer.finished.is_set():
                    break
                continue
            finally:
                timer.cancel()
            if is_error:
                raise _error(*outcome)
            return outcome
        raise _error(*TOO_MUCH)

    def stop(self, why: FastioError) -> None:
        """Give up what it does, which then raises ``why``; called from another thread."""
        self._stopped = why
        if self._process is not None:
            self._process.kill()

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
        self._idle = [Helper() for _ in range(count)]
        self._busy: set[Helper] = set()
        self._is_closed = False
        self._places = Places(count)
        self._waiting: Turns[_Seeker] = Turns()
        self._lock = threading.Lock()

    def __call__(self, function: Callable[..., object], *args: object) -> object:
        """The result of a function of documents, of which the caller's thread may run the small.

        Raises what the function raises, ``too_large`` when it takes too long, ``unavailable`` when
        too many wait.
        """
        if not is_slow(function, args):
            return function(*args)
        task = current_task()
        seeker = _Seeker(SERVER if task is None else task.owner)
        helper = self._seek(seeker, task)
        try:
            if task is not None:
                task.on_leave = lambda: helper.stop(Disconnected())
                if task.is_left:
                    raise Disconnected()
            return helper.call(function, args)
        finally:
            if task is not None:
                task.on_leave = None
            self._give_back(seeker.owner, helper)

    def close(self) -> None:
        """End the processes, whatever they do: who waits for them is told so."""
        with self._lock:
            self._is_closed = True
            for helper in self._busy:
                helper.stop(_closed())
            for helper in self._idle:
                helper.close()

    def _seek(self, seeker: _Seeker, task: Task | None) -> Helper:
        """A helper for a thread, in its turn."""
        with self._lock:
            if self._is_closed:
                raise _closed()
            self._waiting.put(seeker.owner, seeker)
            self._hand_out()
        if task is not None:
            task.on_leave = seeker.is_over.set
        if task is None or not task.is_left:
            seeker.is_over.wait(QUEUE_S_MAX)
        with self._lock:
            self._waiting.remove(seeker.owner, seeker)
        if seeker.helper is None:
            raise FastioError(
                "unavailable", "Too many large documents are being worked on.", retry_after_s=1
            )
        return seeker.helper

    def _hand_out(self) -> None:
        while (seeker := self._waiting.take(self._may_have)) is not None:
            self._places.take(seeker.owner)
            seeker.helper = self._idle.pop()
            self._busy.add(seeker.helper)
            seeker.is_over.set()

    def _may_have(self, owner: str, seeker: _Seeker, alone: bool) -> bool:
        return self._places.may_take(owner, alone)

    def _give_back(self, owner: str, helper: Helper) -> None:
        with self._lock:
            self._busy.discard(helper)
            self._idle.append(helper)
            if self._is_closed:
                helper.close()
            self._places.give_back(owner)
            self._hand_out()


class IndexingHelper:
    """A helper that reads and analyses what is indexed, one object at a time.

    It has the time that the largest object takes. Small objects are done by the caller's thread,
    as handing them over would cost it as much.
    """

    def __init__(self) -> None:
        self._helper = Helper(INDEXING_CPU_S_MAX, INDEXING_CALL_S_MAX)
        self._lock = threading.Lock()
        self._is_closed = False

    def __call__(self, path: str, kind: str, data: bytes, updated_at: int) -> Analysis:
        """As ``document_change.analyze``; ``too_large`` when it takes too much time or memory."""
        if len(data) < INDEXING_BYTES_MIN:
            return analyze(path, kind, data, updated_at)
        with self._lock:
            if self._is_closed:
                raise _closed()
            return cast("Analysis", self._helper.call(analyze, (path, kind, data, updated_at)))

    def close(self) -> None:
        """End the process, whatever it does."""
        self._is_closed = True
        while not self._lock.acquire(timeout=0.05):  # again, as a call may just have begun
            self._helper.stop(_closed())
        self._helper.close()
        self._lock.release()


class _Seeker:
    """A thread that wants a helper."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self.helper: Helper | None = None
        self.is_over = threading.Event()


def _closed() -> FastioError:
    return FastioError("unavailable", "The server is being stopped.", "Try again in a moment.")


def _start(cpu_s_max: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "fastio_cli.server.compute", str(cpu_s_max)],
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
