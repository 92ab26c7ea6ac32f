"""Workspaces: separate sets of objects, each with its own order and log."""

from __future__ import annotations

import pytest


def test_the_default_workspace_is_there_from_the_start(caller):
    shown = caller("workspace.show")
    assert shown["name"] == "default"
    assert (shown["seq"], shown["object_count"], shown["size_bytes"]) == (0, 0, 0)
    assert shown["deleted_at"] is None


def test_create_is_an_event_of_the_new_workspace(caller):
    made = caller("workspace.create", name="team")
    assert made["seq"] == 1
    assert caller("workspace.show", workspace="team") == made
    assert [e["type"] for e in caller.events("team")] == ["workspace.create"]
    assert caller("audit.verify", workspace="team")["verified"]


def test_workspaces_share_nothing(caller):
    caller("workspace.create", name="team")
    caller("state.set", path="a.json", value=1)
    caller("state.set", path="a.json", value=2, workspace="team")
    assert caller.value("a.json") == 1
    assert caller.value("a.json", workspace="team") == 2
    held = caller("lock.acquire", path="a.json")
    caller("state.set", path="a.json", value=3, workspace="team")
    token = held["token"]  # which says nothing about a path of another workspace
    caller("state.set", path="a.json", value=4, workspace="team", lock_token=token)
    caller("lock.acquire", path="a.json", workspace="team", actor="eve")
    error = caller.refused(
        "locked", "state.set", path="a.json", value=5, workspace="team", lock_token=token
    )
    assert error.details["holder"] == "eve"


def test_totals_follow_the_objects(caller):
    caller("state.set", path="a.json", value="12345678")
    caller.put("b.txt", b"x" * 100)
    shown = caller("workspace.show")
    assert shown["object_count"] == 2
    assert shown["size_bytes"] == 10 + 100
    caller("object.delete", path="a.json")
    assert caller("workspace.show")["object_count"] == 1
    caller("object.restore", path="a.json")
    assert caller("workspace.show")["object_count"] == 2


def test_a_name_is_taken_once(caller):
    caller("workspace.create", name="team")
    caller.refused("already_exists", "workspace.create", name="team")
    caller("workspace.create", name="other")
    caller.refused("already_exists", "workspace.rename", name="team", workspace="other")


def test_rename_keeps_everything(caller):
    caller("workspace.create", name="old")
    caller("state.set", path="a.json", value=1, workspace="old")
    renamed = caller("workspace.rename", name="new", workspace="old")
    assert renamed["name"] == "new"
    assert caller.value("a.json", workspace="new") == 1
    assert caller.last_event("new")["data"] == {"from": "old", "to": "new"}
    caller.refused("not_found", "state.get", path="a.json", workspace="old")


def test_delete_and_restore(caller):
    caller("workspace.create", name="team")
    caller("state.set", path="a.json", value=1, workspace="team")
    deleted = caller("workspace.delete", workspace="team")
    assert deleted["deleted_at"] is not None
    for operation in ("workspace.show", "event.list", "object.list", "audit.verify"):
        caller.refused("not_found", operation, workspace="team")
    assert [w["name"] for w in caller("workspace.list")["items"]] == ["default"]
    assert [w["name"] for w in caller("workspace.list", deleted=True)["items"]] == ["team"]
    restored = caller("workspace.restore", name="team")
    assert restored["deleted_at"] is None
    assert restored["seq"] == deleted["seq"] + 1
    assert caller.value("a.json", workspace="team") == 1
    assert caller("audit.verify", workspace="team")["verified"]


def test_restore_brings_back_the_one_deleted_last(caller):
    for value in (1, 2):
        caller("workspace.create", name="team")
        caller("state.set", path="a.json", value=value, workspace="team")
        caller("workspace.delete", workspace="team")
    caller("workspace.restore", name="team")
    assert caller.value("a.json", workspace="team") == 2
    caller.refused("already_exists", "workspace.restore", name="team")


def test_restore_needs_something_deleted(caller):
    caller.refused("not_found", "workspace.restore", name="team")


def test_the_default_workspace_always_exists(caller):
    caller.refused("invalid", "workspace.delete")
    caller.refused("invalid", "workspace.rename", name="other")
    assert caller("workspace.show")["name"] == "default"


@pytest.mark.parametrize("name", ["", "-a", ".a", "a/b", "a b", "ä", "a" * 65, "a\n", "a\0", 5])
def test_names_have_a_form(caller, name):
    caller.refused("invalid", "workspace.create", name=name)


def test_list_is_paged_by_cursor(caller):
    names = [f"w{n}" for n in range(5)]
    for name in names:
        caller("workspace.create", name=name)
    seen, cursor = [], ""
    while cursor is not None:
        page = caller("workspace.list", limit=2, cursor=cursor)
        assert len(page["items"]) <= 2
        seen += [w["name"] for w in page["items"]]
        cursor = page["next_cursor"]
    assert seen == ["default", *names]


def test_a_page_boundary_hides_no_deleted_workspace(caller):
    for _ in range(3):
        caller("workspace.create", name="same")
        caller("workspace.delete", workspace="same")
    count, cursor = 0, ""
    while cursor is not None:
        page = caller("workspace.list", deleted=True, limit=1, cursor=cursor)
        count += len(page["items"])
        cursor = page["next_cursor"]
    assert count == len(caller("workspace.list", deleted=True)["items"])


def test_an_unknown_workspace_is_named_with_a_way_out(caller):
    error = caller.refused("not_found", "state.get", path="a.json", workspace="nowhere")
    assert error.details["workspace"] == "nowhere"
    assert caller.suggests(error, "workspace create", "nowhere")


def test_of_a_deleted_workspace_the_way_back_is_named(caller):
    caller("workspace.create", name="team")
    caller("workspace.delete", workspace="team")
    for operation, params in (("state.get", {}), ("state.set", {"value": 1})):
        error = caller.refused("not_found", operation, path="a.json", workspace="team", **params)
        assert caller.suggests(error, "workspace restore", "team")


def test_usage_counts_what_is_there_and_what_was(caller):
    caller("state.set", path="v.json", value=1)
    caller("state.set", path="v.json", value=2)
    caller.put("f", b"bytes")
    usage = caller("workspace.usage")
    counts = [usage[k] for k in ("object_count", "state_count", "file_count", "event_count")]
    assert counts == [2, 1, 1, 3]
    assert (usage["live_bytes"], usage["size_bytes"]) == (6, 7)


def test_intelligence_is_switched_for_one_workspace(caller):
    caller("workspace.create", name="team")
    off = caller("workspace.intelligence", enabled=False)
    assert off == {"workspace": "default", "enabled": False}
    assert caller("index.status")["enabled"] is False
    assert caller("index.status", workspace="team")["enabled"] is True
    assert caller("workspace.intelligence", enabled=True)["enabled"] is True
