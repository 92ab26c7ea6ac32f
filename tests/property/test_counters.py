"""What workspaces and orgs are said to hold is what a recount finds, whatever was done before."""

from __future__ import annotations

import io
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fastio_cli.config.settings import Limits
from fastio_cli.engine.authorization import identify
from fastio_cli.errors import FastioError
from fastio_cli.identity import digest_of
from fastio_cli.operations import context
from fastio_cli.storage import backup
from fastio_cli.storage.copy import Endpoint, copy_store
from fastio_cli.storage.recount import check_counters
from tests.backends import BACKENDS
from tests.engines import open_engine
from tests.requirements import lacking

KINDS = ("sqlite", "postgres")
ORGS = ("", "acme")
WORKSPACES = st.sampled_from(["default", "w", "v"])
PATHS = st.sampled_from(["a", "b", "c/d"])
CHANGES = st.one_of(
    st.tuples(st.just("state.set"), st.fixed_dictionaries({"path": PATHS, "value": st.text()})),
    st.tuples(st.just("state.increment"), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(st.just("object.delete"), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(
        st.just("object.restore"),
        st.fixed_dictionaries({"path": PATHS, "version": st.integers(1, 4)}),
    ),
    st.tuples(st.just("object.copy"), st.fixed_dictionaries({"path": PATHS, "to": PATHS})),
    st.tuples(st.just("object.move"), st.fixed_dictionaries({"path": PATHS, "to": PATHS})),
    st.tuples(st.sampled_from(["file.put", "file.append"]), st.fixed_dictionaries({"path": PATHS})),
    st.tuples(
        st.just("import.create"),
        st.fixed_dictionaries(
            {"urls": st.lists(st.sampled_from(["https://a.example/", "https://b/"]), min_size=1)},
            optional={"headers": st.just({"X-Key": "secret"})},
        ),
    ),
    st.tuples(
        st.sampled_from(["import.cancel", "import.retry"]),
        st.fixed_dictionaries(
            {"id": st.integers(1, 6)},
        ),
    ),
    st.tuples(st.just("workspace.create"), st.fixed_dictionaries({"name": WORKSPACES})),
    st.tuples(st.just("workspace.rename"), st.fixed_dictionaries({"name": WORKSPACES})),
    st.tuples(st.just("workspace.delete"), st.just({})),
    st.tuples(st.just("workspace.restore"), st.fixed_dictionaries({"name": WORKSPACES})),
    st.tuples(
        st.just("state.transact"),
        st.fixed_dictionaries(
            {
                "changes": st.lists(
                    st.fixed_dictionaries(
                        {"op": st.sampled_from(["set", "append"]), "path": PATHS, "value": PATHS}
                    ),
                    min_size=1,
                    max_size=3,
                )
            }
        ),
    ),
)
CALLS = st.tuples(CHANGES, WORKSPACES, st.sampled_from(ORGS))


def problems(store):
    return [check.message for check in check_counters(store) if not check.ok]


def owner_of(engine, org):
    """The identity of an org's owner, who is made with it."""
    if not org:
        return None
    made = engine.call("org.create", {"name": org}, actor="ada")
    digest = digest_of(made["token"])
    return engine.store.read(lambda tx: identify(tx, digest))


def index_all(engine, owners):
    """Bring the search indexes of all workspaces up to date."""
    for org in ORGS:
        for name in ("default", "w", "v"):
            with suppress(FastioError):
                call = engine.prepare("index.update", {}, name, "ada", identity=owners[org])
                engine.run(call)


def do_batch(engine, owners, batch):
    calls = []
    for (name, params), workspace, org in batch:
        if name.startswith("file."):
            params = {**params, "content": engine.upload(io.BytesIO(b"x" * len(params["path"])))}
        calls.append(engine.prepare(name, params, workspace, "ada", identity=owners[org]))
    return engine.call_many(calls)


@pytest.mark.parametrize("kind", KINDS)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(batches=st.lists(st.lists(CALLS, min_size=1, max_size=8), max_size=8))
def test_counters_are_what_a_recount_finds(kind, tmp_path_factory, monkeypatch, batches):
    if BACKENDS[kind].missing() is not None:
        lacking(f"backend {kind} is missing: {BACKENDS[kind].missing()}")
    monkeypatch.setattr(context, "PRUNE_EVERY", 2)
    folder = tmp_path_factory.mktemp("stores")
    backend = BACKENDS[kind](folder / "one")
    engine = backend.open(limits=Limits(versions_max=2))
    try:
        owners = {org: owner_of(engine, org) for org in ORGS}
        for batch in batches:
            do_batch(engine, owners, batch)
            assert problems(engine.store) == []
        target = open_engine(folder / "copy")
        source = Endpoint(engine.store, engine.blobs)
        copy_store(source, Endpoint(target.store, target.blobs), lambda done, total: None)
        assert problems(target.store) == []
        orgs = [
            [store.read(lambda tx, org=org: dict(tx.usage.of_org(org))) for org in ORGS]
            for store in (engine.store, target.store)
        ]
        assert orgs[0] == orgs[1]
        backup.backup(target.store, target.blobs, str(folder / "backup.tar"))
        target.store.close()
        backup.restore(str(folder / "backup.tar"), str(folder / "restored"))
        restored = open_engine(folder / "restored")
        assert problems(restored.store) == []
        restored.store.close()
        index_all(engine, owners)
        assert problems(engine.store) == []
        for batch in batches:
            do_batch(engine, owners, batch)
        index_all(engine, owners)
        assert problems(engine.store) == []
    finally:
        engine.store.close()
