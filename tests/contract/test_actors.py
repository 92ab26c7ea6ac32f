"""Who acts in a workspace: what each last did, and what changed while one was away."""

from __future__ import annotations


def test_actors_are_listed_the_last_first_with_their_locks(caller):
    caller("state.set", path="a", value=1, actor="ada")
    caller("state.set", path="a", value=2, actor="bob")
    caller("lock.acquire", path="b", actor="bob")
    caller("state.set", path="c", value=1, actor="ada")
    ada, bob = caller("actor.list", actor="ada")["items"][:2]
    assert (ada["name"], ada["last_type"], ada["last_path"]) == ("ada", "state.set", "c")
    assert (bob["name"], bob["events"], bob["last_type"]) == ("bob", 2, "lock.acquire")
    assert (ada["locks"], bob["locks"]) == ([], ["b"])
    assert len(caller("actor.list", limit=1)["items"]) == 1


def test_who_did_nothing_lately_is_not_listed(timed, clock):
    timed("state.set", path="a", value=1, actor="ada")
    clock.advance(100)
    timed("state.set", path="a", value=2, actor="bob")
    names = [item["name"] for item in timed("actor.list", since_s=50, actor="bob")["items"]]
    assert names == ["bob"]


def test_a_brief_tells_what_changed_since_one_was_here(caller):
    caller("state.set", path="mine", value=1, actor="ada")
    caller("lock.acquire", path="mine", purpose="to tidy", actor="ada")
    here = caller("actor.brief", actor="ada")
    assert here["events_since"] == 0
    assert here["last_seen_seq"] == here["seq"]
    assert [lock["path"] for lock in here["held"]] == ["mine"]
    for n in range(20):
        caller("state.set", path=f"theirs{n}", value=n, actor="bob")
    caller("lock.acquire", path="theirs1", actor="bob")
    away = caller("actor.brief", actor="ada")
    assert away["events_since"] == 21
    assert away["actors_since"] == ["bob"]
    assert away["newest"][0]["path"] == "theirs1"
    assert len(away["newest"]) == 10
    assert [(lock["path"], lock["holder"]) for lock in away["locked"]] == [("theirs1", "bob")]


def test_who_was_never_here_is_told_of_all(caller):
    caller("state.set", path="a", value=1, actor="bob")
    brief = caller("actor.brief", actor="eve")
    assert brief["last_seen_seq"] is None
    assert brief["events_since"] == brief["seq"]
    assert brief["held"] == []
