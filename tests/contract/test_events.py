"""The event log: one order, no gaps, filters, waiting, and a chain that shows tampering."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
import rfc8785

from tests.backends import Background


def test_every_change_is_one_event_of_its_type(caller):
    caller("state.set", path="v.json", value=[])
    caller("state.append", path="v.json", value=1)
    caller("state.patch", path="v.json", patch=5)
    caller("state.increment", path="v.json")
    caller("state.init", path="w.json", value=1)
    caller("object.copy", path="w.json", to="x.json")
    caller("object.move", path="x.json", to="y.json")
    caller("object.delete", path="y.json")
    caller("object.restore", path="y.json")
    caller.put("f.txt", b"1")
    caller.append("f.txt", b"2")
    held = caller("lock.acquire", path="f.txt")
    caller("lock.renew", path="f.txt", lock_token=held["token"])
    caller("lock.release", path="f.txt", lock_token=held["token"])
    caller("lock.acquire", path="f.txt")
    caller("lock.break", path="f.txt")
    assert [(e["type"], e["path"], e["version"]) for e in caller.events()] == [
        ("state.set", "v.json", 1),
        ("state.append", "v.json", 2),
        ("state.patch", "v.json", 3),
        ("state.increment", "v.json", 4),
        ("state.init", "w.json", 1),
        ("state.copy", "x.json", 1),
        ("state.delete", "x.json", 2),
        ("state.move", "y.json", 1),
        ("state.delete", "y.json", 2),
        ("state.restore", "y.json", 3),
        ("file.put", "f.txt", 1),
        ("file.append", "f.txt", 2),
        ("lock.acquire", "f.txt", None),
        ("lock.renew", "f.txt", None),
        ("lock.release", "f.txt", None),
        ("lock.acquire", "f.txt", None),
        ("lock.break", "f.txt", None),
    ]
    assert [e["seq"] for e in caller.events()] == list(range(1, 18))
    assert {e["actor"] for e in caller.events()} == {"ada"}


def test_reading_is_no_event(caller):
    caller("state.set", path="v.json", value=1)
    for operation, params in (
        ("state.get", {"path": "v.json"}),
        ("state.schema", {"path": "v.json"}),
        ("state.wait", {"path": "v.json", "expression": "@"}),
        ("object.info", {"path": "v.json"}),
        ("object.history", {"path": "v.json"}),
        ("object.diff", {"path": "v.json"}),
        ("object.list", {}),
        ("file.get", {"path": "v.json"}),
        ("lock.list", {}),
        ("event.list", {}),
        ("audit.verify", {}),
        ("workspace.show", {}),
        ("workspace.list", {}),
    ):
        caller(operation, **params)
    assert caller("workspace.show")["seq"] == 1


def test_an_event_says_what_was_written(caller):
    put = caller("state.set", path="v.json", value={"ü": 1})
    event = caller.last_event()
    assert event["data"] == {"etag": put["etag"], "size_bytes": put["size_bytes"]}
    assert event["at"] == put["updated_at"]


def test_pages_by_cursor_have_no_gaps(caller):
    for n in range(25):
        caller("state.set", path=f"{n % 3}.json", value=n)
    seen, after = [], 0
    while True:
        page = caller("event.list", after=after, limit=7)
        if not page["items"]:
            break
        seen += [e["seq"] for e in page["items"]]
        after = int(page["next_cursor"])
    assert seen == list(range(1, 26))
    assert page["next_cursor"] == "25"
    assert caller("event.list", after=25)["items"] == []


@pytest.mark.parametrize("wait_s", [0, 60])
def test_a_cursor_beyond_the_log_is_an_error_and_not_silence(caller, wait_s):
    caller("state.set", path="a.json", value=1)
    for after in (2, 99, 2**53 - 1):
        error = caller.refused("invalid", "event.list", after=after, wait_s=wait_s)
        assert error.details["newest_seq"] == 1
        assert re.search(r"after\W+1\W*$", error.hint)


def test_filters(caller):
    caller("state.set", path="plans/a.json", value=1)
    caller("state.set", path="plans/deep/b.json", value=1)
    caller.put("plans/c.txt", b"")
    caller("lock.acquire", path="other")

    def found(**filters):
        return [e["seq"] for e in caller.events(**filters)]

    assert found(type="state.*") == [1, 2]
    assert found(type="*.put") == [3]
    assert found(path="plans/*") == [1, 2, 3]
    assert found(path="plans/?.*") == [1, 3]
    assert found(type="state.set", path="*b.json") == [2]
    assert found(type="nothing") == []
    assert found(type="STATE.*") == []
    page = caller("event.list", type="nothing")
    assert page["next_cursor"] == "4"


def test_a_filter_finds_events_far_apart(caller):
    caller("state.set", path="rare.json", value=1)
    caller(
        "state.transact",
        changes=[{"op": "set", "path": f"v{n}.json", "value": n} for n in range(1000)],
    )
    caller(
        "state.transact",
        changes=[{"op": "set", "path": f"v{n}.json", "value": n} for n in range(1000)],
    )
    caller("state.set", path="rare.json", value=2)
    assert [e["seq"] for e in caller.events(path="rare.json")] == [1, 2002]
    assert caller("audit.verify")["events"] == 2002


def test_waiting_for_the_next_event(caller, open_caller):
    caller("state.set", path="v.json", value=1)
    waiting = Background(lambda: open_caller()("event.list", after=1, wait_s=60))
    caller("state.set", path="v.json", value=2)
    assert [e["seq"] for e in waiting.result()["items"]] == [2]


def test_waiting_for_an_event_that_matches(caller, open_caller):
    waiting = Background(lambda: open_caller()("event.list", wait_s=60, path="b*"))
    caller("state.set", path="a.json", value=1)
    caller("state.set", path="b.json", value=2)
    page = waiting.result()
    assert [e["path"] for e in page["items"]] == ["b.json"]
    assert page["next_cursor"] == "2"


def test_waiting_in_vain_is_an_empty_page(caller):
    caller("state.set", path="v.json", value=1)
    page = caller("event.list", after=1, wait_s=0.05)
    assert page == {"items": [], "next_cursor": "1", "has_more": False}


def test_the_chain_is_rfc_8785_and_sha_256(caller):
    caller("state.set", path="é/😀.json", value=1, actor='a"\\\u2028')
    caller("lock.acquire", path="v", purpose="ﬁ \U0001f600")
    previous = "0" * 64
    for event in caller.events():
        assert event["prev_hash"] == previous
        stated = event.pop("hash")
        assert hashlib.sha256(rfc8785.dumps(event)).hexdigest() == stated
        previous = stated
    report = caller("audit.verify")
    assert report["verified"]
    assert report["problem"] is None
    assert report["head_hash"] == previous
    assert (report["events"], report["head_seq"]) == (2, 2)


def test_an_empty_log_verifies(caller):
    report = caller("audit.verify")
    assert report["verified"]
    assert report["events"] == 0


@pytest.fixture
def logged(caller):
    for n in range(5):
        caller("state.set", path="v.json", value=n)
    assert caller("audit.verify")["verified"]
    return caller


@pytest.mark.parametrize(
    "change",
    [
        "actor = 'eve'",
        "type = 'state.patch'",
        "path = 'w.json'",
        "path = null",
        "version = 9",
        "version = null",
        "at = at + 1",
        "at = 99999999999999999",
        "at = -1",
        "at = 9223372036854775807",
        "data = '{}'",
        "data = 'not json'",
        "data = '[]'",
        "data = replace(data, '1', '2')",
        "hash = prev_hash",
        "prev_hash = hash",
        "seq = 77",
    ],
)
@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_changed_event_is_found(logged, backend, change, seq):
    assert backend.tamper(f"update events set {change} where seq = :seq", seq=seq) == 1
    report = logged("audit.verify")
    assert not report["verified"]
    assert str(seq) in report["problem"] or str(seq + 1) in report["problem"]


@pytest.mark.parametrize("seq", [1, 3, 5])
def test_a_removed_event_is_found(logged, backend, seq):
    backend.tamper("delete from events where seq = :seq", seq=seq)
    assert not logged("audit.verify")["verified"]


def test_a_whole_log_removed_is_found(logged, backend):
    backend.tamper("delete from events")
    assert not logged("audit.verify")["verified"]


def test_an_added_event_is_found(logged, backend):
    backend.tamper(
        """insert into events select workspace_id, 6, type, actor, path, version, at, data,
        hash, hash from events where seq = 5"""
    )
    assert not logged("audit.verify")["verified"]


def test_exchanged_events_are_found(logged, backend):
    for old, new in ((2, 100), (3, 2), (100, 3)):
        backend.tamper("update events set seq = :new where seq = :old", old=old, new=new)
    assert not logged("audit.verify")["verified"]


def test_a_log_cut_back_together_with_its_counter_is_found_by_a_kept_head(logged, backend):
    kept = logged("audit.verify")
    head = {"head_seq": kept["head_seq"], "head_hash": kept["head_hash"]}
    assert logged("audit.verify", **head)["verified"]
    backend.tamper("delete from events where seq > 3")
    backend.tamper(
        "update workspaces set seq = 3, head_hash = (select hash from events where seq = 3)"
    )
    assert logged("audit.verify")["verified"]
    report = logged("audit.verify", **head)
    assert not report["verified"]
    assert "5" in report["problem"]


def test_a_log_rewritten_from_the_start_is_found_by_a_kept_head(logged, backend):
    kept = logged("audit.verify")
    previous = "0" * 64
    for event in logged.events():
        del event["hash"]
        event |= {"actor": "eve", "prev_hash": previous}
        previous = hashlib.sha256(rfc8785.dumps(event)).hexdigest()
        backend.tamper(
            "update events set actor = 'eve', prev_hash = :prev, hash = :hash where seq = :seq",
            prev=event["prev_hash"],
            hash=previous,
            seq=event["seq"],
        )
    backend.tamper("update workspaces set head_hash = :hash", hash=previous)
    assert logged("audit.verify")["verified"]
    logged("state.set", path="v.json", value=1)
    report = logged("audit.verify", head_seq=kept["head_seq"], head_hash=kept["head_hash"])
    assert not report["verified"]


def test_a_kept_head_has_two_parts(caller):
    caller.refused("invalid", "audit.verify", head_seq=1)
    caller.refused("invalid", "audit.verify", head_hash="0" * 64)


def test_events_are_plain_json(caller):
    caller("state.set", path="v.json", value=1)
    assert json.loads(json.dumps(caller.events())) == caller.events()


def filled_log(timed, clock) -> list[int]:
    """Eight events of two actors, ten seconds apart; their numbers."""
    for n in range(8):
        timed("state.set", path=f"app/[{n}]/x", value=n, actor=("ada", "agent-1")[n % 2])
        clock.advance(10)
    return [event["seq"] for event in timed.events()]


def seqs(page):
    return [event["seq"] for event in page["items"]]


def test_the_newest_come_first_if_asked_for(timed, clock):
    every = filled_log(timed, clock)
    page = timed("event.list", newest_first=True, limit=3)
    assert seqs(page) == every[:-4:-1]
    seen = seqs(page)
    while page["next_cursor"] is not None:
        assert page["has_more"]
        page = timed("event.list", newest_first=True, limit=3, before=int(page["next_cursor"]))
        seen += seqs(page)
    assert not page["has_more"]
    assert seen == every[::-1]
    assert (
        seqs(timed("event.list", newest_first=True, after=every[2], before=every[6]))
        == (every[5:2:-1])
    )


def test_a_page_says_whether_there_is_more(timed, clock):
    every = filled_log(timed, clock)
    assert timed("event.list", limit=3)["has_more"]
    assert not timed("event.list", limit=len(every))["has_more"]
    assert not timed("event.list", after=every[-1])["has_more"]
    page = timed("event.list", after=every[1], before=every[4])
    assert (seqs(page), page["has_more"]) == (every[2:4], False)


def test_events_by_actor_and_age(timed, clock):
    every = filled_log(timed, clock)
    assert seqs(timed("event.list", by="agent-*")) == every[1::2]
    assert seqs(timed("event.list", by="ada", newest_first=True, limit=2)) == [every[6], every[4]]
    assert seqs(timed("event.list", by="nobody")) == []
    assert seqs(timed("event.list", since_s=35)) == every[5:]
    assert seqs(timed("event.list", since_s=35, newest_first=True)) == every[:4:-1]
    assert seqs(timed("event.list", since_s=35, by="ada")) == [every[6]]
    assert seqs(timed("event.list", since_s=0)) == []
    assert seqs(timed("event.list", since_s=3600)) == every
    assert seqs(timed("event.list", path="app/[3]/*")) == [every[3]]
    assert seqs(timed("event.list", type="state.?et")) == every


def test_since_waits_for_what_is_new(caller):
    caller("state.set", path="a", value=1)
    waiting = Background(lambda: caller("event.list", by="eve", since_s=3600, wait_s=30))
    caller("state.set", path="a", value=2)
    caller("state.set", path="b", value=3, actor="eve")
    assert [event["path"] for event in waiting.result()["items"]] == ["b"]
