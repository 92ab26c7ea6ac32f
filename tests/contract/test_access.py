"""Orgs, members, tokens and transfers, as the owner of a store sees them."""

from __future__ import annotations

import pytest

from fastio_cli.identity import digest_of


def members(caller):
    items = caller("member.list", limit=1000)["items"]
    return {(m["name"], m["workspace"]): m["role"] for m in items if m["name"] != "ada"}


def test_who_one_is(caller):
    who = caller("access.whoami")
    assert (who["org"], who["member"], who["role"]) == ("default", "ada", "owner")
    assert caller("org.show")["name"] == "default"


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


def test_a_token_is_made_listed_and_revoked(caller):
    made = caller("token.create", member="bob", role="editor", label="for tests", ttl_s=3600)
    assert len(digest_of(made["token"])) == 64
    assert made["expires_at"] is not None
    listed = {t["id"]: t for t in caller("token.list", limit=1000)["items"]}
    assert "token" not in listed[made["id"]]
    assert listed[made["id"]]["revoked_at"] is None
    assert caller("token.revoke", id=made["id"])["revoked_at"] is not None
    caller.refused("not_found", "token.revoke", id="tok_none")
    assert members(caller)[("bob", None)] == "editor"


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


def test_a_transfer_is_claimed_once(caller):
    offer = caller("transfer.create")
    assert [t["state"] for t in caller("transfer.list")["items"]] == ["open"]
    claimed = caller("transfer.claim", claim=offer["claim"], name="hanna")
    assert (claimed["member"], claimed["role"]) == ("hanna", "owner")
    assert [t["state"] for t in caller("transfer.list")["items"]] == ["claimed"]
    assert caller("org.show")["owners"] == ["hanna"]
    for claim in (offer["claim"], "claim_none"):
        with pytest.raises(Exception, match="worth") as caught:
            caller("transfer.claim", claim=claim, name="eve")
        assert caught.value.code == "not_found"


def test_nobody_claims_an_org_as_somebody_with_a_role_in_a_workspace(caller):
    caller("member.set", name="bob", role="viewer", in_workspace="default")
    offer = caller("transfer.create")
    caller.refused("already_exists", "transfer.claim", claim=offer["claim"], name="bob")


def test_a_transfer_ends_by_itself(timed, clock):
    offer = timed("transfer.create", ttl_s=60)
    clock.advance(60)
    assert timed("transfer.list")["items"][0]["state"] == "expired"
    timed.refused("not_found", "transfer.claim", claim=offer["claim"], name="eve")
    timed.refused("not_found", "transfer.revoke", id=offer["id"])


def test_usage(caller):
    caller("state.set", path="v.json", value=1)
    caller("state.set", path="v.json", value=2)
    caller.put("f", b"bytes")
    usage = caller("workspace.usage")
    counts = [usage[k] for k in ("object_count", "state_count", "file_count", "event_count")]
    assert counts == [2, 1, 1, 3]
    assert (usage["live_bytes"], usage["size_bytes"]) == (6, 7)
    caller("workspace.create", name="team")
    caller("state.set", path="v.json", value=1, workspace="team")
    org = caller("org.usage")
    assert (org["workspace_count"], org["object_count"], org["size_bytes"]) == (2, 3, 8)


def test_the_same_key_gives_the_same_token(caller):
    first = caller("token.create", member="bob", role="viewer", key="k")
    assert caller("token.create", member="bob", role="viewer", key="k") == first


GRANT = {"access_token": "at-secret", "client_id": "client", "client_secret": "cs-secret"}


def services(caller, **who):
    return {a["service"] for a in caller("account.list", **who)["items"] if a["logged_in"]}


def test_a_login_is_kept_and_never_told(caller):
    kept = caller("account.keep", service="box", refresh_token="rt-secret", **GRANT)
    assert kept == {"service": "box", "logged_in": True, "expires_at": None, "kept_in": "server"}
    listed = caller("account.list")["items"]
    assert [a["service"] for a in listed] == ["google", "onedrive", "dropbox", "box"]
    assert services(caller) == {"box"}
    assert [e["type"] for e in caller.events()] == ["account.keep"]
    assert "secret" not in str([kept, listed, caller.events()])


def test_a_login_that_cannot_be_refreshed_has_an_end(timed, clock):
    kept = timed("account.keep", service="google", expires_in_s=60, **GRANT)
    assert kept["expires_at"] is not None
    assert timed("account.list")["items"][0]["expires_at"] == kept["expires_at"]


def test_a_login_is_its_members_alone(caller):
    caller("account.keep", service="box", **GRANT)
    assert services(caller, actor="bob") == set()
    caller.refused("not_found", "account.remove", service="box", actor="bob")
    assert caller("account.remove", service="box")["logged_in"] is False
    assert services(caller) == set()
    caller.refused("not_found", "account.remove", service="box")
    caller("account.keep", service="box", **GRANT)
    assert services(caller) == {"box"}


def test_logins_end_with_their_members_last_role(caller):
    caller("workspace.create", name="team")
    caller("member.set", name="bob", role="viewer")
    caller("account.keep", service="box", actor="bob", **GRANT)
    caller("member.set", name="bob", role="viewer")
    caller("member.set", name="bob", role="editor", in_workspace="team")
    caller("member.remove", name="bob")
    assert caller.backend.tamper("update accounts set held_until = 0 where ended_at is null") == 1
    caller("member.remove", name="bob", in_workspace="team")
    assert caller.backend.tamper("update accounts set held_until = 0 where ended_at is null") == 0


def test_logins_are_sealed_in_the_store(caller):
    caller("account.keep", service="box", refresh_token="rt-secret", key="k", **GRANT)
    for table, column in (("accounts", "sealed"), ("requests", "result"), ("events", "data")):
        sql = f"update {table} set {column} = {column} where {column} like :text"
        assert caller.backend.tamper(sql, text="%secret%") == 0
    assert caller.backend.tamper("update accounts set sealed = sealed where member = 'ada'") == 1


@pytest.mark.parametrize(
    "params",
    [
        {"service": "icloud", **GRANT},
        {"service": "box", "access_token": "at"},
        {"service": "box", **GRANT, "access_token": ""},
        {"service": "box", **GRANT, "access_token": "at\nX: y"},
        {"service": "box", **GRANT, "refresh_token": 7},
        {"service": "box", **GRANT, "refresh_token": "x" * 16_385},
        {"service": "box", **GRANT, "expires_in_s": -1},
    ],
)
def test_what_is_no_login(caller, params):
    error = caller.refused("invalid", "account.keep", **params)
    assert "at\n" not in error.message
