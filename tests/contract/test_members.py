"""Members and their roles, as the owner of a store sees them."""

from __future__ import annotations


def members(caller):
    items = caller("member.list", limit=1000)["items"]
    return {(m["name"], m["workspace"]): m["role"] for m in items if m["name"] != "ada"}


def test_members_have_roles_in_the_org_or_in_a_workspace(caller):
    caller("workspace.create", name="team")
    made = caller("member.set", name="bob", role="viewer")
    assert (made["name"], made["role"], made["workspace"]) == ("bob", "viewer", None)
    caller("member.set", name="bob", role="editor", in_workspace="team")
    caller("member.set", name="bob", role="admin")
    assert members(caller) == {("bob", None): "admin", ("bob", "team"): "editor"}
    caller("member.remove", name="bob", in_workspace="team")
    assert members(caller) == {("bob", None): "admin"}
    caller.refused("not_found", "member.remove", name="bob", in_workspace="team")
    caller.refused("not_found", "member.set", name="x", role="viewer", in_workspace="absent")
    caller.refused("invalid", "member.set", name="x", role="king")


def test_members_come_in_pages(caller):
    for n in range(7):
        caller("member.set", name=f"m{n}", role="viewer")
    seen, cursor = [], ""
    while cursor is not None:
        page = caller("member.list", limit=2, cursor=cursor)
        seen += [m["name"] for m in page["items"] if m["name"] != "ada"]
        cursor = page["next_cursor"]
    assert seen == [f"m{n}" for n in range(7)]
    caller.refused("invalid", "member.list", cursor="a/b")
