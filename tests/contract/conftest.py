"""The contract is kept by every kind of store, and on a second version of PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends import BACKENDS, SECOND, kind_of


@pytest.fixture(params=[*BACKENDS, *SECOND])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store of each kind."""
    backend = kind_of(request.param).made(tmp_path / "store")
    yield backend
    backend.give_back()
