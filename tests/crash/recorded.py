"""What ``test_power_loss.py`` records: the writes and syncs of several processes, in one log.

``python -m tests.crash.recorded FOLDER DURABILITY ACTOR COUNT`` writes to a store and notes every
acknowledged write in the log named by ``FASTIO_TEST_RECORD``, beside what ``recorder.c`` notes.
"""

from __future__ import annotations

import json
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.storage.sqlite.store import SqliteStore

HEADER = struct.Struct("=cc6xQqq")  # struct record of recorder.c
RECORD = "FASTIO_TEST_RECORD"


class Entry(NamedTuple):
    """One line of the log; ``op`` is as in ``recorder.c``, or ``A`` for an acknowledged write."""

    op: str
    file: str
    number: int
    offset: int
    data: bytes


def entries(log: Path) -> Iterator[Entry]:
    """The log in its order."""
    with open(log, "rb") as f:
        while header := f.read(HEADER.size):
            op, file, number, offset, length = HEADER.unpack(header)
            yield Entry(op.decode(), file.decode(), number, offset, f.read(length))


def acknowledge(fd: int, put: dict[str, Any]) -> None:
    text = json.dumps([put["path"], put["version"], put["etag"]]).encode()
    os.write(fd, HEADER.pack(b"A", b" ", 0, 0, len(text)) + text)


def main(folder: str, durability: str, actor: str, count: str) -> None:
    store = SqliteStore(folder, durability=durability)
    engine = Engine(store, BlobStore(f"{folder}/blobs"), Limits(versions_max=10**9))
    fd = os.open(os.environ[RECORD], os.O_WRONLY | os.O_APPEND)
    for n in range(int(count)):
        own = {"path": f"{actor}.json", "value": {"n": n, "filler": os.urandom(n * 20).hex()}}
        acknowledge(fd, engine.call("state.set", own, actor=actor))
        acknowledge(fd, engine.call("state.increment", {"path": "shared.json"}, actor=actor))
    os._exit(0)  # as a command does: without closing


if __name__ == "__main__":
    main(*sys.argv[1:])
