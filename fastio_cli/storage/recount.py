"""Counters compared with a recount: what workspaces and orgs hold, and what is said of it.

Every change counts what it adds in its own transaction, so that both are always the same, unless
rows were changed from outside or by a process of a version that did not count.
"""

from __future__ import annotations

from functools import partial

from fastio_cli.storage.doctor import Check
from fastio_cli.storage.repositories.workspaces import COUNTER_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastio_cli.storage.contract import Store
    from fastio_cli.storage.db import Row
    from fastio_cli.storage.tx import Tx

EMPTY = {"object_count": 0, "state_count": 0, "file_count": 0, "live_bytes": 0}


def check_counters(store: Store) -> Iterator[Check]:
    """Count anew what every workspace and org holds, and compare."""
    workspaces, orgs = store.read(_wrong)
    problems = []
    if workspaces:
        names = ", ".join(sorted(row["name"] for row, _ in workspaces[:3]))
        problems.append(f"{len(workspaces)} workspaces hold other than counted: {names}")
    if orgs:
        names = ", ".join(sorted({org or "the first" for org, _ in orgs[:3]}))
        problems.append(f"{len({org for org, _ in orgs})} orgs have other than counted: {names}")
    yield Check(
        "counters",
        "; ".join(problems) or None,
        "what workspaces and orgs hold is what was counted",
        "Count anew: fastio doctor --sweep",
    )


def mend_counters(store: Store) -> int:
    """Set the counters that differ from a recount; how many there were."""
    workspaces, orgs = store.read(_wrong)
    for row, _ in workspaces:
        store.write(partial(_mend_workspace, row["id"]))
    for org, shard in store.read(_wrong)[1]:
        store.write(partial(_mend_org, org, shard))
    return len(workspaces) + len(orgs)


def _wrong(tx: Tx) -> tuple[list[tuple[Row, dict[str, int]]], list[tuple[str, int]]]:
    """Workspaces with what they hold in truth, and the orgs' counters that differ."""
    held = tx.usage.of_workspaces()
    workspaces = []
    for row in tx.workspaces.every():
        truth = held.get(row["id"], EMPTY)
        if any(row[name] != value for name, value in truth.items()):
            workspaces.append((row, truth))
    counted, recounted = tx.usage.counted(), tx.usage.recounted()
    keys = counted.keys() | recounted.keys()
    return workspaces, sorted(key for key in keys if counted.get(key) != recounted.get(key))


def _mend_org(org: str, shard: int, tx: Tx) -> None:
    tx.usage.recount(org, shard)


def _mend_workspace(workspace_id: int, tx: Tx) -> None:
    tx.workspaces.by_id(workspace_id)  # its writers wait
    for row, truth in _wrong(tx)[0]:
        if row["id"] == workspace_id:
            counters = {name: row[name] for name in (*COUNTER_NAMES, "updated_at")}
            tx.unit.save_workspace(row, {**counters, **truth})
