"""Leaving a command early."""

from __future__ import annotations


class Exit(Exception):
    """Leave with an exit code; everything was said already."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
