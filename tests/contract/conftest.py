"""The contract is kept by every kind of store, and on a second version of PostgreSQL."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.backends import BACKENDS, SECOND, made

KINDS = {**BACKENDS, **SECOND}


@pytest.fixture(params=KINDS)
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A store of each kind."""
    return made(request.param, KINDS[request.param], tmp_path / "store")
