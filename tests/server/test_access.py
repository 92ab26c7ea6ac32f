"""Who may do what: every operation of the catalogue, by everybody."""

from __future__ import annotations

import httpx
import pytest

from fastio_cli.errors import FastioError
from fastio_cli.identity import ROLES, digest_of, new_token
from fastio_cli.operations import every
from tests.catalogue import request_of


def send(server, operation, token, workspace="default"):
    method, path, options = request_of(operation, workspace)
    if token is not None:
        options["headers"]["authorization"] = f"Bearer {token}"
    return httpx.request(method, server.url + path, timeout=30, **options)


@pytest.mark.parametrize("operation", every(), ids=lambda op: op.name)
class TestTheWholeCatalogue:
    def test_without_a_token(self, server, operation):
        if operation.role == "anyone":
            assert send(server, operation, None).status_code == 404
            return
        response = send(server, operation, None)
        assert response.status_code == 401
        assert response.json()["code"] == "unauthenticated"
        assert response.headers["www-authenticate"].startswith("Bearer")

    def test_with_a_token_that_counts_no_longer(self, server, operation):
        expired, revoked = server.token("eve"), server.token("mallory")
        server.engine.store.write(lambda tx: _end(tx, expired, revoked))
        if operation.role != "anyone":
            for token in (expired, revoked, new_token()):
                assert send(server, operation, token).status_code == 401

    def test_with_a_viewers_token(self, server, operation):
        response = send(server, operation, server.token("vic", "viewer"))
        allowed = operation.effect == "read" or operation.role == "anyone"
        allowed = allowed and ROLES.index("viewer") >= ROLES.index(operation.role)
        assert (response.status_code != 403) == allowed

    def test_from_another_org_the_workspace_is_not_there(self, server, operation):
        if not operation.in_workspace:
            return
        server.engine.call("workspace.create", {"name": "secret"})
        server.engine.call("org.create", {"name": "acme"}, actor="bob")
        stranger = server.token("bob", org="acme")
        hidden = send(server, operation, stranger, "secret")
        absent = send(server, operation, stranger, "absent")
        assert hidden.status_code == absent.status_code == 404
        assert hidden.json()["message"].replace("secret", "absent") == absent.json()["message"]


def _end(tx, expired, revoked):
    for column, token in (("expires_at", expired), ("revoked_at", revoked)):
        tx.tokens._db.run(
            f"update tokens set {column} = 1 where digest = :digest", digest=digest_of(token)
        )


def test_a_mistyped_token_is_told_from_a_wrong_one():
    token = new_token()
    with pytest.raises(FastioError, match="mistyped"):
        digest_of(token[:-1] + ("0" if token[-1] != "0" else "1"))
    assert len(digest_of(token)) == 64


def test_a_token_ends_at_once_when_it_is_revoked(remote, client):
    made = remote.call("token.create", {"member": "bob", "role": "editor"})
    bob = client(made["token"])
    bob.call("state.set", {"path": "a.json", "value": 1})
    remote.call("token.revoke", {"id": made["id"]})
    with pytest.raises(FastioError) as caught:
        bob.call("state.get", {"path": "a.json"})
    assert caught.value.code == "unauthenticated"


def test_a_role_in_one_workspace_opens_that_one_only(remote, client):
    for name in ("one", "two"):
        remote.call("workspace.create", {"name": name})
    made = remote.call("token.create", {"member": "bob", "role": "editor", "in_workspace": "one"})
    bob = client(made["token"])
    bob.call("state.set", {"path": "a.json", "value": 1}, workspace="one")
    assert [w["name"] for w in bob.call("workspace.list")["items"]] == ["one"]
    for name in ("two", "three"):
        with pytest.raises(FastioError) as caught:
            bob.call("state.set", {"path": "a.json", "value": 1}, workspace=name)
        assert caught.value.code == "not_found"


def test_a_copy_needs_the_right_to_write_where_it_goes(remote, client):
    for name in ("read", "write", "hidden"):
        remote.call("workspace.create", {"name": name})
        for path in ("a.json", "m.json"):
            remote.call("state.set", {"path": path, "value": name}, workspace=name)
    bob = client(remote.call("token.create", {"member": "bob", "role": "editor"})["token"])
    for name, role in (("read", "viewer"), ("write", "editor")):
        remote.call("member.set", {"name": "bob", "role": role, "in_workspace": name})
    remote.call("member.remove", {"name": "bob"})  # has those roles only

    def refusal(operation, workspace, to_workspace):
        params = {"path": "a.json", "to": "new.json", "to_workspace": to_workspace}
        with pytest.raises(FastioError) as caught:
            bob.call(operation, params, workspace=workspace)
        return caught.value.code

    bob.call(
        "object.copy",
        {"path": "a.json", "to": "b.json", "to_workspace": "write"},
        workspace="read",
    )
    assert bob.call("state.get", {"path": "b.json"}, workspace="write")["value"] == "read"
    assert refusal("object.copy", "read", None) == "forbidden"
    for operation in ("object.copy", "object.move"):
        assert refusal(operation, "write", "read") == "forbidden"
        assert refusal(operation, "write", "hidden") == "not_found"
        assert refusal(operation, "hidden", "write") == "not_found"
    assert refusal("object.move", "read", "write") == "forbidden"


def test_all_workspaces_are_those_that_one_may_read(remote, client):
    for name in ("one", "two"):
        remote.call("workspace.create", {"name": name})
        remote.call("state.set", {"path": "a.json", "value": "vault"}, workspace=name)

    def found(caller):
        page = caller.call("search.query_all", {"query": "vault", "mode": "lexical"})
        return {item["workspace"] for item in page["items"]}

    member = {"member": "bob", "role": "viewer", "in_workspace": "one"}
    bob = client(remote.call("token.create", member)["token"])
    bound = client(remote.call("token.create", {"in_workspace": "two"})["token"])
    other = client(remote.call("org.create", {"name": "acme"})["token"])
    assert found(remote) == {"one", "two"}
    assert found(bob) == {"one"}
    assert found(bound) == {"two"}
    assert [w["name"] for w in bound.call("workspace.list", {"limit": 1})["items"]] == ["two"]
    assert found(other) == set()


def test_that_a_workspace_was_deleted_is_told_to_those_who_saw_it(remote, client):
    for name in ("one", "two"):
        remote.call("workspace.create", {"name": name})
    made = remote.call("token.create", {"member": "bob", "role": "viewer", "in_workspace": "one"})
    bob = client(made["token"])
    for name in ("one", "two"):
        remote.call("workspace.delete", workspace=name)
    for caller, name, hint in (
        (remote, "two", "restore two"),
        (bob, "one", "restore one"),
        (bob, "two", "create two"),
    ):
        with pytest.raises(FastioError, match="no workspace") as caught:
            caller.call("state.get", {"path": "a.json"}, workspace=name)
        assert caught.value.hint.endswith(f"fastio workspace {hint}")


def test_a_scope_narrows_a_token(remote, client):
    made = remote.call("token.create", {"scopes": ["state.*"]})
    narrow = client(made["token"])
    narrow.call("state.set", {"path": "a.json", "value": 1})
    for operation, params in (
        ("object.info", {"path": "a.json"}),
        ("token.create", {}),
        ("member.list", {}),
    ):
        with pytest.raises(FastioError) as caught:
            narrow.call(operation, params)
        assert caught.value.code == "forbidden"


def test_nobody_gives_more_than_they_have(server, remote, client):
    admin = client(server.token("adam", "admin"))
    editor = client(server.token("ed", "editor"))
    for caller, operation, params in (
        (admin, "member.set", {"name": "adam", "role": "owner"}),
        (admin, "member.set", {"name": "ada", "role": "viewer"}),
        (admin, "member.remove", {"name": "ada"}),
        (admin, "token.create", {"member": "ada"}),
        (admin, "token.create", {"member": "new", "role": "owner"}),
        (editor, "token.create", {"role": "admin"}),
        (editor, "token.create", {"member": "adam"}),
        (editor, "member.set", {"name": "ed", "role": "admin"}),
    ):
        with pytest.raises(FastioError) as caught:
            caller.call(operation, params)
        assert caught.value.code == "forbidden", (operation, params)


def test_a_token_makes_none_that_can_do_more_or_longer(remote, client):
    remote.call("token.create", {"member": "ed", "role": "editor"})
    params = {"role": "editor", "scopes": ["state.*", "token.*"], "ttl_s": 60}
    for member in ("ed", "ada"):
        weak = client(remote.call("token.create", {"member": member, **params})["token"])
        for more in ({"role": "owner"}, {"scopes": ["*"]}, {"scopes": ["state.*", "file.get"]}):
            with pytest.raises(FastioError) as caught:
                weak.call("token.create", more)
            assert caught.value.code == "forbidden"
        made = weak.call("token.create", {"ttl_s": 3600})
        assert (made["role"], made["scopes"]) == ("editor", params["scopes"])
        assert made["expires_at"] is not None
        less = {"scopes": ["state.get", "token.c*"], "role": "editor"}
        again = client(made["token"]).call("token.create", less)
        assert again["expires_at"] <= made["expires_at"]
        with pytest.raises(FastioError) as caught:
            client(again["token"]).call("state.set", {"path": "a.json", "value": 1})
        assert caught.value.code == "forbidden"
    members = remote.call("member.list")["items"]
    assert {m["workspace"] for m in members} == {None}  # the org's roles let them in already


def test_an_admin_makes_no_owner_of_a_workspace(server, remote, client):
    admin = client(server.token("adam", "admin"))
    remote.call("workspace.create", {"name": "secret"})
    remote.call("member.set", {"name": "vic", "role": "viewer"})
    params = {"member": "vic", "role": "owner", "in_workspace": "secret"}
    with pytest.raises(FastioError) as caught:
        admin.call("token.create", params)
    assert caught.value.code == "forbidden"


def test_tokens_end_with_their_members_last_role(server, remote, client):
    old = client(server.token("hugo", "owner"))
    remote.call("member.set", {"name": "hugo", "role": "viewer", "in_workspace": "default"})
    remote.call("member.remove", {"name": "hugo"})
    assert old.call("access.whoami")["member"] == "hugo"  # there is a workspace left
    remote.call("member.remove", {"name": "hugo", "in_workspace": "default"})
    offer = remote.call("transfer.create")
    claimed = client(None).call("transfer.claim", {"claim": offer["claim"], "name": "hugo"})
    assert client(claimed["token"]).call("access.whoami")["role"] == "owner"
    with pytest.raises(FastioError) as caught:
        old.call("access.whoami")
    assert caught.value.code == "unauthenticated"


def test_who_claims_an_org_keeps_it(remote, client):
    offers = [remote.call("transfer.create") for _ in range(2)]
    nobody = client(None)
    claimed = nobody.call("transfer.claim", {"claim": offers[0]["claim"], "name": "hanna"})
    with pytest.raises(FastioError) as caught:
        nobody.call("transfer.claim", {"claim": offers[1]["claim"], "name": "mallory"})
    assert caught.value.code == "not_found"
    states = [t["state"] for t in client(claimed["token"]).call("transfer.list")["items"]]
    assert sorted(states) == ["claimed", "revoked"]


def test_nobody_gets_an_answer_by_anothers_key(server):
    answers = []
    for member, key in (("a", "b:t"), ("a:b", "t")):
        headers = {
            "authorization": f"Bearer {server.token(member, 'editor')}",
            "idempotency-key": key,
        }
        with httpx.Client(base_url=server.url, headers=headers) as http:
            answers.append(http.post("/v1/tokens", json={"label": "z"}).json())
    assert [a["member"] for a in answers] == ["a", "a:b"]
    assert answers[0]["token"] != answers[1]["token"]


def test_who_may_see_a_workspace_no_longer_gets_no_answer_of_before(server, remote, client):
    bob = client(server.token("bob", "editor"))
    for name in ("w", "another"):
        remote.call("workspace.create", {"name": name})
        remote.call("member.set", {"name": "bob", "role": "editor", "in_workspace": name})
    remote.call("member.remove", {"name": "bob"})
    changes = [("state.set", {"path": "n", "value": 1}), ("lock.acquire", {"path": "m"})]
    for name, params in changes:
        done = bob.call(name, params, workspace="w", idempotency_key=name)
        assert bob.call(name, params, workspace="w", idempotency_key=name) == done
    remote.call("member.remove", {"name": "bob", "in_workspace": "w"})
    for name, params in changes:
        with pytest.raises(FastioError, match="no workspace"):
            bob.call(name, params, workspace="w", idempotency_key=name)


def test_a_full_disk_is_no_reason_to_refuse_to_read(server, token, monkeypatch):
    """That a token was used now cannot be written down then."""

    def full(*args):
        raise FastioError("unavailable", "The disk is full; nothing was changed.")

    monkeypatch.setattr(server.engine.store, "write_batch", full)
    headers = {"authorization": f"Bearer {token}"}
    assert httpx.get(f"{server.url}/v1/workspaces", headers=headers).status_code == 200


def test_the_last_owner_stays(remote):
    for operation, params in (
        ("member.remove", {"name": "ada"}),
        ("member.set", {"name": "ada", "role": "admin"}),
    ):
        with pytest.raises(FastioError, match="at least one owner"):
            remote.call(operation, params)


def test_a_token_is_shown_once_and_kept_as_its_hash(server, remote):
    made = remote.call("token.create", {"label": "mine"})
    listed = remote.call("token.list")["items"]
    assert made["token"] not in str(listed)
    row = server.engine.store.read(lambda tx: tx.tokens.by_digest(digest_of(made["token"])))
    assert made["token"] not in str(tuple(row))


def test_an_org_is_handed_over(remote, client):
    """An agent makes an org and its state; a human claims it and the agent stays admin."""
    org = remote.call("org.create", {"name": "acme"})
    agent = client(org["token"])
    agent.call("workspace.create", {"name": "site"})
    agent.call("state.set", {"path": "plan.json", "value": {"step": 1}}, workspace="site")
    offer = agent.call("transfer.create")
    assert [t["state"] for t in agent.call("transfer.list")["items"]] == ["open"]

    nobody = client(None)
    claimed = nobody.call("transfer.claim", {"claim": offer["claim"], "name": "hanna"})
    human = client(claimed["token"])
    assert human.call("access.whoami")["role"] == "owner"
    assert agent.call("access.whoami")["role"] == "admin"
    assert human.call("org.show")["owners"] == ["hanna"]
    assert human.call("state.get", {"path": "plan.json"}, workspace="site")["value"] == {"step": 1}
    types = [event["type"] for event in human.call("event.list", {"limit": 100})["items"]]
    assert types[-4:] == ["member.set", "transfer.claim", "token.create"][-4:] or (
        "transfer.create" in types and "transfer.claim" in types
    )
    with pytest.raises(FastioError) as caught:
        nobody.call("transfer.claim", {"claim": offer["claim"], "name": "eve"})
    assert caught.value.code == "not_found"
    with pytest.raises(FastioError) as caught:
        agent.call("transfer.create")
    assert caught.value.code == "forbidden"


def test_a_revoked_offer_is_worth_nothing(remote, client):
    offer = remote.call("transfer.create")
    remote.call("transfer.revoke", {"id": offer["id"]})
    with pytest.raises(FastioError) as caught:
        client(None).call("transfer.claim", {"claim": offer["claim"], "name": "eve"})
    assert caught.value.code == "not_found"


def test_credits_are_counted_where_they_are_metered(server, remote, limits):
    limits.metered, limits.credits_per_month = "on", 2
    for n in range(2):
        remote.call("state.set", {"path": "a.json", "value": n})
    with pytest.raises(FastioError) as caught:
        remote.call("state.set", {"path": "a.json", "value": 3})
    assert caught.value.code == "quota_exceeded"
    assert remote.call("state.get", {"path": "a.json"})["value"] == 1
    assert remote.call("org.usage")["credits"] == 2


def test_an_org_has_a_limit_for_all_its_workspaces(server, remote, limits):
    limits.org_bytes_max = 1000
    remote.call("workspace.create", {"name": "team"})
    remote.call("state.set", {"path": "a.json", "value": "x" * 600})
    with pytest.raises(FastioError) as caught:
        remote.call("state.set", {"path": "a.json", "value": "x" * 600}, workspace="team")
    assert caught.value.code == "quota_exceeded"
