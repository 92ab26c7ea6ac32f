"""Orgs: their log, their workspaces, what they use."""

from __future__ import annotations


def test_what_happens_to_an_org_is_in_the_log_of_its_default_workspace(caller):
    caller("member.set", name="bob", role="viewer")
    token = caller("token.create", member="bob")
    caller("token.revoke", id=token["id"])
    offer = caller("transfer.create")
    caller("transfer.revoke", id=offer["id"])
    caller("member.remove", name="bob")
    events = caller.events()
    assert [event["type"] for event in events] == [
        "member.set",
        "token.create",
        "token.revoke",
        "transfer.create",
        "transfer.revoke",
        "member.remove",
    ]
    assert token["token"] not in str(events)
    assert offer["claim"] not in str(events)
    assert caller("audit.verify")["verified"]


def test_an_org_has_workspaces_of_its_own(caller):
    org = caller("org.create", name="acme")
    assert (org["name"], org["owners"], org["workspace_count"]) == ("acme", ["ada"], 1)
    caller.refused("already_exists", "org.create", name="acme")
    caller.refused("already_exists", "org.create", name="default")
    assert [w["name"] for w in caller("workspace.list")["items"]] == ["default"]
    assert caller.events() == []


def test_an_org_uses_what_its_workspaces_hold(caller):
    caller("state.set", path="v.json", value=1)
    caller("state.set", path="v.json", value=2)
    caller.put("f", b"bytes")
    caller("workspace.create", name="team")
    caller("state.set", path="v.json", value=1, workspace="team")
    usage = caller("org.usage")
    assert (usage["workspace_count"], usage["object_count"], usage["size_bytes"]) == (2, 3, 8)
    shown = caller("org.show")
    assert (shown["name"], shown["workspace_count"]) == ("default", 2)
