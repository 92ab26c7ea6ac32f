"""Writes ``man/`` and ``completions/``: ``make generate`` runs it."""

from __future__ import annotations

import sys
from pathlib import Path

from fastio_cli import __released__
from fastio_cli.cli.framework.completions import FILES, scripts
from fastio_cli.cli.framework.manpages import pages
from fastio_cli.cli.framework.spec import spec


def generated() -> dict[str, str]:
    """Every generated file's text, by its name in the repository."""
    described = spec()
    files = {f"man/{name}": text for name, text in pages(described, __released__).items()}
    files |= {f"completions/{FILES[shell]}": s for shell, s in scripts(described).items()}
    return files


def main(folder: Path) -> None:
    files = generated()
    for name in ("man", "completions"):
        (folder / name).mkdir(exist_ok=True)
        for old in (folder / name).iterdir():
            if f"{name}/{old.name}" not in files:
                old.unlink()
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
