"""One agent of ``fastio demo``: a process that reads its tasks from standard input.

Run as ``python -m fastio_cli.cli.demo_agent NAME FOLDER``. A task is a line of JSON, ``{"do": …}``
with its parameters; every answer is a line of JSON on standard output. It ends with its input.
"""

from __future__ import annotations

import json
import os
import sys
from functools import partial

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.errors import FastioError
from fastio_cli.storage.sqlite.store import SqliteStore

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    Do = Callable[..., Any]
    Task = Callable[..., Iterator[dict[str, object]]]

COUNTER = "counter.json"
REPORT = "report.json"
TTL_S = 30
WAIT_S = 10


def open_engine(folder: str) -> Engine:
    """The operations on the store in this folder, whatever the user's settings are."""
    return Engine(SqliteStore(folder), BlobStore(os.path.join(folder, "blobs")), Limits())


def count(do: Do, times: int) -> Iterator[dict[str, object]]:
    """Add one, many times, without any lock."""
    for _ in range(times):
        value = do("state.increment", {"path": COUNTER})["value"]
    yield {"times": times, "last": value}


def contribute(do: Do, lines: list[str]) -> Iterator[dict[str, object]]:
    """Write each line under a lock of its own; name those that were acknowledged."""
    for line in lines:
        lock = _take(do, TTL_S)
        _write(do, [*_read(do), line], lock)
    yield {"lines": lines}


def hold(do: Do, ttl_s: float) -> Iterator[dict[str, object]]:
    """Acquire the lock, read, and stop there."""
    lock = _take(do, ttl_s)
    yield {"lock": lock, "read": _read(do)}


def take_turn(do: Do, line: str) -> Iterator[dict[str, object]]:
    """Wait for the lock, report when it was acquired, write when the next line arrives."""
    lock = _take(do, TTL_S)
    yield {"lock": lock}
    sys.stdin.readline()
    _write(do, [*_read(do), line], lock)
    yield {"lines": [line]}


def _take(do: Do, ttl_s: float) -> object:
    return do("lock.acquire", {"path": REPORT, "ttl_s": ttl_s, "wait_s": WAIT_S})


def _read(do: Do) -> list[str]:
    lines: list[str] = do("state.get", {"path": REPORT})["value"]
    return lines


def _write(do: Do, document: list[str], lock: Any) -> None:
    do("state.set", {"path": REPORT, "value": document, "lock_token": lock["token"]})
    do("lock.release", {"path": REPORT, "lock_token": lock["token"]})


def main(name: str, folder: str) -> None:
    """Run the tasks from standard input, one after another."""
    do = partial(open_engine(folder).call, actor=name)
    tasks: dict[str, Task] = {
        "count": count,
        "contribute": contribute,
        "hold": hold,
        "take_turn": take_turn,
    }
    for task_line in iter(sys.stdin.readline, ""):
        task = json.loads(task_line)
        try:
            for answer in tasks[task.pop("do")](do, **task):
                print(json.dumps(answer), flush=True)
        except FastioError as e:
            print(json.dumps({"error": e.as_dict()}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
