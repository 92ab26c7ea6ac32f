"""The search index, made by processes that are killed: nothing is lost, nothing is there twice."""

from __future__ import annotations

import random
import time

import pytest

from tests.workers import Worker, open_engine

CALLS = (1, 2, 3, 5, 8, 13, 21)  # of a step of the store, at which an indexing process dies
ROUNDS = 8
OBJECTS = 6
TURNS = 13  # too many for one passage


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "store")


@pytest.fixture
def engine(folder):
    engine = open_engine(folder)
    yield engine
    engine.store.close()


def write(engine, word):
    """Change every object, and take one away and bring another back."""
    for n in range(OBJECTS):
        value = [
            {"text": f"the {word} number {i} of {n} stands here in the reeds"} for i in range(TURNS)
        ]
        engine.call("state.set", {"path": f"{n}.json", "value": value}, actor="ada")
    engine.call("object.delete", {"path": "0.json"}, actor="ada")
    engine.call(
        "object.move", {"path": "1.json", "to": "moved.json", "overwrite": True}, actor="ada"
    )


def expected(word):
    """What every passage says."""
    paths = {1: "moved.json", 2: "2.json", 3: "3.json", 4: "4.json", 5: "5.json"}
    return sorted(
        (path, f"text: the {word} number {i} of {n} stands here in the reeds")
        for n, path in paths.items()
        for i in range(TURNS)
    )


def check(engine, word):
    """Every passage is found by its words and by its meaning, once, and no other."""
    while (status := engine.call("index.update"))["pending"]:
        pass
    wanted = expected(word)
    assert status["indexed_seq"] == status["seq"]
    assert (status["objects"], status["passages"]) == (OBJECTS - 1, len(wanted))
    for mode in ("lexical", "semantic"):
        params = {"query": f"{word} reeds", "mode": mode, "limit": 100, "merge": False}
        items = engine.call("search.query", params)["items"]
        assert sorted((m["path"], m["snippet"]) for m in items) == wanted


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("point", ["Connection.begin", "Connection.unlock"])
def test_killed_at_a_point(engine, folder, point, moment):
    for call in CALLS:
        write(engine, f"heron{call}")
        worker = Worker("index_and_die", folder, "indexer", point, moment, call)
        worker.rest()
        assert worker.process.returncode == -9, worker.errors
    check(engine, f"heron{CALLS[-1]}")


def test_killed_at_a_random_moment(engine, folder):
    write(engine, "otter")
    for _ in range(ROUNDS):
        worker = Worker("index_anew", folder, "indexer")
        assert worker.line()["passages"] == len(expected("otter"))
        time.sleep(random.random() * 0.5)
        worker.kill()
    check(engine, "otter")


def test_several_index_and_are_killed(engine, folder):
    write(engine, "badger")
    workers = [Worker("index_anew", folder, "indexer") for _ in range(3)]
    for worker in workers:
        worker.line()
        worker.kill()
    check(engine, "badger")
