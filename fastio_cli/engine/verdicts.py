"""What conditions say of versions: each is worked out once, however many calls wait for it."""

from __future__ import annotations

import threading
from collections import OrderedDict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

KEPT_MAX = 4096


class Verdicts:
    """Answers by what they are about, which never changes: a version and an expression, say.

    Safe to use from many threads: of those that ask the same at a time one works it out. The
    answers that were asked for longest ago are forgotten.
    """

    def __init__(self, kept_max: int = KEPT_MAX) -> None:
        self._kept_max = kept_max
        self._lock = threading.Lock()
        self._verdicts: OrderedDict[Hashable, _Verdict] = OrderedDict()

    def get(self, about: Hashable, decide: Callable[[], bool]) -> bool:
        """The answer. Raises what ``decide`` raises, after which the next one tries again."""
        with self._lock:
            verdict = self._verdicts.setdefault(about, _Verdict())
            self._verdicts.move_to_end(about)
            if len(self._verdicts) > self._kept_max:
                self._verdicts.popitem(last=False)
        with verdict.lock:
            if verdict.value is None:
                verdict.value = decide()
            return verdict.value


class _Verdict:
    __slots__ = ("lock", "value")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.value: bool | None = None
