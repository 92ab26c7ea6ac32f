"""What a request leaves behind is counted, or removed at once."""

from __future__ import annotations

import pytest

from fastio_cli.storage.recount import check_counters
from tests.backends import Caller, kind_of

LARGE = 100_000  # of a value, in bytes


@pytest.fixture(params=["sqlite", "postgres"])
def backend(request, tmp_path):
    backend = kind_of(request.param).made(tmp_path / "store")
    yield backend
    backend.give_back()


@pytest.fixture
def engine(backend):
    engine = backend.open()
    yield engine
    engine.store.close()


def kept(engine):
    """The answers that are kept, as they are kept."""
    rows = []

    def read(tx):
        for row in tx._db.all("select key, result from requests"):
            rows.append(row["result"])

    engine.store.read(read)
    return rows


def test_a_large_answer_is_kept_by_reference(backend, engine):
    caller = Caller(backend, engine)
    value = {"a": "x" * LARGE, "b": ["ü", None, 1.5]}
    caller("state.set", path="large", value=value)
    calls = [("state.init", {"path": "large", "value": 1})]
    changes = [{"op": "init", "path": "large", "value": 1}, {"op": "set", "path": "n", "value": 1}]
    calls.append(("state.transact", {"changes": changes}))
    calls.append(("state.init", {"path": "new", "value": value}))
    for number, (operation, params) in enumerate(calls):
        first = caller(operation, key=f"k{number}", **params)
        caller("state.set", path="large", value=value)  # another version
        assert caller(operation, key=f"k{number}", **params) == first
    assert max(len(text) for text in kept(engine)) < 2000


def test_a_reference_to_what_is_no_longer_kept_says_so(backend, engine):
    caller = Caller(backend, engine)
    engine.limits.versions_max = 1
    caller("state.set", path="large", value="x" * LARGE)
    caller("state.init", path="large", value=1, key="k")
    for _ in range(40):
        caller("state.set", path="large", value=1)
    caller.refused("not_found", "state.init", path="large", value=1, key="k")


def test_small_answers_are_kept_as_they_are(backend, engine):
    caller = Caller(backend, engine)
    caller("state.set", path="n", value={"a": 1})
    first = caller("state.init", path="n", value=0, key="k")
    caller("state.set", path="n", value={"a": 2})
    assert caller("state.init", path="n", value=0, key="k") == first
    assert any('"a":1' in text for text in kept(engine))


def test_the_search_index_counts_for_its_org(backend, engine):
    caller = Caller(backend, engine)

    def index_bytes():
        usage = caller("org.usage")
        assert [c.message for c in check_counters(engine.store) if not c.ok] == []
        held = sum(caller("workspace.show", workspace=w)["size_bytes"] for w in ("default", "two"))
        assert usage["size_bytes"] == usage["index_bytes"] + held
        return usage["index_bytes"]

    caller("workspace.create", name="two")
    assert index_bytes() == 0
    text = "\n\n".join(f"# Part {n}\n\n{'some words of it ' * 40}" for n in range(20))
    caller.put("a.md", text.encode())
    caller("index.update")
    one = index_bytes()
    assert one > len(text)
    caller.put("b.md", text.encode(), workspace="two")
    caller("index.update", workspace="two")
    assert index_bytes() == 2 * one
    caller("object.delete", path="a.md")
    caller("index.update")
    assert index_bytes() == one
    caller("index.clear", workspace="two")
    caller("index.rebuild", workspace="two")
    caller("index.update", workspace="two")
    assert index_bytes() == one
