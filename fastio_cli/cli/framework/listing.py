"""Printing a list that an operation gives page by page."""

from __future__ import annotations

from fastio_cli.cli.framework.options import given
from fastio_cli.errors import FastioError
from fastio_cli.patterns import is_pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from fastio_cli.cli.framework.session import Session

PAGE = 1000


def show_list(
    cli: Session,
    operation: str,
    params: dict[str, Any],
    *,
    columns: str,
    essential: str,
    cursor: str = "cursor",
) -> None:
    """Print the page that ``params`` ask for, or every one from there on if ``all`` is among them.

    ``cursor`` is the parameter that the next page begins with, and its option by that name.
    """
    params = named_paths(given(**params))
    if not params.pop("all", False):
        page = cli.call(operation, **params)
        cli.out.page(page, columns=columns, essential=essential, more=f"--{cursor}")
        return
    pages = all_pages(cli, operation, params, cursor)
    if cli.out.is_row_by_row:
        for page in pages:
            cli.out.page(page, columns=columns, essential=essential, more=None)
        return
    items = [item for page in pages for item in page["items"]]
    cli.out.page(
        {"items": items, "next_cursor": None}, columns=columns, essential=essential, more=None
    )


def all_pages(
    cli: Session, operation: str, params: dict[str, Any], cursor: str = "cursor"
) -> Iterator[Any]:
    """Every page of a list from where ``params`` begin it."""
    params = {"limit": PAGE, **params}
    while True:
        page = cli.call(operation, **params)
        yield page
        following = page["next_cursor"]
        if following is None or not page.get("has_more", True):
            return
        params[cursor] = int(following) if cursor != "cursor" else following


def named_paths(params: dict[str, Any]) -> dict[str, Any]:
    """The parameters with a ``prefix`` that is a pattern under the name that it has then."""
    prefix = params.get("prefix")
    if prefix is not None and is_pattern(prefix):
        return {**{k: v for k, v in params.items() if k != "prefix"}, "path": prefix}
    return params


def refuse_actor(cli: Session) -> None:
    """Raise ``invalid`` where ``--actor`` was given for a filter."""
    actor = cli.flags.get("actor")
    if actor is not None:
        raise FastioError(
            "invalid",
            "--actor says who acts, and reading the log is no act.",
            f"For the events of one actor: fastio event list --by {actor!r}",
        )
