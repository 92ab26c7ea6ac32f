"""The Python SDK: what it adds to the operations, on every kind of store."""

# ruff: noqa: PT012 - how a block ends is what is tested

from __future__ import annotations

import asyncio
import copy
import inspect
import io
import pickle
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import fastio_cli
from fastio_cli import aconnect, connect, errors
from fastio_cli.errors import CLASSES, KINDS, FastioError
from fastio_cli.operations import every
from fastio_cli.sdk import generate
from fastio_cli.sdk.store import Store
from tests.backends import Background, until

ROOT = Path(__file__).parents[1]


@pytest.fixture
def store(backend: Any) -> Any:
    """A store of each kind, through the SDK."""
    engine = backend.open()
    acting = getattr(engine, "acting", None)
    store = Store(engine if acting is None else acting("ada"), actor="ada")
    yield store
    engine.store.close()


@pytest.fixture
def ws(store: Store) -> Any:
    return store.workspace("default")


def test_the_generated_module_is_fresh() -> None:
    text = (ROOT / generate.FILE).read_text(encoding="utf-8")
    assert text == generate.generated(), "Run: make generate"


@pytest.mark.parametrize("operation", every(), ids=lambda o: o.name)
def test_every_operation_is_a_method(operation: Any, tmp_path: Path) -> None:
    with connect(tmp_path, create=True) as store:
        owner = store.workspace() if operation.in_workspace else store
        attribute, verb = generate.place(operation)
        method = getattr(getattr(owner, attribute) if attribute else owner, verb)
    assert set(inspect.signature(method).parameters) >= set(operation.rules)
    assert inspect.getdoc(method)


def test_the_package_starts_without_the_sdk() -> None:
    code = "import sys, fastio_cli; print([m for m in sys.modules if m.startswith('fastio_cli.')])"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"
    with pytest.raises(AttributeError, match="nothing"):
        fastio_cli.nothing  # noqa: B018


def test_connect_takes_what_the_command_line_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("STORE", str(tmp_path)), ("WORKSPACE", "team"), ("ACTOR", "planner")):
        monkeypatch.setenv(f"FASTIO_{name}", value)
    with connect(create=True) as store:
        store.workspaces.create("team")
        ws = store.workspace()
        assert (ws.name, ws.actor) == ("team", "planner")
        ws.state.set("a.json", 1)
        assert store.workspace(actor="bob").objects.info("a.json")["author"] == "planner"
    with connect(tmp_path, workspace="team", actor="eve") as again:
        assert again.workspace().actor == "eve"
        assert again.workspace().state.value("a.json") == 1
    with pytest.raises(errors.Invalid):
        connect("redis://localhost")


# Errors


def test_every_code_has_a_class_of_its_name() -> None:
    assert set(CLASSES) == set(KINDS)
    for code, kind in CLASSES.items():
        assert kind.__name__ == "".join(part.capitalize() for part in code.split("_"))
        assert type(FastioError(code, "message")) is kind


def test_an_error_tells_its_details_and_keeps_hints_to_itself(ws: Any) -> None:
    ws.state.set("plan.json", 1)
    with pytest.raises(errors.VersionConflict) as caught:
        ws.state.set("plan.json", 2, if_version=7)
    error = caught.value
    assert (error.path, error.current_version, error.expected_version) == ("plan.json", 1, 7)
    assert "fastio " not in str(error)
    assert "fastio " in error.hint
    with pytest.raises(AttributeError, match="holder"):
        error.holder  # noqa: B018
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(again) is errors.VersionConflict
        assert again.as_dict() == error.as_dict()


# State


def test_a_default_stands_for_what_is_not_there(ws: Any) -> None:
    with pytest.raises(errors.NotFound):
        ws.state.get("plan.json")
    doc = ws.state.get("plan.json", default={"step": 0})
    assert (doc["value"], doc["version"]) == ({"step": 0}, 0)
    assert ws.state.value("plan.json", None) is None
    ws.state.set("plan.json", {"step": 1}, if_version=doc["version"])
    assert ws.state.value("plan.json", None) == {"step": 1}
    assert ws.state.value("plan.json", at="/step") == 1
    assert ws.state.value("plan.json", 5, at="/none") == 5


def test_an_edit_is_written_once_and_only_if_nobody_else_wrote(ws: Any) -> None:
    with ws.edit("plan.json", default={"log": []}) as doc:
        doc["step"] = 1
        doc["log"].append("begun")
    assert doc.result["version"] == 1
    with ws.edit("plan.json") as doc:
        assert "step" in doc
    assert doc.result is None
    with pytest.raises(ZeroDivisionError), ws.edit("plan.json") as doc:
        doc["step"] = 1 / 0
    with ws.edit("plan.json") as doc:
        del doc["log"]
        doc.value = [doc.value]
    assert ws.state.get("plan.json")["version"] == 2
    with pytest.raises(errors.VersionConflict), ws.edit("plan.json") as doc:
        ws.state.set("plan.json", "another's")
        doc.value = "mine"
    assert ws.state.value("plan.json") == "another's"


def test_an_edit_changes_no_default(ws: Any) -> None:
    default: dict[str, int] = {}
    with ws.edit("a.json", default=default) as doc:
        doc["n"] = 1
    assert default == {}


def test_an_update_is_made_again_until_nobody_comes_between(ws: Any) -> None:
    seen = []

    def change(value: list[str]) -> list[str]:
        seen.append(list(value))
        if len(seen) == 1:
            ws.state.append("log.json", "another's")
        return [*value, "mine"]

    ws.state.set("log.json", [])
    ws.update("log.json", change)
    assert seen == [[], ["another's"]]
    assert ws.state.value("log.json") == ["another's", "mine"]

    def always_late(value: list[str]) -> list[str]:
        ws.state.append("log.json", "more")
        return [*value, "late"]

    with pytest.raises(errors.VersionConflict):
        ws.update("log.json", always_late, attempts_max=3)
    assert ws.state.value("log.json").count("more") == 3


def test_an_update_that_changes_nothing_writes_nothing(ws: Any) -> None:
    ws.update("a.json", lambda value: value, default={"n": 1})
    assert ws.update("a.json", lambda value: {**value, "n": 1})["version"] == 1
    assert ws.state.get("a.json")["version"] == 1


def test_updates_of_many_threads_are_all_made(store: Store) -> None:
    store.workspace().state.set("n.json", 0)

    def count() -> None:
        for _ in range(5):
            store.workspace().update("n.json", lambda n: n + 1, attempts_max=1000)

    calls = [Background(count) for _ in range(4)]
    for call in calls:
        call.result()
    assert store.workspace().state.value("n.json") == 20


def test_a_transaction_is_made_as_one(ws: Any) -> None:
    ws.state.set("old.json", 1)
    with ws.transaction() as tx:
        tx.set("a.json", {"n": 1})
        tx.increment("a.json", at="/n", by=4)
        tx.delete("old.json")
        assert ws.state.value("a.json", None) is None
    assert tx.result["seq"] == ws.show()["seq"]
    assert ws.state.value("a.json") == {"n": 5}
    with pytest.raises(errors.VersionConflict), ws.transaction() as tx:
        tx.set("a.json", "changed")
        tx.set("b.json", 1, if_version=3)
    with (
        pytest.raises(errors.NotFound, match=r"^Change 1 \(append c\.json\): .*"),
        ws.transaction() as tx,
    ):
        tx.set("a.json", "changed")
        tx.append("c.json", 1)
    with pytest.raises(KeyError), ws.transaction() as tx:
        tx.set("a.json", "changed")
        raise KeyError
    with ws.transaction():
        pass
    assert ws.state.value("a.json") == {"n": 5}
    assert ws.state.value("b.json", None) is None


# Locks


def test_a_lease_lends_its_token_and_ends_with_its_block(store: Store, ws: Any) -> None:
    ws.state.set("plan.json", 0)
    with ws.lock("plan.json", ttl=60, purpose="drafting") as lease:
        ws.state.set("plan.json", 1)
        with ws.transaction() as tx:
            tx.increment("plan.json")
        with ws.edit("plan.json") as doc:
            doc.value += 1
        ws.objects.copy("plan.json", "copy.json")
        with pytest.raises(errors.Locked) as caught:
            store.workspace().state.set("plan.json", "another's")
        assert caught.value.purpose == "drafting"
        store.workspace().state.increment("plan.json", lock_token=lease.token)
        assert lease.fence == ws.locks.show("plan.json")["fence"]
    assert ws.state.value("plan.json") == 4
    with pytest.raises(errors.NotFound):
        ws.locks.show("plan.json")
    store.workspace().state.set("plan.json", 0)
    with pytest.raises(errors.Locked), ws.lock("plan.json"), store.workspace().lock("plan.json"):
        pass


def test_a_lease_is_released_when_the_block_fails(ws: Any) -> None:
    with pytest.raises(ZeroDivisionError), ws.lock("plan.json"):
        1 / 0  # noqa: B018
    with ws.lock("plan.json"):
        pass


def test_a_lease_renews_itself(ws: Any) -> None:
    with ws.lock("plan.json", ttl=1):
        until(lambda: len(ws.events.list(type="lock.renew")["items"]) > 3)
        ws.state.set("plan.json", 1)
    with pytest.raises(ValueError, match="with statement"):
        ws.lock("plan.json").token  # noqa: B018


def test_a_lease_that_was_lost_says_so(ws: Any) -> None:
    with pytest.raises(errors.LockLost), ws.lock("plan.json", ttl=60):
        ws.locks.break_("plan.json")
    with pytest.raises(errors.LockLost), ws.lock("plan.json", ttl=1) as lease:
        ws.locks.break_("plan.json")
        until(lambda: lost(lease))
        lease.check()
    with pytest.raises(ZeroDivisionError), ws.lock("plan.json"):
        ws.locks.break_("plan.json")
        1 / 0  # noqa: B018


def lost(lease: Any) -> bool:
    try:
        lease.check()
    except errors.LockLost:
        return True
    return False


def test_one_waits_for_a_lease(store: Store) -> None:
    order = []

    def wait() -> None:
        with store.workspace().lock("a", wait=30):
            order.append("second")

    with store.workspace().lock("a"):
        waiting = Background(wait)
        until(lambda: store.workspace().locks.show("a")["waiters"] == 1)
        order.append("first")
    waiting.result()
    assert order == ["first", "second"]


def test_a_closed_store_refuses_every_call(store: Store, tmp_path: Path) -> None:
    ws = store.workspace()
    ws.files.put("f.bin", b"bytes")
    store.close()
    store.close()
    calls = [
        lambda: ws.state.get("f.bin"),
        lambda: ws.files.put("f.bin", b"bytes"),
        lambda: ws.files.read("f.bin"),
        lambda: ws.lock("f.bin").__enter__(),
        lambda: list(ws.watch(after=0, timeout=0)),
        lambda: store.workspaces.list(),
        lambda: store.workspace("other").state.get("f.bin"),
    ]
    for call in calls:
        with pytest.raises(errors.Invalid, match="closed"):
            call()


# Files, events, lists


def test_files_are_streams(ws: Any, tmp_path: Path) -> None:
    body = bytes(range(256)) * 4000
    local = tmp_path / "f"
    local.write_bytes(body)
    for source in (body, bytearray(body), local, str(local), io.BytesIO(body)):
        ws.files.put("f.bin", source)
        assert ws.files.read("f.bin") == body
    ws.files.append("f.bin", b"end")
    with ws.files.get("f.bin", offset=len(body) - 2) as download:
        assert download.record["version"] == 6
        assert download.read(3) == body[-2:] + b"e"
        assert b"".join(download) == b"nd"
    with ws.files.get("f.bin") as download:
        assert sum(map(len, download)) == len(body) + 3
    with ws.files.open("f.bin", version=1) as f:
        assert f.read(10) == body[:10]
        assert f.read() == body[10:]
    assert ws.files.save("f.bin", tmp_path / "g", version=1)["version"] == 1
    assert (tmp_path / "g").read_bytes() == body


def test_text_is_no_source_of_bytes(ws: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("text")
    with (tmp_path / "f").open() as opened:
        for source in (opened, io.StringIO("text")):
            with pytest.raises(errors.Invalid, match="bytes"):
                ws.files.put("f.txt", source)
    assert list(ws.objects.all()) == []


def test_a_source_that_fails_leaves_nothing_open(ws: Any) -> None:
    class Broken(io.RawIOBase):
        def read(self, size: int = -1) -> bytes:
            raise OSError("broken")

    with pytest.raises(OSError, match="broken"):
        ws.files.put("f.bin", Broken())
    assert list(ws.objects.all()) == []


def test_events_are_iterated_over_as_they_happen(store: Store) -> None:
    ws = store.workspace()
    ws.state.set("a.json", 1)
    events = ws.watch(after=0, path="*.json")
    assert next(events)["version"] == 1
    waiting = Background(lambda: next(events))
    ws.state.set("a.json", 2)
    assert waiting.result()["version"] == 2
    assert list(ws.watch(after=0, timeout=0, type="state.*")) == ws.events.list()["items"]


def test_lists_are_iterated_over_page_by_page(ws: Any) -> None:
    with ws.transaction() as tx:
        for n in range(120):
            tx.set(f"{n:03}.json", n)
    assert [o["path"] for o in ws.objects.all()] == [f"{n:03}.json" for n in range(120)]
    assert len(list(ws.objects.all(prefix="11"))) == 10


def test_org_and_workspaces(store: Store) -> None:
    store.workspaces.create("team")
    names = {w["name"] for w in store.workspaces.all()}
    assert names == {"default", "team"}
    team = store.workspace("team")
    team.state.set("a.json", 1)
    assert team.usage()["object_count"] == 1
    assert store.access.whoami()["member"] == "ada"
    team.delete()
    with pytest.raises(errors.NotFound):
        team.show()


# Asynchronous


def test_the_asynchronous_store_does_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        async with await aconnect(tmp_path, actor="ada", create=True) as store:
            ws = store.workspace("default")
            await ws.state.set("plan.json", {"step": 1})
            async with ws.lock("plan.json", ttl=60) as lease:
                assert lease.fence == 2
                async with ws.edit("plan.json") as doc:
                    doc["step"] += 1
            async with ws.transaction() as tx:
                await tx.increment("plan.json", at="/step")
                await tx.set("b.json", 1)
            assert await ws.state.value("plan.json", at="/step") == 3
            await ws.files.put("f", b"x" * 100_000)
            async with ws.files.get("f") as download:
                assert sum([len(chunk) async for chunk in download]) == 100_000
            seen = [event["type"] async for event in ws.watch(after=0, timeout=0)]
            assert seen[0] == "state.set"
            assert [o["path"] async for o in ws.objects.all()] == ["b.json", "f", "plan.json"]
            with pytest.raises(errors.NotFound):
                await ws.state.get("none.json")
            numbers = asyncio.gather(*(ws.state.increment("b.json") for _ in range(20)))
            assert {doc["value"] for doc in await numbers} == set(range(2, 22))

    asyncio.run(main())
    left = [t.name for t in threading.enumerate() if t.name.startswith("fastio")]
    until(lambda: not [n for n in left if n in [t.name for t in threading.enumerate()]])
