"""Leaving a command early."""

from __future__ import annotations


class Exit(Exception):
    """Leave with an exit code, without a further message."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code
