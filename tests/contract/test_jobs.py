"""Jobs as everybody sees them: listed, shown, cancelled, tried again. ``tests/jobs`` runs them."""

from __future__ import annotations

from typing import Any

URL = "https://files.example/report.pdf"


def queue(caller: Any, count: int = 1) -> list[str]:
    """Imports, as the jobs that everybody can queue; the ids of the jobs."""
    urls = [f"{URL}?{n}" for n in range(count)]
    return [f"import-{record['id']}" for record in caller("import.create", urls=urls)["items"]]


def test_an_import_is_a_job(caller: Any) -> None:
    (id,) = queue(caller)
    job = caller("job.show", id=id)
    assert (job["id"], job["kind"], job["state"]) == (id, "import", "queued")
    assert (job["attempts"], job["failures"], job["reason"]) == (0, 0, None)
    assert job["actor"] == "ada"
    assert job["due_at"] == job["queued_at"]
    assert job["lease_until"] is None
    assert caller("job.list")["items"] == [job]


def test_lists_are_newest_first_and_paged(caller: Any) -> None:
    ids = sorted(queue(caller, 5), reverse=True)
    seen: list[str] = []
    cursor = ""
    while True:
        page = caller("job.list", limit=2, cursor=cursor)
        seen += [job["id"] for job in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert seen == ids  # queued at one time, so that their ids decide
    caller("job.cancel", id=ids[0])
    assert [j["id"] for j in caller("job.list", state="cancelled")["items"]] == ids[:1]
    assert len(caller("job.list", state="queued", kind="import")["items"]) == 4
    assert caller("job.list", kind="index")["items"] == []
    for cursor in ("x", "1", ".", "x.y"):
        caller.refused("invalid", "job.list", cursor=cursor)


def test_an_import_is_cancelled_and_tried_again_with_its_job(caller: Any) -> None:
    (id,) = queue(caller)
    number = int(id.removeprefix("import-"))
    assert caller("job.cancel", id=id)["state"] == "cancelled"
    assert caller("import.show", id=number)["state"] == "cancelled"
    caller.refused("invalid", "job.cancel", id=id)
    assert caller("job.retry", id=id)["state"] == "queued"
    assert caller("import.show", id=number)["state"] == "queued"
    caller("import.cancel", id=number)
    assert caller("job.show", id=id)["state"] == "cancelled"
    caller("import.retry", id=number)
    job = caller("job.show", id=id)
    assert (job["state"], job["due_at"]) == ("queued", job["queued_at"])
    assert [e["type"] for e in caller("event.list")["items"]] == [
        "import.queue",
        "import.cancel",
        "import.retry",
        "import.cancel",
        "import.retry",
    ]


def test_what_is_not_there(caller: Any) -> None:
    for operation in ("job.show", "job.cancel", "job.retry"):
        caller.refused("not_found", operation, id="import-99")
    (id,) = queue(caller)
    caller("workspace.create", name="other")
    caller.refused("not_found", "job.show", id=id, workspace="other")
    assert caller("job.list", workspace="other")["items"] == []


def test_a_repeated_request_changes_nothing_twice(caller: Any) -> None:
    (id,) = queue(caller)
    first = caller("job.cancel", id=id, key="once")
    assert caller("job.cancel", id=id, key="once") == first
    assert len(caller("event.list", type="import.cancel")["items"]) == 1
