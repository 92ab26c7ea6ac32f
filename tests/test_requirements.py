"""A test that cannot run here is skipped; in CI, where nothing may be left out, it fails."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests import requirements

TESTS = Path(__file__).parent


def test_without_a_program_a_test_is_skipped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-program is not installed"):
        requirements.need_program("no-such-program")
    requirements.need_program("sh")


def test_without_a_program_a_test_fails_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-program is not installed"):
        requirements.need_program("no-such-program")


def test_no_test_is_skipped_in_another_way() -> None:
    for file in TESTS.rglob("*.py"):
        if file.name in ("requirements.py", "test_requirements.py"):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                called = ast.unparse(node)
                assert called not in ("pytest.skip", "pytest.importorskip"), f"{file}:{node.lineno}"
