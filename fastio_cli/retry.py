"""When and how often a transient failure is retried: one policy for all of fastio.

Pauses grow exponentially with full jitter, so that many clients that failed together do not come
back together (Marc Brooker, "Exponential Backoff and Jitter", AWS 2015), and are never shorter than
the other side asked for (``Retry-After``, RFC 9110, section 10.2.3).
"""

from __future__ import annotations

import random
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol

    from fastio_cli.errors import FastioError

    class Clock(Protocol):
        """The part of the module ``time`` that is used."""

        def monotonic(self) -> float: ...

        def sleep(self, seconds: float, /) -> None: ...


FOREVER = float("inf")
DOUBLINGS_MAX = 62  # beyond any pause, and within what a float holds
DIGITS_MAX = 9  # of a Retry-After in seconds: 30 years
ASKED_S_MAX = 10**DIGITS_MAX  # a larger one may be none that a float can hold


class RetryPolicy:
    """How transient failures are retried.

    ``first_s`` bounds the pause after the first failure in a row, and each further failure doubles
    the bound up to ``pause_s_max``. No attempt begins later than ``deadline_s`` after the first
    failure in a row, nor after ``attempts_max`` failures in a row. A longer pause that
    the peer asks for is honoured up to ``retry_after_s_max``.
    """

    def __init__(
        self,
        first_s: float,
        pause_s_max: float,
        *,
        deadline_s: float = FOREVER,
        attempts_max: int | None = None,
        retry_after_s_max: float = FOREVER,
    ) -> None:
        self.first_s = first_s
        self.pause_s_max = pause_s_max
        self.deadline_s = deadline_s
        self.attempts_max = attempts_max
        self.retry_after_s_max = retry_after_s_max

    def bound_s(self, failures: int) -> float:
        """The longest pause after so many failures in a row, one at least."""
        doublings = min(max(0, failures - 1), DOUBLINGS_MAX)
        return min(self.pause_s_max, self.first_s * 2.0**doublings)

    def pause_s(self, failures: int, retry_after_s: float | None = None) -> float:
        """How long to wait after so many failures in a row, and at least as the peer asked."""
        jitter_s = random.uniform(0, self.bound_s(failures))
        return jitter_s + max(0.0, min(retry_after_s or 0.0, self.retry_after_s_max))

    def is_exhausted(self, failures: int) -> bool:
        """Whether so many failures in a row exhaust the attempts."""
        return self.attempts_max is not None and failures >= self.attempts_max


class Retries:
    """The attempts at one thing: counts failures in a row, waits, and knows when to give up.

    ``total_s`` bounds all attempts together, from now; ``on_wait`` gets each failure and the bound
    of the pause to come. ``clock`` is the module ``time`` unless a test brings its own.
    """

    def __init__(
        self,
        policy: RetryPolicy,
        *,
        total_s: float = FOREVER,
        on_wait: Callable[[FastioError, float], None] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.policy = policy
        self._clock: Clock = clock or time
        self._end = self._clock.monotonic() + total_s
        self._on_wait = on_wait
        self.reset()

    def reset(self) -> None:
        """Start a new row of failures: the peer is up, or there was progress."""
        self._failures = 0
        self._give_up_at = self._end

    @property
    def left_s(self) -> float:
        """How much of ``total_s`` is left."""
        return self._end - self._clock.monotonic()

    def wait(self) -> bool:
        """Wait after a failure; False if no attempt is left."""
        pause_s = self._next_pause_s(None, FOREVER)
        if pause_s is not None:
            self._clock.sleep(pause_s)
        return pause_s is not None

    def wait_or_raise(self, failure: FastioError, until: float | None = None) -> None:
        """Wait after a failure, which may say ``retry_after_s``, but not beyond ``until`` by the
        clock. Raises the failure if no attempt is left."""
        until = FOREVER if until is None else until
        pause_s = self._next_pause_s(asked_s(failure), until)
        if pause_s is None:
            raise failure
        if self._on_wait is not None:
            self._on_wait(failure, self.policy.bound_s(self._failures))
        self._clock.sleep(pause_s)

    def _next_pause_s(self, retry_after_s: float | None, until: float) -> float | None:
        """Count a failure; the pause before the next attempt, None if there is none."""
        now = self._clock.monotonic()
        if self._failures == 0:
            self._give_up_at = min(self._end, now + self.policy.deadline_s)
        self._failures += 1
        pause_s = self.policy.pause_s(self._failures, retry_after_s)
        pause_s = max(0.0, min(pause_s, until - now))
        exhausted = self.policy.is_exhausted(self._failures)
        return None if exhausted or now + pause_s >= self._give_up_at else pause_s


def asked_s(failure: FastioError) -> float | None:
    """How long the peer asked to wait, by its error."""
    asked = failure.details.get("retry_after_s")
    return float(min(asked, ASKED_S_MAX)) if isinstance(asked, int | float) else None


def parse_retry_after(header: str | None) -> float | None:
    """The seconds that a ``Retry-After`` asks for, in digits or as a date; None if it says none."""
    text = (header or "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:DIGITS_MAX])
    at = parse_http_date(text)
    return None if at is None else max(0.0, at - time.time())


def parse_http_date(text: str) -> float | None:
    """The seconds since 1970 of a date in a header; None if it is none."""
    if not text:
        return None
    from email.utils import mktime_tz, parsedate_tz

    date = parsedate_tz(text)
    if date is None:
        return None
    try:
        # A date without a zone is in UTC: RFC 9110 knows no other.
        return float(mktime_tz((*date[:9], date[9] or 0)))
    except (ValueError, OverflowError):
        return None
