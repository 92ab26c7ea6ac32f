"""What is not accepted: each with its code, and nothing changed."""

from __future__ import annotations

import math

import pytest

BAD_PATHS = {
    "dots": "..",
    "parent": "a/../b",
    "here": "./a",
    "absolute": "/a",
    "trailing": "a/",
    "double": "a//b",
    "empty": "",
    "nul": "a\0b",
    "newline": "a\nb",
    "escape": "a\x1b[2Jb",
    "delete": "a\x7fb",
    "c1": "a\x85b",
    "surrogate": "a\ud800b",
    "long": "a" * 1025,
    "long-in-bytes": "ü" * 513,
    "number": 5,
    "bytes": b"a",
    "null": None,
}
BY_PATH = {
    "state.get": {},
    "state.set": {"value": 1},
    "state.init": {"value": 1},
    "state.patch": {"patch": {}},
    "state.append": {"value": 1},
    "state.increment": {},
    "state.update": {"expression": "@"},
    "state.schema": {},
    "state.wait": {"expression": "@"},
    "object.info": {},
    "object.history": {},
    "object.diff": {},
    "object.delete": {},
    "object.restore": {},
    "object.move": {"to": "b"},
    "object.copy": {"to": "b"},
    "file.get": {},
    "lock.acquire": {},
    "lock.take_over": {},
    "lock.renew": {"lock_token": "x"},
    "lock.release": {"lock_token": "x"},
    "lock.break": {},
    "lock.show": {},
}


@pytest.mark.parametrize("path", BAD_PATHS.values(), ids=BAD_PATHS)
def test_paths(caller, path):
    for operation, params in BY_PATH.items():
        if path == BAD_PATHS["trailing"] and operation.startswith("lock."):
            continue  # a lock may be on a folder
        caller.refused("invalid", operation, path=path, **params)
    for operation in ("file.put", "file.append"):
        caller.refused("invalid", operation, path=path, content=caller.upload(b""))
    caller("state.set", path="a", value=1)
    for operation in ("object.move", "object.copy"):
        caller.refused("invalid", operation, path="a", to=path)


@pytest.mark.parametrize("path", ["a" * 1024, "ü" * 512, "…", ".hidden", "a..b", "...", "a b"])
def test_unusual_paths_are_fine(caller, path):
    caller("state.set", path=path, value=1)
    assert caller("object.info", path=path)["path"] == path


CYCLE: list = []
CYCLE.append(CYCLE)
BAD_JSON = {
    "nan": math.nan,
    "infinity": math.inf,
    "minus-infinity": [-math.inf],
    "surrogate": "a\udc80",
    "surrogate-key": {"\ud800": 1},
    "bytes": b"x",
    "set": {1},
    "object": object(),
    "cycle": CYCLE,
    "too-many-digits": 10**5000,
}


@pytest.mark.parametrize("value", BAD_JSON.values(), ids=BAD_JSON)
def test_values(caller, value):
    caller("state.set", path="v.json", value=[])
    for operation, params in (
        ("state.set", {"value": value}),
        ("state.set", {"value": [value], "at": "/-"}),
        ("state.set", {"value": 1, "schema": {"default": value}}),
        ("state.init", {"value": value}),
        ("state.append", {"value": value}),
        ("state.patch", {"patch": value}),
        ("state.patch", {"patch": {"a": value}}),
    ):
        for key in (None, "k"):
            caller.refused("invalid", operation, path="v.json", key=key, **params)
    changes = [{"op": "set", "path": "v.json", "value": value}]
    for key in (None, "k"):
        caller.refused("invalid", "state.transact", changes=changes, key=key)


def test_an_unknown_operation(caller):
    assert "state.get" in caller.refused("not_found", "state.gte").hint
    for name in ("", "state", "state.", ".get", "state.get.x", "nothing.here"):
        caller.refused("not_found", name)


def test_parameters(caller):
    assert "path" in caller.refused("invalid", "state.set", value=1).message
    assert "wat" in caller.refused("invalid", "state.get", path="a", wat=1).message
    caller("state.set", path="a", value=1)
    for operation, params in (
        ("state.get", {"at": 5}),
        ("state.get", {"query": 5}),
        ("state.get", {"version": "1"}),
        ("state.get", {"version": -1}),
        ("state.get", {"version": True}),
        ("state.set", {"value": 1, "if_version": 1.0}),
        ("state.set", {"value": 1, "lock_token": 5}),
        ("state.patch", {"patch": {}, "format": "wat"}),
        ("state.wait", {"expression": "@", "timeout_s": -1}),
        ("state.wait", {"expression": "@", "timeout_s": "5"}),
        ("object.copy", {"to": "b", "overwrite": "yes"}),
        ("lock.acquire", {"wait_s": math.nan}),
        ("lock.acquire", {"purpose": 5}),
    ):
        caller.refused("invalid", operation, path="a", **params)


@pytest.mark.parametrize("actor", ["", "ada", "ü\"'\\", "agent:7@host"])
def test_actors_are_kept_as_given(caller, actor):
    caller("state.set", path="a", value=1, actor=actor)
    assert caller.last_event()["actor"] == actor
    assert caller("audit.verify")["verified"]


@pytest.mark.parametrize("actor", ["a\ud800", "a\0b", "a\nb", "x" * 1025, None, 5])
def test_actors_that_are_refused(caller, actor):
    caller.refused("invalid", "state.set", path="a", value=1, actor=actor)
    caller.refused("invalid", "workspace.create", name="team", actor=actor)


@pytest.mark.parametrize("workspace", ["", "..", "a/b", "\ud800", "a\0", "x" * 65])
def test_workspaces_that_cannot_be(caller, workspace):
    for operation in ("state.get", "object.delete"):
        caller.refused("invalid", operation, path="a", workspace=workspace)
