"""Waiting at a server: over cut lines, in line with everybody, and for as long as was asked."""

from __future__ import annotations

import pytest

from fastio_cli.errors import FastioError
from tests.backends import Background, until
from tests.client.scripted import cut, problem, record

WAIT = ("state.wait", {"path": "a.json", "expression": "done", "timeout_s": 600})


def test_a_wait_goes_on_over_cut_lines(server, line):
    broken, remote = line()
    waiting = Background(lambda: remote.call(*WAIT))
    for cuts in range(1, 4):
        until(lambda cuts=cuts: broken.connections == cuts)
        broken.cut()
    until(lambda: broken.connections == 4)
    server.engine.call("state.set", {"path": "a.json", "value": {"done": True}})
    assert waiting.result()["value"] == {"done": True}


def test_what_is_left_of_the_wait_is_asked_for_again(scripted, clock):
    def cut_later(line):
        clock.now += 100
        cut(line)

    server, remote = scripted(cut_later, cut_later, record({"value": 1}))
    remote.call(*WAIT)
    assert b'"timeout_s":600' in server.requests[0].body
    assert b'"timeout_s":499.9' in server.requests[1].body
    assert b'"timeout_s":399.8' in server.requests[2].body


def test_a_wait_ends_when_the_server_says_so(scripted):
    server, remote = scripted(problem(408, "timeout"))
    with pytest.raises(FastioError) as caught:
        remote.call(*WAIT)
    assert caught.value.code == "timeout"
    assert len(server.requests) == 1


def test_a_server_that_is_away_is_not_waited_for_as_long(scripted, clock):
    """How long a wait is has nothing to do with how long a server that is away is tried again."""
    _, remote = scripted(cut, retry_s=30)
    begun = clock.now
    with pytest.raises(FastioError) as caught:
        remote.call(*WAIT)
    assert caught.value.code == "unavailable"
    assert clock.now - begun <= 30


def test_a_request_is_held_for_less_than_proxies_let_it_live(scripted, monkeypatch):
    monkeypatch.setattr("fastio_cli.client.remote.ANSWER_S", 0.1)
    monkeypatch.setattr("fastio_cli.client.remote.HOLD_S", 0.2)
    silent = [lambda line: None] * 3
    server, remote = scripted(*silent, record({"value": 1}), retry_s=1)
    assert remote.call(*WAIT) == {"value": 1}
    assert server.connections == 4


def test_the_place_in_the_line_for_a_lock_is_kept(server, line):
    """Whoever is cut off comes back with the same key, and is found where he was."""
    engine = server.engine
    first = engine.call("lock.acquire", {"path": "a"})
    broken, remote = line()
    order = []

    def acquire(call, name):
        lock = call("lock.acquire", {"path": "a", "wait_s": 600})
        order.append(name)
        call("lock.release", {"path": "a", "lock_token": lock["token"]})

    def waiters():
        return engine.call("lock.show", {"path": "a"})["waiters"]

    far = Background(lambda: acquire(remote.call, "far"))
    until(lambda: waiters() == 1)
    near = Background(lambda: acquire(engine.call, "near"))
    until(lambda: waiters() == 2)
    broken.cut()
    until(lambda: broken.connections == 2)
    until(lambda: waiters() == 2)
    engine.call("lock.release", {"path": "a", "lock_token": first["token"]})
    far.result()
    near.result()
    assert order == ["far", "near"]


def test_a_lock_whose_answer_was_lost_is_got_once(server, line):
    """The second request asks for less waiting, and is the same call all the same."""
    broken, remote = line(down=(1,))
    lock = remote.call("lock.acquire", {"path": "a", "wait_s": 600, "ttl_s": 3600})
    assert broken.connections == 2
    assert server.engine.call("lock.show", {"path": "a"})["fence"] == lock["fence"]
    assert server.engine.call("workspace.show")["seq"] == 1


def test_less_patience_than_usual_for_a_single_call(scripted, clock):
    _, remote = scripted(cut, retry_s=30)
    call = remote.prepare("lock.renew", {"path": "a", "lock_token": "x"}, "default", "")
    call.deadline_s = 2
    begun = clock.now
    with pytest.raises(FastioError):
        remote.run(call)
    assert clock.now - begun <= 2
