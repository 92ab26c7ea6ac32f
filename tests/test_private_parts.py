"""The private parts of others that fastio relies on: named, there, and bounded in pyproject.toml.

When one of these tests fails after an upgrade, look at what took the place of the part before you
raise the bound.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _thread
import ast
import hashlib
import importlib
import inspect
import json
import random
import re
import signal
import sys
import threading
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastio_cli import digest, json_text

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "fastio_cli").rglob("*.py"))
IMPORTED = {
    "typer._click",  # by type checkers alone
    "typer._click.exceptions.NoArgsIsHelpError",
    "_sha2.sha256",
    "_sha256.sha256",
    "_signal",
    "_thread.allocate_lock",
    "_thread._local",
}
"""The private names that fastio may import."""

OF_OTHER_VERSIONS = {"_sha256.sha256" if sys.version_info >= (3, 12) else "_sha2.sha256"}

BOUNDED = {"typer", "uvicorn", "httpx", "httpcore"}
"""The packages whose next minor, or major, version may break it."""


def imported(file: Path) -> Iterator[str]:
    """Every name of others that a module imports, in full."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_private(name: str) -> bool:
    parts = name.split(".")
    return parts[0] not in ("fastio_cli", "__future__") and any(p.startswith("_") for p in parts)


def test_no_other_private_name_is_imported() -> None:
    assert {name for file in FILES for name in imported(file) if is_private(name)} <= IMPORTED


def test_packages_with_private_parts_in_use_are_bounded() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra)]
    found = {re.match(r"[\w-]+", line)[0]: line for line in lines}  # type: ignore[index]
    assert {name for name in BOUNDED if "<" not in found[name]} == set()


def test_what_signal_and_threading_offer_is_what_they_are_made_of() -> None:
    assert _signal.getsignal(signal.SIGUSR1) == signal.getsignal(signal.SIGUSR1)
    before = _signal.signal(signal.SIGUSR1, _signal.SIG_IGN)
    assert signal.signal(signal.SIGUSR1, before) == signal.SIG_IGN
    assert (_signal.SIGINT, _signal.SIG_DFL) == (signal.SIGINT, signal.SIG_DFL)
    assert _thread._local is threading.local
    assert isinstance(_thread.allocate_lock(), type(threading.Lock()))


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="the encoder in C is CPython's")
def test_the_encoder_of_json_takes_what_it_is_given() -> None:
    """What the C encoder writes is what ``json.dumps`` writes."""
    assert json.encoder.c_make_encoder is not None
    assert json_text.compact.__name__ == "<lambda>"  # and not the plain encoder's method
    value = {"b": [1, 2.5, None, True, 'ü"\n\x7f\u2028', {}], "a": -(10**30)}
    assert json_text.compact(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    with pytest.raises(ValueError, match="JSON"):
        json_text.compact(float("nan"))


def test_a_group_without_a_command_is_an_error_of_typers() -> None:
    import typer
    from typer._click.exceptions import NoArgsIsHelpError

    app = typer.Typer(no_args_is_help=True, add_completion=False)
    app.command("a")(lambda: None)
    app.command("b")(lambda: None)
    with pytest.raises(NoArgsIsHelpError):
        typer.main.get_group(app).main([], standalone_mode=False)
    assert issubclass(NoArgsIsHelpError, typer.TyperException)


def of_self(tree: ast.AST, name: str) -> set[str]:
    """The attributes of ``NAME`` that are read or set: those of ``self``, or of ``self.cycle``."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == name
    }


def test_uvicorns_protocol_has_the_members_that_the_servers_uses() -> None:
    """Those that are overridden are called by that name, those that are read are set by it."""
    from uvicorn.protocols.http import httptools_impl

    from fastio_cli.server.protocol import Protocol

    tree = ast.parse(inspect.getsource(Protocol))
    base = httptools_impl.HttpToolsProtocol
    known = _members(base)
    own = {name for name in vars(Protocol) if name.startswith("_")}
    used = {name for name in of_self(tree, "self") if not name.startswith("_")} - own
    assert used - known == set()
    overridden = {name for name in vars(Protocol) if not name.startswith("_")}
    assert overridden - set(dir(base)) == set()
    cycle = httptools_impl.RequestResponseCycle
    assert of_self(tree, "self.cycle") - _members(cycle) == set()
    assert of_self(tree, "self.flow") - _members(httptools_impl.FlowControl) == set()


def _members(kind: type) -> set[str]:
    """What a class has, and the names that its methods set or read."""
    methods = [m for m in vars(kind).values() if inspect.isfunction(m)]
    return set(dir(kind)).union(*(m.__code__.co_names for m in methods))


@pytest.mark.parametrize("size", [0, 1, 55, 64, 1000, digest.SMALL_BYTES_MAX, 10**5])
def test_cpythons_own_sha256_is_that_of_hashlib(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    data = random.Random(size).randbytes(size)
    expected = hashlib.sha256(data)
    monkeypatch.delitem(sys.modules, "hashlib")
    made = digest.sha256(data)
    assert ("hashlib" in sys.modules) == (size == 0 or size > digest.SMALL_BYTES_MAX)
    assert (made.hexdigest(), made.digest()) == (expected.hexdigest(), expected.digest())
    made.update(data)
    assert made.digest() == hashlib.sha256(data * 2).digest()
    assert hashlib.sha256().hexdigest() == digest.EMPTY


@pytest.mark.parametrize("name", sorted(IMPORTED - OF_OTHER_VERSIONS))
def test_the_private_names_exist(name: str) -> None:
    module, _, member = name.rpartition(".")
    found = importlib.import_module(module or member)
    assert not module or hasattr(found, member)
