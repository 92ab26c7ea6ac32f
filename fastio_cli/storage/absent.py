"""What opening a store does where there is none yet."""

from __future__ import annotations

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal

    # Make it at once; raise ``not_found``; or read an empty store, and make it at the first write.
    IfAbsent = Literal["make", "refuse", "make_on_write"]


def no_store(place: str, target: str) -> FastioError:
    """The error ``not_found`` for a place that holds no store; ``target`` is how it was named."""
    from shlex import quote

    return FastioError(
        "not_found",
        f"There is no store at {place}.",
        f"Check the name, or create one there: fastio init --store {quote(target)}",
        store=place,
    )
