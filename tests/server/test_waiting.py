"""What calls that wait cost: they run again when what they wait for has changed, and only then."""

from __future__ import annotations

import pytest

from fastio_cli.engine.verdicts import Verdicts
from fastio_cli.errors import FastioError
from fastio_cli.operations import documents, find
from tests.backends import Background, until

WAITERS = 20


class Counted:
    """A function, and how often it was called."""

    def __init__(self, function):
        self.count = 0
        self._function = function

    def __call__(self, *args, **kwargs):
        self.count += 1
        return self._function(*args, **kwargs)


def counted(monkeypatch, owner, name) -> Counted:
    counter = Counted(getattr(owner, name))
    monkeypatch.setattr(owner, name, counter)
    return counter


@pytest.fixture
def waiting(server, client, token):
    """Begins calls that wait, and comes back when they do."""

    def begin(name, params, count=WAITERS):
        before = len(server.app.executor.polls._polls)
        calls = [Background(lambda: client(token).call(name, params)) for _ in range(count)]
        until(lambda: len(server.app.executor.polls._polls) == before + count)
        return calls

    return begin


def looked_at(server, remote):
    """Come back when every call that waits has seen all that was written."""
    seq = remote.call("workspace.show")["seq"]
    until(lambda: all(poll.seq >= seq for poll in set(server.app.executor.polls._polls)))


def test_other_paths_wake_nobody(server, remote, waiting, monkeypatch):
    remote.call("state.set", {"path": "v", "value": {"n": 0}})
    wait = find("state.wait")
    runs = counted(monkeypatch, wait, "run")
    calls = waiting("state.wait", {"path": "v", "expression": "done", "timeout_s": 60})
    assert runs.count == WAITERS
    for n in range(20):
        remote.call("state.set", {"path": "other", "value": n})
    looked_at(server, remote)
    assert runs.count == WAITERS
    remote.call("state.set", {"path": "v", "value": {"done": True}})
    assert all(call.result()["value"] == {"done": True} for call in calls)
    assert runs.count == 2 * WAITERS


def test_an_expression_is_evaluated_once_for_a_version(server, remote, waiting, monkeypatch):
    remote.call("state.set", {"path": "v", "value": {"n": 0}})
    holds = counted(monkeypatch, documents, "holds")
    asked = {"path": "v", "timeout_s": 60}
    calls = waiting("state.wait", {**asked, "expression": "n == `9`"})
    assert holds.count == 1
    calls += waiting("state.wait", {**asked, "expression": "n > `8`"})
    assert holds.count == 2
    for n in (5, 9):
        remote.call("state.set", {"path": "v", "value": {"n": n}})
        looked_at(server, remote)
    assert {call.result()["value"]["n"] for call in calls} == {9}
    assert holds.count == 6


def test_those_who_wait_for_events_look_at_those_they_asked_for(
    server, remote, waiting, monkeypatch
):
    after = remote.call("workspace.show")["seq"]
    runs = counted(monkeypatch, find("event.list"), "run")
    calls = waiting("event.list", {"after": after, "path": "a*", "wait_s": 60})
    for n in range(20):
        remote.call("state.set", {"path": f"b{n}", "value": n})
    looked_at(server, remote)
    assert runs.count == WAITERS
    remote.call("state.set", {"path": "a1", "value": 1})
    assert {call.result()["items"][0]["path"] for call in calls} == {"a1"}


def test_who_waited_in_vain_is_told_how_far_was_looked(server, remote, waiting):
    after = remote.call("workspace.show")["seq"]
    [call] = waiting("event.list", {"after": after, "path": "a", "wait_s": 1}, count=1)
    remote.call("state.set", {"path": "b", "value": 1})
    page = call.result()
    assert (page["items"], page["next_cursor"]) == ([], str(after + 1))


def test_those_in_line_for_a_lock_look_at_its_events(server, remote, waiting, monkeypatch):
    monkeypatch.setattr("fastio_cli.operations.locks.RENEW_S", 60.0)
    held = remote.call("lock.acquire", {"path": "v", "ttl_s": 600})
    runs = counted(monkeypatch, find("lock.acquire"), "run")
    [call] = waiting("lock.acquire", {"path": "v", "wait_s": 60}, count=1)
    for n in range(20):
        remote.call("state.set", {"path": "other", "value": n})
    looked_at(server, remote)
    assert runs.count == 1
    remote.call("lock.release", {"path": "v", "lock_token": held["token"]})
    assert call.result()["fence"] > held["fence"]
    assert runs.count == 2


@pytest.mark.parametrize("change", ["delete", "member"])
def test_what_is_about_the_whole_workspace_concerns_everybody(server, remote, client, change):
    remote.call("workspace.create", {"name": "w"})
    bob = client(remote.call("token.create", {"member": "bob", "role": "viewer"})["token"])
    asked = {"path": "v", "expression": "done", "timeout_s": 60}
    waits = Background(lambda: bob.call("state.wait", asked, workspace="w"))
    until(lambda: server.app.executor.polls._polls)
    if change == "delete":
        remote.call("workspace.delete", workspace="w")
    else:
        remote.call("member.remove", {"name": "bob"})
        remote.call("state.set", {"path": "v", "value": {"done": True}}, workspace="w")
    with pytest.raises(FastioError) as refused:
        waits.result()
    assert refused.value.code in ("not_found", "unauthenticated")


def test_verdicts_are_forgotten_in_their_order():
    verdicts = Verdicts(kept_max=2)
    decided = []

    def ask(about):
        return verdicts.get(about, lambda: decided.append(about) is None)

    assert all(ask(about) for about in "aabbab")
    assert decided == ["a", "b"]
    assert ask("c")
    assert ask("b")
    assert ask("a")
    assert decided == ["a", "b", "c", "a"]
