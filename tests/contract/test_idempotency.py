"""Idempotency keys: a repeated call gives the first one's result and changes nothing more."""

from __future__ import annotations

from pathlib import Path

import pytest

from fastio_cli.cli.framework.parse import parse
from fastio_cli.identity import digest_of
from fastio_cli.operations import find
from tests.backends import Background

DAY_S = 24 * 3600


def test_the_same_call_twice_is_one(caller):
    caller("state.set", path="v.json", value=1)
    first = caller("state.increment", path="v.json", key="k")
    again = caller("state.increment", path="v.json", key="k")
    assert again == first
    assert caller.value("v.json") == 2
    assert caller("workspace.show")["seq"] == 2


@pytest.mark.parametrize(
    ("operation", "params"),
    [
        ("state.set", {"path": "n.json", "value": {"a": [1, None, "ü"]}}),
        ("state.init", {"path": "n.json", "value": 1}),
        ("state.patch", {"path": "v.json", "patch": {"a": 1}}),
        ("state.append", {"path": "l.json", "value": 1}),
        ("state.transact", {"changes": [{"op": "increment", "path": "v.json"}]}),
        ("object.delete", {"path": "v.json"}),
        ("object.restore", {"path": "v.json", "version": 1}),
        ("object.move", {"path": "v.json", "to": "n.json"}),
        ("object.copy", {"path": "v.json", "to": "n.json"}),
        ("lock.acquire", {"path": "v.json"}),
        ("workspace.create", {"name": "new"}),
        ("workspace.rename", {"name": "new", "workspace": "team"}),
        ("workspace.delete", {"workspace": "team"}),
        ("workspace.restore", {"name": "gone"}),
    ],
)
def test_every_write_can_be_repeated(caller, operation, params):
    caller("state.set", path="v.json", value=1)
    caller("state.set", path="l.json", value=[])
    for name in ("team", "gone"):
        caller("workspace.create", name=name)
    caller("workspace.delete", workspace="gone")
    first = caller(operation, key="k", **params)
    before = caller.snapshot()
    assert caller(operation, key="k", **params) == first
    assert caller.snapshot() == before


def test_files_too(caller):
    for operation in ("file.put", "file.append"):
        for size in (10, 100_000):
            params = {"path": "f", "key": f"{operation}{size}"}
            first = caller(operation, content=caller.upload(b"x" * size), **params)
            assert caller(operation, content=caller.upload(b"x" * size), **params) == first
            caller.refused("invalid", operation, content=caller.upload(b"y" * size), **params)


def test_another_payload_is_refused(caller):
    caller("state.set", path="v.json", value=1, key="k")
    for operation, params in (
        ("state.set", {"path": "v.json", "value": 2}),
        ("state.set", {"path": "w.json", "value": 1}),
        ("state.set", {"path": "v.json", "value": 1, "if_version": 1}),
        ("state.init", {"path": "v.json", "value": 1}),
        ("state.set", {"path": "v.json", "value": True}),
        ("state.set", {"path": "v.json", "value": 1.0}),
    ):
        caller.refused("invalid", operation, key="k", **params)


def test_a_key_belongs_to_its_workspace(caller):
    caller("workspace.create", name="team")
    caller("state.set", path="v.json", value=1, key="k")
    caller("state.set", path="v.json", value=2, key="k", workspace="team")
    assert caller.value("v.json") == 1
    assert caller.value("v.json", workspace="team") == 2


def test_a_key_for_one_workspace_does_not_answer_for_another(caller):
    for name in ("one", "two"):
        caller("workspace.create", name=name)
    caller("workspace.delete", workspace="one", key="k")
    caller.refused("invalid", "workspace.delete", workspace="two", key="k")
    caller.refused("not_found", "workspace.delete", workspace="one")


def test_a_call_that_failed_may_be_repeated(caller):
    caller.refused("not_found", "state.increment", path="v.json", key="k")
    caller("state.set", path="v.json", value=1)
    assert caller("state.increment", path="v.json", key="k")["value"] == 2


def test_a_repeat_answers_even_where_the_first_would_fail_now(caller):
    first = caller("state.set", path="v.json", value=1, if_version=0, key="k")
    caller("lock.acquire", path="v.json")
    assert caller("state.set", path="v.json", value=1, if_version=0, key="k") == first


def test_a_key_is_forgotten_after_a_day(timed, clock):
    timed("state.set", path="v.json", value=0)
    timed("state.increment", path="v.json", key="k")
    clock.advance(DAY_S - 1)
    assert timed("state.increment", path="v.json", key="k")["value"] == 1
    clock.advance(1)
    assert timed("state.increment", path="v.json", key="k")["value"] == 2
    assert timed("state.increment", path="v.json", key="k")["value"] == 2


def test_a_lock_that_was_waited_for_is_given_once(caller, open_caller):
    caller("lock.acquire", path="v", ttl_s=1)
    first = open_caller()("lock.acquire", path="v", wait_s=60, key="k")
    assert caller("lock.acquire", path="v", wait_s=60, key="k") == first


def test_the_same_key_at_the_same_time(caller, open_caller):
    caller("state.set", path="v.json", value=0)
    calls = [
        Background(lambda: open_caller()("state.increment", path="v.json", key="k"))
        for _ in range(8)
    ]
    assert {call.result()["version"] for call in calls} == {2}
    assert caller.value("v.json") == 1


@pytest.mark.parametrize("key", ["", "x" * 256, "a\nb", "a\0"])
def test_what_is_not_a_key(caller, key):
    caller.refused("invalid", "state.set", path="v.json", value=1, key=key)


def test_reading_takes_no_key(caller):
    caller("state.set", path="v.json", value=1)
    caller.refused("invalid", "state.get", path="v.json", key="k")


# Every operation that tells a secret, with the parameters of a call; a claim takes an offer's.
TELLING = {
    "lock.acquire": {"path": "v.json"},
    "lock.take_over": {"path": "v.json"},
    "token.create": {"member": "bob", "role": "viewer"},
    "org.create": {"name": "acme"},
    "transfer.create": {},
    "transfer.claim": {"name": "hanna"},
}


def telling(caller, operation):
    """The parameters of a call that tells a secret, and the field of its answer that holds it."""
    params = dict(TELLING[operation])
    if operation == "transfer.claim":
        params["claim"] = caller("transfer.create")["claim"]
    return params, find(operation).returns_secret


@pytest.mark.parametrize("operation", TELLING)
def test_an_answer_that_tells_a_secret_is_not_kept(caller, operation):
    params, secret = telling(caller, operation)
    told = caller(operation, key="my-key", **params)[secret]
    for column in ("key", "request_hash", "result"):
        sql = f"update requests set {column} = {column} where {column} like :text"
        assert caller.backend.tamper(sql, text=f"%{told}%") == 0
    sql = "update requests set key = key where key like :key"
    assert caller.backend.tamper(sql, key="%my-key") == 1
    files = [f for f in Path(caller.backend.folder).rglob("*") if f.is_file()]
    assert not [f for f in files if told.encode() in f.read_bytes()]


@pytest.mark.parametrize("operation", ["token.create", "transfer.create"])
def test_a_repeat_says_that_it_was_done_and_what_to_do(caller, operation):
    params, secret = telling(caller, operation)
    first = caller(operation, key="k", **params)
    refusal = caller.refused("already_exists", operation, key="k", **params)
    assert refusal.details == {k: v for k, v in first.items() if k != secret}
    assert first["id"] in refusal.hint
    if caller.tells_commands:
        command = refusal.hint.partition(": fastio ")[2].split()
        assert parse(command).command.words in ("token revoke", "org transfer")
    caller("token.revoke" if secret == "token" else "transfer.revoke", id=first["id"])
    assert caller(operation, key="k2", **params)[secret] != first[secret]


@pytest.mark.parametrize("operation", ["org.create", "transfer.claim"])
def test_who_lost_the_only_way_into_an_org_gets_another(caller, operation):
    params, secret = telling(caller, operation)
    first = caller(operation, key="k", **params)
    again = caller(operation, key="k", **params)
    assert {**again, secret: None} == {**first, secret: None}
    assert again[secret] != first[secret]
    assert len(digest_of(again[secret])) == 64


def test_the_holder_of_a_lock_is_told_its_token_again(caller, open_caller):
    first = caller("lock.acquire", path="v.json", key="k")
    again = open_caller()("lock.acquire", path="v.json", key="k")
    assert again == first
    caller("state.set", path="v.json", value=1, lock_token=again["token"])
    caller("lock.release", path="v.json", lock_token=again["token"])
    second = caller("lock.acquire", path="v.json", key="k2")
    assert second["token"] != first["token"]
    assert caller("lock.acquire", path="v.json", key="k") == first  # it was that one's
    caller.refused("lock_lost", "state.set", path="v.json", value=2, lock_token=first["token"])


def test_the_tokens_of_a_store_are_its_own(caller, tmp_path):
    kind = type(caller.backend)
    other = kind.made(tmp_path / "other")
    engine = other.open()
    try:
        told = engine.call("lock.acquire", {"path": "v.json"}, actor="ada")
        here = caller("lock.acquire", path="v.json")
        assert here["fence"] == told["fence"]
        assert here["token"] != told["token"]
    finally:
        engine.store.close()
        other.give_back()


def test_another_request_by_the_key_of_a_secret_is_refused(caller):
    caller("lock.acquire", path="v.json", key="k")
    caller.refused("invalid", "lock.acquire", path="w.json", key="k")


def test_whatever_tells_a_secret_is_marked():
    from fastio_cli import model
    from fastio_cli.operations import every

    for operation in every():
        record = str(operation.run.__annotations__["return"]).partition(" ")[0].strip("'\"")
        kind = getattr(model, record.removeprefix("model."), None)
        names = set(getattr(kind, "__annotations__", {}))
        assert {operation.returns_secret} - {None} == names & {"token", "claim"}, operation.name
        assert (operation.returns_secret is None) == (operation.replay is None)
    assert {o.name for o in every() if o.returns_secret} == set(TELLING)


def test_how_long_one_waits_is_no_part_of_what_is_asked(caller):
    """A client that was cut off asks again, and has less time left."""
    lock = caller("lock.acquire", path="a", wait_s=60, key="k")
    assert caller("lock.acquire", path="a", wait_s=5, key="k") == lock
    assert caller("lock.acquire", path="a", key="k") == lock
    caller.refused("invalid", "lock.acquire", path="a", ttl_s=5, key="k")
