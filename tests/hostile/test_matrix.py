"""Who may do what: every operation of the catalogue, asked for with every kind of token.

What is expected is computed from the two tables below, which state the rules anew: they read
neither the catalogue's roles nor the code that decides. An operation that is not in the table
fails.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from fastio_cli.identity import digest_of, new_token
from fastio_cli.operations import every
from tests.backends import kind_of
from tests.catalogue import VALUES, request_of
from tests.remote import Running

RANKS = ("none", "member", "viewer", "editor", "admin", "owner")
ALLOWED, UNKNOWN, REFUSED, HIDDEN = "allowed", "unauthenticated", "forbidden", "not there"

# What is needed for each operation: "in" a workspace or for the "org", to "read" or to "write", and
# the least role there ("member": any token). Two make what has every right, so that they need a
# token for all operations; orgs are created by those whom the server's setting names.
RULES: dict[str, tuple[str, str, str]] = {
    "access.whoami": ("org", "read", "member"),
    "account.keep": ("org", "write", "member"),
    "account.list": ("org", "read", "member"),
    "account.remove": ("org", "write", "member"),
    "actor.brief": ("in", "read", "viewer"),
    "actor.list": ("in", "read", "viewer"),
    "audit.verify": ("in", "read", "viewer"),
    "event.list": ("in", "read", "viewer"),
    "file.append": ("in", "write", "editor"),
    "file.get": ("in", "read", "viewer"),
    "file.put": ("in", "write", "editor"),
    "import.cancel": ("in", "write", "editor"),
    "import.create": ("in", "write", "editor"),
    "import.list": ("in", "read", "viewer"),
    "import.retry": ("in", "write", "editor"),
    "import.show": ("in", "read", "viewer"),
    "index.clear": ("in", "write", "editor"),
    "index.rebuild": ("in", "write", "editor"),
    "index.status": ("in", "read", "viewer"),
    "index.update": ("in", "read", "viewer"),
    "job.cancel": ("in", "write", "editor"),
    "job.list": ("in", "read", "viewer"),
    "job.retry": ("in", "write", "editor"),
    "job.show": ("in", "read", "viewer"),
    "lock.acquire": ("in", "write", "editor"),
    "lock.break": ("in", "write", "admin"),
    "lock.list": ("in", "read", "viewer"),
    "lock.release": ("in", "write", "editor"),
    "lock.renew": ("in", "write", "editor"),
    "lock.show": ("in", "read", "viewer"),
    "lock.take_over": ("in", "write", "admin"),
    "member.list": ("org", "read", "viewer"),
    "member.remove": ("org", "write", "admin"),
    "member.set": ("org", "write", "admin"),
    "object.copy": ("in", "write", "editor"),
    "object.delete": ("in", "write", "editor"),
    "object.diff": ("in", "read", "viewer"),
    "object.history": ("in", "read", "viewer"),
    "object.info": ("in", "read", "viewer"),
    "object.list": ("in", "read", "viewer"),
    "object.move": ("in", "write", "editor"),
    "object.restore": ("in", "write", "editor"),
    "org.create": ("org", "write", "admin"),
    "org.show": ("org", "read", "viewer"),
    "org.usage": ("org", "read", "viewer"),
    "search.ask": ("in", "read", "viewer"),
    "search.context": ("in", "read", "viewer"),
    "search.converse": ("in", "write", "editor"),
    "search.query": ("in", "read", "viewer"),
    "search.query_all": ("org", "read", "member"),
    "state.append": ("in", "write", "editor"),
    "state.get": ("in", "read", "viewer"),
    "state.increment": ("in", "write", "editor"),
    "state.init": ("in", "write", "editor"),
    "state.patch": ("in", "write", "editor"),
    "state.schema": ("in", "read", "viewer"),
    "state.set": ("in", "write", "editor"),
    "state.transact": ("in", "write", "editor"),
    "state.update": ("in", "write", "editor"),
    "state.wait": ("in", "read", "viewer"),
    "token.create": ("org", "write", "viewer"),
    "token.list": ("org", "read", "member"),
    "token.revoke": ("org", "write", "member"),
    "transfer.claim": ("nobody", "write", "none"),  # the claim itself is what allows it
    "transfer.create": ("org", "write", "owner"),
    "transfer.list": ("org", "read", "admin"),
    "transfer.revoke": ("org", "write", "owner"),
    "workspace.create": ("org", "write", "admin"),
    "workspace.delete": ("in", "write", "owner"),
    "workspace.intelligence": ("in", "write", "admin"),
    "workspace.list": ("org", "read", "member"),
    "workspace.rename": ("in", "write", "admin"),
    "workspace.restore": ("org", "write", "owner"),
    "workspace.show": ("in", "read", "viewer"),
    "workspace.usage": ("in", "read", "viewer"),
}
FIRST_ORG_ONLY = {"org.create"}
ALL_SCOPES_ONLY = {"org.create", "transfer.create"}
LAST = ("workspace.rename", "workspace.delete")  # they end what the others work in
NEW_NAME = VALUES["name"]  # what a workspace is created as, or renamed to

# Each kind of token: the member's role in the org, in the workspace asked for and in another one,
# then what narrows the token itself. Without a role in any it is none that counts.
KINDS: dict[str, dict[str, Any]] = {
    "none": {"counts": False},
    "malformed": {"counts": False},
    "wrong checksum": {"counts": False},
    "unknown": {"counts": False},
    "revoked": {"counts": False, "in_org": "owner"},
    "expired": {"counts": False, "in_org": "owner", "is_past": True},
    "of a removed member": {"counts": False, "in_org": "owner"},
    "of another org": {"in_org": "owner", "org": "acme"},
    "viewer": {"in_org": "viewer"},
    "editor": {"in_org": "editor"},
    "admin": {"in_org": "admin"},
    "owner": {"in_org": "owner"},
    "member of another workspace": {"another": "editor"},
    "for another workspace": {"in_org": "owner", "bound": "another"},
    "owner's for the workspace": {"in_org": "owner", "bound": "target"},
    "owner's for reading": {"in_org": "owner", "token_role": "viewer"},
    "owner's for reading the workspace": {
        "in_org": "owner",
        "token_role": "viewer",
        "bound": "target",
    },
    "owner's for a scope": {"in_org": "owner", "scope": "state."},
    "admin of the workspace alone": {"target": "admin"},
}


def least(one: str, other: str) -> str:
    return min(one, other, key=RANKS.index)


def expected(name: str, kind: str) -> str:
    """What the tables say of an operation and a kind of token."""
    place, effect, needed = RULES[name]
    facts = {"in_org": "member", "target": "member", "token_role": "owner", **KINDS[kind]}
    if not facts.get("counts", True):
        return ALLOWED if place == "nobody" and kind == "none" else UNKNOWN
    if place == "nobody":
        return REFUSED if "scope" in facts else ALLOWED
    bound = facts.get("bound")
    in_org = least(facts["in_org"], facts["token_role"]) if bound is None else "member"
    here = least(facts["target"], facts["token_role"])
    if bound == "target":
        here = max(here, least(facts["in_org"], facts["token_role"]), key=RANKS.index)
    role = in_org
    if place == "in":
        role = "member" if bound == "another" else max(in_org, here, key=RANKS.index)
        if role == "member" or facts.get("org"):
            return HIDDEN
    narrow = effect == "write" and (
        facts["token_role"] == "viewer"
        or facts["in_org"] == "viewer"  # its token was made with that role
        or (place == "org" and bound is not None)
    )
    too_little = (
        RANKS.index(role) < RANKS.index(needed)
        or ("scope" in facts and not name.startswith(facts["scope"]))
        or (name in FIRST_ORG_ONLY and "org" in facts)
        or (name in ALL_SCOPES_ONLY and "scope" in facts)
    )
    return REFUSED if narrow or too_little else ALLOWED


class World:
    """A server with two workspaces, one that was deleted, and another org."""

    def __init__(self, backend: Any) -> None:
        self.backend = backend
        self.engine = backend.open()
        self.server = Running(self.engine)
        self.engine.call("org.create", {"name": "acme"}, actor="olga")
        for name in ("target", "another", "gone"):
            self.engine.call("workspace.create", {"name": name})
            self.engine.call("state.set", {"path": "plan.json", "value": {}}, workspace=name)
        self.engine.call("workspace.delete", workspace="gone")
        self.engine.call("member.set", {"name": "ada", "role": "owner"})

    def close(self) -> None:
        self.server.stop()
        self.engine.store.close()

    def token(self, kind: str) -> tuple[str | None, str]:
        """A token of a kind, and its id."""
        facts = KINDS[kind]
        if kind in ("none", "malformed", "unknown"):
            return {"none": None, "malformed": "fio_x", "unknown": new_token()}[kind], ""
        token = self.server.token("bob", facts.get("in_org", "viewer"), facts.get("org", ""))
        if kind == "wrong checksum":
            return token[:-1] + ("0" if token[-1] != "0" else "1"), ""
        digest = digest_of(token)
        row = self.engine.store.read(lambda tx: tx.tokens.by_digest(digest))
        self._narrow(digest, facts)
        for place in facts.keys() & {"target", "another"}:
            params = {"name": "bob", "role": facts[place], "in_workspace": place}
            self.engine.call("member.set", params)
        if not facts.get("in_org") or kind == "of a removed member":
            self.engine.call("member.remove", {"name": "bob"})
        if kind == "revoked":
            self.engine.call("token.revoke", {"id": row["id"]})
        return token, row["id"]

    def _narrow(self, digest: str, facts: dict[str, Any]) -> None:
        columns: dict[str, Any] = {"role": facts.get("token_role", facts.get("in_org", "owner"))}
        if "bound" in facts:
            row = self.engine.store.read(lambda tx: tx.workspaces.by_name(facts["bound"]))
            columns["workspace_id"] = row["id"]
        if "scope" in facts:
            columns["scopes"] = f'["{facts["scope"]}*"]'
        if facts.get("is_past"):
            columns["expires_at"] = 1
        for column, value in columns.items():
            self.backend.tamper(
                f"update tokens set {column} = :value where digest = :digest",
                value=value,
                digest=digest,
            )

    def snapshot(self) -> dict[str, list[tuple[object, ...]]]:
        """All rows of all tables but when tokens were used, and the names of all blobs."""
        files = sorted(str(p) for p in Path(self.backend.folder, "blobs").rglob("*") if p.is_file())
        rows: dict[str, list[tuple[object, ...]]] = {"": [(f,) for f in files]}
        with closing(_connect(self.backend)) as db:
            for table in _tables(db):
                found = db.execute(f'select * from "{table}"')
                names = [column[0] for column in found.description]
                keep = [n for n, name in enumerate(names) if name != "last_used_at"]
                rows[table] = sorted((tuple(row[n] for n in keep) for row in found), key=repr)
        return rows


def _connect(backend: Any) -> Any:
    if hasattr(backend, "url"):
        import psycopg

        return psycopg.connect(backend.url)
    return sqlite3.connect(f"{backend.folder}/store.sqlite")


def _tables(db: Any) -> list[str]:
    if isinstance(db, sqlite3.Connection):
        found = db.execute("select name from sqlite_schema where type = 'table'")
    else:
        found = db.execute("select tablename from pg_tables where schemaname = current_schema()")
    return sorted(row[0] for row in found)


@pytest.fixture(params=["sqlite", "postgres"])
def world(request, tmp_path):
    backend = kind_of(request.param).made(tmp_path / "store")
    world = World(backend)
    yield world
    world.close()
    backend.give_back()


def ask(http: httpx.Client, operation: Any, workspace: str) -> httpx.Response:
    method, path, options = request_of(operation, workspace)
    return http.request(method, path, **options)


def verdict(response: httpx.Response) -> str:
    """What an answer comes to."""
    assert response.status_code < 500, response.text
    if response.status_code in (401, 403):
        return str(response.json()["code"])
    if response.status_code == 404 and "There is no workspace" in response.text:
        return HIDDEN
    return ALLOWED


def shown(response: httpx.Response, name: str) -> tuple[object, ...]:
    """An answer as it must be the same for every workspace that one may not know of."""
    headers = {k: v for k, v in response.headers.items() if k not in ("x-request-id", "date")}
    headers.pop("content-length")
    body = response.json()
    body.pop("request_id", None)
    body.pop("instance", None)
    return response.status_code, str(headers), str(body).replace(name, "NAME")


def test_every_operation_has_its_rule():
    assert {operation.name for operation in every()} == set(RULES)


@pytest.mark.parametrize("kind", KINDS)
def test_every_operation_with_every_kind_of_token(world, kind):
    operations = sorted(every(), key=lambda o: (o.name in LAST and LAST.index(o.name) + 1, o.name))
    token, id = world.token(kind)
    headers = {} if token is None else {"authorization": f"Bearer {token}"}
    with httpx.Client(base_url=world.server.url, headers=headers, timeout=60) as http:
        before = world.snapshot()
        for operation in operations:
            want = expected(operation.name, kind)
            if want == ALLOWED:
                continue
            answer = ask(http, operation, "target")
            assert verdict(answer) == want, (operation.name, answer.text)
            for other in ("gone", "never") if want == HIDDEN else ():
                assert shown(ask(http, operation, other), other) == shown(answer, "target")
        assert world.snapshot() == before, "something that was refused left a trace"
        name = "target"
        for operation in operations:
            if expected(operation.name, kind) == ALLOWED:
                answer = ask(http, operation, name)
                assert verdict(answer) == ALLOWED, (operation.name, answer.text)
                if operation.name == LAST[0] and answer.status_code == 200:
                    name = NEW_NAME
        if KINDS[kind].get("counts", True):  # every token may end itself
            assert http.delete(f"/v1/tokens/{id}").status_code == 200
            assert http.get("/v1/whoami").status_code == 401


# What is served beside the catalogue, by the operation that it is a part of.
BESIDE = {
    ("GET", "events/stream"): "event.list",
    ("GET", f"uploads/{'0' * 32}"): "file.put",
    ("PATCH", f"uploads/{'0' * 32}"): "file.put",
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_beside_the_catalogue_is_for_the_same_tokens(world, kind):
    token, _ = world.token(kind)
    headers = {"upload-offset": "0"}
    if token is not None:
        headers["authorization"] = f"Bearer {token}"
    with httpx.Client(base_url=world.server.url, headers=headers, timeout=60) as http:
        for (method, path), operation in BESIDE.items():
            url, content = f"/v1/workspaces/target/{path}", b"" if method == "GET" else b"part"
            with http.stream(method, url, content=content) as answer:
                if answer.status_code != 200:
                    answer.read()
                assert verdict(answer) == expected(operation, kind), (method, path)
