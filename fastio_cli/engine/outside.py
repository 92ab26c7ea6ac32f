"""Slow work of writes, done outside their transactions.

While a write runs, others wait for it: for the one writer of an embedded store, or for the row of
a workspace. Work on a document can take long, as it may be large, or have a schema or be given a
patch that somebody wrote for that. It is pure, so it need not be done there: the first run of such
a write stops where it needs the result, before it has changed anything; the work is done, and the
call runs again. If what it works on is still the same, the result is there; if not, the same again,
a bounded number of times.
"""

from __future__ import annotations

from fastio_cli.operations.documents import holds_up_writes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.storage.tx import Tx

TIMES_MAX = 4  # after which a write does it itself: others change the object all the time


class NeedsWork(Exception):
    """A write needs the result of slow work, to be given by :meth:`OutsideWork.do`."""


class OutsideWork:
    """What one call has asked for, from run to run. ``in_place`` does the rest."""

    def __init__(self, in_place: Callable[..., object]) -> None:
        self._in_place = in_place
        self._times = 0
        self._asked: tuple[Callable[..., object], tuple[object, ...]] | None = None
        self._is_done = False
        self._result: object = None

    @property
    def is_asked(self) -> bool:
        """Whether there is work to be done before the next run."""
        return self._asked is not None and not self._is_done

    def compute(self, tx: Tx, function: Callable[..., object], *args: object) -> object:
        """The result of a function of ``documents.py``. Raises :class:`NeedsWork`."""
        if not holds_up_writes(function, args):
            return self._in_place(function, *args)
        if self._is_done and self._asked == (function, args):
            return self._result
        if self._times == TIMES_MAX or tx.unit.has_changes:
            return self._in_place(function, *args)
        self._asked, self._is_done = (function, args), False
        raise NeedsWork

    def do(self, compute: Callable[..., object]) -> None:
        """Do what was asked for. Raises what the function raises."""
        assert self._asked is not None
        function, args = self._asked
        self._times += 1
        self._result, self._is_done = compute(function, *args), True
