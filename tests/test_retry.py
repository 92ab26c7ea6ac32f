"""When something that failed is tried again, by a clock of our own."""

from __future__ import annotations

import time
from email.utils import formatdate
from math import inf
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli import retry
from fastio_cli.errors import FastioError
from fastio_cli.retry import Retries, RetryPolicy, parse_retry_after
from tests.client.scripted import HandClock


@pytest.fixture
def longest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pauses as long as they may be."""
    monkeypatch.setattr(retry, "random", SimpleNamespace(uniform=lambda low, high: high))


def pauses(retries: Retries, clock: HandClock) -> list[float]:
    while retries.wait():
        pass
    return clock.pauses


def test_bounds_double_up_to_the_longest(longest: None) -> None:
    clock = HandClock()
    policy = RetryPolicy(0.5, 3, attempts_max=6)
    assert pauses(Retries(policy, clock=clock), clock) == [0.5, 1, 2, 3, 3]


@given(st.integers(1, 10**9), st.floats(0, 100), st.floats(0, 100))
def test_a_pause_is_within_its_bounds(failures: int, first_s: float, asked_s: float) -> None:
    policy = RetryPolicy(first_s, 60, retry_after_s_max=30)
    pause_s = policy.pause_s(failures, asked_s)
    assert min(asked_s, 30) <= pause_s <= 30 + policy.bound_s(failures)
    assert policy.bound_s(failures) <= 60


def test_pauses_are_drawn_from_the_whole_of_their_bound() -> None:
    drawn = [RetryPolicy(1, 1).pause_s(1) for _ in range(1000)]
    assert min(drawn) < 0.1
    assert max(drawn) > 0.9


def test_the_deadline_counts_from_the_first_failure_in_a_row(longest: None) -> None:
    clock = HandClock()
    retries = Retries(RetryPolicy(1, 1, deadline_s=3), clock=clock)
    clock.now += 100
    assert [retries.wait(), retries.wait(), retries.wait()] == [True, True, False]
    retries.reset()
    assert [retries.wait(), retries.wait(), retries.wait()] == [True, True, False]


def test_the_total_counts_from_the_beginning(longest: None) -> None:
    clock = HandClock()
    retries = Retries(RetryPolicy(1, 1, deadline_s=3), total_s=102.5, clock=clock)
    clock.now += 100
    assert retries.wait()
    retries.reset()
    assert retries.wait()
    assert retries.left_s == 0.5
    assert not retries.wait()


def test_a_failure_says_when_and_is_raised_in_the_end(longest: None) -> None:
    clock = HandClock()
    seen: list[tuple[FastioError, float]] = []
    retries = Retries(
        RetryPolicy(1, 1, deadline_s=30),
        on_wait=lambda failure, bound_s: seen.append((failure, bound_s)),
        clock=clock,
    )
    failure = FastioError("rate_limited", "Later.", retry_after_s=7)
    retries.wait_or_raise(failure)
    assert clock.pauses == [8]
    assert seen == [(failure, 1)]
    retries.wait_or_raise(failure, until=clock.now + 2)
    assert clock.pauses == [8, 2]
    with pytest.raises(FastioError) as caught:
        retries.wait_or_raise(FastioError("rate_limited", "Later.", retry_after_s=60))
    assert caught.value.details == {"retry_after_s": 60}
    assert len(clock.pauses) == len(seen) == 2


def test_retry_after_is_read_in_both_forms() -> None:
    assert parse_retry_after(" 120 ") == 120
    assert parse_retry_after("9" * 400) == 999_999_999
    assert parse_retry_after(formatdate(time.time() + 60, usegmt=True)) == pytest.approx(60, abs=2)
    assert parse_retry_after(formatdate(time.time() - 60, usegmt=True)) == 0
    for nothing in (None, "", "soon", "-1", "1.5", "٣"):
        assert parse_retry_after(nothing) is None


@given(st.text())
def test_retry_after_of_any_kind_is_read_or_passed_over(text: str) -> None:
    seconds = parse_retry_after(text)
    assert seconds is None or 0 <= seconds < inf
