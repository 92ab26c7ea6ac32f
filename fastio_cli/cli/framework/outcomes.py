"""What became of many: each was done or refused by itself, and is told so."""

from __future__ import annotations

from fastio_cli.cli.framework.exit import Exit
from fastio_cli.errors import KINDS, FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from fastio_cli.cli.framework.output import Output

# What the next one would meet as well.
LASTING = ("unavailable", "unauthenticated", "interrupted", "internal")


class Outcomes:
    """Collects the records of those that were done, and why the others were not.

    ``verb`` is the participle for what was to be done: stored, deleted.
    """

    def __init__(self, out: Output, verb: str) -> None:
        self._out = out
        self._verb = verb
        self._done: list[object] = []
        self._failed: list[dict[str, object]] = []
        self._first: FastioError | None = None
        self._last: FastioError | None = None
        self._untried = 0

    def each(
        self, names: Iterable[dict[str, object]], do: Callable[[dict[str, object]], object]
    ) -> None:
        """Do it for each, named by what identifies it (a source, a path); go on after a refusal.

        After a failure that all the others would meet, they are not tried.
        """
        for name in names:
            if self._last is not None and self._last.code in LASTING:
                self._untried += 1
                continue
            try:
                self._done.append(do(name))
            except FastioError as e:
                self._add(name, e)

    def _add(self, name: dict[str, object], error: FastioError) -> None:
        self._first, self._last = self._first or error, error
        name = {key: _as_text(value) for key, value in name.items()}
        self._failed.append({**name, "error": error.as_dict()})
        error.details = {**name, **error.details}
        self._out.error(error)

    def finish(self, columns: str, essential: str) -> None:
        """Print the list of all; exit with the code of the first failure, if there was one."""
        page = {"items": self._done, "failed": self._failed, "next_cursor": None}
        self._out.page(page, columns=columns, essential=essential)
        if self._first is None:
            return
        summary = f"{len(self._done)} {self._verb}, {len(self._failed)} not"
        if self._untried:
            summary += f", {self._untried} not tried"
        self._out.note(summary + ".")
        raise Exit(KINDS[self._first.code].exit)


def _as_text(name: object) -> object:
    """A name of this machine as text also where it is none: what is no UTF-8 as ``\\xff``."""
    if not isinstance(name, str):
        return name
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
