"""The README and other pages tell the truth: their console sessions and Python are run as they
stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = ("README.md", "docs/agents.md", "docs/recipes.md")
MARK = "::done::"


def blocks(page: str, language: str) -> list[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.S | re.M)


def steps(block: str) -> list[tuple[str, str]]:
    """A console block as (command, expected output)."""
    parts = re.split(r"^\$ (.*)\n", block, flags=re.M)
    assert parts[0] == "", "a console block begins with a command"
    return list(zip(parts[1::2], parts[2::2], strict=True))


def pattern(expected: str) -> str:
    """Expected output as a pattern in which ``...`` stands for anything."""
    text = re.escape(expected.rstrip("\n")).replace(re.escape("..."), "(?s:.*)")
    return text + r"\n?"


def environment(folder: Path) -> dict[str, str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTIO_")}
    bin_folder = os.path.dirname(sys.executable)
    return {**clean, "HOME": str(folder), "PATH": f"{bin_folder}{os.pathsep}{clean['PATH']}"}


@pytest.mark.parametrize("page", PAGES)
def test_console_sessions(page: str, tmp_path: Path) -> None:
    session = [step for block in blocks(page, "console") for step in steps(block)]
    assert len(session) > 7
    script = "".join(f"{command} 2>&1\necho '{MARK}'\n" for command, _ in session)
    ran = subprocess.run(
        ["bash", "-c", script],
        cwd=tmp_path,
        env=environment(tmp_path),
        capture_output=True,
        text=True,
        timeout=120,
    )
    outputs = ran.stdout.split(MARK + "\n")
    assert len(outputs) == len(session) + 1, ran.stdout + ran.stderr
    for (command, expected), actual in zip(session, outputs, strict=False):
        assert re.fullmatch(pattern(expected), actual), f"$ {command}\n{actual}"


EXAMPLES = [
    pytest.param(example, id=f"{page}-{number}")
    for page in ("README.md", "docs/python.md")
    for number, example in enumerate(blocks(page, "python"), 1)
]


@pytest.mark.parametrize("example", EXAMPLES)
def test_python_examples(example: str, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", example]
    env = environment(tmp_path)
    subprocess.run(command, cwd=tmp_path, env=env, check=True, timeout=60)
