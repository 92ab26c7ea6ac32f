"""Locks: exclusive leases with fences and a fair queue, enforced on every way to change a path."""

from __future__ import annotations

import pytest

from fastio_cli.errors import FastioError
from tests.backends import Background, until

PATCH = [{"op": "replace", "path": "/n", "value": 2}]

# Every way to change state at a path: the operation, and its parameters beside the path.
STATE_CHANGES = {
    "set": ("state.set", {"value": {"n": 2}}),
    "set-at": ("state.set", {"value": 2, "at": "/n"}),
    "merge-patch": ("state.patch", {"patch": {"n": 2}}),
    "json-patch": ("state.patch", {"patch": PATCH, "format": "json-patch"}),
    "append": ("state.append", {"value": 2, "at": "/log"}),
    "increment": ("state.increment", {"at": "/n"}),
    "update": ("state.update", {"expression": "{n: `3`}"}),
    "delete": ("object.delete", {}),
    "restore": ("object.restore", {"version": 1}),
    "move-away": ("object.move", {"to": "elsewhere.json"}),
}
FILE_CHANGES = {
    "put": ("file.put", {}),
    "append": ("file.append", {}),
    "delete": ("object.delete", {}),
    "restore": ("object.restore", {"version": 1}),
    "move-away": ("object.move", {"to": "elsewhere.txt"}),
}
ONTO = ("object.move", "object.copy")


def changes(caller, which):
    """The operation and parameters of one way to change ``v``, which is set up for it."""
    kind, name = which.split(":")
    if kind == "file":
        caller.put("v", b"one")
        operation, params = FILE_CHANGES[name]
        if operation.startswith("file."):
            params = {"content": caller.upload(b"two")}
    else:
        caller("state.set", path="v", value={"n": 1, "log": []})
        operation, params = STATE_CHANGES[name]
    return operation, {"path": "v", **params}


EVERY_CHANGE = [f"state:{name}" for name in STATE_CHANGES] + [f"file:{n}" for n in FILE_CHANGES]


@pytest.mark.parametrize("which", EVERY_CHANGE)
def test_no_change_without_the_token(caller, which):
    operation, params = changes(caller, which)
    held = caller("lock.acquire", path="v", purpose="drafting", actor="bob")
    error = caller.refused("locked", operation, **params)
    assert error.details["holder"] == "bob"
    assert error.details["purpose"] == "drafting"
    assert error.details["fence"] == held["fence"]
    assert error.details["expires_at"] == held["expires_at"]
    assert 0 < error.details["retry_after_s"] <= 60
    assert error.details["queue_position"] == 1
    assert "bob" in error.message
    assert "drafting" in error.message
    caller.refused("lock_lost", operation, lock_token="lk_wrong", **params)
    caller(operation, lock_token=held["token"], **params)


@pytest.mark.parametrize("which", EVERY_CHANGE)
@pytest.mark.parametrize("end", ["release", "expire", "break", "next"])
def test_a_stale_token_changes_nothing(timed, clock, which, end):
    operation, params = changes(timed, which)
    held = timed("lock.acquire", path="v", ttl_s=10)
    if end == "release":
        timed("lock.release", path="v", lock_token=held["token"])
    elif end == "break":
        timed("lock.break", path="v")
    else:
        clock.advance(10)
    if end == "next":
        timed("lock.acquire", path="v", actor="bob")
    error = timed.refused("lock_lost", operation, lock_token=held["token"], **params)
    assert error.details["holder"] == ("bob" if end == "next" else None)


@pytest.mark.parametrize("operation", ONTO)
def test_nothing_comes_onto_a_locked_path(caller, operation):
    for path in ("v", "w"):
        caller("state.set", path=path, value=path)
    held = caller("lock.acquire", path="v")
    params = {"path": "w", "to": "v", "overwrite": True}
    caller.refused("locked", operation, **params)
    caller.refused("lock_lost", operation, to_lock_token="lk_wrong", **params)
    caller(operation, to_lock_token=held["token"], **params)
    assert caller.value("v") == "w"


@pytest.mark.parametrize("operation", ONTO)
def test_nothing_comes_onto_a_locked_path_where_nothing_stands(caller, operation):
    caller("state.set", path="w", value=1)
    held = caller("lock.acquire", path="new")
    caller.refused("locked", operation, path="w", to="new")
    caller(operation, path="w", to="new", to_lock_token=held["token"])


def test_nothing_is_made_at_a_locked_path(caller):
    held = caller("lock.acquire", path="new")
    for operation, params in (
        ("state.set", {"value": 1}),
        ("state.init", {"value": 1}),
        ("file.put", {"content": caller.upload(b"")}),
        ("file.append", {"content": caller.upload(b"")}),
    ):
        caller.refused("locked", operation, path="new", **params)
        caller.refused("lock_lost", operation, path="new", lock_token="lk_wrong", **params)
    assert caller("state.init", path="new", value=1, lock_token=held["token"])["created"]


@pytest.mark.parametrize("verb", ["set", "init", "patch", "append", "increment", "delete"])
def test_a_transaction_needs_the_token_of_each_path(caller, verb):
    caller("state.set", path="free.json", value=0)
    if verb != "init":
        caller("state.set", path="v", value=[] if verb == "append" else 1)
    held = caller("lock.acquire", path="v")
    values = {"set": {"value": 2}, "init": {"value": 2}, "patch": {"patch": 2}}
    values["append"] = {"value": 2}
    change = {"op": verb, "path": "v", **values.get(verb, {})}
    first = {"op": "increment", "path": "free.json"}
    caller.refused("locked", "state.transact", changes=[first, change])
    change["lock_token"] = "lk_wrong"
    caller.refused("lock_lost", "state.transact", changes=[first, change])
    change["lock_token"] = held["token"]
    caller("state.transact", changes=[first, change])
    assert caller.value("free.json") == 1


def test_reading_needs_no_token(caller):
    caller("state.set", path="v", value=1)
    caller("lock.acquire", path="v")
    assert caller.value("v") == 1
    assert caller("state.init", path="v", value=2)["created"] is False
    caller("object.copy", path="v", to="w")
    assert caller("object.history", path="v")["items"]
    assert caller("state.wait", path="v", expression="@ == `1`")["value"] == 1


def test_what_a_holder_is_told(timed):
    held = timed("lock.acquire", path="v", ttl_s=90, purpose="draft")
    assert held["token"].startswith("lk_")
    assert held["holder"] == "ada"
    assert held["ttl_s"] == 90
    assert held["waiters"] == 0
    assert held["fence"] == timed.last_event()["seq"]
    shown = timed("lock.show", path="v")
    assert shown == {key: value for key, value in held.items() if key != "token"}
    assert timed("lock.list")["items"] == [shown]


def test_the_token_is_kept_nowhere(caller, backend):
    held = caller("lock.acquire", path="v")
    caller("state.set", path="v", value=1, lock_token=held["token"])
    caller("lock.renew", path="v", lock_token=held["token"])
    records = [caller.events(), caller("lock.show", path="v"), caller("object.info", path="v")]
    assert held["token"] not in str(records)


def test_the_same_actor_does_not_get_it_twice(caller):
    caller("lock.acquire", path="v")
    caller.refused("locked", "lock.acquire", path="v")
    caller.refused("locked", "lock.acquire", path="v", wait_s=0.05)


def test_a_wait_that_fails_leaves_no_trace(caller):
    held = caller("lock.acquire", path="v")
    caller.refused("locked", "lock.acquire", path="v", wait_s=0.05)
    assert caller("lock.show", path="v")["waiters"] == 0
    caller("lock.release", path="v", lock_token=held["token"])
    caller("lock.acquire", path="v")


def test_fences_only_rise(timed, clock):
    fences = []
    for end in ("release", "expire", "break", "release", "expire"):
        held = timed("lock.acquire", path="v", ttl_s=1)
        fences.append(held["fence"])
        timed("state.set", path="other.json", value=1)
        if end == "release":
            timed("lock.release", path="v", lock_token=held["token"])
        elif end == "break":
            timed("lock.break", path="v")
        else:
            clock.advance(1)
    timed("state.init", path="v", value=1)
    timed("object.delete", path="v")
    fences.append(timed("lock.acquire", path="v")["fence"])
    assert fences == sorted(set(fences))


def test_renew(timed, clock):
    held = timed("lock.acquire", path="v", ttl_s=10)
    clock.advance(9)
    renewed = timed("lock.renew", path="v", lock_token=held["token"])
    assert renewed["fence"] == held["fence"]
    assert "token" not in renewed
    clock.advance(9)
    assert timed("lock.renew", path="v", lock_token=held["token"], ttl_s=100)["ttl_s"] == 100
    clock.advance(99)
    timed("state.set", path="v", value=1, lock_token=held["token"])
    clock.advance(1)
    timed.refused("lock_lost", "lock.renew", path="v", lock_token=held["token"])
    timed.refused("not_found", "lock.show", path="v")
    assert timed("lock.list")["items"] == []
    timed("state.set", path="v", value=2)


def test_release(caller):
    caller.refused("lock_lost", "lock.release", path="v", lock_token="lk_wrong")
    held = caller("lock.acquire", path="v")
    caller.refused("lock_lost", "lock.release", path="v", lock_token="lk_wrong")
    assert caller("lock.release", path="v", lock_token=held["token"])["fence"] == held["fence"]
    caller.refused("lock_lost", "lock.release", path="v", lock_token=held["token"])
    caller("state.set", path="v", value=1)


def test_break_is_audited(caller):
    held = caller("lock.acquire", path="v", actor="bob")
    caller("lock.break", path="v", reason="he left", actor="eve")
    event = caller.last_event()
    assert (event["type"], event["actor"]) == ("lock.break", "eve")
    assert event["data"] == {"fence": held["fence"], "holder": "bob", "reason": "he left"}
    caller.refused("not_found", "lock.break", path="v")


def test_an_expiry_is_told_when_the_next_comes(timed, clock):
    held = timed("lock.acquire", path="v", ttl_s=5, actor="bob")
    clock.advance(5)
    timed("lock.acquire", path="v")
    expired, acquired = timed.events()[-2:]
    assert expired["type"] == "lock.expire"
    assert expired["data"] == {"fence": held["fence"], "holder": "bob"}
    assert acquired["type"] == "lock.acquire"


@pytest.mark.parametrize("ttl_s", [0, 0.5, 24 * 3600 + 1, -1, "60", True, float("nan"), None])
def test_a_ttl_has_bounds(caller, ttl_s):
    caller.refused("invalid", "lock.acquire", path="v", ttl_s=ttl_s)


@pytest.mark.parametrize("ttl_s", [1, 1.5, 24 * 3600])
def test_ttls_at_their_bounds(timed, clock, ttl_s):
    held = timed("lock.acquire", path="v", ttl_s=ttl_s)
    clock.advance(ttl_s - 0.01)
    timed("lock.show", path="v")
    clock.advance(0.02)
    timed.refused("lock_lost", "lock.release", path="v", lock_token=held["token"])


def test_a_clock_that_jumps_back_does_not_hold_a_lock_beyond_its_ttl(timed, clock):
    timed("lock.acquire", path="v", ttl_s=60)
    clock.advance(-3600)
    timed.refused("locked", "state.set", path="v", value=1)
    assert timed("lock.list")["items"]
    timed.refused("locked", "lock.acquire", path="v")
    clock.advance(59)
    timed.refused("locked", "state.set", path="v", value=1)
    clock.advance(1)
    timed("state.set", path="v", value=1)
    timed("lock.acquire", path="v")


def test_a_clock_that_jumps_about_moves_no_order_back(timed, clock):
    seqs, versions, fences = [], [], []
    for jump in (0, 86400, -172800, 3600, -1, 10**6, -(10**6)):
        clock.advance(jump)
        versions.append(timed("state.set", path="v.json", value=jump)["version"])
        held = timed("lock.acquire", path="l", ttl_s=1)
        fences.append(held["fence"])
        timed("lock.release", path="l", lock_token=held["token"])
        seqs.append(timed("workspace.show")["seq"])
    assert versions == list(range(1, 8))
    assert fences == sorted(set(fences))
    assert seqs == sorted(set(seqs))
    assert timed("audit.verify")["verified"]


def test_a_clock_that_jumps_ahead_ends_locks_and_their_tokens(timed, clock):
    held = timed("lock.acquire", path="v")
    clock.advance(10**7)
    timed.refused("lock_lost", "state.set", path="v", value=1, lock_token=held["token"])
    clock.advance(-(10**7))
    assert timed("lock.show", path="v")["fence"] == held["fence"]


def test_waiters_are_served_first_come_first_served(caller, open_caller):
    held = caller("lock.acquire", path="v")
    waiting = []
    for n in range(5):
        actor = f"agent{n}"
        waiting.append(
            Background(
                lambda actor=actor: open_caller()("lock.acquire", path="v", wait_s=60, actor=actor)
            )
        )
        until(lambda n=n: caller("lock.show", path="v")["waiters"] == n + 1)
    error = caller.refused("locked", "lock.acquire", path="v")
    assert error.details["queue_position"] == 6
    fences = []
    for n, waiter in enumerate(waiting):
        caller("lock.release", path="v", lock_token=held["token"])
        held = waiter.result()
        assert held["holder"] == f"agent{n}"
        assert held["waiters"] == 4 - n
        fences.append(held["fence"])
    assert fences == sorted(fences)


def test_who_comes_later_does_not_jump_the_queue(caller, open_caller):
    held = caller("lock.acquire", path="v")
    waiter = Background(lambda: open_caller()("lock.acquire", path="v", wait_s=60, actor="first"))
    until(lambda: caller("lock.show", path="v")["waiters"])
    caller("lock.release", path="v", lock_token=held["token"])
    with pytest.raises(FastioError) as caught:
        caller("lock.acquire", path="v", actor="pushy")
    assert caught.value.code == "locked"
    assert waiter.result()["holder"] == "first"


def test_a_waiter_gets_a_lock_that_expires(caller, open_caller):
    caller("lock.acquire", path="v", ttl_s=1)
    waiter = Background(lambda: open_caller()("lock.acquire", path="v", wait_s=60, actor="next"))
    assert waiter.result()["holder"] == "next"


def test_a_waiter_gets_a_lock_that_is_broken(caller, open_caller):
    caller("lock.acquire", path="v", ttl_s=3600)
    waiter = Background(lambda: open_caller()("lock.acquire", path="v", wait_s=60, actor="next"))
    until(lambda: caller("lock.show", path="v")["waiters"])
    caller("lock.break", path="v")
    assert waiter.result()["holder"] == "next"


def test_locks_of_other_paths_are_free(caller):
    for path in ("a", "a/b", "a/b/c"):
        caller("lock.acquire", path=path)
    caller("state.set", path="a/c", value=1)


def test_list_is_paged(caller):
    paths = [f"{folder}/{n}" for folder in "ab" for n in range(3)]
    for path in paths:
        caller("lock.acquire", path=path)
    seen, cursor = [], ""
    while cursor is not None:
        page = caller("lock.list", limit=2, cursor=cursor)
        seen += [lock["path"] for lock in page["items"]]
        cursor = page["next_cursor"]
    assert seen == paths
    assert [lock["path"] for lock in caller("lock.list", prefix="b/")["items"]] == paths[3:]
    assert "token" not in str(caller("lock.list"))


@pytest.mark.parametrize("which", EVERY_CHANGE)
def test_a_token_says_nothing_about_another_path(caller, which):
    operation, params = changes(caller, which)
    other = caller("lock.acquire", path="other")["token"]
    held = caller("lock.acquire", path="v", actor="bob")
    error = caller.refused("locked", operation, lock_token=other, **params)
    assert error.details["holder"] == "bob"
    caller("lock.release", path="v", lock_token=held["token"])
    caller(operation, lock_token=other, **params)
    caller.refused("lock_lost", "lock.release", path="other", lock_token=held["token"])


def test_a_token_says_nothing_about_another_workspace(caller):
    caller("workspace.create", name="lab")
    held = caller("lock.acquire", path="v")
    caller("state.set", workspace="lab", path="v", value=1, lock_token=held["token"])
    caller("lock.release", path="v", lock_token=held["token"])
    caller("state.set", workspace="lab", path="v", value=2, lock_token=held["token"])
    caller.refused("lock_lost", "state.set", path="v", value=1, lock_token=held["token"])


def test_a_token_that_ended_is_lost_for_its_path_alone(timed, clock):
    held = timed("lock.acquire", path="v", ttl_s=10)
    clock.advance(10)
    timed("state.set", path="other", value=1, lock_token=held["token"])
    timed.refused("lock_lost", "state.set", path="v", value=1, lock_token=held["token"])
    changes = [
        {"op": "set", "path": path, "value": 2, "lock_token": held["token"]}
        for path in ("other", "v")
    ]
    timed.refused("lock_lost", "state.transact", changes=changes)


@pytest.mark.parametrize(
    "change", ["cut", "one digit", "longer", "none of ours", "path of another"]
)
def test_a_mistyped_token_is_not_taken_for_one_of_another_path(caller, change):
    token = caller("lock.acquire", path="other")["token"]
    digit = "0" if token[-1] != "0" else "1"
    mistyped = {
        "cut": token[:-1],
        "one digit": token[:-1] + digit,
        "longer": token + "0",
        "none of ours": "lk_" + "0" * 48,
        "path of another": "lk_" + "0" * 12 + token[15:],
    }[change]
    caller.refused("lock_lost", "state.set", path="v", value=1, lock_token=mistyped)


def test_the_token_of_another_lock_neither_renews_nor_releases(caller):
    other = caller("lock.acquire", path="other")["token"]
    for held in (False, True):
        if held:
            caller("lock.acquire", path="v")
        for operation in ("lock.renew", "lock.release"):
            error = caller.refused("lock_lost", operation, path="v", lock_token=other)
            assert "another lock" in error.message


def test_a_lock_is_taken_over_in_one_step(caller):
    caller("state.set", path="v", value=1)
    held = caller("lock.acquire", path="v", ttl_s=600, actor="bob")
    seq = caller("workspace.show")["seq"]
    taken = caller("lock.take_over", path="v", ttl_s=30, purpose="mine", reason="bob died")
    assert (taken["holder"], taken["purpose"], taken["ttl_s"]) == ("ada", "mine", 30)
    assert taken["fence"] > held["fence"]
    broken, acquired = caller.events(after=seq)
    assert broken["type"] == "lock.break"
    assert broken["actor"] == "ada"
    assert broken["data"] == {"fence": held["fence"], "holder": "bob", "reason": "bob died"}
    assert (acquired["type"], acquired["seq"]) == ("lock.acquire", taken["fence"])
    caller.refused("lock_lost", "state.set", path="v", value=2, lock_token=held["token"])
    caller.refused("locked", "state.set", path="v", value=2)
    caller("state.set", path="v", value=2, lock_token=taken["token"])


def test_a_free_lock_is_taken_over_too(timed, clock):
    free = timed("lock.take_over", path="v")
    assert [e["type"] for e in timed.events()] == ["lock.acquire"]
    clock.advance(free["ttl_s"] + 1)
    after = timed("lock.take_over", path="v")
    assert [e["type"] for e in timed.events()][1:] == ["lock.expire", "lock.acquire"]
    assert after["fence"] > free["fence"]


def test_whoever_waits_goes_on_waiting_for_a_lock_that_is_taken_over(caller):
    caller("lock.acquire", path="v", actor="bob")
    waiting = Background(lambda: caller("lock.acquire", path="v", actor="eve", wait_s=60))
    until(lambda: caller("lock.show", path="v")["waiters"] == 1)
    taken = caller("lock.take_over", path="v")
    assert caller("lock.show", path="v")["waiters"] == 1
    caller("lock.release", path="v", lock_token=taken["token"])
    assert waiting.result()["fence"] > taken["fence"]


@pytest.mark.parametrize("path", ["notes/a", "notes/b/c", "notes/b/c/d.json"])
def test_a_folder_is_locked_with_everything_below_it(caller, path):
    caller("state.set", path=path, value={"n": 1, "log": []})
    held = caller("lock.acquire", path="notes/", purpose="to sort", actor="bob")
    assert held["path"] == "notes/"
    error = caller.refused("locked", "state.set", path=path, value=1)
    assert error.details["holder"] == "bob"
    assert "notes/" in error.message
    for operation, params in (
        ("object.delete", {}),
        ("object.move", {"to": "elsewhere"}),
        ("state.increment", {"at": "/n"}),
    ):
        caller.refused("locked", operation, path=path, **params)
    caller.refused("locked", "object.copy", path=path, to="notes/new")
    caller("state.set", path=path, value={"n": 2}, lock_token=held["token"])
    assert caller("lock.show", path=path)["path"] == "notes/"
    caller.refused("not_found", "lock.break", path=path)
    caller("state.set", path="notes.json", value=1)
    caller("state.set", path="note", value=1)
    caller("lock.release", path="notes/", lock_token=held["token"])
    caller("state.set", path=path, value=3)
    caller.refused("lock_lost", "state.set", path=path, value=4, lock_token=held["token"])


@pytest.mark.parametrize(
    ("first", "second"),
    [("a/", "a/b"), ("a/b", "a/"), ("a/", "a/b/"), ("a/b/", "a/"), ("a/", "a/"), ("a/b/c", "a/")],
)
def test_folders_and_paths_exclude_each_other(caller, first, second):
    held = caller("lock.acquire", path=first, actor="bob")
    error = caller.refused("locked", "lock.acquire", path=second, actor="eve")
    assert error.details["holder"] == "bob"
    for apart in ("ab", "b/", "a.json"):
        caller("lock.acquire", path=apart, actor="eve")
    caller("lock.release", path=first, lock_token=held["token"])
    assert caller("lock.acquire", path=second, actor="eve")["fence"] > held["fence"]


def test_who_waits_for_a_folder_is_served_before_who_came_later(caller, open_caller):
    """A path in a folder that somebody waits for is not given to those who came after."""
    inner = caller("lock.acquire", path="a/b", actor="bob")
    folder = Background(lambda: open_caller()("lock.acquire", path="a/", wait_s=30, actor="ann"))
    until(lambda: caller("lock.show", path="a/b")["waiters"] == 1)
    caller.refused("locked", "lock.acquire", path="a/c", actor="eve")
    later = Background(lambda: open_caller()("lock.acquire", path="a/c", wait_s=30, actor="eve"))
    until(lambda: caller("lock.show", path="a/b")["waiters"] >= 1)
    caller("lock.release", path="a/b", lock_token=inner["token"])
    held = folder.result()
    assert held["holder"] == "ann"
    caller("lock.release", path="a/", lock_token=held["token"])
    assert later.result()["fence"] > held["fence"]


def test_a_folder_of_a_dead_holder_is_free_after_its_time(timed, clock):
    held = timed("lock.acquire", path="a/", ttl_s=10, actor="bob")
    clock.advance(11)
    timed("state.set", path="a/b", value=1)
    timed.refused("lock_lost", "state.set", path="a/b", value=2, lock_token=held["token"])
    assert timed("lock.acquire", path="a/b")["fence"] > held["fence"]


def test_a_folder_is_taken_over_with_all_locks_in_it(caller):
    inner = caller("lock.acquire", path="a/b", actor="bob")
    held = caller("lock.take_over", path="a/", reason="gone home", actor="ada")
    assert held["fence"] > inner["fence"]
    caller.refused("lock_lost", "state.set", path="a/b", value=1, lock_token=inner["token"])
    caller("state.set", path="a/b", value=1, lock_token=held["token"])
    caller.refused("lock_lost", "lock.release", path="a/b", lock_token=held["token"])


@pytest.mark.parametrize("path", ["/", "a//", "a/../", "./", ""])
def test_a_folder_has_a_name(caller, path):
    caller.refused("invalid", "lock.acquire", path=path)


def test_every_lock_in_the_way_is_taken_over(caller):
    for path, taken in (("a/b", "a/"), ("c/", "c/d"), ("e/f/", "e/")):
        held = caller("lock.acquire", path=path, actor="bob")
        lock = caller("lock.take_over", path=taken, reason="bob died")
        assert lock["fence"] > held["fence"]
        left = caller("lock.list", prefix=path[0])["items"]
        assert [lock["path"] for lock in left] == [taken]
        broken = [e for e in caller.events() if e["type"] == "lock.break"][-1]
        assert (broken["path"], broken["data"]["reason"]) == (path, "bob died")
