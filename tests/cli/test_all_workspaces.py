"""Results of several workspaces in one order."""

from __future__ import annotations

import json
import os

from tests.client.serving import fastio
from tests.engines import made_store


def test_what_holds_more_of_the_words_comes_first_wherever_words_are_rarer(tmp_path):
    environ = {**os.environ, "FASTIO_STORE": made_store(tmp_path / "store")}
    note = {"op": "state.set", "path": "t.json", "value": "the passphrase of the vault"}
    lines = [json.dumps({**note, "path": f"{i}", "value": f"vault {i}"}) for i in range(8)]
    lines += [json.dumps({**note, "path": f"o{i}", "value": f"a cellar {i}"}) for i in range(30)]
    fastio("batch", stdin="\n".join(lines), environ=environ)
    fastio("workspace", "create", "small", environ=environ)
    fastio("state", "set", "-w", "small", "t.json", json.dumps(note["value"]), environ=environ)
    for mode in ("lexical", "hybrid"):
        command = ("query", "passphrase of the vault", "--all-workspaces", "--mode", mode)
        items = json.loads(fastio(*command, environ=environ).stdout)["items"]
        assert items[0]["path"] == "fio://small/t.json"
        for item in items:
            parts = item["parts"]
            assert abs(item["score"] - parts["lexical"] - parts["semantic"]) < 1e-5
