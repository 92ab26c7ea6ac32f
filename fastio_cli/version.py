"""Which fastio this is."""

__version__ = "0.1.0"
__released__ = "2026-11-22"
