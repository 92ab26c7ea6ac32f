"""Pages of rows that a pattern lets through."""

from fastio_cli.patterns import literal_prefix, matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from fastio_cli.storage.db import Row

# A pattern that matches little must not make one call read everything.
SCANNED_MAX = 10_000
BATCH = 1000


def page_of_paths(
    read: "Callable[[str, str, int], list[Row]]",
    prefix: str,
    pattern: str | None,
    cursor: str,
    limit: int,
) -> "tuple[list[Row], str | None]":
    """Rows whose ``path`` begins with a prefix and matches a pattern, and where to go on.

    ``read`` gives at most so many rows below a prefix, after a path, in order. With a pattern a
    page may be short or empty and yet not the last, which is the one without a cursor.
    """
    if pattern is None:
        rows = read(prefix, cursor, limit + 1)
        return rows[:limit], rows[limit - 1]["path"] if len(rows) > limit else None
    below = max(prefix, literal_prefix(pattern), key=len)
    found: list[Row] = []
    scanned = 0
    while scanned < SCANNED_MAX:
        rows = read(below, cursor, BATCH)
        for row in rows:
            if not (row["path"].startswith(prefix) and matches(pattern, row["path"])):
                continue
            if len(found) == limit:
                return found, found[-1]["path"]
            found.append(row)
        if len(rows) < BATCH:
            return found, None
        cursor = rows[-1]["path"]
        scanned += len(rows)
    return found, cursor
