"""HTTP messages as they should be, and as they should not; and a strict reader of answers."""

from __future__ import annotations

import random
import re
from itertools import pairwise

import h11

STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-5][0-9]{2}) [ -~]*")
FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")
REQUEST_LINE = re.compile(rb"\A([A-Z]+) +(\S+) +(HTTP/)")
BASE = b"/v1/workspaces/default"
TARGETS = (
    b"/healthz",
    b"/openapi.json",
    b"/v1/whoami",
    b"/nothing",
    b"http://a/healthz",
    BASE + b"/objects?limit=2",
    BASE + b"/state/absent",
    BASE + b"/events?after=0",
)
PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\r\n\r\n", b" ", b"\t", b"\0", b":", b",", b"#", b"%", b"%00"),
    *(b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0", b"HTTP/0.9", b"\xff", b"{", b"]", b'"', b"\xc3\x28"),
    *(b"ffffffffffffffff", b"99999999999999999999", b"-1", b"0x10", b"0\r\n\r\n", b"5;a=b"),
    b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n",
    b"Host: b\r\n",
    b"Content-Length: 0\r\n",
    b"Content-Length: 5\r\n",
    b"Content-Length: +5\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: gzip, chunked\r\n",
    b"Connection: close\r\n",
    b"Connection: Upgrade\r\nUpgrade: h2c\r\n",
    b"Expect: 100-continue\r\n",
    b"Content-Encoding: gzip\r\n",
    b"X: y\r\n z\r\n",
    b"Range: bytes=0-0\r\n",
)


class Messages:
    """Requests by a seed. Each writes to a path of its own, by which it is known whether it ran."""

    def __init__(self, seed: int, token: str) -> None:
        self._random = random.Random(seed)
        self._secret = f"Authorization: Bearer {token}\r\n".encode()
        self._count = 0

    def some(self) -> bytes:
        """A few requests one after the other, of which most are damaged."""
        whole = b"".join(self._request() for _ in range(self._random.randint(1, 3)))
        for _ in range(self._random.choice((0, 1, 1, 1, 2, 2, 3, 5))):
            whole = self._damaged(whole)
        return whole

    def packets(self, data: bytes) -> list[bytes]:
        """The same bytes in one part or several."""
        cuts = sorted(
            self._random.randrange(len(data) + 1) for _ in range(self._random.randint(0, 2))
        )
        ends = [0, *cuts, len(data)]
        return [data[a:b] for a, b in pairwise(ends) if a < b]

    def _request(self) -> bytes:
        if self._random.random() < 0.4:
            start = b"GET " + self._random.choice(TARGETS) + b" HTTP/1.1\r\nHost: a\r\n"
            return start + self._secret + b"\r\n"
        self._count += 1
        body = b'{"value": %d}' % self._count
        if self._random.random() < 0.3:  # which would run if it were taken for a request
            body = b'{"value": "' + self._put(b"{}", b"inner").replace(b"\r\n", b"\\r\\n") + b'"}'
        return self._put(body, b"outer")

    def _put(self, body: bytes, kind: bytes) -> bytes:
        start = b"PUT " + BASE + b"/state/%s-%d HTTP/1.1\r\nHost: a\r\n" % (kind, self._count)
        start += self._secret + b"Content-Type: application/json\r\n"
        if self._random.random() < 0.5:
            return start + b"Content-Length: %d\r\n\r\n" % len(body) + body
        cut = self._random.randrange(len(body) + 1)
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in (body[:cut], body[cut:]) if c)
        return start + b"Transfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"

    def _damaged(self, data: bytes) -> bytes:
        at = self._random.randrange(len(data) + 1)
        end = min(len(data), at + self._random.choice((1, 1, 2, 8, 40)))
        lines = [m.end() for m in re.finditer(rb"\r\n", data)] or [at]
        how = self._random.randrange(6)
        if how == 0:
            return data[:at] + data[end:]
        if how == 1:
            return data[:at] + bytes([self._random.randrange(256)]) + data[at + 1 :]
        if how == 2:
            return data[:at] + data[at:end] + data[at:end] + data[end:]
        if how == 3:
            return data[:at] + self._random.choice(PIECES) + data[at:]
        line = self._random.choice(lines)
        if how == 4:
            return data[:line] + self._random.choice(PIECES) + data[line:]
        return data[:line] + data[self._random.choice(lines) :]


def requests_in(data: bytes) -> list[bytes]:
    """The targets of the requests that another strict reader finds whole in these bytes.

    What RFC 9112 §2.2 and 3 let a server overlook is overlooked: empty lines before a request, and
    several spaces in its first line.
    """
    found: list[bytes] = []
    while data := REQUEST_LINE.sub(rb"\1 \2 \3", data.lstrip(b"\r\n"), count=1):
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
        connection.receive_data(data)
        try:
            target = _target(connection)
        except h11.RemoteProtocolError:
            break
        if target is None:
            break
        found.append(target)
        if connection.their_state is h11.MUST_CLOSE:
            break
        data = connection.trailing_data[0]
    return found


def _target(connection: h11.Connection) -> bytes | None:
    """The target of the request that a connection begins with; None if it is not whole."""
    target = b""
    while (event := connection.next_event()) is not h11.NEED_DATA:
        if isinstance(event, h11.Request):
            target = event.target
        elif isinstance(event, h11.EndOfMessage):
            return target
    return None


class Answer:
    """One answer."""

    def __init__(self, status: int, fields: dict[bytes, bytes], body: bytes) -> None:
        self.status = status
        self.fields = fields
        self.body = body


def answers_in(data: bytes) -> list[Answer]:
    """All answers, which fill these bytes exactly. Raises ``AssertionError`` otherwise."""
    found = []
    while data:
        head, end, data = data.partition(b"\r\n\r\n")
        assert end, head
        status_line, *lines = head.split(b"\r\n")
        status = STATUS_LINE.fullmatch(status_line)
        assert status, status_line
        matches = [FIELD.fullmatch(line) for line in lines]
        assert all(matches), lines
        fields = {m[1].lower(): m[2] for m in matches if m}
        body, data = _body(int(status[1]), fields, data)
        found.append(Answer(int(status[1]), fields, body))
    return found


def _body(status: int, fields: dict[bytes, bytes], data: bytes) -> tuple[bytes, bytes]:
    if status < 200 or status in (204, 304):
        return b"", data
    assert b"transfer-encoding" not in fields, "no answer to these requests is a stream"
    length = int(fields[b"content-length"])
    assert len(data) >= length, "an answer was cut off"
    return data[:length], data[length:]
