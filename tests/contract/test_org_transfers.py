"""Handing an org over."""

from __future__ import annotations

import pytest


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
