"""Writes the manual, ``man/``: ``make generate`` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

from fastio_cli.cli.framework.manpages import pages
from fastio_cli.cli.framework.spec import spec
from fastio_cli.version import __released__


def generated() -> dict[str, str]:
    """Every generated file's text, by its name in the repository."""
    return {f"man/{name}": text for name, text in pages(spec(), __released__).items()}


def main(folder: Path) -> None:
    files = generated()
    (folder / "man").mkdir(exist_ok=True)
    for old in (folder / "man").iterdir():
        if f"man/{old.name}" not in files:
            old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
