"""Objects of either kind: versions, history, listing, moving, copying, deleting, restoring."""

from __future__ import annotations

import unicodedata

import pytest

OVER = {"overwrite": True}


def history(caller, path, **params):
    return [
        (v["version"], v["change"], v["deleted"])
        for v in caller("object.history", path=path, **params)["items"]
    ]


def test_info_keeps_the_time_of_creation(timed, clock):
    first = timed("state.set", path="v.json", value=1)
    assert first["created_at"] == first["updated_at"]
    clock.advance(60)
    second = timed("state.set", path="v.json", value=2, actor="bob")
    assert timed("object.info", path="v.json") == second
    assert second["created_at"] == first["created_at"]
    assert second["updated_at"] > first["updated_at"]
    assert second["author"] == "bob"


def test_versions_never_repeat(caller):
    for n in (1, 2):
        assert caller("state.set", path="v.json", value=n)["version"] == n
    assert caller("object.delete", path="v.json")["version"] == 3
    assert caller("state.set", path="v.json", value=4)["version"] == 4
    assert caller("object.move", path="v.json", to="w.json")["version"] == 1
    assert caller.put("v.json", b"a file now")["version"] == 6
    assert caller("object.delete", path="v.json")["version"] == 7
    assert caller("object.restore", path="v.json")["version"] == 8
    assert caller("object.copy", path="w.json", to="v.json", overwrite=True)["version"] == 9
    assert history(caller, "v.json") == [
        (9, "copy", False),
        (8, "restore", False),
        (7, "delete", True),
        (6, "put", False),
        (5, "delete", True),
        (4, "set", False),
        (3, "delete", True),
        (2, "set", False),
        (1, "set", False),
    ]


def test_a_deleted_object_is_gone_but_kept(caller):
    caller("state.set", path="v.json", value={"a": 1})
    deleted = caller("object.delete", path="v.json")
    assert deleted["deleted"]
    assert deleted["size_bytes"] == 0
    for operation in ("object.info", "state.get", "file.get", "state.schema"):
        error = caller.refused("not_found", operation, path="v.json")
        assert error.details["deleted"] is True
    caller.refused("not_found", "object.delete", path="v.json")
    assert caller.value("v.json", version=1) == {"a": 1}
    caller.refused("not_found", "file.get", path="v.json", version=2)
    assert caller("object.list")["items"] == []


def test_restore(caller):
    caller("state.set", path="v.json", value="one")
    caller("state.set", path="v.json", value="two")
    assert caller("object.restore", path="v.json")["version"] == 3
    assert caller.value("v.json") == "one"
    caller("object.restore", path="v.json", version=2)
    assert caller.value("v.json") == "two"
    caller("object.delete", path="v.json")
    restored = caller("object.restore", path="v.json")
    assert restored["version"] == 6
    assert caller.value("v.json") == "two"
    assert caller.last_event()["data"]["from_version"] == 4
    caller.refused("invalid", "object.restore", path="v.json", version=5)
    caller.refused("not_found", "object.restore", path="v.json", version=99)
    caller.refused("not_found", "object.restore", path="never.json")
    caller("state.set", path="new.json", value=1)
    caller.refused("not_found", "object.restore", path="new.json")


def test_move(caller):
    caller("state.set", path="a.json", value={"n": 1})
    moved = caller("object.move", path="a.json", to="b/c.json")
    assert (moved["path"], moved["version"]) == ("b/c.json", 1)
    assert caller.value("b/c.json") == {"n": 1}
    caller.refused("not_found", "state.get", path="a.json")
    types = [(e["type"], e["path"], e["data"]) for e in caller.events()[1:]]
    assert [t[:2] for t in types] == [("state.delete", "a.json"), ("state.move", "b/c.json")]
    assert types[0][2]["moved_to"] == "b/c.json"
    assert types[1][2]["moved_from"] == "a.json"


@pytest.fixture
def lab(caller):
    """Two workspaces, each with an object of the same name."""
    caller("workspace.create", name="lab")
    caller("state.set", path="a.json", value="here")
    caller("state.set", path="a.json", value="lab", workspace="lab")
    return caller


def test_move_to_another_workspace(lab):
    moved = lab("object.move", path="a.json", to="b.json", to_workspace="lab")
    assert (moved["path"], moved["version"]) == ("b.json", 1)
    assert lab.value("b.json", workspace="lab") == "here"
    assert lab.value("a.json", workspace="lab") == "lab"
    lab.refused("not_found", "state.get", path="a.json")
    deleted, created = lab.last_event(), lab.last_event("lab")
    assert (deleted["type"], created["type"]) == ("state.delete", "state.move")
    assert deleted["data"]["moved_to"] == "b.json"
    assert deleted["data"]["workspace"] == "lab"
    assert created["data"]["moved_from"] == "a.json"
    assert created["data"]["workspace"] == "default"
    counts = [lab("workspace.usage", workspace=w)["object_count"] for w in ("default", "lab")]
    assert counts == [0, 2]
    for workspace in ("default", "lab"):
        assert lab("audit.verify", workspace=workspace)["verified"]


def test_copy_from_and_to_another_workspace(lab):
    lab("object.copy", path="a.json", to="a.json", workspace="lab", to_workspace="default", **OVER)
    assert lab.value("a.json") == "lab"
    assert lab.value("a.json", version=1) == "here"
    lab("object.copy", path="a.json", to="c.json", to_workspace="default")
    assert lab.value("c.json") == "lab"
    assert "workspace" not in lab.last_event()["data"]


def test_to_another_workspace_keeps_its_rules(lab):
    for operation in ("object.move", "object.copy"):
        where = {"path": "a.json", "to_workspace": "lab"}
        error = lab.refused("already_exists", operation, to="a.json", **where)
        assert error.details["current_version"] == 1
        lab.refused("not_found", operation, path="a.json", to="b.json", to_workspace="none")
        lab.refused("not_found", operation, path="none.json", to="b.json", to_workspace="lab")
        lab.refused("invalid", operation, path="a.json", to="b.json", to_workspace="../lab")
        lock = lab("lock.acquire", path="b.json", workspace="lab")
        lab.refused("locked", operation, to="b.json", **where)
        lab.refused("lock_lost", operation, to="b.json", to_lock_token="lk_no", **where)
        assert lab(operation, to="b.json", to_lock_token=lock["token"], **where)
        lab("object.delete", path="b.json", lock_token=lock["token"], workspace="lab")
        lab("state.set", path="a.json", value="here")
        lab("lock.release", path="b.json", lock_token=lock["token"], workspace="lab")
    lab("lock.acquire", path="a.json")
    lab.refused("locked", "object.move", path="a.json", to="b.json", to_workspace="lab")
    assert lab("object.copy", path="a.json", to="b.json", to_workspace="lab")["version"] == 5


def test_a_repeated_move_to_another_workspace_happens_once(lab):
    params = {"path": "a.json", "to": "b.json", "to_workspace": "lab", "key": "k"}
    first = lab("object.move", **params)
    seqs = [lab.snapshot(w)["seq"] for w in ("default", "lab")]
    assert lab("object.move", **params) == first
    assert [lab.snapshot(w)["seq"] for w in ("default", "lab")] == seqs
    lab.refused("invalid", "object.move", **{**params, "to": "c.json"})


@pytest.mark.parametrize("operation", ["object.move", "object.copy"])
def test_an_appended_file_in_another_workspace_is_of_its_own(lab, operation):
    for part in (b"one\n", b"two\n" * 30_000, b"three\n"):
        lab.append("log.txt", part)
    whole = lab.read("log.txt")
    lab(operation, path="log.txt", to="log.txt", to_workspace="lab")
    assert lab.read("log.txt", workspace="lab") == whole
    lab.append("log.txt", b"lab\n", workspace="lab")
    lab.append("log.txt", b"here\n")
    assert lab.read("log.txt", workspace="lab") == whole + b"lab\n"
    assert lab.read("log.txt", version=3) == whole


def test_another_workspace_that_is_full_takes_nothing(open_caller):
    caller = open_caller(storage_bytes_max=1000)
    caller("workspace.create", name="lab")
    caller.put("a.txt", b"a" * 600)
    caller.put("b.txt", b"b" * 600, workspace="lab")
    caller.refused("quota_exceeded", "object.move", path="a.txt", to="a.txt", to_workspace="lab")


def test_a_path_with_a_workspace_is_refused_where_the_call_names_one(caller):
    caller("state.set", path="a.json", value=1)
    for params in ({"path": "fio://lab/a.json"}, {"path": "a.json", "to": "fio://lab/a.json"}):
        operation = "object.copy" if "to" in params else "object.info"
        assert "fio://lab/a.json" in caller.refused("invalid", operation, **params).message
    caller.refused("invalid", "object.list", prefix="fio://lab/")
    caller.refused("invalid", "event.list", path="fio://lab/*")


def test_copy_shares_nothing_afterwards(caller):
    caller("state.set", path="a.json", value=[1])
    caller("object.copy", path="a.json", to="b.json")
    caller("state.append", path="b.json", value=2)
    assert caller.value("a.json") == [1]
    assert caller.value("b.json") == [1, 2]
    assert caller("workspace.show")["object_count"] == 2


@pytest.mark.parametrize("operation", ["object.move", "object.copy"])
def test_onto_what_is_there(caller, operation):
    caller("state.set", path="a.json", value="a")
    caller("state.set", path="b.json", value="b")
    error = caller.refused("already_exists", operation, path="a.json", to="b.json")
    assert error.details["current_version"] == 1
    caller.refused("invalid", operation, path="a.json", to="a.json", overwrite=True)
    caller.refused("not_found", operation, path="none.json", to="c.json")
    caller.refused("invalid", operation, path="a.json", to="../c.json")
    assert caller(operation, path="a.json", to="b.json", overwrite=True)["version"] == 2
    assert caller.value("b.json") == "a"
    assert caller.value("b.json", version=1) == "b"


def test_history_is_paged_newest_first(caller):
    for n in range(7):
        caller("state.set", path="v.json", value=n)
    seen, cursor = [], ""
    while cursor is not None:
        page = caller("object.history", path="v.json", limit=3, cursor=cursor)
        seen += [v["version"] for v in page["items"]]
        cursor = page["next_cursor"]
    assert seen == [7, 6, 5, 4, 3, 2, 1]
    for cursor in ("x", "-1", "9" * 400, "٣"):
        caller.refused("invalid", "object.history", path="v.json", cursor=cursor)
    caller.refused("not_found", "object.history", path="none.json")


def test_history_keeps_at_least_the_limit(open_caller):
    caller = open_caller(versions_max=10)
    for n in range(1, 60):
        caller("state.set", path="v.json", value=n)
        kept = [v["version"] for v in caller("object.history", path="v.json", limit=100)["items"]]
        assert kept[0] == n
        assert len(kept) >= min(n, 10)
        assert len(kept) <= 10 + 16
        assert kept == list(range(n, n - len(kept), -1))
    assert caller.value("v.json", version=kept[-1]) == kept[-1]
    caller.refused("not_found", "state.get", path="v.json", version=1)
    assert caller("workspace.show")["size_bytes"] == sum(len(str(n)) for n in kept)


def test_diff_of_state(caller):
    caller("state.set", path="v.json", value={"n": 1, "log": []})
    caller("state.set", path="v.json", value={"n": 2, "log": ["x"]})
    diff = caller("object.diff", path="v.json")
    assert (diff["from_version"], diff["to_version"]) == (1, 2)
    caller("state.set", path="copy.json", value={"n": 1, "log": []})
    caller("state.patch", path="copy.json", patch=diff["json_patch"], format="json-patch")
    assert caller.value("copy.json") == {"n": 2, "log": ["x"]}
    assert '-  "n": 1,' in diff["text"]
    assert '+  "n": 2,' in diff["text"]
    back = caller("object.diff", path="v.json", from_version=2, to_version=1)
    assert '+  "n": 1,' in back["text"]


def test_diff_with_nothing(caller):
    caller("state.set", path="v.json", value=1)
    assert caller("object.diff", path="v.json")["text"].splitlines()[2:] == ["@@ -0,0 +1 @@", "+1"]
    caller("object.delete", path="v.json")
    gone = caller("object.diff", path="v.json")
    assert gone["json_patch"] is None
    assert gone["text"].endswith("-1")
    for params in ({"from_version": 9}, {"to_version": 9}):
        caller.refused("not_found", "object.diff", path="v.json", **params)
    caller.refused("not_found", "object.diff", path="none.json")


def test_diff_of_files(caller):
    caller.put("a.txt", b"one\ntwo\n")
    caller.append("a.txt", b"three\n")
    assert "+three" in caller("object.diff", path="a.txt")["text"]
    caller.put("a.txt", b"\xff\xfe")
    caller.refused("invalid", "object.diff", path="a.txt")
    caller.put("b.txt", b"x" * (1024 * 1024 + 1))
    caller.refused("too_large", "object.diff", path="b.txt")


def test_list_by_prefix_kind_and_page(caller):
    paths = ["a.json", "b/1.json", "b/2.json", "b/3.json", "c/é.json", "d.json"]
    for path in reversed(paths):
        caller("state.set", path=path, value=1)
    caller.put("b/file.txt", b"x")

    def listed(**params):
        seen, cursor = [], ""
        while cursor is not None:
            page = caller("object.list", limit=2, cursor=cursor, **params)
            assert len(page["items"]) <= 2
            seen += [o["path"] for o in page["items"]]
            cursor = page["next_cursor"]
        return seen

    assert listed() == sorted([*paths, "b/file.txt"])
    assert listed(kind="state") == paths
    assert listed(kind="file") == ["b/file.txt"]
    assert listed(prefix="b/") == ["b/1.json", "b/2.json", "b/3.json", "b/file.txt"]
    assert listed(prefix=unicodedata.normalize("NFD", "c/é")) == ["c/é.json"]
    assert listed(prefix="nope") == []
    caller.refused("invalid", "object.list", kind="folder")


def test_a_page_is_whole_while_objects_come_and_go(caller):
    for n in range(6):
        caller("state.set", path=f"{n}.json", value=n)
    first = caller("object.list", limit=3)
    caller("object.delete", path="2.json")
    caller("state.set", path="0a.json", value=1)
    second = caller("object.list", limit=3, cursor=first["next_cursor"])
    assert [o["path"] for o in second["items"]] == ["3.json", "4.json", "5.json"]


@pytest.mark.parametrize("limit", [0, 1001, -1, True, "5", 1.5, None])
def test_the_limit_of_a_page(caller, limit):
    caller.refused("invalid", "object.list", limit=limit)


def test_a_path_is_the_same_in_every_normal_form(caller):
    composed = "café/ñ.json"
    caller("state.set", path=unicodedata.normalize("NFD", composed), value=1)
    assert caller("object.info", path=composed)["path"] == composed
    assert caller.value(unicodedata.normalize("NFD", composed)) == 1
    held = caller("lock.acquire", path=unicodedata.normalize("NFD", composed))
    caller.refused("locked", "state.set", path=composed, value=2)
    caller("state.set", path=composed, value=2, lock_token=held["token"])
    assert caller("workspace.show")["object_count"] == 1


def test_paths_differ_by_case_and_kind_of_letter(caller):
    for path in ("a", "A", "а", "a ", " a", "%2e%2e", "a\\b", "~", "*", "😀"):
        caller("state.set", path=path, value=path)
    for item in caller("object.list")["items"]:
        assert caller.value(item["path"]) == item["path"]
    assert caller("workspace.show")["object_count"] == 10


PATHS = ["a*b", "app/[id]/page", "app/d/page", "app/i/page", "axb", "b.json", "c/d.json", "dir\\f"]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.json", ["b.json", "c/d.json"]),
        ("app/[id]/*", ["app/[id]/page"]),
        ("app/?/page", ["app/d/page", "app/i/page"]),
        ("a*b", ["a*b", "axb"]),
        ("a\\*b", ["a*b"]),
        ("dir\\f", ["dir\\f"]),
        ("b.json", ["b.json"]),
        ("B*", []),
        ("*", PATHS),
    ],
)
def test_lists_of_what_a_pattern_matches(caller, pattern, expected):
    changes = [{"op": "set", "path": path, "value": 1} for path in PATHS]
    caller("state.transact", changes=changes)
    assert [item["path"] for item in caller("object.list", path=pattern)["items"]] == expected
    seen, cursor = [], ""
    while cursor is not None:
        page = caller("object.list", path=pattern, limit=1, cursor=cursor)
        seen += [item["path"] for item in page["items"]]
        cursor = page["next_cursor"]
    assert seen == expected
    for path in PATHS:
        caller("lock.acquire", path=path)
    assert [item["path"] for item in caller("lock.list", path=pattern)["items"]] == expected
    both = caller("object.list", path=pattern, prefix="app/")["items"]
    assert [item["path"] for item in both] == [p for p in expected if p.startswith("app/")]
