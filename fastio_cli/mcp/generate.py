"""Writes the plugins of agents' programs from one source: ``make generate`` runs it.

One folder, ``plugins/fastio``, is read by Claude Code, Codex, Cursor, Gemini CLI and whatever reads
Agent Plugins 1.0; the marketplaces at the root point to it. ``skills/`` is what ``npx skills add``
takes, ``server.json`` the entry of the MCP Registry, ``mcpb/`` a bundle for desktop programs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from fastio_cli.mcp.skill_files import frontmatter, skill_files
from fastio_cli.version import __version__

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

DESCRIPTION = "Durable, shared state for agents: versioned objects, locks, an event log, search."
REGISTRY_NAME = "io.github.fastio-durable/fastio"
PACKAGE = "fastio-durable"
LICENSE = "Apache-2.0"
AUTHOR = {"name": "The fastio authors"}
RUN = {"command": "uvx", "args": ["--from", f"{PACKAGE}[mcp]", "fastio", "mcp"]}
PLUGIN = "plugins/fastio"
KEYWORDS = ["state", "memory", "locks", "search", "mcp"]
HOOK_TIMEOUT_S = 10
WRITING_TOOLS = "Edit|Write|MultiEdit|NotebookEdit"

README = """\
# fastio for agents' programs

Durable state that several agents and people share: JSON objects and files with versions, locks
that expire and fence out stale holders, a log of every event, search by meaning. It works at once,
with no account and no server, on a store of its own; the same tools speak to a fastio server.

    /plugin install fastio --marketplace OWNER/REPO        Claude Code
    codex plugin add fastio@fastio                         Codex
    gemini extensions install PATH/plugins/fastio          Gemini CLI

The plugin starts `fastio mcp` by uvx, and shows the agent what changed since it was last here when
a session begins (`fastio prime`). Its skill tells the agent how to take turns with others.
"""

BUNDLE_SERVER = '''\
"""Starts fastio mcp, for a desktop program that unpacked this bundle."""

import os
import subprocess

if not os.environ.get("FASTIO_STORE"):
    os.environ.pop("FASTIO_STORE", None)
else:
    subprocess.run(["fastio", "init", "--quiet"], stdout=subprocess.DEVNULL, check=False)
os.execvp("fastio", ["fastio", "mcp"])
'''


def generated() -> dict[str, str]:
    """Every generated file's text, by its name in the repository."""
    files = {name: _json(value) for name, value in _documents().items()}
    for root in ("skills", f"{PLUGIN}/skills"):
        files |= {f"{root}/{name}": text for name, text in skill_files().items()}
    files[f"{PLUGIN}/README.md"] = README
    files["mcpb/server.py"] = BUNDLE_SERVER
    files["mcpb/pyproject.toml"] = (
        f'[project]\nname = "fastio-bundle"\nversion = "{__version__}"\n'
        f'requires-python = ">=3.11"\ndependencies = ["{PACKAGE}[mcp]=={__version__}"]\n'
    )
    return files


def _documents() -> dict[str, dict[str, Any]]:
    about = {"name": "fastio", "version": __version__, "description": DESCRIPTION}
    whole = {**about, "author": AUTHOR, "license": LICENSE, "keywords": KEYWORDS}
    schema = "https://agent-plugins.org/schemas/1.0.0"
    prime = {"hooks": [_hook("fastio prime")]}
    guard = {"matcher": WRITING_TOOLS, "hooks": [_hook("fastio guard check --hook claude")]}
    return {
        ".claude-plugin/marketplace.json": {
            "name": "fastio",
            "owner": AUTHOR,
            "metadata": {"description": DESCRIPTION},
            "plugins": [{"name": "fastio", "source": f"./{PLUGIN}", "description": DESCRIPTION}],
        },
        ".cursor-plugin/marketplace.json": {
            "name": "fastio",
            "owner": AUTHOR,
            "plugins": [{"name": "fastio", "source": PLUGIN, "description": DESCRIPTION}],
        },
        ".agents/plugins/marketplace.json": {
            "name": "fastio",
            "interface": {"displayName": "fastio"},
            "plugins": [
                {
                    "name": "fastio",
                    "source": {"source": "local", "path": f"./{PLUGIN}"},
                    "policy": {"installation": "AVAILABLE", "authentication": "ON_INSTALL"},
                    "category": "Productivity",
                }
            ],
        },
        f"{PLUGIN}/plugin.json": {"$schema": f"{schema}/plugin.schema.json", **whole},
        f"{PLUGIN}/mcp.json": {
            "$schema": f"{schema}/mcp.schema.json",
            "mcpServers": {"fastio": {"type": "stdio", **RUN}},
        },
        f"{PLUGIN}/.claude-plugin/plugin.json": whole,
        f"{PLUGIN}/.cursor-plugin/plugin.json": {**whole, "hooks": "hooks/hooks-cursor.json"},
        f"{PLUGIN}/.mcp.json": {"mcpServers": {"fastio": RUN}},
        f"{PLUGIN}/gemini-extension.json": {
            **about,
            "contextFileName": "skills/fastio/SKILL.md",
            "mcpServers": {"fastio": RUN},
        },
        f"{PLUGIN}/hooks/hooks.json": {
            "hooks": {"SessionStart": [prime], "PreCompact": [prime], "PreToolUse": [guard]}
        },
        f"{PLUGIN}/hooks/hooks-cursor.json": {
            "version": 1,
            "hooks": {"sessionStart": [{"command": "fastio prime"}]},
        },
        "server.json": _registry_entry(),
        "mcpb/manifest.json": _bundle(),
    }


def _hook(command: str) -> dict[str, Any]:
    return {"type": "command", "command": command, "timeout": HOOK_TIMEOUT_S}


def _registry_entry() -> dict[str, Any]:
    """The entry of the MCP Registry, by its schema of 2025-12-11."""
    return {
        "$schema": "https://static.modelcontextprotocol.io/schemas/2025-12-11/server.schema.json",
        "name": REGISTRY_NAME,
        "description": DESCRIPTION,
        "version": __version__,
        "packages": [
            {
                "registryType": "pypi",
                "identifier": PACKAGE,
                "version": __version__,
                "runtimeHint": "uvx",
                "transport": {"type": "stdio"},
                "packageArguments": [{"type": "positional", "value": "mcp"}],
                "environmentVariables": [
                    {
                        "name": "FASTIO_STORE",
                        "description": "The folder, database or server that holds the state",
                        "isRequired": False,
                        "isSecret": False,
                    }
                ],
            }
        ],
    }


def _bundle() -> dict[str, Any]:
    return {
        "manifest_version": "0.4",
        "name": "fastio",
        "display_name": "fastio",
        "version": __version__,
        "description": DESCRIPTION,
        "author": AUTHOR,
        "license": LICENSE,
        "keywords": KEYWORDS,
        "server": {
            "type": "uv",
            "entry_point": "server.py",
            "mcp_config": {
                "command": "uv",
                "args": ["run", "--directory", "${__dirname}", "server.py"],
                "env": {"FASTIO_STORE": "${user_config.store}"},
            },
        },
        "user_config": {
            "store": {
                "type": "directory",
                "title": "Store",
                "description": "The folder that holds the state",
                "required": False,
            }
        },
    }


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def main(folder: Path) -> None:
    """Write all files below a folder."""
    assert frontmatter()["name"] == "fastio"
    for name, text in generated().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
