"""Tables: at a terminal (by rich), and as Markdown."""

from __future__ import annotations

from fastio_cli.cli.framework.text import dig, dumps, visible
from fastio_cli.cli.framework.values import fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any


UNWRAPPED_CHARACTERS_MAX = 40
SIZES = ("size_bytes", "live_bytes", "_bytes_max")


class Terminal:
    """Tables drawn by rich, which handles ``NO_COLOR`` and the width of the terminal."""

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def record(self, record: dict[str, object]) -> None:
        from rich.table import Table

        table = Table(show_header=False, box=None, pad_edge=False)
        table.add_column(style="bold")
        table.add_column(overflow="fold")
        for key, value in record.items():
            table.add_row(_label(key), _cell(key, value))
        self._print(table)

    def page(self, items: list[dict[str, object]], columns: str, essential: str) -> None:
        from rich.table import Table

        if not items:
            self._note("Nothing to show.")
            return
        paths = fields(columns)
        table = Table(box=None, pad_edge=False, header_style="bold")
        for path in paths:
            values = [dig(item, path) for item in items]
            numeric = all(isinstance(value, int | float) for value in values)
            # The essential column is copied into the next command: it must not be wrapped.
            is_unwrapped = path == [essential] and all(
                len(str(v)) <= UNWRAPPED_CHARACTERS_MAX for v in values
            )
            table.add_column(
                _label(path[-1]),
                justify="right" if numeric else "left",
                overflow="fold",
                no_wrap=is_unwrapped,
            )
        for item in items:
            table.add_row(*(_cell(path[-1], dig(item, path)) for path in paths))
        self._print(table)

    def _print(self, table: object) -> None:
        from rich.console import Console

        Console(highlight=False, markup=False, emoji=False).print(table)


class Markdown:
    """Markdown tables."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line

    def record(self, record: dict[str, object]) -> None:
        rows = [{"field": key, "value": value} for key, value in record.items()]
        self.page(rows, "field,value", "field")

    def page(self, items: list[dict[str, object]], columns: str, essential: str) -> None:
        paths = fields(columns)
        self._row([_label(path[-1]) for path in paths])
        self._row(["---" for _ in paths])
        for item in items:
            self._row([_cell(path[-1], dig(item, path)) for path in paths])

    def _row(self, cells: list[str]) -> None:
        escaped = (cell.replace("|", "\\|").replace("\n", " ") for cell in cells)
        self._line("| " + " | ".join(escaped) + " |")


class Csv:
    """Comma-separated values (RFC 4180), with the names of the fields in the first line."""

    def __init__(self, line: Callable[[str], None]) -> None:
        self._line = line

    def record(self, record: dict[str, object]) -> None:
        self._row(record)
        self._row(map(_csv_cell, record.values()))

    def page(self, items: list[dict[str, object]], columns: str, essential: str) -> None:
        paths = fields(columns)
        self._row(".".join(path) for path in paths)
        for item in items:
            self._row(_csv_cell(dig(item, path)) for path in paths)

    def _row(self, cells: Iterable[str]) -> None:
        import csv
        from io import StringIO

        text = StringIO()
        csv.writer(text, lineterminator="").writerow(cells)
        self._line(text.getvalue())


def _csv_cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else dumps(value)


def _label(key: str) -> str:
    return key.replace("_bytes", "").removesuffix("_s").removesuffix("_at").replace("_", " ")


def _cell(key: str, value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        if key in ("etag", "hash", "prev_hash"):
            value = value[:12]
        return visible(value)
    if key.endswith(SIZES):
        from humanize import naturalsize

        return str(naturalsize(value, binary=True))
    return visible(dumps(value))
