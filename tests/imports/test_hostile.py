"""Whatever strangers send: names, headers, URLs and codings never break anything."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.egress.rules import EgressRules, redact_url
from fastio_cli.errors import FastioError
from fastio_cli.imports.decode import CHUNK_BYTES, decoded
from fastio_cli.imports.fetch import _content_range
from fastio_cli.imports.naming import clean, file_name, media_type, numbered
from fastio_cli.operations.types import PATH_RULE
from fastio_cli.retry import parse_retry_after

NASTY = st.text(st.sampled_from("./\\ :%\"'*=;\0\n\x1b\u202e\u2066ä€😀CONab~"), max_size=80)
TEXT = st.one_of(st.text(max_size=80), NASTY)


@given(TEXT)
def test_a_cleaned_name_is_one_harmless_segment(name: str) -> None:
    cleaned = clean(name)
    if cleaned:
        assert PATH_RULE.check(cleaned, "name") == cleaned
        assert "/" not in cleaned
        assert "\\" not in cleaned
        assert clean(cleaned) == cleaned


# Words in the form of mail, in charsets that exist and that do not, and forms of URLs.
CODED = ["=?", "?=", "?B?", "?Q?", "utf-8", "utf-7", "idna", "rot13", "%", "%ff", "%00", "é", "a"]
MAIL = st.lists(st.sampled_from(CODED), max_size=14).map("".join)


@given(TEXT | MAIL, TEXT, TEXT)
def test_a_file_always_gets_a_name(disposition: str, path: str, stated: str) -> None:
    for header in (disposition, f"attachment; filename={disposition}"):
        name = file_name(header, path, stated)
        assert PATH_RULE.check(name, "name") == name
        assert PATH_RULE.check(numbered(f"a/{name}", 2), "name")


@given(TEXT, st.binary(max_size=300))
def test_a_media_type_is_always_found(stated: str, head: bytes) -> None:
    found = media_type(stated, head, "application/octet-stream")
    assert found.count("/") == 1
    assert found.isascii()
    assert found.isprintable()


@given(TEXT)
def test_headers_of_any_kind_are_read_or_passed_over(text: str) -> None:
    seconds = parse_retry_after(text)
    assert seconds is None or 0 <= seconds < inf
    if text.isascii() and text.isprintable():
        response = httpx.Response(206, headers={"Content-Range": text})
        assert len(_content_range(response)) == 2


def refusal_or(work: Callable[..., Any], *args: Any) -> Any:
    """What the work gives, or the error in our terms; any other error is the test's."""
    try:
        return work(*args)
    except FastioError as e:
        return e


URLS = st.one_of(
    TEXT,
    st.builds("http://{}/{}".format, TEXT, TEXT),
    st.builds("https://{}:{}/".format, TEXT, st.integers(-1, 100_000)),
)


@given(URLS)
def test_urls_of_any_kind_are_refused_in_our_words(text: str) -> None:
    outcome = refusal_or(EgressRules().check_url, text)
    if isinstance(outcome, FastioError):
        assert outcome.code in ("invalid", "blocked_url")
        assert len(outcome.message) < 9000
    else:
        assert outcome.scheme in ("http", "https")
        assert not outcome.userinfo
    assert "\x1b" not in redact_url(text)


def whole(body: bytes, coding: str) -> bytes:
    chunks: Iterator[bytes] = iter([body[:7], b"", body[7:]])
    pieces = list(decoded(chunks, [coding]))
    assert all(len(piece) <= 4 * CHUNK_BYTES for piece in pieces)
    return b"".join(pieces)


CODERS = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": brotli.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("coding", CODERS)
@given(data=st.binary(max_size=3000))
def test_what_is_coded_comes_out_again(coding: str, data: bytes) -> None:
    assert whole(CODERS[coding](data), coding) == data


@pytest.mark.parametrize("coding", CODERS)
@given(data=st.binary(max_size=300))
def test_nonsense_is_broken_or_empty(coding: str, data: bytes) -> None:
    outcome = refusal_or(whole, data, coding)
    if isinstance(outcome, FastioError):
        assert outcome.code == "unavailable"


@pytest.mark.parametrize("coding", CODERS)
def test_bombs_come_out_in_small_pieces(coding: str) -> None:
    assert len(whole(CODERS[coding](bytes(20_000_000)), coding)) == 20_000_000
