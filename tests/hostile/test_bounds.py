"""A request of a few hundred bytes costs what it may cost, whatever it asks for.

Every attack is made on every kind of store; that the work itself is bounded is shown by counting
its steps, its bytes and what it is given, never by a clock.
"""

from __future__ import annotations

import json

import pytest

from fastio_cli.errors import FastioError
from fastio_cli.json_text import SIZE_BYTES_MAX, Measure
from fastio_cli.operations import documents, pointer, query, schema
from fastio_cli.operations.pointer import PatchBudget
from fastio_cli.operations.query import STEPS_MAX, Budget

DOUBLED = "|".join(["[@,@]"] * 60)
QUERIES = {
    "a result that unfolds without end": DOUBLED,
    "a text of such a result": "|".join(["[@,@]"] * 40) + "|to_string(@)",
    "a comparison of such results": f"({DOUBLED}) == ({DOUBLED})",
    "a search in such a result": f"contains({DOUBLED}, `1`)",
    "an array that doubles": "|".join(["[@,@][]"] * 40),
    "a text that doubles": "join('x', ['a', 'b'])" + "|join(@, [@,@,@])" * 40,
    "the same text by keys": "{s: 'abcdefgh'}" + "|{s: join(s, [s, s])}" * 40,
    "sorting such texts": "{s: 'abcdefgh'}" + "|{s: join(s, [s, s])}" * 40 + "|sort([s, s])",
}


@pytest.mark.parametrize("expression", QUERIES.values(), ids=QUERIES)
def test_a_query_is_refused_before_it_costs_more_than_it_may(caller, expression):
    caller("state.set", path="v.json", value=[1])
    error = caller.refused("too_large", "state.get", path="v.json", query=expression)
    assert len(error.message) < 1000
    caller.refused("too_large", "state.wait", path="v.json", expression=expression, timeout_s=0)


@pytest.mark.parametrize("expression", QUERIES.values(), ids=QUERIES)
def test_a_query_takes_no_more_steps_than_it_has(expression, monkeypatch):
    taken = []
    visit = query._BoundedInterpreter.visit
    monkeypatch.setattr(
        query._BoundedInterpreter,
        "visit",
        lambda self, *args: taken.append(1) or visit(self, *args),
    )
    with pytest.raises(FastioError):
        query.search(expression, [1], Budget(10_000))
    assert len(taken) <= 10_001


@pytest.mark.parametrize(
    "expression",
    [DOUBLED + "|abs(@)", DOUBLED + "|keys(@)", "[" * 4000, "!" * 4000, "@" + "|@" * 2000],
)
def test_a_query_that_fails_says_so_in_few_words(caller, expression):
    caller("state.set", path="v.json", value=[1])
    error = caller.refused("invalid", "state.get", path="v.json", query=expression)
    assert len(error.message) < 1000


def test_an_expression_has_a_length(caller):
    caller("state.set", path="v.json", value=1)
    caller.refused("invalid", "state.get", path="v.json", query="@" + " " * 5000)
    with pytest.raises(FastioError, match="characters"):
        query.search("@" + " " * 5000, 1)


def test_what_is_shared_is_still_allowed_as_far_as_it_is_small(caller):
    caller("state.set", path="v.json", value={"a": [1, 2], "b": "xy"})
    assert caller.value("v.json", query="[a,a]|[@,@]|[@,@]|length(to_string(@))") == 61
    assert caller.value("v.json", query="[a,a] == [a,a]") is True
    assert caller.value("v.json", query="join(b, [b,b])") == "xyxyxy"
    assert caller.value("v.json", query="max_by([@,@], &a[0]).b") == "xy"


def test_a_large_document_can_be_queried_whole():
    rows = [{"id": n, "kind": "abc"[n % 3], "tags": ["x", "y"]} for n in range(100_000)]
    budget = Budget()
    found = query.search(
        "rows[?kind == 'a' && id > `10`].tags[] | length(@)", {"rows": rows}, budget
    )
    assert found == 2 * sum(row["kind"] == "a" and row["id"] > 10 for row in rows)
    assert budget.steps > STEPS_MAX // 2


def test_a_measure_goes_through_what_is_shared_once():
    value: object = "x" * 10
    for _ in range(200):
        value = [value, value]
    assert Measure().of(value) > 2**200
    assert Measure().of({"a": [1, "bc"]}) == len('{"a":[1,"bc"]}')


def chain(levels: int, name=lambda n: {}, reference=lambda n: f"#/$defs/d{n}") -> object:
    """A schema whose references stand for two to the power of ``levels`` others."""
    pair = lambda n: [{"$ref": reference(n + 1)}] * 2  # noqa: E731
    definitions = {f"d{n}": {**name(n), "allOf": pair(n)} for n in range(levels)}
    definitions[f"d{levels}"] = {**name(levels), "type": "integer"}
    return {"$defs": definitions, "$ref": reference(0)}


DRAFT_4 = {"$schema": "http://json-schema.org/draft-04/schema#"}
ANCHORED = chain(60, lambda n: {"$anchor": f"a{n}"}, lambda n: f"#a{n}")
SCHEMAS = {
    "pointers": chain(60),
    "escaped pointers": chain(60, reference=lambda n: f"#/%24defs/d{n}"),
    "anchors": ANCHORED,
    "dynamic anchors": chain(60, lambda n: {"$dynamicAnchor": f"a{n}"}, lambda n: f"#a{n}"),
    "ids": chain(60, lambda n: {"$id": f"http://x/a{n}"}, lambda n: f"http://x/a{n}"),
    "relative ids": chain(60, lambda n: {"$id": f"/y/Aa{n}"}, lambda n: f"../y/A%61{n}"),
    "ids of draft 4": {
        **DRAFT_4,
        **chain(60, lambda n: {"id": f"http://x/a{n}"}, lambda n: f"http://x/a{n}"),  # type: ignore[dict-item]
    },
    "a property called default": {"properties": {"default": ANCHORED}},
    "definitions elsewhere": {
        "x": chain(60)["$defs"],
        "$ref": "#/x/d0",
        "$defs": chain(60)["$defs"],
    },  # type: ignore[index]
    "many patterns": {"patternProperties": {rf"\pL{{9}}{n}": True for n in range(300)}},
    "patterns by reference": {
        "$defs": {"p": {"pattern": r"\pL{9}"}},
        "allOf": [{"$ref": "#/$defs/p"}] * 200,
    },
    "a long list": {"enum": list(range(20_000))},
    "a chain of references": {
        "$defs": {f"d{n}": {"$ref": f"#/$defs/d{n + 1}"} for n in range(2000)},
        "$ref": "#/$defs/d0",
    },
}


@pytest.mark.parametrize("bomb", SCHEMAS.values(), ids=SCHEMAS)
def test_a_schema_is_refused_before_it_is_compiled(caller, bomb):
    assert len(json.dumps(bomb)) < schema.SCHEMA_BYTES_MAX
    for operation in ("state.set", "state.init"):
        error = caller.refused("too_large", operation, path="v.json", value=1, schema=bomb)
        assert "Schema" in error.message
    changes = [{"op": "set", "path": "v.json", "value": 1, "schema": bomb}]
    caller.refused("too_large", "state.transact", changes=changes)


@pytest.mark.parametrize("pattern", [r"[\p{L}\d]{3000}", r"(\pL{20}){50}", r"(?=a)[\p{L}\d]{3000}"])
def test_a_pattern_may_not_compile_to_megabytes(caller, pattern):
    for bomb in ({"pattern": pattern}, {"patternProperties": {pattern: True}}):
        caller.refused("invalid", "state.set", path="v.json", value="x", schema=bomb)


def test_a_schema_that_was_stored_before_there_were_bounds(caller, backend, open_caller):
    caller("state.set", path="v.json", value=1, schema={"type": "integer"})
    backend.tamper("update objects set schema = :schema", schema=json.dumps(chain(60)))
    caller = open_caller()
    patch = [{"op": "replace", "path": "", "value": 3}]
    caller.refused("too_large", "state.set", path="v.json", value=2)
    caller.refused("too_large", "state.increment", path="v.json")
    caller.refused("too_large", "state.patch", path="v.json", patch=patch, format="json-patch")
    caller.refused("too_large", "object.copy", path="v.json", to="w.json")
    caller("state.set", path="v.json", value=2, schema={"type": "integer"})
    assert caller("state.increment", path="v.json")["value"] == 3


def test_large_values_have_smaller_schemas():
    checks = schema.CHECKS_MAX
    text = json.dumps({"items": {"enum": list(range(5000))}})
    schema.check([1], text, "v.json", 10)
    with pytest.raises(FastioError, match="too large for a value"):
        schema.check([1], text, "v.json", checks // 5000 + 1)


def test_ordinary_schemas_are_far_below_the_bounds(caller):
    tree = {
        "$id": "https://example.com/tree",
        "type": "object",
        "properties": {"children": {"type": "array", "items": {"$ref": "#"}}},
    }
    caller("state.set", path="tree.json", value={"children": [{"children": []}]}, schema=tree)
    error = caller.refused(
        "schema_violation", "state.set", path="tree.json", value={"children": [{"children": 1}]}
    )
    assert error.details["pointer"] == "/children/0/children"
    meta = {"$ref": "https://json-schema.org/draft/2020-12/schema"}
    caller("state.set", path="meta.json", value={"type": "string"}, schema=meta)
    patterns = {"pattern": r"^(?!tmp)[\w.+-]+@\p{L}{1,20}$"}
    caller("state.set", path="p.json", value="a@bc", schema=patterns)


PATCHES = {
    "doubling": [{"op": "copy", "from": "/a", "path": "/a/-"}] * 40,
    "copies": [{"op": "copy", "from": "/s", "path": "/a/-"}] * 1000,
    "copies over each other": [{"op": "copy", "from": "/s", "path": "/t"}] * 1000,
}


@pytest.mark.parametrize("patch", PATCHES.values(), ids=PATCHES)
def test_a_patch_stops_when_it_has_copied_as_much_as_a_value_may_be(caller, patch):
    caller("state.set", path="v.json", value={"a": [1, 2], "s": "x" * 100_000, "t": 1})
    caller.refused("too_large", "state.patch", path="v.json", patch=patch, format="json-patch")
    changes = [
        {"op": "patch", "path": "v.json", "format": "json-patch", "patch": [p]} for p in patch
    ]
    caller.refused("too_large", "state.transact", changes=changes)


def test_a_patch_pays_before_it_copies():
    budget = PatchBudget(copied_bytes=10_000)
    document: object = {"a": ["x"]}
    with pytest.raises(FastioError):
        pointer.apply_patch(document, PATCHES["doubling"], "v.json", 1, budget)
    assert len(json.dumps(document)) < 5000


def test_a_patch_pays_for_what_it_shifts():
    document = list(range(1000))
    front = {"op": "add", "path": "/0", "value": 0}
    with pytest.raises(FastioError):
        pointer.apply_patch(document, [front] * 20, "v", 1, PatchBudget(moved_elements=10_000))
    assert len(document) == 1009
    pointer.apply_patch(document, [{**front, "path": "/-"}], "v", 1)


def test_an_object_that_many_changes_touch_gets_one_version(caller):
    caller("state.set", path="log.json", value={"n": 0, "log": []})
    changes = [{"op": "append", "path": "log.json", "at": "/log", "value": n} for n in range(500)]
    changes += [{"op": "increment", "path": "log.json", "at": "/n"}] * 499
    done = caller(
        "state.transact", changes=[*changes, {"op": "set", "path": "new.json", "value": 1}]
    )
    assert [(o["path"], o["version"]) for o in done["items"]] == [("log.json", 2), ("new.json", 1)]
    assert caller.value("log.json") == {"n": 499, "log": list(range(500))}
    assert [(e["type"], e["path"], e["version"]) for e in caller.events()] == [
        ("state.set", "log.json", 1),
        ("state.transact", "log.json", 2),
        ("state.set", "new.json", 1),
    ]
    assert caller.events()[1]["data"]["changes"] == 999
    history = caller("object.history", path="log.json")["items"]
    assert [version["version"] for version in history] == [2, 1]
    assert caller("object.restore", path="log.json")["version"] == 3
    assert caller.value("log.json") == {"n": 0, "log": []}
    assert caller("audit.verify")["verified"]


def test_what_the_changes_of_one_object_add_up_to(caller):
    caller("state.set", path="old.json", value=1)
    caller.put("file", b"x")
    done = caller(
        "state.transact",
        changes=[
            {"op": "delete", "path": "old.json", "if_version": 1},
            {"op": "set", "path": "old.json", "value": [], "if_version": 0},
            {"op": "append", "path": "old.json", "value": 2, "if_version": 2},
            {"op": "set", "path": "never.json", "value": 1},
            {"op": "delete", "path": "never.json"},
            {"op": "delete", "path": "file"},
            {"op": "set", "path": "file", "value": 1},
            {"op": "init", "path": "old.json", "value": "unused"},
        ],
    )
    assert [(o["path"], o["version"], o["kind"]) for o in done["items"]] == [
        ("old.json", 2, "state"),
        ("file", 2, "state"),
    ]
    assert caller.value("old.json") == [2]
    assert caller.value("file") == 1
    caller.refused("not_found", "state.get", path="never.json")
    assert caller("workspace.show")["object_count"] == 2
    gone = [{"op": "append", "path": "old.json", "value": 1}, {"op": "delete", "path": "old.json"}]
    assert caller("state.transact", changes=gone)["items"][0]["deleted"]
    assert caller.last_event()["type"] == "state.delete"


def test_a_schema_has_to_hold_when_all_changes_are_made(caller):
    pair = {"properties": {"a": {}, "b": {}}, "dependentRequired": {"a": ["b"], "b": ["a"]}}
    caller("state.set", path="v.json", value={}, schema=pair)
    one, other = ({"op": "set", "path": "v.json", "at": at, "value": 1} for at in ("/a", "/b"))
    caller.refused("schema_violation", "state.transact", changes=[one])
    caller("state.transact", changes=[one, other])
    assert caller.value("v.json") == {"a": 1, "b": 1}


def test_the_first_change_that_fails_is_named(caller):
    caller("state.set", path="a.json", value="text")
    caller("state.set", path="b.json", value=[])
    changes = [
        {"op": "append", "path": "b.json", "value": 1},
        {"op": "increment", "path": "a.json"},
        {"op": "increment", "path": "b.json"},
        {"op": "delete", "path": "none.json"},
    ]
    error = caller.refused("invalid", "state.transact", changes=changes)
    assert error.details["change"] == 1
    assert "a.json" in error.message


def test_a_transaction_reads_and_writes_so_many_bytes_at_once(caller, monkeypatch):
    large = {"n": 0, "s": "x" * (SIZE_BYTES_MAX - 1000)}
    count = documents.EDITED_BYTES_MAX // SIZE_BYTES_MAX + 1
    for n in range(count):
        caller("state.set", path=f"{n}.json", value=large if n == 0 else {"n": 0})
        if n:
            caller("object.copy", path="0.json", to=f"{n}.json", overwrite=True)
    changes = [{"op": "increment", "path": f"{n}.json", "at": "/n"} for n in range(count)]
    caller.refused("too_large", "state.transact", changes=changes)
    fewer = caller("state.transact", changes=changes[: count - 2] * 2)["items"]
    assert [item["path"] for item in fewer] == [f"{n}.json" for n in range(count - 2)]


def test_the_work_of_a_transaction_is_done_once_for_each_object(monkeypatch):
    texts: list[int] = []
    stored, encode = documents.stored, documents.encode
    monkeypatch.setattr(documents, "stored", lambda text: texts.append(len(text)) or stored(text))
    monkeypatch.setattr(documents, "encode", lambda value: texts.append(0) or encode(value))
    body = json.dumps({"log": ["x"] * 10_000}).encode()
    changes = tuple((n, "append", "append", ("/log", b"1", False)) for n in range(1000))
    [(after, _)] = documents.edit((("v.json", 1, body, changes, None),))
    assert len(json.loads(after)["log"]) == 11_000
    assert sorted(texts, reverse=True)[:2] == [len(body), 1]
    assert texts.count(0) == 1
