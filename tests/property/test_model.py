"""Random operations against a plain model: dicts and lists that do what DESIGN says."""

from __future__ import annotations

import copy
import hashlib
import json
import pathlib
import tempfile
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from fastio_cli.errors import FastioError
from tests.backends import Clock, kind_of
from tests.workers import open_engine

PATHS = st.sampled_from(["a.json", "b.json", "dir/c.json"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.sampled_from(["", "x", "ü"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["n", "log", "z"]), inner, max_size=3)
    ),
    max_leaves=5,
)
# Which version a write asks for: none, the right one, or a wrong one.
ASKED = st.sampled_from([None, None, "right", "wrong"])
# Which token a write brings: the live one if there is one, none, or a stale one.
TOKENS = st.sampled_from(["right", "right", "right", None, "stale"])
TTL_S = 10


def etag(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Refused(Exception):
    """The model's refusal."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Path:
    """What the model knows of one path: its versions (None: a deletion) and its lock."""

    def __init__(self) -> None:
        self.versions: list[tuple[Any, bool]] = []  # value, live
        self.token: str | None = None
        self.fence = 0
        self.expires_at = 0.0

    @property
    def live(self) -> bool:
        return bool(self.versions) and self.versions[-1][1]

    @property
    def version(self) -> int:
        return len(self.versions)

    @property
    def value(self) -> Any:
        return copy.deepcopy(self.versions[-1][0])


class Fastio(RuleBasedStateMachine):
    """The engine and the model do the same; they have to agree on every result and refusal."""

    kind = "sqlite"

    @initialize()
    def start(self) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="fastio-")
        self.clock = Clock()
        self.backend = kind_of(self.kind)(pathlib.Path(self.folder.name, "store"))
        self.engine = open_engine(self.backend.folder, self.clock)
        self.paths = {path: Path() for path in ("a.json", "b.json", "dir/c.json")}
        self.log: list[tuple[str, str, int | None]] = []
        self.stale = "lk_never"
        self.issued: dict[str, str] = {}  # the path that each token was given for
        self.fences: dict[str, list[int]] = {path: [] for path in self.paths}

    def teardown(self) -> None:
        if hasattr(self, "engine"):
            self.engine.store.close()
        if hasattr(self, "folder"):
            self.folder.cleanup()

    def held(self, path: str) -> bool:
        return self.paths[path].token is not None and self.clock() < self.paths[path].expires_at

    def token(self, path: str, which: str | None) -> str | None:
        if which == "right":
            return self.paths[path].token if self.held(path) else None
        return self.stale if which == "stale" else None

    def asked(self, path: str, which: str | None) -> int | None:
        if which is None:
            return None
        current = self.paths[path].version if self.paths[path].live else 0
        return current if which == "right" else current + 1

    def guard(
        self,
        path: str,
        token: str | None,
        if_version: int | None = None,
        *,
        must_hold: bool = False,
    ) -> Path:
        """The model's rules of changing a path. A token of another path is as none."""
        at = self.paths[path]
        if not must_hold and token is not None and self.issued.get(token, path) != path:
            token = None
        if token is None and self.held(path):
            raise Refused("locked")
        if token is not None and not (self.held(path) and token == at.token):
            raise Refused("lock_lost")
        if if_version is not None and if_version != (at.version if at.live else 0):
            raise Refused("version_conflict")
        return at

    def existing(self, path: str, token: str | None, if_version: int | None = None) -> Path:
        at = self.guard(path, token, if_version)
        if not at.live:
            raise Refused("not_found")
        return at

    def write(self, path: str, value: Any, change: str, live: bool = True) -> None:
        at = self.paths[path]
        at.versions.append((copy.deepcopy(value), live))
        self.log.append((f"state.{change}", path, at.version))

    def join_versions(self, path: str, before: Path, verbs: list[str]) -> None:
        """Make one version of those that a transaction gave a path, or none."""
        at = self.paths[path]
        last = at.versions[-1]
        at.versions = list(before.versions)
        if last[1] or before.live:
            change = (verbs[0] if len(verbs) == 1 else "transact") if last[1] else "delete"
            self.write(path, *last[:1], change, live=last[1])

    def both(self, model: Any, operation: str, **params: Any) -> Any:
        """Let the model and the engine do it; the engine's result where both accept."""
        given = {key: value for key, value in params.items() if value is not None}
        if "value" in params:
            given["value"] = params["value"]
        if "patch" in params:
            given["patch"] = params["patch"]
        try:
            model()
            expected = None
        except Refused as e:
            expected = e.code
        result = code = None
        try:
            result = self.engine.call(operation, given, actor="ada")
        except FastioError as e:
            code = e.code
        assert code == expected, (operation, params)
        return result

    @rule(path=PATHS, value=VALUES, asked=ASKED, which=TOKENS)
    def set(self, path: str, value: Any, asked: str | None, which: str | None) -> None:
        token, if_version = self.token(path, which), self.asked(path, asked)

        def model() -> None:
            self.guard(path, token, if_version)
            self.write(path, value, "set")

        put = self.both(
            model, "state.set", path=path, value=value, lock_token=token, if_version=if_version
        )
        if put is not None:
            assert put["version"] == self.paths[path].version
            assert put["etag"] == etag(value)

    @rule(path=PATHS, patch=VALUES, asked=ASKED, which=TOKENS)
    def patch(self, path: str, patch: Any, asked: str | None, which: str | None) -> None:
        token, if_version = self.token(path, which), self.asked(path, asked)

        def model() -> None:
            at = self.existing(path, token, if_version)
            if isinstance(at.value, dict) and not isinstance(patch, dict):
                raise Refused("invalid")
            self.write(path, merged(at.value, patch), "patch")

        self.both(
            model, "state.patch", path=path, patch=patch, lock_token=token, if_version=if_version
        )

    @rule(path=PATHS, value=VALUES, which=TOKENS)
    def append(self, path: str, value: Any, which: str | None) -> None:
        token = self.token(path, which)

        def model() -> None:
            document = self.existing(path, token).value
            if not isinstance(document, list):
                raise Refused("invalid")
            self.write(path, [*document, value], "append")

        self.both(model, "state.append", path=path, value=value, lock_token=token)

    @rule(path=PATHS, by=st.integers(-3, 3), which=TOKENS)
    def increment(self, path: str, by: int, which: str | None) -> None:
        token = self.token(path, which)

        def model() -> None:
            document = self.existing(path, token).value
            if type(document) is not int:
                raise Refused("invalid")
            self.write(path, document + by, "increment")

        got = self.both(model, "state.increment", path=path, by=by, lock_token=token)
        if got is not None:
            assert got["value"] == self.paths[path].value

    @rule(path=PATHS, value=VALUES, which=TOKENS)
    def init(self, path: str, value: Any, which: str | None) -> None:
        token = self.token(path, which)
        created = not self.paths[path].live

        def model() -> None:
            if created:
                self.guard(path, token)
                self.write(path, value, "init")

        got = self.both(model, "state.init", path=path, value=value, lock_token=token)
        if got is not None:
            assert got["created"] == created
            assert got["value"] == self.paths[path].value

    @rule(path=PATHS, asked=ASKED, which=TOKENS)
    def delete(self, path: str, asked: str | None, which: str | None) -> None:
        token, if_version = self.token(path, which), self.asked(path, asked)

        def model() -> None:
            self.existing(path, token, if_version)
            self.write(path, None, "delete", live=False)

        self.both(model, "object.delete", path=path, lock_token=token, if_version=if_version)

    @rule(path=PATHS, back=st.integers(0, 4), which=TOKENS)
    def restore(self, path: str, back: int, which: str | None) -> None:
        token, version = self.token(path, which), max(self.paths[path].version - back, 1)

        def model() -> None:
            at = self.guard(path, token)
            if not at.versions:
                raise Refused("not_found")
            value, live = at.versions[version - 1]
            if not live:
                raise Refused("invalid")
            self.write(path, value, "restore")

        self.both(model, "object.restore", path=path, version=version, lock_token=token)

    @rule(path=PATHS, to=PATHS, overwrite=st.booleans(), which=TOKENS, onto=TOKENS)
    def move(
        self, path: str, to: str, overwrite: bool, which: str | None, onto: str | None
    ) -> None:
        self.transfer("object.move", path, to, overwrite, self.token(path, which), onto)

    @rule(path=PATHS, to=PATHS, overwrite=st.booleans(), onto=TOKENS)
    def copy(self, path: str, to: str, overwrite: bool, onto: str | None) -> None:
        self.transfer("object.copy", path, to, overwrite, None, onto)

    def transfer(
        self,
        operation: str,
        path: str,
        to: str,
        overwrite: bool,
        token: str | None,
        onto: str | None,
    ) -> None:
        to_token, moving = self.token(to, onto), operation == "object.move"

        def model() -> None:
            source = self.existing(path, token) if moving else self.paths[path]
            if not source.live:
                raise Refused("not_found")
            if path == to:
                raise Refused("invalid")
            target = self.guard(to, to_token)
            if target.live and not overwrite:
                raise Refused("already_exists")
            value = source.value
            if moving:
                self.write(path, None, "delete", live=False)
            self.write(to, value, "move" if moving else "copy")

        params = {"lock_token": token} if moving else {}
        self.both(
            model,
            operation,
            path=path,
            to=to,
            overwrite=overwrite,
            to_lock_token=to_token,
            **params,
        )

    @rule(
        changes=st.lists(
            st.tuples(PATHS, st.sampled_from(["set", "increment", "delete"])),
            min_size=1,
            max_size=4,
        )
    )
    def transact(self, changes: list[tuple[str, str]]) -> None:
        paths, log = copy.deepcopy(self.paths), list(self.log)

        def model() -> None:
            try:
                for path, verb in changes:
                    at = self.guard(path, None) if verb == "set" else self.existing(path, None)
                    if verb == "increment" and type(at.value) is not int:
                        raise Refused("invalid")
                    value = {"set": 0, "delete": None}.get(verb, 0)
                    if verb == "increment":
                        value = at.value + 1
                    self.write(path, value, verb, live=verb != "delete")
            except Refused:
                self.paths, self.log = paths, log
                raise
            self.log = log
            for path in dict.fromkeys(path for path, _ in changes):
                self.join_versions(path, paths[path], [verb for p, verb in changes if p == path])

        given = [
            {"op": verb, "path": path, **({"value": 0} if verb == "set" else {})}
            for path, verb in changes
        ]
        self.both(model, "state.transact", changes=given)

    @rule(path=PATHS)
    def acquire(self, path: str) -> None:
        expired = self.paths[path].token is not None

        def model() -> None:
            if self.held(path):
                raise Refused("locked")
            if expired:
                self.log.append(("lock.expire", path, None))
            self.log.append(("lock.acquire", path, None))

        held = self.both(model, "lock.acquire", path=path, ttl_s=TTL_S)
        if held is None:
            return
        at = self.paths[path]
        self.stale = at.token or self.stale
        at.token, at.expires_at = held["token"], self.clock() + TTL_S
        self.issued[held["token"]] = path
        assert held["fence"] == len(self.log)
        self.fences[path].append(held["fence"])

    @rule(path=PATHS, which=TOKENS)
    def release(self, path: str, which: str | None) -> None:
        token = self.token(path, which) or self.stale

        def model() -> None:
            at = self.guard(path, token, must_hold=True)
            self.stale, at.token = token, None
            self.log.append(("lock.release", path, None))

        self.both(model, "lock.release", path=path, lock_token=token)

    @rule(path=PATHS, which=TOKENS)
    def renew(self, path: str, which: str | None) -> None:
        token = self.token(path, which) or self.stale

        def model() -> None:
            self.guard(path, token, must_hold=True).expires_at = self.clock() + TTL_S
            self.log.append(("lock.renew", path, None))

        self.both(model, "lock.renew", path=path, lock_token=token)

    @rule(path=PATHS)
    def take_away(self, path: str) -> None:
        def model() -> None:
            if not self.held(path):
                raise Refused("not_found")
            at = self.paths[path]
            self.stale, at.token = at.token or "", None
            self.log.append(("lock.break", path, None))

        self.both(model, "lock.break", path=path)

    @rule(seconds=st.sampled_from([1, 5, 11]))
    def time_passes(self, seconds: int) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.log)
    @rule()
    def the_store_is_opened_again(self) -> None:
        self.engine.store.close()
        self.engine = open_engine(self.backend.folder, self.clock)

    @invariant()
    def the_log_is_the_models(self) -> None:
        if not hasattr(self, "engine"):
            return
        events = self.engine.call("event.list", {"limit": 1000})["items"]
        assert [(e["type"], e["path"], e["version"]) for e in events] == self.log
        assert [e["seq"] for e in events] == list(range(1, len(self.log) + 1))
        report = self.engine.call("audit.verify")
        assert report["verified"], report["problem"]

    @invariant()
    def the_objects_are_the_models(self) -> None:
        if not hasattr(self, "engine"):
            return
        live = sorted(path for path, at in self.paths.items() if at.live)
        listed = self.engine.call("object.list")["items"]
        assert [item["path"] for item in listed] == live
        for item in listed:
            at = self.paths[item["path"]]
            assert (item["version"], item["etag"]) == (at.version, etag(at.value))
            got = self.engine.call("state.get", {"path": item["path"]})
            assert (got["version"], got["value"]) == (at.version, at.value)
        assert self.engine.call("workspace.show")["object_count"] == len(live)

    @invariant()
    def the_history_is_the_models(self) -> None:
        if not hasattr(self, "engine"):
            return
        for path, at in self.paths.items():
            if at.versions:
                params = {"path": path, "limit": 1000}
                versions = self.engine.call("object.history", params)["items"]
                assert [not v["deleted"] for v in reversed(versions)] == [
                    live for _, live in at.versions
                ]

    @invariant()
    def the_locks_are_the_models(self) -> None:
        if not hasattr(self, "engine"):
            return
        locks = self.engine.call("lock.list")["items"]
        assert [lock["path"] for lock in locks] == sorted(p for p in self.paths if self.held(p))
        for path, fences in self.fences.items():
            assert fences == sorted(set(fences)), path


def merged(document: Any, patch: Any) -> Any:
    """RFC 7396, written once more from its text."""
    if not isinstance(patch, dict):
        return patch
    result = dict(document) if isinstance(document, dict) else {}
    for key in patch:
        if patch[key] is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), patch[key])
    return result


class FastioOnPostgres(Fastio):
    """The same on a database, which takes longer over each step: fewer of them."""

    kind = "postgres"


TestFastio = Fastio.TestCase
TestFastio.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestFastioOnPostgres = FastioOnPostgres.TestCase
TestFastioOnPostgres.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
