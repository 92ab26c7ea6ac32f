"""The contract is kept by every kind of store, a second version of PostgreSQL, the SDK, and MCP."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.backends import BACKENDS, MCP, SDK, SECOND, kind_of


@pytest.fixture(params=[*BACKENDS, *SECOND, *SDK, *MCP])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """A store of each kind."""
    backend = kind_of(request.param).made(tmp_path / "store")
    yield backend
    backend.give_back()
