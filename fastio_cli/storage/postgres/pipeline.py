"""A connection to PostgreSQL on which statements are sent ahead of their answers.

libpq's pipeline mode, a trip at a time: all statements of a trip leave in one piece, and their
answers are read together. Where the session is ours alone, what is sent often is prepared, so that
the server neither parses nor plans it again.

psycopg's own pipeline writes to the socket at every statement, which wakes the server each time,
and makes a cursor for each: measured for a transaction of seven statements, it takes 300 us of the
client's CPU where this takes 90.
"""

from __future__ import annotations

import itertools
import re
import select
from collections import deque
from functools import lru_cache
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.types.array import ListBinaryDumper
from psycopg.types.numeric import Int8BinaryDumper
from psycopg.types.string import BytesBinaryDumper, StrBinaryDumper

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from psycopg.pq.abc import PGresult

BINARY = 1
PREPARE_AFTER = 3  # uses of a statement
PREPARED_MAX = 100
USES_MAX = 1000  # statements whose uses are counted
CANCEL_S = 2.0


class Connection(psycopg.Connection[Any]):
    """A connection with its pipeline."""

    pipelined: Pipeline


class PendingResult:
    """What a statement will have answered once its trip is over; reads as a cursor does."""

    __slots__ = ("_pipeline", "result")

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.result: PGresult | None = None

    def fetchone(self) -> dict[str, Any] | None:
        """The first row; waits for the trip if need be. Raises what any of its statements met."""
        rows = self.fetchall()
        return rows[0] if rows else None

    def fetchall(self) -> list[dict[str, Any]]:
        """All rows, likewise."""
        if self.result is None:
            self._pipeline.sync()
        assert self.result is not None
        return self._pipeline.rows(self.result)


class Pipeline:
    """Sends statements in psycopg's notation (``%(name)s``) over a connection.

    ``session_is_exclusive`` says that the session behind the connection is always the same one,
    which is not so behind a pooler: then statements may be prepared there.
    """

    def __init__(self, raw: psycopg.Connection[object]) -> None:
        self.session_is_exclusive = False
        self._raw = raw
        self._pgconn = raw.pgconn
        # One type for each of ours, whatever the value: statements are prepared by types. Lists in
        # text would have the type of whatever small numbers came first.
        kinds: tuple[tuple[type, Any], ...] = (
            (int, Int8BinaryDumper),
            (str, StrBinaryDumper),
            (bytes, BytesBinaryDumper),
            (list, ListBinaryDumper),
        )
        for kind, dumper in kinds:
            raw.adapters.register_dumper(kind, dumper)
        self._transformer = Transformer(raw)
        self._sent: deque[PendingResult] = deque()
        self._uses: dict[tuple[bytes, tuple[int, ...]], int] = {}
        self._prepared: dict[tuple[bytes, tuple[int, ...]], bytes] = {}
        self._numbers = itertools.count()
        self._new: list[tuple[bytes, tuple[int, ...]]] = []  # prepared in this trip

    def open(self) -> None:
        """Begin to send ahead."""
        self._pgconn.enter_pipeline_mode()

    def close(self) -> None:
        """Wait for what is still to be answered, and stop sending ahead. Raises what was met."""
        try:
            if self._sent:
                self.sync()
        finally:
            if self._pgconn.status == ConnStatus.OK:
                self._pgconn.exit_pipeline_mode()

    def send(self, sql: str, params: Mapping[str, object]) -> PendingResult:
        """Add a statement to the trip."""
        query, names = _numbered(sql)
        values = self._transformer.dump_sequence(
            [params[name] for name in names], [PyFormat.AUTO] * len(names)
        )
        types, formats = self._transformer.types or (), self._transformer.formats
        name = self._name(query, types) if self.session_is_exclusive else None
        if name is None:
            self._pgconn.send_query_params(query, values, types, formats, BINARY)
        else:
            self._pgconn.send_query_prepared(name, values, formats, BINARY)
        return self._expected()

    def sync(self) -> None:
        """Send everything and read every answer. Raises the first error that the server met."""
        error = None
        try:
            self._pgconn.pipeline_sync()
            error = self._read()
        except psycopg.Error as e:
            error = e
        except BaseException:
            self._give_up()
            raise
        if error is not None:
            for key in self._new:  # nobody knows whether it was
                self._prepared.pop(key, None)
                self._uses.pop(key, None)
        self._new.clear()
        self._sent.clear()
        if error is not None:
            raise error

    def rows(self, result: PGresult) -> list[dict[str, Any]]:
        """The rows of an answer."""
        if not result.ntuples:
            return []
        names = [(result.fname(n) or b"").decode() for n in range(result.nfields)]
        self._transformer.set_pgresult(result)
        return self._transformer.load_rows(
            0, result.ntuples, lambda values: dict(zip(names, values, strict=True))
        )

    def _expected(self) -> PendingResult:
        answer = PendingResult(self)
        self._sent.append(answer)
        return answer

    def _name(self, query: bytes, types: Sequence[int]) -> bytes | None:
        """What a statement is prepared as, if it is sent often."""
        key = (query, tuple(types))
        name = self._prepared.get(key)
        if name is not None:
            return name
        if len(self._uses) > USES_MAX:
            self._uses.clear()
        uses = self._uses[key] = self._uses.get(key, 0) + 1
        if uses < PREPARE_AFTER or len(self._prepared) >= PREPARED_MAX:
            return None
        name = b"fastio_%d" % next(self._numbers)
        self._pgconn.send_prepare(name, query, types)
        self._expected()
        self._prepared[key] = name
        self._new.append(key)
        return name

    def _read(self) -> psycopg.Error | None:
        """Read until the server is through with the trip; the first error among its answers."""
        pgconn = self._pgconn
        error: psycopg.Error | None = None
        unsent = True
        begun = False  # an answer has come, but not its end
        try:
            while True:
                unsent = unsent and pgconn.flush() == 1
                result = None if pgconn.is_busy() else pgconn.get_result()
                if result is None:
                    if begun and self._sent:
                        self._sent.popleft()
                        begun = False
                    else:
                        self._wait(unsent)
                    continue
                if result.status == ExecStatus.PIPELINE_SYNC:
                    return error
                begun = True
                if self._sent:
                    self._sent[0].result = result
                if result.status == ExecStatus.FATAL_ERROR and error is None:
                    error = self._error(result)
        except psycopg.Error as e:
            return error or e  # why the connection broke says more than that it did

    def _wait(self, unsent: bool) -> None:
        """Wait for the socket, and take in what came."""
        if _readable(self._pgconn.socket, unsent):
            self._pgconn.consume_input()

    def _error(self, result: PGresult) -> psycopg.Error:
        if self._pgconn.status == ConnStatus.BAD:
            return psycopg.OperationalError(self._pgconn.get_error_message())
        return psycopg.errors.error_from_result(result, "utf-8")

    def _give_up(self) -> None:
        """Somebody interrupted the trip: the server need not go on with it either."""
        self._sent.clear()
        try:
            self._raw.cancel_safe(timeout=CANCEL_S)
        except psycopg.Error:
            pass
        self._raw.close()


def _readable(socket: int, unsent: bool) -> bool:
    """Wait until a socket can be read, or written while something is ``unsent``; whether read."""
    if not hasattr(select, "poll"):  # Windows
        return bool(select.select([socket], [socket] if unsent else [], [])[0])
    waiting = select.poll()
    waiting.register(socket, select.POLLIN | (select.POLLOUT if unsent else 0))
    return any(events & ~select.POLLOUT for _, events in waiting.poll())


@lru_cache(maxsize=512)
def _numbered(sql: str) -> tuple[bytes, tuple[str, ...]]:
    """A statement as the server reads it, and the names of its parameters in their order."""
    names: list[str] = []

    def number(found: re.Match[str]) -> str:
        if found[1] is None:
            return "%"
        if found[1] not in names:
            names.append(found[1])
        return f"${names.index(found[1]) + 1}"

    return re.sub(r"%\((\w+)\)s|%%", number, sql).encode(), tuple(names)
