"""What tests need from a machine, and what they do without it."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def lacking(what: str) -> NoReturn:
    """End a test that cannot run here: skipped, saying why; failed in CI, which has it all."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def need_program(name: str) -> None:
    """End the test if there is no such program."""
    if shutil.which(name) is None:
        lacking(f"{name} is not installed")
