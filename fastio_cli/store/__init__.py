"""Rows behind one contract (``contract.py``): SQLite here, PostgreSQL beside it."""
