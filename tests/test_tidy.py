"""The house rules, as tests: who imports whom, sizes, the hot path, the tables of commands."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastio_cli.cli.framework import parse, tree, typer_app
from fastio_cli.cli.framework.command import GLOBALS, Arg, Flag
from fastio_cli.errors import FastioError
from fastio_cli.identity import ROLES
from fastio_cli.operations import MODULES, every
from tests.engines import made_store

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastio_cli"
FILES = sorted(PACKAGE.rglob("*.py"))
NAMES = [str(file.relative_to(ROOT)) for file in FILES]

FUNCTION_LINES_MAX = 70
FILE_LINES_MAX = 700
LINE_LENGTH_MAX = 100

# A module imports only what stands on lower steps, or its own package.
STEPS = (
    {"errors", "model", "retry", "digest", "utf8", "version", "patterns"},
    {"json_text", "identity", "filesystem"},
    {"config"},
    {"blobs"},
    {"storage", "egress"},
    {"imports"},
    {"search"},
    {"operations"},
    {"engine"},
    {"client", "jobs"},
    {"opening"},
    {"server", "sdk"},
    {"mcp"},
    {"cli"},
    {"__main__"},
)
RANKS = {name: rank for rank, names in enumerate(STEPS) for name in names}
# What operations get to know of the rest they get through their Context.
OPERATIONS_MAY_IMPORT = {"errors", "model", "json_text", "digest", "blobs", "identity", "patterns"}
HEAVY = {
    "asyncio",
    "dataclasses",
    "filelock",
    "httpx",
    "inspect",
    "numpy",
    "platformdirs",
    "pydantic",
    "rich",
    "ssl",
    "typer",
    "typing",
}
# Identifiers and words that were replaced, and by what. One a line, sorted.
REPLACED_WORDS = {
    "ALIVE_S": "UPTIME_MIN_S",
    "BLOCK_PASSAGES": "SEGMENT_PASSAGES",
    "BucketBlobs": "BucketBlobStore",
    "DirectCycle": "pipeline",
    "Doorkeeper": "Authenticator",
    "EVENTS_PER_STEP": "BATCH_EVENTS_MAX",
    "EXACT_MAX": "EXACT_KNN_PASSAGES_MAX",
    "HOLD_MS": "LOGIN_LEASE_MS",
    "Holder": "CitationGrounder",
    "ImportWorker": "JobRunner",
    "IndexWorker": "JobRunner",
    "KnownObjects": "UnitOfWork",
    "LOOSE_MAX": "MEMTABLE_PASSAGES_MAX",
    "LaterObjects": "UnitOfWork",
    "Lexicon": "InvertedIndex",
    "Matrix": "VectorCache",
    "NoBlobs": "NullBlobStore",
    "PASSED_ON": "FORWARDED_SIGNALS",
    "PASSING": "TRANSIENT_STATUSES",
    "PIECE_BYTES": "CHUNK_BYTES",
    "Patience": "RetryPolicy",
    "SAY_SO_S": "NOTE_AFTER_S",
    "SentAhead": "Prefetch",
    "Slot": "WriteTarget",
    "StoredVault": "DatabaseCredentialStore",
    "UNSOURCED": "NO_SOURCE",
    "UserVault": "UserCredentialStore",
    "Vault": "CredentialStore",
    "Veil": "SecretBox",
    "WHOLE_BYTES_MAX": "RESENT_BYTES_MAX",
    "WaitingRoom": "LongPollRegistry",
    "_ANEW": "_RESTARTED",
    "_Bars": "BarProgressView",
    "_Copy": "StoreCopy",
    "_Kept": "IndexCache",
    "_Lines": "JsonProgressView",
    "_Pace": "ThroughputWatchdog",
    "_Silence": "QuietProgressView",
    "_complain": "_print_error",
    "_fold": "_flush",
    "_half_a_character": "_lone_surrogate",
    "_has_neighbours": "_has_hnsw_index",
    "_heard": "read_streamed_answer",
    "_heed_interrupts": "_install_signal_handlers",
    "_kept_from_argv": "_read_value",
    "_live_or_none": "_is_current",
    "_reword": "_replace_terms",
    "_spill": "_open_file",
    "_stand_in": "_open_missing_streams",
    "_tend": "_maintain",
    "_unfold": "_compact",
    "_unhurried": "_build_settings",
    "_untended": "_maintenance_due",
    "add_loose": "add_to_memtable",
    "at_hand": "try_prepare",
    "at_rest": "is_quiescent",
    "better_neighbours": "best_adjacent",
    "block_of": "build_segment",
    "block_revisions": "segment_revisions",
    "blocks_between": "segments_between",
    "build_search_index": "build_ann_index",
    "bytes_lost": "damaged_blob",
    "catch_up": "update",
    "check_lent": "check_bucket_allowed",
    "client_to": "client_for",
    "drop_block": "drop_segment",
    "enter_common": "register_common",
    "examine_blobs": "check_blobs",
    "examine_bodies": "check_bodies",
    "examine_file": "check_file",
    "forget_partial": "discard_staged",
    "forget_token": "delete_token",
    "give_name": "commit",
    "has_embedded": "is_embedded",
    "has_profile": "profile_exists",
    "has_read": "is_up_to_date",
    "identifier_parts": "split_identifiers",
    "is_at_hand": "is_loaded",
    "keep_token": "store_token",
    "kept_token": "load_token",
    "lock_token_of": "lock_token",
    "loose_lengths": "memtable_lengths",
    "loose_of": "live_passages",
    "make_neighbours": "build_hnsw_index",
    "new_mark": "new_delimiter",
    "outdate": "invalidate",
    "patience_s": "deadline_s",
    "postings_of": "segment_postings",
    "put_block": "put_segment",
    "related_min": "relevant_min",
    "remove_loose": "delete_from_memtable",
    "rules_of": "rules_from",
    "schema_of_pgvector": "pgvector_schema",
    "settle_search": "build_ann_index",
    "shown_host": "ascii_host",
    "was_reached": "was_connected",
    "where_kept": "token_location",
    "without_password": "mask_password",
    "worn_block": "sparse_segment",
}
HOT_COMMANDS = (
    ["state", "set", "a.json", '{"n": 1}'],
    ["state", "get", "a.json"],
    ["lock", "acquire", "a.json"],
)


def unit(module: str) -> str:
    """The part of the package that a module belongs to, as RANKS names it."""
    return module.split(".")[1] if "." in module else "__init__"


def module_of(file: Path) -> str:
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def imports(node: ast.AST):
    """The modules of the package that are imported anywhere in a file when it runs."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield from imports(other)
        elif isinstance(child, ast.ImportFrom) and (child.module or "").startswith("fastio_cli"):
            if child.module == "fastio_cli":
                yield from (f"fastio_cli.{alias.name}" for alias in child.names)
            else:
                yield child.module
        elif isinstance(child, ast.Import):
            yield from (a.name for a in child.names if a.name.startswith("fastio_cli"))
        else:
            yield from imports(child)


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_imports_go_downward(file):
    own = unit(module_of(file))
    if own == "__init__":
        return
    for imported in imports(ast.parse(file.read_text())):
        other = unit(imported)
        if other == own or other.startswith("__"):  # its own, or the version
            continue
        assert RANKS[other] < RANKS[own], f"{own} imports {imported}"
        if own == "operations":
            assert other in OPERATIONS_MAY_IMPORT, f"{own} imports {imported}"
        if other == "server":
            assert own == "mcp" or file.stem == "serve", imported


def modules_imported(file: Path) -> set[str]:
    """The modules of the package that a file imports: when it runs, when it is called, or for type
    checkers alone."""
    known = {module_of(file) for file in FILES}
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= names & known or {node.module or ""}
    # The package itself holds the version, and names what programs import.
    return (found & known) - {"fastio_cli", module_of(file)}


def test_no_module_imports_itself_by_way_of_others():
    imported = {module_of(file): modules_imported(file) for file in FILES}
    while leaves := [module for module, others in imported.items() if not others & imported.keys()]:
        for module in leaves:
            del imported[module]
    assert imported == {}, "each of these imports another of them, or one that does"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_nothing_is_too_long(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= FILE_LINES_MAX or file.name == "generated.py"
    assert max(map(len, lines), default=0) <= LINE_LENGTH_MAX
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= FUNCTION_LINES_MAX, f"{node.name} has {length} lines"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_every_error_is_raised_once(file):
    """An exception that is kept and raised again keeps the frames of every time."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name):
            assert not node.exc.id.isupper(), f"{file}:{node.lineno}"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_modules_say_what_they_are_for(file):
    assert ast.get_docstring(ast.parse(file.read_text()))


OPERATION_NAMES = {operation.name for operation in every()}
OPERATION_NOUNS = {name.partition(".")[0] + "." for name in OPERATION_NAMES}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_operations_are_not_told_apart_elsewhere(file):
    """Their names may be called; what is special about them is said by their traits alone.

    A name is told apart where it is compared or listed, or where a noun is looked for in it.
    Commands list the names of the operations they use.
    """
    if "operations" in file.parts:
        return
    text = file.read_text()
    assert not re.search(r"\bif .*\b(op|operation)\.name\b *(==|in)", text)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Compare):
            told, at_most = [node.left, *node.comparators], 0
        elif isinstance(node, ast.Tuple | ast.List | ast.Set) and "cli" not in file.parts:
            told, at_most = node.elts, 1  # one is no list, but x.operation, y = "file.put", z
        elif isinstance(node, ast.Dict):
            told, at_most = node.keys, 0
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("startswith"):
            told, at_most = node.args, 0
        else:
            continue
        names = {n.value for n in told if isinstance(n, ast.Constant)}
        names &= OPERATION_NAMES | OPERATION_NOUNS
        assert len(names) <= at_most, f"{file.name}:{node.lineno} {names}"


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_no_debris(file):
    text = file.read_text()
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b|breakpoint\(\)|\bpdb\b", text)
    assert "/work/" not in text


TEXTS = [
    *FILES,
    *(f for f in sorted((ROOT / "tests").rglob("*.py")) if f.name != "test_tidy.py"),
    *sorted((ROOT / "docs").glob("*.md")),
    ROOT / "README.md",
]


@pytest.mark.parametrize("file", TEXTS, ids=lambda f: str(f.relative_to(ROOT)))
def test_replaced_words_do_not_come_back(file):
    found = set(re.findall(r"\w+", file.read_text(encoding="utf-8"))) & set(REPLACED_WORDS)
    assert not found, {word: REPLACED_WORDS[word] for word in found}


@pytest.mark.parametrize("file", FILES, ids=NAMES)
def test_larger_public_functions_say_what_they_do(file):
    if "cli" in file.parts:  # commands take their help from their operation
        return
    top = ast.parse(file.read_text()).body
    for node in [*top, *(n for c in top if isinstance(c, ast.ClassDef) for n in c.body)]:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            obvious = len(node.body) <= 3 or node.name == "check"
            assert obvious or ast.get_docstring(node), node.name


@pytest.mark.parametrize("argv", HOT_COMMANDS, ids=" ".join)
def test_the_hot_path_is_light(tmp_path, argv):
    environ = {**os.environ, "FASTIO_STORE": made_store(tmp_path), "HOME": str(tmp_path)}
    environ.pop("FASTIO_NO_FAST_EXIT", None)
    for command in (HOT_COMMANDS[0], argv):  # once to make the store and what is read
        done = subprocess.run(
            [sys.executable, "-X", "importtime", "-m", "fastio_cli", *command],
            capture_output=True,
            text=True,
            env=environ,
            check=True,
            timeout=60,
        )
    loaded = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "fastio_cli.storage.sqlite.store" in loaded
    # -m itself imports these before the program begins.
    bare = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "this"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    before = {line.rpartition("|")[2].strip() for line in bare.stderr.splitlines()}
    assert {name.partition(".")[0] for name in loaded - before} & HEAVY == set()


@pytest.mark.parametrize("operation", every(), ids=lambda o: o.name)
def test_an_operation_is_well_stated(operation):
    help = operation.help
    assert re.fullmatch(r"[A-Z].*[^.]\.", help), help
    assert len(help) <= 100
    assert operation.effect in ("read", "write")
    assert operation.role in ROLES
    if operation.in_workspace:
        only_reads = operation.effect == "read" or operation.workspace_param is not None
        assert operation.role != "viewer" or only_reads
        assert operation.role == "viewer" or operation.effect == "write"
        assert operation.role not in ("anyone", "member")
    assert operation.method in ("GET", "PUT", "POST", "PATCH", "DELETE")
    assert operation.route.startswith("/v1/")
    assert operation.in_workspace <= operation.route.startswith("/v1/workspaces")
    noun = operation.name.partition(".")[0]
    assert noun_of(operation) == MODULES.get(noun, f"{noun}s")
    for name, rule in operation.rules.items():
        assert json.dumps(rule.schema) is not None, name
    assert operation.run.__annotations__.get("return")
    in_route = set(re.findall(r"{(\w+)", operation.route)) - {"workspace"}
    assert in_route <= set(operation.rules)


def noun_of(operation):
    """The file name that a noun has in operations, repositories, commands and contract tests."""
    return operation.run.__module__.rpartition(".")[2]


NOUNS = sorted({noun_of(operation) for operation in every()})
# Rows that no operation names: of requests that may come again, of a copy, of counters, of vectors.
INNER_REPOSITORIES = {"numbers", "__init__", "requests", "rows", "usage", "vectors"}


@pytest.mark.parametrize("noun", NOUNS)
def test_a_noun_has_one_file_name(noun):
    assert (PACKAGE / "cli" / f"{noun}.py").exists()
    assert (ROOT / "tests" / "contract" / f"test_{noun}.py").exists()


def test_a_repository_is_named_after_its_noun():
    files = {file.stem for file in (PACKAGE / "storage" / "repositories").glob("*.py")}
    # What stands at a path is one thing to the store, be it state or a file.
    assert files - INNER_REPOSITORIES == {*NOUNS} - {"state", "files"}


def test_routes_are_distinct():
    routes = [(o.method, o.route) for o in every()]
    assert len(set(routes)) == len(routes)


@pytest.mark.parametrize("operation", every(), ids=lambda o: o.name)
def test_an_operation_is_in_the_contract(operation):
    contract = ROOT / "tests" / "contract" / f"test_{noun_of(operation)}.py"
    assert f'"{operation.name}"' in contract.read_text()


@pytest.mark.parametrize("operation", every(), ids=lambda o: o.name)
def test_an_operation_has_a_command(operation):
    assert any(operation.name in command.operations for command in tree.every())


COMMANDS = tree.every()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.words)
def test_a_command_is_well_stated(command):
    names = {operation.name for operation in every()}
    assert set(command.operations) <= names
    assert re.fullmatch(r"[A-Z].*\.", command.help), command.help
    own = {flag for p in command.options for flag in p.flags}
    shared = [p for p in GLOBALS if own.isdisjoint(p.flags)]  # it may say itself what one is
    flags = [flag for p in (*command.options, *shared) for flag in p.flags]
    assert len(set(flags)) == len(flags)
    assert len({p.name for p in command.params}) == len(command.params)
    for p in command.params:
        assert p.help


@pytest.mark.parametrize("leaf", tree.LEAVES)
def test_the_root_tells_the_help_of_its_leaves(leaf):
    command = tree.lookup([leaf])
    assert command is not None
    assert tree.LEAVES[leaf][1] == command.help


def test_no_command_is_out_of_the_tree():
    from fastio_cli.cli.framework.command import COMMANDS as entered

    assert {c.words for c in COMMANDS} == set(entered)


WORD = st.text(st.sampled_from("ab-_=1./ü @{}\"'"), max_size=6)


@st.composite
def command_lines(draw):
    """A command's words among options, values and mistakes of all kinds."""
    command = draw(st.sampled_from(COMMANDS))
    parameters = []
    for _ in range(draw(st.integers(0, 4))):
        p = draw(st.sampled_from((*command.params, *GLOBALS)))
        if isinstance(p, Arg):
            parameters.append([draw(WORD)])
            continue
        flag = draw(st.sampled_from(p.flags))
        if isinstance(p, Flag):
            parameters.append([flag])
            continue
        value = draw(st.sampled_from(p.choices) if getattr(p, "choices", ()) else WORD)
        joined = draw(st.booleans())
        parameters.append([f"{flag}={value}"] if joined else [flag, value])
    parameters += [[draw(WORD)] for arg in command.args if draw(st.booleans()) or arg.required]
    if draw(st.integers(0, 9)) == 0:
        parameters.insert(draw(st.integers(0, len(parameters))), ["--"])
    before = []
    for _ in range(draw(st.integers(0, 1))):
        p = draw(st.sampled_from(GLOBALS))
        before += [p.flags[0]] if isinstance(p, Flag) else [p.flags[0], draw(WORD)]
    words = command.words.split()
    return [*before, *words, *(word for group in parameters for word in group)]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(command_lines())
def test_both_parsers_read_the_same(argv):
    quick = parse.parse(list(argv))
    if quick is None:
        return
    slow = typer_app.parse(list(argv))
    assert slow is not None
    assert slow.command is quick.command
    assert slow.values == quick.values
    given = {k: v for k, v in quick.flags.items() if v not in (None, False)}
    assert slow.flags == given


@pytest.mark.parametrize("command", COMMANDS, ids=lambda c: c.words)
def test_the_quick_parser_reads_each_plain_command(command):
    argv = [*command.words.split(), *("x" for arg in command.args if arg.required)]
    for p in command.options:
        if not isinstance(p, Flag):
            argv += [p.flags[0], p.choices[0] if p.choices else "x"]
    quick = parse.parse(argv)
    assert quick is not None
    assert quick.command is command
    slow = typer_app.parse(argv)
    assert slow is not None
    assert (slow.command, slow.values, slow.flags) == (quick.command, quick.values, quick.flags)


@pytest.mark.parametrize("argv", [["state", "get"], ["state", "wat"], ["wat"], ["--wat"]])
def test_mistakes_are_left_to_typer(argv):
    assert parse.parse(argv) is None
    with pytest.raises(FastioError) as caught:
        typer_app.parse(argv)
    assert caught.value.code == "invalid"
