"""No write waits for the work on another's document: that is done before its transaction."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fastio_cli.engine.outside import TIMES_MAX
from fastio_cli.operations import documents
from fastio_cli.operations.documents import LARGE_BYTES
from tests.backends import BACKENDS, Caller, kind_of

LARGE = {"n": 0, "log": [], "text": "x" * LARGE_BYTES}
COPY = [{"op": "copy", "from": "/log", "path": "/other"}]
DEEP = {"$defs": {"a": {"type": "object"}}, "allOf": [{"$ref": "#/$defs/a"}] * 2000}


@pytest.fixture(params=[name for name in BACKENDS if not name.startswith("remote-")])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store of each kind, without a server before it."""
    backend = kind_of(request.param).made(tmp_path / "store")
    yield backend
    backend.give_back()


class Work:
    """Counts what is done in transactions and outside, and lets something happen in between."""

    def __init__(self, caller: Caller) -> None:
        self.inside: list[str] = []
        self.outside: list[str] = []
        self.meanwhile: Any = lambda: None
        caller.engine.compute_in_write = self._in_write
        caller.engine.compute = self._before

    def _in_write(self, function: Any, *args: object) -> object:
        self.inside.append(function.__name__)
        return function(*args)

    def _before(self, function: Any, *args: object) -> object:
        self.outside.append(function.__name__)
        result = function(*args)
        self.meanwhile()
        return result


@pytest.fixture
def work(caller: Caller) -> Work:
    caller("state.set", path="large.json", value=LARGE)
    caller("state.set", path="small.json", value={"log": [1], "a": {}})
    caller("state.set", path="deep.json", value={"a": [1] * 100}, schema=DEEP)
    return Work(caller)


SLOW = {
    "increment": ("state.increment", {"path": "large.json", "at": "/n"}),
    "append": ("state.append", {"path": "large.json", "at": "/log", "value": 1}),
    "set at": ("state.set", {"path": "large.json", "at": "/n", "value": 5}),
    "merge": ("state.patch", {"path": "large.json", "patch": {"n": 7}}),
    "copy": ("state.patch", {"path": "small.json", "patch": COPY, "format": "json-patch"}),
    "schema": ("state.patch", {"path": "deep.json", "patch": {"b": 1}}),
    "copied with a schema": ("object.copy", {"path": "deep.json", "to": "copy.json"}),
    "moved with a schema": ("object.move", {"path": "deep.json", "to": "moved.json"}),
    "transact": (
        "state.transact",
        {
            "changes": [
                {"op": "increment", "path": "large.json", "at": "/n"},
                {"op": "append", "path": "small.json", "at": "/log", "value": 2},
            ]
        },
    ),
}


@pytest.mark.parametrize(("operation", "params"), SLOW.values(), ids=SLOW)
def test_what_is_slow_is_done_before_the_transaction(caller, work, operation, params):
    before = len(caller.events())
    caller(operation, **params)
    assert (work.inside, len(work.outside)) == ([], 1)
    changed = {"state.transact": 2, "object.move": 2}.get(operation, 1)
    assert len(caller.events()) == before + changed


def test_what_is_quick_is_done_at_once(caller, work):
    caller("state.append", path="small.json", at="/log", value=2)
    patch = [{"op": "add", "path": "/log/-", "value": 3}]
    caller("state.patch", path="small.json", patch=patch, format="json-patch")
    caller("state.set", path="typed.json", value={"n": 1}, schema={"type": "object"})
    caller("state.increment", path="typed.json", at="/n")
    assert (work.inside, work.outside) == (["edit"] * 4, [])


def test_what_was_changed_meanwhile_is_worked_on_again(caller, work, open_caller):
    other, turns = open_caller(), iter(range(2))

    def meanwhile() -> None:
        if next(turns, None) is not None:
            other("state.increment", path="large.json", at="/n", by=10)

    work.meanwhile = meanwhile
    assert caller("state.increment", path="large.json", at="/n")["value"] == 21
    assert (work.inside, len(work.outside)) == ([], 3)
    assert caller("state.get", path="large.json", at="/n")["version"] == 4


def test_what_others_change_all_the_time_is_changed_in_the_end(caller, work, open_caller):
    other = open_caller()
    work.meanwhile = lambda: other("state.increment", path="large.json", at="/n", by=10)
    assert caller("state.increment", path="large.json", at="/n")["value"] == 10 * TIMES_MAX + 1
    assert (len(work.inside), len(work.outside)) == (1, TIMES_MAX)


def test_a_precondition_is_about_what_is_written_over(caller, work, open_caller):
    other = open_caller()
    work.meanwhile = lambda: other("state.increment", path="large.json", at="/n")
    with pytest.raises(Exception, match="is at version 2, not 1"):
        caller("state.increment", path="large.json", at="/n", if_version=1)
    held = other("lock.acquire", path="small.json")
    patch = {"path": "small.json", "patch": COPY, "format": "json-patch"}
    work.meanwhile = lambda: None
    caller.refused("locked", "state.patch", **patch)
    assert work.outside.count("edit") == 1
    caller("state.patch", lock_token=held["token"], **patch)


def test_several_calls_in_one_commit(caller, work):
    engine = caller.engine
    calls = [
        engine.prepare("state.increment", {"path": "large.json", "at": "/n"}, "default", "ada")
        for _ in range(5)
    ]
    outcomes = engine.call_many(calls)
    assert [outcome["value"] for outcome in outcomes] == [1, 2, 3, 4, 5]
    assert work.inside == []


def test_it_is_known_what_holds_up_writes():
    def edit(body: bytes, change: Any, schema: bytes | None = None) -> bool:
        return documents.holds_up_writes(documents.edit, ((("v", 1, body, (change,), schema),),))

    append = (None, "append", "append", (None, b"1"))
    assert not edit(b"[]", append)
    assert edit(b"[" + b"1," * LARGE_BYTES + b"1]", append)
    assert edit(b"[]", (None, "append", "append", (None, b'"' + b"x" * LARGE_BYTES + b'"')))
    assert not edit(b"[]", append, b'{"type":"array"}')
    assert edit(b"[" + b"1," * 60_000 + b"1]", append, b'{"items":{"type":"integer"}}')
    assert edit(
        b"[]",
        append,
        b'{"patternProperties":{%s}}' % b",".join(b'"%d":true' % n for n in range(100)),
    )
