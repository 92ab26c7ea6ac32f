"""Imports as a queue: asked for, listed, cancelled, tried again. ``tests/imports`` fetches."""

from __future__ import annotations

from typing import Any

import pytest

URL = "https://files.example/report.pdf"


def create(caller: Any, *urls: str, **params: Any) -> list[Any]:
    items: list[Any] = caller("import.create", urls=list(urls), **params)["items"]
    return items


def test_an_import_is_queued_with_its_wishes(caller: Any) -> None:
    (record,) = create(caller, URL, to="in/", on_conflict="rename")
    assert record["state"] == "queued"
    assert record["url"] == URL
    assert record["on_conflict"] == "rename"
    assert record["actor"] == "ada"
    assert record["path"] is None
    assert record["attempts"] == 0
    assert caller("import.show", id=record["id"]) == record
    event = caller("event.list", type="import.queue")["items"][0]
    assert event["seq"] == record["id"]
    assert event["data"] == {"url": URL, "to": "in/"}


def test_numbers_follow_the_log(caller: Any) -> None:
    first, second = create(caller, URL, URL + "?2")
    assert second["id"] == first["id"] + 1
    caller("state.set", path="a.json", value=1)
    (third,) = create(caller, URL)
    assert third["id"] == second["id"] + 2


def test_lists_are_newest_first_and_paged(caller: Any) -> None:
    ids = [record["id"] for record in create(caller, *[f"{URL}?{n}" for n in range(5)])]
    page = caller("import.list", limit=2)
    assert [r["id"] for r in page["items"]] == ids[:2:-1]
    page = caller("import.list", limit=10, cursor=page["next_cursor"])
    assert [r["id"] for r in page["items"]] == ids[2::-1]
    assert page["next_cursor"] is None
    caller("import.cancel", id=ids[0])
    assert [r["id"] for r in caller("import.list", state="cancelled")["items"]] == ids[:1]
    assert len(caller("import.list", state="queued")["items"]) == 4
    assert caller("import.list", path="nowhere")["items"] == []
    caller.refused("invalid", "import.list", cursor="x")


def test_cancelled_and_tried_again(caller: Any) -> None:
    (record,) = create(caller, URL)
    id = record["id"]
    assert caller("import.cancel", id=id)["state"] == "cancelled"
    caller.refused("invalid", "import.cancel", id=id)
    assert caller("import.retry", id=id)["state"] == "queued"
    assert [e["type"] for e in caller("event.list")["items"]] == [
        "import.queue",
        "import.cancel",
        "import.retry",
    ]


def test_waiting_ends_with_the_import_or_the_time(caller: Any) -> None:
    (record,) = create(caller, URL)
    assert caller("import.show", id=record["id"], wait_s=0.01)["state"] == "queued"
    caller("import.cancel", id=record["id"])
    assert caller("import.show", id=record["id"], wait_s=60)["state"] == "cancelled"


def test_an_idempotency_key_queues_once(caller: Any) -> None:
    params: dict[str, Any] = {"urls": [URL], "key": "k"}
    assert caller("import.create", **params) == caller("import.create", **params)
    assert len(caller("import.list")["items"]) == 1


def test_workspaces_are_apart(caller: Any) -> None:
    (record,) = create(caller, URL)
    caller("workspace.create", name="other")
    caller.refused("not_found", "import.show", workspace="other", id=record["id"])
    caller.refused("not_found", "import.cancel", workspace="other", id=record["id"])
    assert caller("import.list", workspace="other")["items"] == []


@pytest.mark.parametrize("operation", ["import.show", "import.cancel", "import.retry"])
def test_unknown_numbers(caller: Any, operation: str) -> None:
    caller.refused("not_found", operation, id=7)


@pytest.mark.parametrize(
    "params",
    [
        {"urls": []},
        {"urls": [""]},
        {"urls": "http://a/"},
        {"urls": ["http://a/"] * 1001},
        {"urls": ["http://a/", "http://b/"], "to": "one"},
        {"urls": ["http://a/", "http://b/"], "name": "one"},
        {"urls": ["http://a/"], "to": "a/../b"},
        {"urls": ["http://a/"], "name": "a/b"},
        {"urls": ["http://a/"], "sha256": "xyz"},
        {"urls": ["http://a/"], "headers": {"A": 1}},
        {"urls": ["http://a/"], "headers": {"A b": "x"}},
        {"urls": ["http://a/"], "headers": {"A": "x\r\nB: y"}},
        {"urls": ["http://a/"], "headers": {"A": "ü"}},
        {"urls": ["http://a/"], "headers": {"Host": "other.example"}},
        {"urls": ["http://a/"], "headers": {"transfer-encoding": "chunked"}},
        {"urls": ["http://a/"], "on_conflict": "merge"},
        {"urls": ["http://a/"], "size_bytes_max": -1},
    ],
)
def test_wrong_wishes_are_refused(caller: Any, params: dict[str, Any]) -> None:
    caller.refused("invalid", "import.create", **params)


def test_credentials_never_reach_the_log(caller: Any) -> None:
    for url in ("https://user:secret@host.example/", "https://token@host.example?x"):
        caller.refused("blocked_url", "import.create", urls=[url])
    (record,) = create(caller, "https://host.example/a@b?c=d@e")
    assert record["state"] == "queued"
