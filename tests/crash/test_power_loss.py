"""Several processes write, and the power goes: what they acknowledged is on the disk.

The processes' writes and syncs are recorded, and from the record the disk is built as it may be
after a loss of power at some moment: what a sync that had ended covers is there; of everything else
each sector may have arrived or not, in any order. This is the model of a disk that keeps what it
confirmed, for the files of the database; the store's folder and blobs are not part of it.
``FASTIO_POWER_IMAGES`` sets how many moments are looked at (default 60).
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.crash.recorded import RECORD, Entry, entries
from tests.requirements import lacking
from tests.workers import DEADLINE_S, ROOT, open_engine

PROCESSES = 4
EACH = 60  # times two writes: together more than the pages after which the log is copied back
IMAGES = int(os.environ.get("FASTIO_POWER_IMAGES", "60"))
SECTOR_BYTES = 512
FILES = {"d": "store.sqlite", "w": "store.sqlite-wal"}


@pytest.fixture(scope="module")
def recorder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        lacking("the loss of power is not tested: that takes Linux and a C compiler")
    library = tmp_path_factory.mktemp("recorder") / "recorder.so"
    source = Path(__file__).with_name("recorder.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-o", library, source]
    subprocess.run([*command, "-ldl"], check=True)
    return library


class Recording:
    """A store as it was before, and what several processes did to it."""

    def __init__(self, folder: Path, recorder: Path, durability: str) -> None:
        store = folder / "store"
        engine = open_engine(store)
        engine.call("state.set", {"path": "shared.json", "value": 0})
        self.before = {kind: (store / name).read_bytes() for kind, name in FILES.items()}
        log = folder / "log"
        log.touch()
        environment = {**os.environ, "LD_PRELOAD": str(recorder), RECORD: str(log)}
        command = [sys.executable, "-m", "tests.crash.recorded", str(store), durability]
        processes = [
            subprocess.Popen([*command, f"agent{n}", str(EACH)], cwd=ROOT, env=environment)
            for n in range(PROCESSES)
        ]
        assert [process.wait(DEADLINE_S) for process in processes] == [0] * PROCESSES
        engine.store.close()
        self.log = list(entries(log))

    def moments(self, chance: random.Random, count: int) -> list[int]:
        """Moments of the loss: half of them at once after a write was acknowledged."""
        acknowledged = [n + 1 for n, entry in enumerate(self.log) if entry.op == "A"]
        return [
            chance.choice(acknowledged) if n % 2 else chance.randrange(len(self.log) + 1)
            for n in range(count)
        ]

    def acknowledged(self, moment: int) -> set[tuple[str, int, str]]:
        return {tuple(json.loads(e.data)) for e in self.log[:moment] if e.op == "A"}

    def disk(self, moment: int, arrived: float, chance: random.Random) -> dict[str, bytearray]:
        """The files after a loss of power at a moment, when this part of the unsynced arrived."""
        files = {kind: bytearray(body) for kind, body in self.before.items()}
        safe = self._synced(moment)
        for n, entry in enumerate(self.log[:moment]):
            if entry.op in "WT":
                part = 1.0 if n < safe[entry.file] else arrived
                _apply(files[entry.file], entry, part, chance)
        return files

    def _synced(self, moment: int) -> dict[str, int]:
        """How far in the log the changes of each file are on the disk for certain."""
        begun: dict[int, int] = {}
        safe = dict.fromkeys(FILES, 0)
        for n, entry in enumerate(self.log[:moment]):
            if entry.op == "B":
                begun[entry.number] = n
            elif entry.op == "E":
                safe[entry.file] = max(safe[entry.file], begun[entry.number])
        return safe


def _apply(file: bytearray, entry: Entry, part: float, chance: random.Random) -> None:
    if entry.op == "T":
        if chance.random() < part:
            del file[entry.offset :]
            file.extend(bytes(entry.offset - len(file)))
        return
    for start in range(0, len(entry.data), SECTOR_BYTES):
        if chance.random() < part:
            sector = entry.data[start : start + SECTOR_BYTES]
            at = entry.offset + start
            file.extend(bytes(max(0, at - len(file))))
            file[at : at + len(sector)] = sector


def lost(recording: Recording, moment: int, disk: dict[str, bytearray], folder: Path) -> int:
    """How many acknowledged writes are not on a disk; what is there has to be a sound store."""
    folder.mkdir()
    for kind, name in FILES.items():
        (folder / name).write_bytes(disk[kind])
    engine = open_engine(folder)
    report = engine.call("audit.verify")
    assert report["verified"], report["problem"]
    with closing(sqlite3.connect(folder / FILES["d"])) as db:
        there = set(db.execute("select path, version, etag from versions"))
    engine.store.close()
    shutil.rmtree(folder)
    return len(recording.acknowledged(moment) - there)


def losses(recording: Recording, folder: Path, images: int) -> list[int]:
    """What is lost at each of so many random moments."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    return [
        lost(
            recording,
            moment,
            recording.disk(moment, chance.choice((0.0, 0.3, 0.9, 1.0)), chance),
            folder / "disk",
        )
        for moment in recording.moments(chance, images)
    ]


def test_no_acknowledged_write_is_lost_with_the_power(recorder: Path, tmp_path: Path) -> None:
    recording = Recording(tmp_path, recorder, "full")
    ops = [(entry.op, entry.file) for entry in recording.log]
    assert ops.count(("A", " ")) == PROCESSES * EACH * 2
    assert ops.count(("W", "d")) > 0, "the log was never copied back"
    assert losses(recording, tmp_path, IMAGES) == [0] * IMAGES


def test_a_disk_that_was_not_asked_to_confirm_loses_writes(recorder: Path, tmp_path: Path) -> None:
    """The test above can fail: with ``durability=normal`` nothing is synced before it is said."""
    recording = Recording(tmp_path, recorder, "normal")
    end = len(recording.log)
    nothing_arrived = recording.disk(end, 0.0, random.Random(0))
    assert lost(recording, end, nothing_arrived, tmp_path / "disk") > 0
    assert any(losses(recording, tmp_path, 10))
