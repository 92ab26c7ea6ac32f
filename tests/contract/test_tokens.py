"""Access tokens, as the owner of a store sees them."""

from __future__ import annotations

from fastio_cli.identity import digest_of


def test_who_one_is(caller):
    who = caller("access.whoami")
    assert (who["org"], who["member"], who["role"]) == ("default", "ada", "owner")
    assert caller("org.show")["name"] == "default"


def test_a_token_is_made_listed_and_revoked(caller):
    made = caller("token.create", member="bob", role="editor", label="for tests", ttl_s=3600)
    assert len(digest_of(made["token"])) == 64
    assert made["expires_at"] is not None
    listed = {t["id"]: t for t in caller("token.list", limit=1000)["items"]}
    assert "token" not in listed[made["id"]]
    assert listed[made["id"]]["revoked_at"] is None
    assert caller("token.revoke", id=made["id"])["revoked_at"] is not None
    caller.refused("not_found", "token.revoke", id="tok_none")
    roles = {(m["name"], m["workspace"]): m["role"] for m in caller("member.list")["items"]}
    assert roles[("bob", None)] == "editor"


def test_the_same_key_makes_no_second_token(caller):
    first = caller("token.create", member="bob", role="viewer", key="k")
    error = caller.refused("already_exists", "token.create", member="bob", role="viewer", key="k")
    assert error.details["id"] == first["id"]
    assert [t["id"] for t in caller("token.list")["items"]].count(first["id"]) == 1
