"""Documents of formats that need a parser: read in a process of its own, within limits."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from fastio_cli.intelligence.text import Passage

SUFFIXES = ("pdf", "docx", "pptx", "xlsx", "epub", "eml", "htm", "html", "xhtml")


def handles(suffix: str) -> bool:
    """Whether files of this kind are read here."""
    return suffix in SUFFIXES
