"""The shape of the code, in figures: sizes, types, cycles, and the way of a command through it.

    .venv/bin/python benchmarks/house.py [--json] [ROOT]

A trip is recorded with ``sys.setprofile``: how many calls of our own functions a command makes,
in how many files, how often it enters one, and how deep it goes. What importing does is left out.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

TRIPS = {
    "state set": ["state", "set", "plan.json", '{"step":1}'],
    "state get": ["state", "get", "plan.json"],
    "lock acquire": ["lock", "acquire", "plan-{n}.json"],
    "query, lexical": ["query", "step", "--mode", "lexical"],
}
RECORDER = """
import json, os, sys
sys.path.insert(0, sys.argv[1])
import fastio_cli
PACKAGE = os.path.dirname(fastio_cli.__file__) + os.sep
calls, files, visits, deepest, stack, importing = 0, set(), 0, 0, [], 0
def profile(frame, event, arg):
    global calls, visits, deepest, importing
    if event not in ("call", "return"):
        return
    if frame.f_code.co_name == "<module>":
        importing += 1 if event == "call" else -1
        return
    name = frame.f_code.co_filename
    if importing or not name.startswith(PACKAGE):
        return
    if event == "call":
        caller = stack[-1] if stack else ""
        calls += 1
        files.add(name)
        visits += name != caller
        stack.append(name)
        deepest = max(deepest, len(stack))
    elif stack:
        stack.pop()
        visits += bool(stack) and stack[-1] != name
def end():
    sys.setprofile(None)
    row = {"calls": calls, "files": len(files), "visits": visits, "deepest": deepest}
    print(json.dumps(row), file=sys.stderr)
leave = os._exit
def leave_later(code):
    end()
    leave(code)
os._exit = leave_later
sys.argv = ["fastio", *sys.argv[2:]]
from fastio_cli.__main__ import main
sys.setprofile(profile)
main()
end()
"""


def sources(root: Path, folder: str) -> list[Path]:
    return sorted((root / folder).rglob("*.py"))


def line_count(files: list[Path]) -> int:
    return sum(len(file.read_text().splitlines()) for file in files)


def functions(tree: ast.AST) -> Iterator[int]:
    """The length of every function in lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.end_lineno or node.lineno) - node.lineno + 1


def any_count(tree: ast.AST) -> int:
    """How often ``Any`` is used as a type."""
    return sum(isinstance(node, ast.Name) and node.id == "Any" for node in ast.walk(tree))


def imports(tree: ast.AST, known: set[str]) -> Iterator[str]:
    """The modules of the package that a module names, type-only imports included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                yield inner if inner in known else node.module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """The strongly connected components of more than one module (Tarjan, 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[set[str]] = []

    def visit(name: str) -> None:
        index[name] = low[name] = len(index)
        stack.append(name)
        for other in graph[name]:
            if other not in index:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], index[other])
        if low[name] == index[name]:
            component = set(stack[stack.index(name) :])
            del stack[stack.index(name) :]
            if len(component) > 1:
                found.append(component)

    sys.setrecursionlimit(10_000)
    for name in graph:
        if name not in index:
            visit(name)
    return found


def import_graph(root: Path, files: list[Path]) -> dict[str, set[str]]:
    names = {}
    for file in files:
        module = ".".join(file.relative_to(root).with_suffix("").parts)
        names[module.removesuffix(".__init__")] = file
    known = set(names)
    return {
        name: {other for other in imports(ast.parse(file.read_text()), known) if other in known}
        - {name}
        for name, file in names.items()
    }


def trip(root: Path, words: list[str], folder: str) -> dict[str, int]:
    """What one command passes through; it runs twice, and the second time counts."""
    environ = {**os.environ, "XDG_DATA_HOME": folder}
    for n in range(2):
        command = [word.replace("{n}", str(n)) for word in words]
        argv = [sys.executable, "-c", RECORDER, str(root), *command]
        done = subprocess.run(argv, env=environ, capture_output=True, text=True, check=True)
    row: dict[str, int] = json.loads(done.stderr.splitlines()[-1])
    return row


def figures(root: Path) -> dict[str, object]:
    files = sources(root, "fastio_cli")
    trees = [ast.parse(file.read_text()) for file in files]
    lengths = sorted(length for tree in trees for length in functions(tree))
    sizes = sorted(len(file.read_text().splitlines()) for file in files)
    lines, tests = line_count(files), line_count(sources(root, "tests"))
    return {
        "modules": len(files),
        "lines": lines,
        "test lines": tests,
        "test lines by lines": round(tests / lines, 2),
        "file median / p90 / max": _spread(sizes),
        "function median / p90 / max": _spread(lengths),
        "Any": sum(map(any_count, trees)),
        "import cycles, type-only included": [
            len(cycle) for cycle in cycles(import_graph(root, files))
        ],
    }


def _spread(ordered: list[int]) -> str:
    return f"{statistics.median(ordered):g} / {ordered[len(ordered) * 9 // 10]} / {ordered[-1]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=Path(__file__).parent.parent)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    options = parser.parse_args()
    root = options.root.resolve()
    rows = figures(root)
    with tempfile.TemporaryDirectory() as folder:
        for name, words in TRIPS.items():
            rows[f"trip: {name}"] = trip(root, words, folder)
    if options.json:
        print(json.dumps(rows, indent=2))
        return
    for name, value in rows.items():
        shown = (
            ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        )
        print(f"{name:<36} {shown}")


if __name__ == "__main__":
    main()
