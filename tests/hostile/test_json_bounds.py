"""JSON that is small as text and large as values is refused before it is parsed, wherever it is
from."""

from __future__ import annotations

import json

import httpx
import pytest

from fastio_cli import json_text
from fastio_cli.client.responses import parse_json, problem_error
from fastio_cli.errors import FastioError
from fastio_cli.json_text import CONTAINERS_MAX, VALUES_MAX, decode, encode, foreign
from fastio_cli.search import endpoint, extraction

BOMBS = {
    "arrays": "[" + "[]," * CONTAINERS_MAX + "[]]",
    "objects": "[" + "{}," * CONTAINERS_MAX + "{}]",
    "numbers": "[" + "1," * VALUES_MAX + "1]",
    "beside text": '["' + "x," * 1000 + '",' + "[]," * CONTAINERS_MAX + "[]]",
    "after a quote": '["\\\\",' + "[]," * CONTAINERS_MAX + "[]]",
}
TEXTS = {
    "commas": "a,b," * 3_000_000,
    "brackets": "[{" * 1_000_000,
    "quoted brackets": '"[],\\' * 500_000,
}


@pytest.fixture
def parsed(monkeypatch):
    """The texts that were parsed."""
    texts: list[str] = []
    note = lambda parse: lambda *args: texts.append(args[-1]) or parse(*args)  # noqa: E731
    monkeypatch.setattr(json_text, "_parsed", note(json_text._parsed))
    return texts


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
def test_what_holds_too_many_values_is_not_parsed(parsed, bomb):
    for text in (bomb, bomb.encode()):
        with pytest.raises(FastioError) as caught:
            decode(text)
        assert caught.value.code == "too_large"
        with pytest.raises(ValueError, match="too many values"):
            foreign(text)
    assert parsed == []


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_what_stands_in_a_string_does_not_count(text):
    body = json.dumps({"text": text, "n": [1, 2]}, ensure_ascii=False)
    assert decode(body) == {"text": text, "n": [1, 2]}
    assert foreign(body.encode()) == {"text": text, "n": [1, 2]}
    assert json.loads(encode({"text": text})) == {"text": text}


def test_as_much_as_is_allowed_is_read():
    value = json.dumps([[]] * (CONTAINERS_MAX - 1), separators=(",", ":"))
    assert len(decode(value)) == CONTAINERS_MAX - 1
    assert len(foreign("[" + "1," * (VALUES_MAX - 2) + "1]")) == VALUES_MAX - 1


def test_no_value_becomes_what_could_not_be_read_again(caller):
    with pytest.raises(FastioError) as caught:
        encode([[]] * CONTAINERS_MAX)
    assert caught.value.code == "too_large"
    caller("state.set", path="v.json", value={"a": [[]] * (CONTAINERS_MAX // 2 - 1), "b": []})
    patch = {"c": [[]] * (CONTAINERS_MAX // 2)}
    caller.refused("too_large", "state.patch", path="v.json", patch=patch)
    changes = [{"op": "patch", "path": "v.json", "patch": patch}]
    caller.refused("too_large", "state.transact", changes=changes)


def test_a_client_does_not_believe_a_server_more_than_others():
    request = httpx.Request("GET", "http://127.0.0.1/")
    bomb = BOMBS["arrays"].encode()
    headers = {"content-type": "application/problem+json"}
    response = httpx.Response(500, headers=headers, content=bomb, request=request)
    with pytest.raises(FastioError):
        parse_json(bomb, response, "http://127.0.0.1")
    with pytest.raises(FastioError):
        parse_json("[" * 100_000, response, "http://127.0.0.1")
    assert problem_error(response, bomb, "http://127.0.0.1").code


@pytest.mark.parametrize("body", [BOMBS["arrays"].encode(), b"[" * 100_000, b"\xff"])
def test_nor_an_endpoint_of_models(monkeypatch, body):
    monkeypatch.setattr(endpoint, "_request", lambda *_: iter([body]))
    with pytest.raises(FastioError, match="did not answer with JSON"):
        endpoint.post("http://127.0.0.1", "embeddings", {}, None)
    with pytest.raises(FastioError):
        list(endpoint.stream_text("http://127.0.0.1", {}, None))


def test_a_line_in_many_chunks_is_put_together_once():
    class Chunk(bytes):
        """Counts the bytes that are added to others one by one."""

        added = 0

        def __radd__(self, other: bytes) -> bytes:
            Chunk.added += len(other)
            return other + bytes(self)

    chunks = [Chunk(b"x" * 100) for _ in range(1000)] + [Chunk(b"\na\n\nb")]
    assert list(endpoint._lines(iter(chunks))) == [b"x" * 100_000, b"a", b"", b"b"]
    assert Chunk.added == 0


@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_a_file_of_too_many_values_is_searched_as_text(suffix, parsed):
    found, _ = extraction.passages(f"x.{suffix}", "file", BOMBS["numbers"].encode()[:-1])
    assert found[0].pointer is None
    assert parsed == []
