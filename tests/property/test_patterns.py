"""One rule for patterns: SQLite, PostgreSQL and Python agree with a matcher of a few lines."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from functools import lru_cache

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastio_cli.patterns import as_glob, as_regex, is_pattern, literal_prefix, matches
from tests import postgres
from tests.requirements import lacking

# The characters that mean something to one of the dialects, and some that mean nothing.
CHARACTERS = st.sampled_from(list("ab/*?[]^-!\\.+(){}|$%_é日😀 "))
PATTERNS = st.text(CHARACTERS, max_size=10)
TEXTS = st.text(CHARACTERS, min_size=1, max_size=10)


@lru_cache(None)
def reference(pattern: str, text: str) -> bool:
    """What a pattern means, said once more and as plainly as can be."""
    if not pattern:
        return not text
    if pattern[0] == "\\" and pattern[1:2] in ("*", "?", "\\"):
        return text[:1] == pattern[1] and reference(pattern[2:], text[1:])
    if pattern[0] == "*":
        return any(reference(pattern[1:], text[at:]) for at in range(len(text) + 1))
    if not text:
        return False
    return pattern[0] in ("?", text[0]) and reference(pattern[1:], text[1:])


def pairs(test):
    """Patterns and texts, among them such as match."""
    for pattern, text in (
        ("app/[id]/*", "app/[id]/page"),
        ("app/[id]/*", "app/i/page"),
        ("[!a]", "b"),
        ("[^a]", "b"),
        ("a\\*b", "a*b"),
        ("a\\*b", "axb"),
        ("a\\\\b", "a\\b"),
        ("a\\b", "a\\b"),
        ("a\\", "a\\"),
        ("[*]", "[x]"),
        ("*" * 9 + "b", "a" * 10),
        ("A", "a"),
        ("?", "😀"),
    ):
        test = example(pattern, text)(test)
    return given(PATTERNS, TEXTS)(test)


@pairs
def test_python_and_sqlite_agree(pattern: str, text: str) -> None:
    expected = reference(pattern, text)
    assert matches(pattern, text) == expected
    with closing(sqlite3.connect(":memory:")) as db:
        found = db.execute("select ? glob ?", (text, as_glob(pattern))).fetchone()
    assert bool(found[0]) == expected
    if expected:
        assert text.startswith(literal_prefix(pattern))
    if not is_pattern(pattern) and "\\" not in pattern:
        assert expected == (pattern == text)


@pytest.fixture(scope="module")
def database():
    url = postgres.server_url()
    if url is None:
        lacking("no PostgreSQL server was found")
    with psycopg.connect(url) as c:
        yield c


def test_postgresql_agrees(database) -> None:
    @pairs
    def check(pattern: str, text: str) -> None:
        query = 'select %s::text ~ %s::text collate "C"'
        found = database.execute(query, (text, as_regex(pattern))).fetchone()
        assert found[0] == reference(pattern, text)

    check()


@pytest.mark.parametrize(
    "pattern", ["*a" * 500, "?" * 1024, "*" * 1024, "*?" * 500, "?" * 500 + "*b", "[" * 1024]
)
def test_no_pattern_takes_long(pattern: str, database) -> None:
    text = "a" * 1000 + "b"
    expected = matches(pattern, text)
    with closing(sqlite3.connect(":memory:")) as db:
        steps = 0

        def count() -> int:
            nonlocal steps
            steps += 1
            return steps > 1000

        db.set_progress_handler(count, 1000)
        found = db.execute("select ? glob ?", (text, as_glob(pattern))).fetchone()[0]
    assert bool(found) == expected
    query = 'select %s::text ~ %s::text collate "C"'
    assert database.execute(query, (text, as_regex(pattern))).fetchone()[0] == expected
