"""The skill: what an agent reads to work with fastio (Agent Skills, agentskills.io)."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from fastio_cli.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FOLDER = Path(__file__).parent / "skill"
NAME = "fastio"
MAIN = f"{NAME}/SKILL.md"
UNVERSIONED = '"0.0.0"'  # what the source says in place of the version
SCHEME = "skill://"


@cache
def skill_files() -> dict[str, str]:
    """The texts of the skill by their paths, ``fastio/SKILL.md`` first."""
    files = {}
    for file in sorted(FOLDER.rglob("*.md"), key=lambda file: (len(file.parts), file)):
        text = file.read_text(encoding="utf-8")
        files[file.relative_to(FOLDER).as_posix()] = text.replace(UNVERSIONED, f'"{__version__}"')
    return files


def frontmatter() -> dict[str, Any]:
    """What the skill says of itself."""
    import yaml  # only a server that is asked for skills needs it

    _, stated, _ = skill_files()[MAIN].split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(stated)
    return loaded


def manifest() -> dict[str, Any]:
    """The skill as the Skills extension tells it (SEP-2640)."""
    return {
        "uri": SCHEME + MAIN,
        "frontmatter": frontmatter(),
        "resources": [
            {
                "uri": SCHEME + name,
                "digest": f"sha256:{hashlib.sha256(text.encode()).hexdigest()}",
                "size": len(text.encode()),
            }
            for name, text in skill_files().items()
        ],
    }
