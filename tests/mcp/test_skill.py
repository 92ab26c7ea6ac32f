"""The skill and the plugins: one source, one version, within their formats' limits."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from pathlib import Path

from mcp.client.client import Client

from fastio_cli.cli.framework import tree
from fastio_cli.mcp.generate import generated
from fastio_cli.mcp.protocol import protocol_server
from fastio_cli.mcp.skill_files import MAIN, frontmatter, manifest, skill_files
from fastio_cli.search.context_pack import TokenCounter
from fastio_cli.version import __version__

ROOT = Path(__file__).resolve().parent.parent.parent
START_TOKENS_MAX = 1_500
DESCRIPTION_LENGTH_MAX = 1024  # of a skill
REGISTRY_DESCRIPTION_LENGTH_MAX = 100


def test_what_is_generated_is_fresh():
    for name, text in generated().items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: make generate"


def test_all_say_the_same_version():
    for name, text in generated().items():
        if name.endswith(".json"):
            document = json.loads(text)
            assert document.get("version", __version__) in (__version__, 1), name
    assert frontmatter()["metadata"]["version"] == __version__


def test_the_skill_is_short():
    assert TokenCounter()(skill_files()[MAIN]) <= START_TOKENS_MAX
    stated = frontmatter()
    assert stated["name"] == "fastio"
    assert len(stated["description"]) <= DESCRIPTION_LENGTH_MAX
    registry = json.loads(generated()["server.json"])
    assert len(registry["description"]) <= REGISTRY_DESCRIPTION_LENGTH_MAX


def test_the_commands_of_the_skill_are_commands():
    for name, text in skill_files().items():
        for words in re.findall(r"(?:^ {7}|`)fastio ([a-z]+(?: [a-z-]+)?)", text, re.MULTILINE):
            first = words.split()[0]
            known = tree.lookup(words.split()) or tree.lookup([first]) or first in tree.DEFAULTS
            assert known, f"{name}: fastio {words}"


def test_the_skill_is_told_over_the_connection():
    async def talk():
        async with Client(protocol_server(lambda ctx: None)) as client:
            return await client.read_resource("skill://" + MAIN)

    read = asyncio.run(talk())
    assert read.contents[0].text == skill_files()[MAIN]
    for resource in manifest()["resources"]:
        text = skill_files()[resource["uri"].removeprefix("skill://")].encode()
        assert resource["size"] == len(text)
        assert resource["digest"] == f"sha256:{hashlib.sha256(text).hexdigest()}"
