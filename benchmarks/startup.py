"""How long commands take as whole processes, by the time of the same Python doing nothing.

Run with the Python of the environment that fastio is installed in: .venv/bin/python
benchmarks/startup.py. The commands take turns with ``python -c pass``; each figure is the median
over the rounds of a command's time by that of the ``pass`` of the same round.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator

from harness import FASTIO, Budget, arguments, median_ratio, run, run_parts

PASS = [sys.executable, "-c", "pass"]
ROUNDS = 20
BATCH = 1000

# Name, the most it may take, exit code, words; {n} is the number of the round.
COMMANDS = (
    ("version", 3, 0, "--version"),
    ("state get", 3.2, 0, "state get plan.json"),
    ("state set", 3.2, 0, 'state set plan.json {"step":{n}}'),
    ("lock acquire", 3.2, 0, "lock acquire plan-{n}.json --ttl 60"),
    ("usage error: no such command", 6, 2, "state gte plan.json"),
    ("usage error: argument missing", 6, 2, "state get"),
    ("usage error: unknown option", 6, 2, "state get plan.json --wat"),
    ("help: root", 6, 0, "--help"),
    ("help: group", 6, 0, "state --help"),
    ("help: leaf", 6, 0, "state set --help"),
    ("table: state list", 6.5, 0, "state list --format table"),
    ("table: state set", 6.5, 0, "state set plan.json {n} --format table"),
)


def commands(folder: str, quick: bool) -> Iterator[Budget]:
    """Each command against ``python -c pass``."""
    store = ["--store", os.path.join(folder, "store")]

    def argv(words: str, n: int) -> list[str]:
        words = words.replace("{n}", str(n))
        return [FASTIO, *words.split(), *(store if words != "--version" else [])]

    run([FASTIO, "init", *store], folder)
    run(argv('state set plan.json {"step":0}', 0), folder)
    pairs: dict[str, list[tuple[float, float]]] = {name: [] for name, *_ in COMMANDS}
    for n in range(5 if quick else ROUNDS):
        peer = run(PASS, folder).seconds
        for name, _, code, words in COMMANDS:
            pairs[name].append((run(argv(words, n), folder, code=code).seconds, peer))
            peer = run(PASS, folder).seconds
    for name, limit, _, _ in COMMANDS:
        yield Budget(name, median_ratio(pairs[name]), limit)


def batch(folder: str, quick: bool) -> Iterator[Budget]:
    """1,000 writes by ``fastio batch`` against one by ``fastio state set``."""
    store = ["--store", os.path.join(folder, "store")]
    run([FASTIO, "init", *store], folder)
    writes = os.path.join(folder, "writes.ndjson")
    with open(writes, "w", encoding="utf-8") as f:
        for n in range(BATCH):
            f.write(json.dumps({"op": "state.set", "path": f"p{n}.json", "value": {"n": n}}) + "\n")
    pairs = []
    for n in range(3 if quick else ROUNDS):
        one = run([FASTIO, "state", "set", "plan.json", str(n), *store], folder)
        many = run([FASTIO, "batch", *store], folder, stdin=writes)
        pairs.append((many.seconds, one.seconds))
    yield Budget("batch of 1,000 writes by one state set", median_ratio(pairs), 10)


PARTS: dict[str, Callable[[str, bool], Iterator[Budget]]] = {"commands": commands, "batch": batch}

if __name__ == "__main__":
    sys.exit(run_parts(arguments(str(__doc__)).parse_args(), PARTS))
