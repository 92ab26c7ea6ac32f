"""Limits: over one of them nothing is changed."""

from __future__ import annotations

import pytest

from fastio_cli.json_text import SIZE_BYTES_MAX

MIB = 1024 * 1024


def test_a_json_body(caller):
    largest = "x" * (SIZE_BYTES_MAX - 2)
    caller("state.set", path="v.json", value=largest)
    caller.refused("too_large", "state.set", path="v.json", value=largest + "x")
    caller.refused("too_large", "state.set", path="v.json", value="ü" * (SIZE_BYTES_MAX // 2))
    caller("state.set", path="l.json", value=[largest[:-3]])
    caller.refused("too_large", "state.append", path="l.json", value=1)
    caller.refused("too_large", "state.patch", path="l.json", patch={"a": largest})


def test_depth(caller):
    def nested(depth):
        value = []
        for _ in range(depth - 1):
            value = [value]
        return value

    caller("state.set", path="v.json", value=nested(200))
    for depth in (201, 100_000):
        caller.refused("invalid", "state.set", path="v.json", value=nested(depth))
        caller.refused("invalid", "state.patch", path="v.json", patch={"a": nested(depth)})
    caller("state.set", path="w.json", value={"a": nested(199)})
    caller.refused("invalid", "state.set", path="w.json", at="/a", value=nested(200))
    caller.refused(
        "invalid",
        "state.transact",
        changes=[{"op": "set", "path": "x.json", "value": nested(201)}],
    )


def test_a_transaction_is_one_json_body(caller):
    half = "x" * (SIZE_BYTES_MAX // 2)
    changes = [{"op": "set", "path": f"{n}.json", "value": half} for n in range(2)]
    caller.refused("too_large", "state.transact", changes=changes)


def test_a_file(open_caller):
    caller = open_caller(file_bytes_max=100_000)
    caller.put("f", b"x" * 100_000)
    for size in (100_001, 2 * MIB):
        with pytest.raises(Exception, match="limit") as caught:
            caller.put("g", b"x" * size)
        assert caught.value.code == "too_large"
    caller.refused("too_large", "file.append", path="f", content=caller.upload(b"y"))
    assert caller.read("f") == b"x" * 100_000


def test_a_small_file_limit_holds_for_inline_bytes(open_caller):
    caller = open_caller(file_bytes_max=10)
    caller.put("f", b"x" * 10)
    with pytest.raises(Exception, match="limit") as caught:
        caller.put("g", b"x" * 11)
    assert caught.value.code == "too_large"


def test_the_storage_of_a_workspace(open_caller):
    caller = open_caller(storage_bytes_max=1000)
    caller.put("a", b"x" * 900)
    for operation in ("file.put", "file.append"):
        for path in ("a", "b"):
            error = caller.refused(
                "quota_exceeded", operation, path=path, content=caller.upload(b"y" * 101)
            )
            assert error.details["limit_bytes"] == 1000
    caller.refused("quota_exceeded", "state.set", path="v.json", value="z" * 100)
    caller.refused("quota_exceeded", "object.copy", path="a", to="c")
    caller.refused(
        "quota_exceeded",
        "state.transact",
        changes=[{"op": "set", "path": f"{n}.json", "value": "z" * 40} for n in range(3)],
    )
    caller.append("a", b"y" * 100)
    caller("object.delete", path="a")
    assert caller("workspace.show")["size_bytes"] == 1000


def test_other_workspaces_have_their_own_room(open_caller):
    caller = open_caller(storage_bytes_max=1000)
    caller("workspace.create", name="team")
    caller.put("a", b"x" * 1000)
    caller.put("a", b"x" * 1000, workspace="team")


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("lock.acquire", {"purpose": "x" * 1025}),
        ("lock.acquire", {"purpose": "a\nb"}),
        ("lock.break", {"reason": "x" * 1025}),
        ("state.get", {"at": "/" + "x" * 4096}),
        ("state.get", {"query": "x" * 4097}),
        ("state.set", {"value": 1, "lock_token": "x" * 257}),
        ("state.set", {"value": 1, "lock_token": ""}),
        ("state.set", {"value": 1, "if_version": 2**53}),
        ("state.wait", {"expression": "@", "timeout_s": 30 * 24 * 3600 + 1}),
    ],
)
def test_texts_and_numbers(caller, operation, params):
    caller("state.set", path="v.json", value=1)
    caller.refused("invalid", operation, path="v.json", **params)
