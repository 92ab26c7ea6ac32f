"""The OpenAPI document: its examples are true, and what it says holds against a fuzzer.

Schemathesis makes requests from the document, right ones and wrong ones, and holds every answer to
it: status, headers, media type and body. A record may have no field that the document leaves out.
"""

from __future__ import annotations

import copy
import json
import os
from collections import Counter, defaultdict

import jsonschema_rs
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, assume, settings
from schemathesis.checks import load_all_checks

from fastio_cli.blobs.local import BlobStore
from fastio_cli.config.settings import Limits
from fastio_cli.engine.engine import Engine
from fastio_cli.operations import every, find
from fastio_cli.operations import types as params
from fastio_cli.server.openapi import document
from fastio_cli.server.protocol import HEAD_BYTES_MAX
from fastio_cli.storage.sqlite.store import SqliteStore
from tests.remote import Running

# make test-fuzz makes 200, and the cases that Schemathesis knows to be hard in every schema.
EXAMPLES = int(os.environ.get("FASTIO_FUZZ_EXAMPLES", "25"))
WAIT_S = 0.01
# What is there, so that requests do not only meet what is not.
LIKELY = {"workspace": ["default"], "path": ["plan.json", "notes.md"]}
# Nobody can guess what these need: a token, a claim, an id.
BY_SECRET = {"lock.release", "lock.renew", "token.revoke", "transfer.claim", "transfer.revoke"}
# Refused for the workspace that is there, which is the default one.
OF_OTHERS = {"workspace.delete", "workspace.rename", "workspace.restore"}
DOCUMENT = document()


def strict_document():
    """The document with closed records, a short time to wait, and likely values named."""
    strict = copy.deepcopy(DOCUMENT)
    for name, schema in strict["components"]["schemas"].items():
        if name not in ("Problem", "Locked"):
            schema["additionalProperties"] = False
    for path in strict["paths"].values():
        for stated in path.values():
            for parameter in stated if isinstance(stated, list) else stated.get("parameters", ()):
                if parameter["in"] == "path" and parameter["name"] in LIKELY:
                    likely = {"enum": LIKELY[parameter["name"]]}
                    parameter["schema"] = {"anyOf": [likely, parameter["schema"]]}
                if parameter["name"] == "wait_s":
                    parameter["schema"]["maximum"] = WAIT_S
            body = stated.get("requestBody", {}) if isinstance(stated, dict) else {}
            media = body.get("content", {}).get("application/json", {})
            for name in ("wait_s", "timeout_s"):
                if name in media.get("schema", {}).get("properties", {}):
                    media["schema"]["properties"][name]["maximum"] = WAIT_S
    return strict


CONFIG = schemathesis.Config.from_dict(
    {
        "phases": {"coverage": {"enabled": EXAMPLES >= 200}},
        "checks": {
            "negative_data_rejection": {"expected-statuses": ["4xx"]},
            # Whether a well-formed request is granted depends on what is there.
            "positive_data_acceptance": {"enabled": False},
            # It does not know which token we use; tests/server/test_access.py walks them all.
            "ignored_auth": {"enabled": False},
        },
    }
)
load_all_checks()
API = schemathesis.openapi.from_dict(strict_document(), config=CONFIG)
FUZZ = settings(
    max_examples=EXAMPLES,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class Target:
    """A server with a little in it, and what it answered by operation."""

    def __init__(self, running):
        self.url = running.url
        self.session = requests.Session()
        self.session.headers["authorization"] = f"Bearer {running.token('ada')}"
        self.statuses = defaultdict(Counter)


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    folder = str(tmp_path_factory.mktemp("fuzz"))
    store = SqliteStore(folder, durability="normal")
    engine = Engine(store, BlobStore(f"{folder}/blobs"), Limits())
    running = Running(engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(params.Wait, "maximum", WAIT_S)
        patch.setitem(find("state.wait").defaults, "timeout_s", WAIT_S)
        yield Target(running)
    running.stop()
    store.close()


@pytest.fixture
def filled(target):
    """The target, with what requests are likely to name."""
    base = f"{target.url}/v1/workspaces/default"
    target.session.post(f"{base}/locks-break/plan.json", json={})
    target.session.put(f"{base}/state/plan.json", json={"value": {"step": 1}}).raise_for_status()
    target.session.put(f"{base}/files/notes.md", data=b"It costs 9.").raise_for_status()
    return target


@API.exclude(operation_id="event.stream").parametrize()
@FUZZ
def test_the_server_does_what_the_document_says(case, filled):
    assume([] not in (case.query or {}).values())  # a parameter without a value does not travel
    response = case.call(base_url=filled.url, session=filled.session)
    filled.statuses[case.operation.definition.raw["operationId"]][response.status_code] += 1
    if response.status_code == 400 and len(response.request.url) > HEAD_BYTES_MAX // 2:
        return  # HTTP itself ends there: a head like that never comes to the application
    case.validate_response(response)


@API.include(operation_id="event.stream").parametrize()
@FUZZ
def test_a_stream_begins_as_the_document_says(case, filled):
    request = case.as_transport_kwargs(base_url=filled.url)
    with filled.session.request(**request, stream=True, timeout=30) as response:
        if response.status_code == 200:
            assert response.headers["content-type"].startswith("text/event-stream")
            assert next(response.iter_lines()) == b": hello"
        else:
            case.validate_response(response)


def test_right_requests_were_among_them(target):
    """Last: fuzzing that only ever meets refusals would prove little."""
    expected = set(target.statuses) - BY_SECRET - OF_OTHERS
    refused = {name for name in expected if not target.statuses[name][200]}
    assert len(refused) <= len(expected) // 4, refused


@pytest.mark.parametrize("operation", every(), ids=lambda op: op.name)
def test_the_examples_are_true(operation):
    path = operation.route.replace(":path}", "}")
    stated = DOCUMENT["paths"][path][operation.method.lower()]
    example = {
        parameter["name"]: parameter["example"]
        for parameter in stated["parameters"]
        if "example" in parameter and parameter["name"] in operation.rules
    }
    for media in stated.get("requestBody", {}).get("content", {}).values():
        example.update(media.get("example", {}))
    required = {n for n in operation.rules if n not in operation.defaults} - {"content"}
    assert required - {"lock_token"} <= set(example)
    for name, value in example.items():
        operation.rules[name].check(value, name)
    for response in stated["responses"].values():
        check_media(resolved(response))


@pytest.mark.parametrize("status", DOCUMENT["components"]["responses"])
def test_the_examples_of_problems_are_true(status):
    check_media(DOCUMENT["components"]["responses"][status])


def resolved(response):
    return (
        DOCUMENT["components"]["responses"][response["$ref"].rpartition("/")[2]]
        if "$ref" in response
        else response
    )


def check_media(response):
    """Hold the examples of a response to its schema."""
    for media_type, media in response.get("content", {}).items():
        if "json" in media_type:
            assert "example" in media
            schema = {**media["schema"], "components": DOCUMENT["components"]}
            jsonschema_rs.validate(schema, media["example"], validate_formats=True)


def test_the_document_is_openapi():
    assert DOCUMENT["openapi"].startswith("3.1")
    assert json.loads(json.dumps(DOCUMENT)) == DOCUMENT
    API.validate()
