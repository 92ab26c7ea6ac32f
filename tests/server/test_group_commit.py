"""Group commit in the event loop: what shares a commit, and who waits for the disk."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fastio_cli.server import group_commit
from fastio_cli.server.group_commit import (
    DELAY_TICKS_MAX,
    LATENCY_WINDOW,
    PROBE_INTERVAL,
    GroupCommit,
)
from fastio_cli.storage.tx import Work


class Disk:
    """A store that notes its commits, and syncs in as much time as it is told."""

    def __init__(self) -> None:
        self.now = 0.0
        self.sync_s = 0.0001
        self.commits: list[list[object]] = []
        self.here = 0  # syncs that the loop itself waited for
        self._loop_thread = threading.get_ident()

    def try_write_batch(self, works):
        outcomes = [work.run(None) for work in works]
        self.commits.append(outcomes)
        return outcomes

    def sync(self):
        self.now += self.sync_s
        self.here += threading.get_ident() == self._loop_thread


@pytest.fixture
def disk(monkeypatch):
    disk = Disk()
    monkeypatch.setattr(group_commit.time, "perf_counter", lambda: disk.now)
    return disk


def committed(disk, script):
    """Run a script of one group commit in a loop."""

    async def run():
        loop = asyncio.get_running_loop()
        group = GroupCommit(disk, loop, lambda item: None, lambda: None)
        try:
            await script(group)
        finally:
            await loop.run_in_executor(None, group.close)

    asyncio.run(run())


def put(group, value):
    future = asyncio.get_running_loop().create_future()
    group.submit((Work(lambda tx: value), future))
    return future


def test_calls_of_a_few_ticks_share_a_commit(disk):
    async def script(group):
        calls = []
        for tick in range(DELAY_TICKS_MAX + 2):  # more than a commit waits for
            calls.append(put(group, tick))
            await asyncio.sleep(0)
        assert await asyncio.gather(*calls) == list(range(DELAY_TICKS_MAX + 2))

    committed(disk, script)
    assert len(disk.commits[0]) == DELAY_TICKS_MAX + 1
    assert [value for commit in disk.commits for value in commit] == list(
        range(DELAY_TICKS_MAX + 2)
    )


def test_one_slow_sync_makes_no_slow_disk(disk):
    async def script(group):
        for number in range(4 * LATENCY_WINDOW):
            disk.sync_s = 0.05 if number % LATENCY_WINDOW == LATENCY_WINDOW - 1 else 0.0001
            await put(group, number)

    committed(disk, script)
    assert disk.here == len(disk.commits)


def test_a_slow_disk_is_left_to_a_thread_and_tried_again(disk):
    async def script(group):
        disk.sync_s = 0.002
        await put(group, 0)
        before = disk.here
        for number in range(PROBE_INTERVAL):
            await put(group, number)
        assert disk.here == before  # the loop waited for none of them
        disk.sync_s = 0.0001
        for number in range(LATENCY_WINDOW * (PROBE_INTERVAL + 1)):
            await put(group, number)
        before, commits = disk.here, len(disk.commits)
        await put(group, 0)
        assert (disk.here - before, len(disk.commits) - commits) == (1, 1)  # quick again

    committed(disk, script)
