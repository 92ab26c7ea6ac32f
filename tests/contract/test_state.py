"""State objects: JSON read and changed in place."""

from __future__ import annotations

import hashlib

import pytest

from fastio_cli.errors import FastioError
from tests.backends import Background, until

ARRAY = {"log": [], "n": 1, "s": "abc"}


def test_set_and_get(caller):
    put = caller("state.set", path="plan.json", value={"step": 1, "log": []})
    assert put["path"] == "plan.json"
    assert put["kind"] == "state"
    assert put["version"] == 1
    assert put["media_type"] == "application/json"
    assert put["author"] == "ada"
    assert put["etag"] == hashlib.sha256(b'{"step":1,"log":[]}').hexdigest()
    got = caller("state.get", path="plan.json")
    assert got == {
        "path": "plan.json",
        "version": 1,
        "etag": put["etag"],
        "value": {"step": 1, "log": []},
    }


@pytest.mark.parametrize(
    "value",
    [None, True, False, 0, -1, 1.5, "", "ü\u2028😀", [], {}, [[]], {"": {"": None}}, 10**4000],
)
def test_any_json_value_comes_back_exactly(caller, value):
    caller("state.set", path="v.json", value=value)
    got = caller.value("v.json")
    assert got == value
    assert type(got) is type(value)


def test_key_order_is_kept(caller):
    caller("state.set", path="v.json", value={"b": 1, "a": 2})
    assert list(caller.value("v.json")) == ["b", "a"]


def test_read_a_part(caller):
    value = {"a/b": {"~": [10, 20]}, "": 5, "log": ["x", "y"]}
    caller("state.set", path="v.json", value=value)
    assert caller.value("v.json", at="") == value
    assert caller.value("v.json", at="/a~1b/~0/1") == 20
    assert caller.value("v.json", at="/") == 5
    assert caller.value("v.json", query="log[-1]") == "y"
    assert caller.value("v.json", at="/log", query="length(@)") == 2
    assert caller.value("v.json", query="nothing") is None


@pytest.mark.parametrize("at", ["/nope", "/log/2", "/log/-", "/log/-1", "/log/01", "/s/0", "/n/x"])
def test_a_pointer_to_nothing(caller, at):
    caller("state.set", path="v.json", value={"log": [1, 2], "s": "abc", "n": 1})
    assert caller.refused("not_found", "state.get", path="v.json", at=at).details["pointer"] == at


@pytest.mark.parametrize("at", ["nope", "/~2", "/a~", " /a"])
def test_what_is_not_a_pointer(caller, at):
    caller("state.set", path="v.json", value=1)
    caller.refused("invalid", "state.get", path="v.json", at=at)
    caller.refused("invalid", "state.set", path="v.json", at=at, value=2)


@pytest.mark.parametrize("query", ["[", "a b", "unknown(@)", "sum('x')", ""])
def test_what_is_not_a_query(caller, query):
    caller("state.set", path="v.json", value=1)
    caller.refused("invalid", "state.get", path="v.json", query=query)


def test_set_at_a_pointer(caller):
    caller("state.set", path="v.json", value={"log": [1], "s": "abc"})
    caller("state.set", path="v.json", at="/step", value=2)
    caller("state.set", path="v.json", at="/log/0", value=10)
    caller("state.set", path="v.json", at="/log/-", value=11)
    caller("state.set", path="v.json", at="/log/2", value=12)
    assert caller.value("v.json") == {"log": [10, 11, 12], "s": "abc", "step": 2}
    for at in ("/no/x", "/log/9", "/s/0", "/log/x"):
        caller.refused("not_found", "state.set", path="v.json", at=at, value=1)
    caller.refused("not_found", "state.set", path="none.json", at="/x", value=1)


def test_merge_patch(caller):
    caller("state.set", path="v.json", value={"a": {"b": 1, "c": 2}, "d": 3})
    put = caller("state.patch", path="v.json", patch={"a": {"b": None, "e": 4}, "d": [1]})
    assert put["version"] == 2
    assert caller.value("v.json") == {"a": {"c": 2, "e": 4}, "d": [1]}


@pytest.mark.parametrize("value", [{"a": 1}, [1], 5, None], ids=str)
def test_a_list_of_operations_is_no_merge_patch(caller, value):
    caller("state.set", path="v.json", value=value)
    patch = [{"op": "replace", "path": "", "value": 2}]
    error = caller.refused("invalid", "state.patch", path="v.json", patch=patch)
    assert "json-patch" in error.hint
    changes = [{"op": "patch", "path": "v.json", "patch": patch}]
    caller.refused("invalid", "state.transact", changes=changes)
    caller("state.patch", path="v.json", patch=patch, format="json-patch")
    assert caller.value("v.json") == 2


@pytest.mark.parametrize("patch", [[], [1], [{"op": "x"}], "oops", 5, True, None], ids=str)
def test_a_merge_patch_never_replaces_an_object_as_a_whole(caller, patch):
    caller("state.set", path="v.json", value={"a": 1})
    error = caller.refused("invalid", "state.patch", path="v.json", patch=patch)
    assert "set" in error.hint
    assert "v.json" in error.hint
    changes = [{"op": "patch", "path": "v.json", "patch": patch}]
    caller.refused("invalid", "state.transact", changes=changes)
    caller("state.patch", path="v.json", patch={"a": patch})  # inside it, that is what was asked
    expected = {} if patch is None else {"a": patch}
    assert caller.value("v.json") == expected


def test_json_patch(caller):
    caller("state.set", path="v.json", value={"a": [1, 2], "b": 1})
    patch = [
        {"op": "test", "path": "/b", "value": 1},
        {"op": "add", "path": "/a/0", "value": 0},
        {"op": "replace", "path": "/b", "value": 2},
        {"op": "copy", "from": "/b", "path": "/c"},
        {"op": "move", "from": "/a/2", "path": "/d"},
        {"op": "remove", "path": "/c"},
    ]
    caller("state.patch", path="v.json", patch=patch, format="json-patch")
    assert caller.value("v.json") == {"a": [0, 1], "b": 2, "d": 2}


@pytest.mark.parametrize(
    "test", [{"path": "/n", "value": 2}, {"path": "/n", "value": True}, {"path": "/x", "value": 1}]
)
def test_a_failed_test_of_a_patch_undoes_all_of_it(caller, test):
    caller("state.set", path="v.json", value={"n": 1})
    patch = [{"op": "replace", "path": "/n", "value": 1}, {"op": "test", **test}]
    error = caller.refused(
        "version_conflict", "state.patch", path="v.json", patch=patch, format="json-patch"
    )
    assert error.details["current_version"] == 1
    assert caller.value("v.json") == {"n": 1}


@pytest.mark.parametrize(
    "change",
    [
        {"op": "remove", "path": "/x"},
        {"op": "replace", "path": "/x", "value": 1},
        {"op": "add", "path": "/x/y", "value": 1},
        {"op": "add", "path": "/log/9", "value": 1},
        {"op": "move", "from": "/x", "path": "/y"},
        {"op": "copy", "from": "/x/y", "path": "/y"},
    ],
)
def test_a_patch_of_what_is_not_there(caller, change):
    caller("state.set", path="v.json", value=ARRAY)
    caller.refused("not_found", "state.patch", path="v.json", patch=[change], format="json-patch")
    assert caller.value("v.json") == ARRAY


@pytest.mark.parametrize(
    "patch",
    [
        {"a": 1},
        5,
        ["x"],
        [{"path": "/n"}],
        [{"op": "wat", "path": "/n"}],
        [{"op": "add", "path": "n", "value": 1}],
        [{"op": "add", "path": "/n"}],
        [{"op": "add", "path": 5, "value": 1}],
        [{"op": "copy", "from": "n", "path": "/x"}],
    ],
)
def test_what_is_not_a_json_patch(caller, patch):
    caller("state.set", path="v.json", value=ARRAY)
    caller.refused("invalid", "state.patch", path="v.json", patch=patch, format="json-patch")


def test_append(caller):
    caller("state.set", path="v.json", value=ARRAY)
    caller("state.append", path="v.json", at="/log", value={"t": 1})
    caller("state.append", path="v.json", at="/log", value=None)
    assert caller.value("v.json", at="/log") == [{"t": 1}, None]
    for at in (None, "/n", "/s", "/log/0"):
        caller.refused("invalid", "state.append", path="v.json", at=at, value=1)
    caller.refused("not_found", "state.append", path="v.json", at="/x", value=1)
    caller("state.set", path="a.json", value=[])
    caller("state.append", path="a.json", value=1)
    assert caller.value("a.json") == [1]


def test_increment(caller):
    caller("state.set", path="v.json", value={"n": 2**53, "f": 0.5, "b": True, "s": "1"})
    assert caller("state.increment", path="v.json", at="/n")["value"] == 2**53 + 1
    assert caller("state.increment", path="v.json", at="/f", by=-2)["value"] == -1.5
    assert caller.value("v.json", at="/n") == 2**53 + 1
    for at in (None, "/b", "/s"):
        caller.refused("invalid", "state.increment", path="v.json", at=at)
    caller.refused("not_found", "state.increment", path="v.json", at="/x")
    caller("state.set", path="root.json", value=1)
    assert caller("state.increment", path="root.json", by=10**30)["value"] == 10**30 + 1


def test_increment_and_append_begin_what_is_not_there(caller):
    for name, params in (("increment", {}), ("append", {"value": 7})):
        path = f"{name}.json"
        hint = caller.refused("not_found", f"state.{name}", path=path, **params).hint
        assert "create" in hint.split(path)[1]
        caller(f"state.{name}", path=path, create=True, **params)
        caller(f"state.{name}", path=path, create=True, **params)
        caller("object.delete", path=path)
        hint = caller.refused("not_found", f"state.{name}", path=path, at="/a b", **params).hint
        assert "'/a b'" in hint
        assert "create" in hint.split(path)[1]
        caller(f"state.{name}", path=path, at="/a/b", create=True, **params)
    assert caller.value("increment.json") == {"a": {"b": 1}}
    assert caller.value("append.json") == {"a": {"b": [7]}}


def test_what_begins_leaves_what_is_there(caller):
    caller("state.set", path="v.json", value={"list": [{"n": 1}], "text": "x", "none": None})
    assert caller("state.increment", path="v.json", at="/list/0/n", create=True)["value"] == 2
    assert caller("state.increment", path="v.json", at="/list/0/m", create=True)["value"] == 1
    for at in ("/text", "/none", "/list", "/text/deep", "/list/x"):
        with pytest.raises(FastioError) as refused:
            caller("state.increment", path="v.json", at=at, create=True)
        assert refused.value.code in ("invalid", "not_found")
    for at in ("/list/9/n", "/list/-"):
        caller.refused("not_found", "state.append", path="v.json", at=at, value=1, create=True)
    assert caller.value("v.json") == {"list": [{"n": 2, "m": 1}], "text": "x", "none": None}
    caller.put("f.txt", b"x")
    caller.refused("invalid", "state.increment", path="f.txt", create=True)
    deep = "/a" * 300
    caller.refused("invalid", "state.increment", path="deep.json", at=deep, create=True)


def test_update_by_an_expression(caller):
    caller("state.set", path="v.json", value={"n": 1, "log": [1, 2, 3]})
    put = caller("state.update", path="v.json", expression="merge(@, {log: log[-2:], ok: `true`})")
    assert put["version"] == 2
    assert caller.value("v.json") == {"n": 1, "log": [2, 3], "ok": True}
    assert caller.last_event()["type"] == "state.update"
    error = caller.refused("invalid", "state.update", path="v.json", expression="nosuch")
    assert "null" in error.message
    caller.refused("invalid", "state.update", path="v.json", expression="n ==")
    caller.refused("version_conflict", "state.update", path="v.json", expression="@", if_version=1)
    caller.refused("not_found", "state.update", path="new.json", expression="@")
    caller("state.update", path="new.json", expression="{n: n}", default={"n": 5, "m": 6})
    assert caller.value("new.json") == {"n": 5}
    caller("state.update", path="new.json", expression="{n: n}", default={"n": 0})
    assert caller.value("new.json") == {"n": 5}, "what stands goes before the default"


def test_an_update_satisfies_the_schema(caller):
    schema = {"required": ["n"]}
    caller("state.set", path="v.json", value={"n": 1, "m": 2}, schema=schema)
    caller.refused("schema_violation", "state.update", path="v.json", expression="{m: m}")
    caller("state.update", path="v.json", expression="{n: m}")
    assert caller.value("v.json") == {"n": 2}


@pytest.mark.parametrize("by", [True, "1", None, float("nan"), float("inf")])
def test_increment_by_what_is_no_number(caller, by):
    caller("state.set", path="v.json", value=1)
    caller.refused("invalid", "state.increment", path="v.json", by=by)


def test_a_sum_beyond_json_numbers(caller):
    caller("state.set", path="v.json", value=1e308)
    caller.refused("invalid", "state.increment", path="v.json", by=1e308)
    caller.refused("invalid", "state.increment", path="v.json", by=10**400)


def test_init_writes_only_once(caller):
    first = caller("state.init", path="v.json", value={"a": 1})
    assert (first["created"], first["version"], first["value"]) == (True, 1, {"a": 1})
    seq = caller("workspace.show")["seq"]
    second = caller("state.init", path="v.json", value={"a": 2})
    assert (second["created"], second["version"], second["value"]) == (False, 1, {"a": 1})
    assert second["etag"] == first["etag"]
    assert caller("workspace.show")["seq"] == seq
    caller("object.delete", path="v.json")
    assert caller("state.init", path="v.json", value={"a": 3})["version"] == 3


def test_preconditions(caller):
    caller.refused("version_conflict", "state.set", path="v.json", value=0, if_version=1)
    caller("state.set", path="v.json", value=[1], if_version=0)
    error = caller.refused("version_conflict", "state.set", path="v.json", value=0, if_version=0)
    assert error.details["current_version"] == 1
    assert error.details["expected_version"] == 0
    caller("state.append", path="v.json", value=2, if_version=1)
    caller("state.patch", path="v.json", patch=5, if_version=2)
    caller("state.increment", path="v.json", if_version=3)
    for operation, params in (
        ("state.append", {"value": 1}),
        ("state.patch", {"patch": 1}),
        ("state.increment", {}),
        ("object.delete", {}),
        ("object.restore", {}),
        ("object.move", {"to": "w.json"}),
    ):
        caller.refused("version_conflict", operation, path="v.json", if_version=3, **params)
    caller("object.delete", path="v.json", if_version=4)
    caller.refused("version_conflict", "state.set", path="v.json", value=1, if_version=5)
    assert caller("state.set", path="v.json", value=1, if_version=0)["version"] == 6


def test_an_equal_value_is_still_a_version(caller):
    first = caller("state.set", path="v.json", value=1)
    second = caller("state.set", path="v.json", value=1)
    assert second["version"] == 2
    assert second["etag"] == first["etag"]


def test_read_an_old_version(caller):
    for n in range(3):
        caller("state.set", path="v.json", value=n)
    caller("object.delete", path="v.json")
    assert [caller.value("v.json", version=n) for n in (1, 2, 3)] == [0, 1, 2]
    for version in (None, 4, 5, 0):
        caller.refused("not_found", "state.get", path="v.json", version=version)


def test_a_file_is_not_a_state_object(caller):
    caller.put("notes.md", b"# hi")
    for operation, params in (
        ("state.get", {}),
        ("state.set", {"value": 1}),
        ("state.init", {"value": 1}),
        ("state.patch", {"patch": {}}),
        ("state.append", {"value": 1}),
        ("state.increment", {}),
    ):
        caller.refused("invalid", operation, path="notes.md", **params)


SCHEMA = {
    "type": "object",
    "properties": {"n": {"type": "integer", "maximum": 5}, "log": {"type": "array"}},
    "required": ["n"],
}


def test_a_schema_holds_for_every_write(caller):
    assert caller("state.set", path="v.json", value={"n": 1, "log": []}, schema=SCHEMA)["schema"]
    assert caller("state.schema", path="v.json")["value"] == SCHEMA
    for operation, params, pointer in (
        ("state.set", {"value": {"n": "x"}}, "/n"),
        ("state.set", {"value": []}, ""),
        ("state.set", {"value": "x", "at": "/n"}, "/n"),
        ("state.patch", {"patch": {"n": 6}}, "/n"),
        ("state.patch", {"patch": {"n": None}}, ""),
        ("state.increment", {"at": "/n", "by": 0.5}, "/n"),
        (
            "state.patch",
            {"patch": [{"op": "remove", "path": "/n"}], "format": "json-patch"},
            "",
        ),
    ):
        error = caller.refused("schema_violation", operation, path="v.json", **params)
        assert error.details["pointer"] == pointer
    caller("state.patch", path="v.json", patch={"n": 5})
    assert caller("object.info", path="v.json")["schema"]


def test_a_schema_outlives_a_deletion(caller):
    caller("state.set", path="v.json", value={"n": 1}, schema=SCHEMA)
    caller("object.delete", path="v.json")
    caller("object.restore", path="v.json")
    assert caller("state.schema", path="v.json")["value"] == SCHEMA
    caller.refused("schema_violation", "state.set", path="v.json", value={})
    caller("object.delete", path="v.json")
    assert not caller("state.set", path="v.json", value=1)["schema"]


def test_a_schema_goes_with_a_copy_and_a_move(caller):
    caller("state.set", path="v.json", value={"n": 1}, schema=SCHEMA)
    caller("object.copy", path="v.json", to="c.json")
    caller("object.move", path="v.json", to="m.json")
    for path in ("c.json", "m.json"):
        caller.refused("schema_violation", "state.set", path=path, value={})


def test_what_comes_onto_a_path_has_to_fit_its_schema(caller):
    caller("state.set", path="v.json", value=["old"])
    caller("state.set", path="v.json", value={"n": 1}, schema=SCHEMA)
    caller("state.set", path="w.json", value="other")
    caller.refused("schema_violation", "object.restore", path="v.json", version=1)
    for operation in ("object.copy", "object.move"):
        caller.refused("schema_violation", operation, path="w.json", to="v.json", overwrite=True)


@pytest.mark.parametrize(
    "schema",
    [
        5,
        {"type": "nope"},
        {"$ref": "http://example.invalid/schema.json"},
        {"$ref": "file:///etc/passwd"},
        {"$ref": "#/nowhere"},
        {"$schema": "http://example.invalid/meta"},
        {"pattern": "("},
    ],
)
def test_what_is_not_a_schema(caller, schema):
    caller.refused("invalid", "state.set", path="v.json", value="x", schema=schema)
    caller.refused("invalid", "state.init", path="v.json", value="x", schema=schema)


def test_a_schema_has_a_limit(caller):
    schema = {"description": "x" * 300_000}
    caller.refused("too_large", "state.set", path="v.json", value=1, schema=schema)


def test_no_schema(caller):
    caller("state.set", path="v.json", value=1)
    assert caller("state.schema", path="v.json")["value"] is None


def test_transact_applies_in_order(caller):
    caller("state.set", path="a.json", value={"n": 5, "log": []})
    done = caller(
        "state.transact",
        changes=[
            {"op": "increment", "path": "a.json", "at": "/n", "by": -2},
            {"op": "init", "path": "b.json", "value": {"n": 0}},
            {"op": "increment", "path": "b.json", "at": "/n", "by": 2},
            {"op": "append", "path": "a.json", "at": "/log", "value": "paid", "if_version": 2},
            {"op": "patch", "path": "b.json", "patch": {"from": "a"}},
            {"op": "set", "path": "c.json", "value": 1, "if_version": 0},
            {"op": "delete", "path": "c.json"},
        ],
    )
    assert caller.value("a.json") == {"n": 3, "log": ["paid"]}
    assert caller.value("b.json") == {"n": 2, "from": "a"}
    caller.refused("not_found", "state.get", path="c.json")
    assert [(o["path"], o["version"]) for o in done["items"]] == [("a.json", 2), ("b.json", 1)]
    assert done["seq"] == caller("workspace.show")["seq"] == 3


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"op": "set", "path": "b.json", "value": 1, "if_version": 7}, "version_conflict"),
        ({"op": "set", "path": "../b.json", "value": 1}, "invalid"),
        ({"op": "set", "path": "b.json"}, "invalid"),
        ({"op": "set", "path": "b.json", "value": 1, "wat": 1}, "invalid"),
        ({"op": "set", "path": "b.json", "value": "\ud800"}, "invalid"),
        ({"op": "wat", "path": "b.json"}, "invalid"),
        ({"op": ["set"], "path": "b.json"}, "invalid"),
        ({"path": "b.json", "value": 1}, "invalid"),
        ({"op": "delete", "path": "b.json"}, "not_found"),
        ({"op": "append", "path": "a.json", "value": 1}, "invalid"),
        ({"op": "set", "path": "locked.json", "value": 1}, "locked"),
        ({"op": "set", "path": "b.json", "value": 1, "lock_token": "stale"}, "lock_lost"),
        (
            {"op": "set", "path": "b.json", "value": 1, "schema": {"type": "null"}},
            "schema_violation",
        ),
    ],
)
def test_transact_is_all_or_nothing(caller, change, code):
    caller("state.set", path="a.json", value=1)
    caller("lock.acquire", path="locked.json")
    changes = [{"op": "increment", "path": "a.json"}, change]
    for key in (None, "key"):
        caller.refused(code, "state.transact", changes=changes, key=key)
    assert caller.value("a.json") == 1


def test_transact_says_which_change_failed(caller):
    caller("state.set", path="a.json", value=1)
    changes = [{"op": "increment", "path": "a.json"}, {"op": "delete", "path": "b.json"}]
    error = caller.refused("not_found", "state.transact", changes=changes)
    assert error.details["change"] == 1
    assert "b.json" in error.message


@pytest.mark.parametrize("changes", [[], {}, [1], "x", [{"op": "set"}] * 1001])
def test_what_are_not_changes(caller, changes):
    caller.refused("invalid", "state.transact", changes=changes)


def test_wait_returns_at_once_when_true(caller):
    caller("state.set", path="v.json", value={"status": "approved"})
    got = caller("state.wait", path="v.json", expression="status == 'approved'", timeout_s=0)
    assert got["value"] == {"status": "approved"}


def test_wait_sees_the_change_that_makes_it_true(caller, open_caller):
    waiting = Background(
        lambda: open_caller()("state.wait", path="v.json", expression="n > `2`", timeout_s=30)
    )
    for n in range(4):
        caller("state.set", path="v.json", value={"n": n})
    assert waiting.result()["value"] == {"n": 3}


def test_wait_ends_in_time(caller):
    caller("state.set", path="v.json", value={})
    for timeout_s in (0, 0.05):
        error = caller.refused(
            "timeout", "state.wait", path="v.json", expression="status", timeout_s=timeout_s
        )
        assert error.kind.exit == 7
    caller.refused("invalid", "state.wait", path="v.json", expression="[", timeout_s=0)
    caller.refused("invalid", "state.wait", path="none.json", expression="[", timeout_s=30)


def test_another_process_sees_a_write_at_once(caller, open_caller):
    other = open_caller()
    caller("state.set", path="v.json", value=1)
    assert other.value("v.json") == 1
    other("state.set", path="v.json", value=2)
    assert caller.value("v.json") == 2
    assert until(lambda: caller.value("v.json") == 2)
