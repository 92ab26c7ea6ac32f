"""Members' logins at file services."""

from __future__ import annotations

import pytest

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
