"""JSON text: what is accepted, how it is written, and the RFCs that its forms follow."""

from __future__ import annotations

import json
import math

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from fastio_cli.errors import FastioError
from fastio_cli.json_text import DEPTH_MAX, SIZE_BYTES_MAX, canonical, decode, encode
from fastio_cli.operations.documents import merge
from fastio_cli.operations.pointer import assign, resolve

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SAFE_INTEGERS = st.integers(-(2**53) + 1, 2**53 - 1)
ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(TEXT, inner),
    max_leaves=20,
)
# What events and requests hold: ASCII keys, no fractions.
EVENT_DATA = st.recursive(
    st.none() | st.booleans() | SAFE_INTEGERS | TEXT,
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec="ascii")), inner),
    max_leaves=20,
)


def refused(code, work, *arguments):
    with pytest.raises(FastioError) as caught:
        work(*arguments)
    assert caught.value.code == code
    assert caught.value.message
    return caught.value


@given(ANY_JSON)
def test_what_is_written_is_read_back(value):
    assert decode(encode(value)) == value
    assert json.loads(encode(value)) == value


@given(EVENT_DATA)
def test_canonical_is_rfc_8785_for_event_data(value):
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("key", ["actor", "at", "data", "path", "prev_hash", "seq", "type"])
@given(text=TEXT)
def test_canonical_is_rfc_8785_for_any_text(key, text):
    assert canonical({key: text}) == rfc8785.dumps({key: text})


@given(st.text())
def test_no_text_ends_in_anything_but_a_value_or_invalid(text):
    try:
        decode(text)
    except FastioError as e:
        if e.code != "invalid":
            raise


@given(st.binary())
def test_no_bytes_end_in_anything_but_a_value_or_invalid(body):
    try:
        decode(body)
    except FastioError as e:
        if e.code != "invalid":
            raise


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "wat",
        "{",
        "[1,]",
        "{'a': 1}",
        "{a: 1}",
        "01",
        "+1",
        ".5",
        "1.",
        "0x10",
        "NaN",
        "Infinity",
        "-Infinity",
        "[NaN]",
        "1 2",
        '"a\nb"',
        '"\\x"',
        '"\\ud800"',
        '["\\udc00\\ud800"]',
        '{"\\ud800": 1}',
        '{"a": 1, "a": 1}',
        '[{"b": {"a": 1, "c": 2, "a": 3}}]',
        "// comment\n1",
        "1e400",
        "-1e999",
        b"\xff",
        b'"\xc3"',
        b'"\xed\xa0\x80"',
        b"\x00",
        "\ud800",
        '"\ud800"',
    ],
)
def test_what_is_not_strict_json(text):
    assert refused("invalid", decode, text).hint


@pytest.mark.parametrize("text", ['\ufeff{"a": 1}', '\ufeff{"a": 1}'.encode()])
def test_a_byte_order_mark_is_let_through(text):
    assert decode(text) == {"a": 1}


@pytest.mark.parametrize("text", ["\ufeff\ufeff1", "1\ufeff", "\ufeff", b"\xff\xfe1\0"])
def test_a_mark_elsewhere_is_not(text):
    with pytest.raises(FastioError) as caught:
        decode(text)
    assert caught.value.code == "invalid"


def test_two_equal_keys_are_named():
    assert "'step'" in refused("invalid", decode, '{"step": 1, "step": 2}').message


@pytest.mark.parametrize("digits", [1, 17, 400, 4300])
def test_integers_keep_every_digit(digits):
    text = "9" * digits
    assert encode(decode(text)).decode() == text
    assert encode(decode("-" + text)).decode() == "-" + text


def test_integers_have_an_end():
    refused("invalid", decode, "9" * 5000)
    refused("invalid", encode, 10**5000)


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth(opening, closing):
    def nested(depth):
        return opening * (depth - 1) + "[]" + closing * (depth - 1)

    value = decode(nested(DEPTH_MAX))
    assert encode(value).decode() == nested(DEPTH_MAX)
    for depth in (DEPTH_MAX + 1, 500, 5000, 100_000):
        refused("invalid", decode, nested(depth))
    refused("invalid", encode, {"a": value})


def test_brackets_in_text_are_not_depth():
    assert decode(encode("[{" * 1000)) == "[{" * 1000
    flat = [[] for _ in range(1000)]
    assert decode(encode(flat)) == flat


TRICKY = st.text(st.sampled_from('"\\\\[]{}:,x\u00e9'))
TRICKY_JSON = st.recursive(
    TRICKY | st.integers(), lambda inner: st.lists(inner) | st.dictionaries(TRICKY, inner)
)


def depth_of(value):
    if isinstance(value, dict):
        value = list(value.values())
    return 1 + max(map(depth_of, value), default=0) if isinstance(value, list) else 0


@given(TRICKY_JSON, st.booleans(), st.sampled_from([None, 1]))
def test_the_depth_of_a_text_is_that_of_its_value(value, is_ascii, indent):
    """Whatever brackets, quotes and backslashes are in its strings."""
    text = json.dumps(value, ensure_ascii=is_ascii, indent=indent)
    depth = depth_of(value)
    assert decode(text, more_depth=depth - DEPTH_MAX) == value
    if depth:
        refused("invalid", lambda: decode(text, more_depth=depth - 1 - DEPTH_MAX))


def test_size():
    body = b'"' + b"x" * (SIZE_BYTES_MAX - 2) + b'"'
    assert encode(decode(body)) == body
    refused("too_large", decode, body + b" ")
    refused("too_large", decode, '"' + "ü" * (SIZE_BYTES_MAX // 2) + '"')
    refused("too_large", encode, "x" * (SIZE_BYTES_MAX - 1))


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, "\udfff", {"\ud800": 1}, b"x", {1}, object()]
)
def test_what_cannot_be_written(value):
    refused("invalid", encode, value)
    refused("invalid", encode, [value])


# RFC 7396, appendix A: original, patch, result.
MERGE_VECTORS = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]


@pytest.mark.parametrize(("original", "patch", "result"), MERGE_VECTORS)
def test_merge_patch_vectors(original, patch, result):
    assert merge(original, patch) == result


@given(ANY_JSON, ANY_JSON)
def test_a_merge_is_idempotent_and_changes_the_document_alone(original, patch):
    before = encode(patch)
    once = encode(merge(original, patch))
    assert encode(merge(json.loads(once), patch)) == once
    assert encode(patch) == before


# RFC 6901, section 5.
POINTED = {
    "foo": ["bar", "baz"],
    "": 0,
    "a/b": 1,
    "c%d": 2,
    "e^f": 3,
    "g|h": 4,
    "i\\j": 5,
    'k"l': 6,
    " ": 7,
    "m~n": 8,
}
POINTER_VECTORS = {
    "": POINTED,
    "/foo": ["bar", "baz"],
    "/foo/0": "bar",
    "/": 0,
    "/a~1b": 1,
    "/c%d": 2,
    "/e^f": 3,
    "/g|h": 4,
    "/i\\j": 5,
    '/k"l': 6,
    "/ ": 7,
    "/m~0n": 8,
}


@pytest.mark.parametrize("pointer", POINTER_VECTORS)
def test_pointer_vectors(pointer):
    assert resolve(POINTED, pointer, "v.json") == POINTER_VECTORS[pointer]


@given(st.dictionaries(TEXT, SAFE_INTEGERS, min_size=1), st.data())
def test_any_key_can_be_pointed_at(document, data):
    key = data.draw(st.sampled_from(sorted(document)))
    pointer = "/" + key.replace("~", "~0").replace("/", "~1")
    assert resolve(document, pointer, "v.json") == document[key]
    assert assign(dict(document), pointer, "new", "v.json") == {**document, key: "new"}
