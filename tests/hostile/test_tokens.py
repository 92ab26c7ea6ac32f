"""What a narrow token cannot get at: by what it makes, by others' keys, by what outlives it."""

from __future__ import annotations

import httpx
import pytest

from fastio_cli.client.remote import Remote
from fastio_cli.config.settings import Limits
from fastio_cli.errors import FastioError
from tests.backends import kind_of
from tests.remote import Running


@pytest.fixture(params=["sqlite", "postgres"])
def server(request, tmp_path):
    backend = kind_of(request.param).made(tmp_path / "store")
    engine = backend.open()
    running = Running(engine)
    yield running
    running.stop()
    engine.store.close()
    backend.give_back()


@pytest.fixture
def client(server):
    clients = []

    def connect(token):
        clients.append(Remote(server.url, token, retry_s=2))
        return clients[-1]

    yield connect
    for remote in clients:
        remote.close()


@pytest.fixture
def owner(server, client):
    return client(server.token("ada"))


def refused(code, call, *args, **options):
    with pytest.raises(FastioError) as caught:
        call(*args, **options)
    assert caught.value.code == code, caught.value.message
    return caught.value


def test_what_a_token_makes_is_within_it_whoever_it_is_for(owner, client):
    params = {"role": "admin", "scopes": ["token.*", "state.*"], "ttl_s": 3600}
    narrow = owner.call("token.create", params)
    for member in ("puppet", "ada"):
        made = client(narrow["token"]).call("token.create", {"member": member, "role": "editor"})
        assert made["scopes"] == params["scopes"]
        assert made["expires_at"] <= narrow["expires_at"]
        assert made["created_by_token"] == narrow["id"]
        for more in ({"scopes": ["*"]}, {"role": "owner"}, {"scopes": ["stat?.get"]}):
            more = {"member": member, "role": "editor", **more}
            refused("forbidden", client(narrow["token"]).call, "token.create", more)


@pytest.mark.parametrize("operation", ["transfer.create", "org.create"])
def test_a_token_with_scopes_makes_nothing_that_has_none(owner, client, operation):
    narrow = client(owner.call("token.create", {"scopes": ["transfer.*", "org.*"]})["token"])
    refused("forbidden", narrow.call, operation, {"name": "acme"} if "org" in operation else {})


def test_an_offer_ends_with_the_token_that_made_it(owner, client):
    made = owner.call("token.create", {"ttl_s": 3600})
    offer = client(made["token"]).call("transfer.create")
    assert offer["expires_at"] <= made["expires_at"]
    owner.call("token.revoke", {"id": made["id"]})
    claim = {"claim": offer["claim"], "name": "eve"}
    refused("not_found", client(None).call, "transfer.claim", claim)


def test_with_a_token_ends_what_it_made_and_what_that_made(owner, client):
    tokens = [owner.call("token.create", {"role": "admin"})]
    for member in ("puppet", "doll", "puppet"):
        params = {"member": member, "role": "admin"}
        tokens.append(client(tokens[-1]["token"]).call("token.create", params))
    beside = owner.call("token.create", {})
    owner.call("token.revoke", {"id": tokens[1]["id"]})
    assert client(tokens[0]["token"]).call("access.whoami")["member"] == "ada"
    assert client(beside["token"]).call("access.whoami")["member"] == "ada"
    for made in tokens[1:]:
        refused("unauthenticated", client(made["token"]).call, "access.whoami")
    events = owner.call("event.list", {"type": "token.revoke", "limit": 100})["items"]
    assert {event["data"]["id"] for event in events} == {made["id"] for made in tokens[1:]}


def test_with_a_removed_member_ends_what_their_tokens_made(server, owner, client):
    admin = client(server.token("adam", "admin"))
    puppet = client(admin.call("token.create", {"member": "puppet", "role": "admin"})["token"])
    owner.call("member.remove", {"name": "adam"})
    refused("unauthenticated", puppet.call, "access.whoami")


def test_a_token_for_one_workspace_sees_itself_alone(owner, client):
    owner.call("token.create", {"label": "another"})
    bound = owner.call("token.create", {"in_workspace": "default"})
    listed = client(bound["token"]).call("token.list")
    assert [item["id"] for item in listed["items"]] == [bound["id"]]


def test_every_token_may_end_itself(owner, client):
    for params in ({"role": "viewer"}, {"in_workspace": "default"}, {"scopes": ["state.get"]}):
        made, other = owner.call("token.create", params), owner.call("token.create", params)
        narrow = client(made["token"])
        refused("forbidden", narrow.call, "token.revoke", {"id": other["id"]})
        narrow.call("token.revoke", {"id": made["id"]})
        refused("unauthenticated", narrow.call, "access.whoami")


def test_a_kept_answer_is_for_the_token_that_asked_for_it(server, owner, client):
    owner.call("workspace.create", {"name": "two"})
    narrow = {"role": "editor", "in_workspace": "two"}
    full, bound = owner.call("token.create", {}), owner.call("token.create", narrow)
    answers = []
    for made, workspace in ((full, "default"), (bound, "two"), (full, "two")):
        headers = {"authorization": f"Bearer {made['token']}", "idempotency-key": "k"}
        path = f"{server.url}/v1/workspaces/{workspace}/state-init/s"
        answers.append(httpx.post(path, headers=headers, json={"value": made["id"]}))
    assert [answer.json()["value"] for answer in answers] == [full["id"], bound["id"], bound["id"]]


def test_a_kept_answer_about_a_workspace_is_for_who_may_still_change_it(server, owner, client):
    for name in ("one", "two"):
        owner.call("workspace.create", {"name": name})
        owner.call("member.set", {"name": "bob", "role": "owner", "in_workspace": name})
    token = server.token("bob")
    server.engine.call("member.remove", {"name": "bob"})
    bob = client(token)
    works = [("workspace.rename", {"name": "three"}, "one"), ("workspace.delete", {}, "two")]
    for operation, params, name in works:
        done = bob.call(operation, params, workspace=name, idempotency_key=operation)
        again = bob.call(operation, params, workspace=name, idempotency_key=operation)
        assert again == done
    owner.call("member.set", {"name": "bob", "role": "viewer", "in_workspace": "three"})
    owner.call("workspace.create", {"name": "four"})
    owner.call("member.set", {"name": "bob", "role": "viewer", "in_workspace": "four"})
    owner.call("member.remove", {"name": "bob", "in_workspace": "three"})
    for operation, params, name in works[:1]:
        error = refused(
            "not_found", bob.call, operation, params, workspace=name, idempotency_key=operation
        )
        never = refused("not_found", bob.call, operation, params, workspace="never")
        assert error.message.replace(name, "never") == never.message


def test_orgs_are_created_by_whom_the_operator_allows(server, owner, client):
    editor = client(server.token("ed", "editor"))
    refused("forbidden", editor.call, "org.create", {"name": "eds"})
    acme = client(owner.call("org.create", {"name": "acme"})["token"])
    refused("forbidden", acme.call, "org.create", {"name": "more"})
    server.engine.limits = Limits(org_create_role="member", orgs_max=3)
    acme.call("org.create", {"name": "more"})
    refused("quota_exceeded", editor.call, "org.create", {"name": "eds"})


def test_a_token_that_is_revoked_meanwhile_makes_nothing(server, owner, client):
    """A database's calls are authorised before they have the org's log to themselves."""
    made = owner.call("token.create", {"role": "admin"})
    engine = server.engine
    from fastio_cli.engine.authorization import identify
    from fastio_cli.identity import digest_of

    identity = engine.store.read(lambda tx: identify(tx, digest_of(made["token"])))
    call = engine.prepare("token.create", {}, "default", "", identity=identity)

    def revoked_meanwhile(tx):
        tx.unit.grant(identity.digest, 0)  # what the call knows of its token
        tx.tokens.revoke("", made["id"], tx.now_ms)
        tx.unit.identity.grants[identity.digest, 0] = granted
        return engine.work(call).run(tx)

    granted = engine.store.read(lambda tx: tx.unit.grant(identity.digest, 0))
    refused("unauthenticated", engine.store.write, revoked_meanwhile)
