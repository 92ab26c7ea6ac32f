"""The examples in the OpenAPI document: what a parameter, a record and a problem look like.

They are made from one value for each name, so that a new operation has examples at once.
"""

from __future__ import annotations

import types
import typing

from fastio_cli.errors import FastioError
from fastio_cli.operations.record_schema import is_time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from fastio_cli.operations.operation import Operation
    from fastio_cli.operations.types import Rule

HASH = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
# Where a name means different things, the first value that fits is taken.
EXAMPLES: dict[str, tuple[object, ...]] = {
    "access_token": ("ya29.a0",),
    "actor": ("ada",),
    "answer": ("It costs 9 a month. [1]",),
    "author": ("ada",),
    "by": (1,),
    "change": ("set",),
    "changes": ([{"op": "set", "path": "plan.json", "value": {"step": 2}}],),
    "claim": ("claim_4Jx0pQz",),
    "client_id": ("fastio",),
    "created_by": ("ada",),
    "data": ({"etag": HASH, "size_bytes": 31},),
    "enabled": (True,),
    "etag": (HASH,),
    "event_count": (12,),
    "expression": ("status == 'approved'",),
    "hash": (HASH,),
    "head_hash": (HASH,),
    "holder": ("researcher",),
    "id": (7, "0c5e1f2a"),
    "json_patch": ([{"op": "replace", "path": "/step", "value": 2}],),
    "label": ("laptop",),
    "limit": (50,),
    "lock_token": ("lk_4f1d2c",),
    "media_type": ("application/json",),
    "member": ("ada",),
    "mode": ("hybrid",),
    "model": ("all-MiniLM-L6-v2",),
    "name": ("research", "ada"),
    "org": ("acme",),
    "patch": ({"step": 2},),
    "path": ("plan.json",),
    "prefix": ("",),
    "prev_hash": ("0" * 64,),
    "purpose": ("drafting",),
    "query": ("what does it cost?",),
    "question": ("What does it cost?",),
    "role": ("editor",),
    "service": ("dropbox",),
    "sha256": (HASH,),
    "size_bytes": (31,),
    "snippet": ("It costs 9 a month.",),
    "to": ("archive/plan.json",),
    "token": ("fio_...",),
    "ttl_s": (60,),
    "type": ("state.set",),
    "url": ("https://example.org/report.pdf",),
    "urls": (["https://example.org/report.pdf"],),
    "value": ({"step": 1, "status": "drafting"},),
    "workspace": ("default",),
}
# Optional parameters that an example shows; the others depend on what is there.
SHOWN = ("by", "label", "limit", "mode", "purpose", "ttl_s")
TIME = "2026-11-25T12:00:00.000Z"
LOCKED: dict[str, object] = {
    "path": "plan.json",
    "holder": "researcher",
    "purpose": "drafting",
    "fence": 12,
    "expires_at": TIME,
    "retry_after_s": 41.5,
    "queue_position": 1,
}


def parameter(name: str, rule: Rule) -> Any:
    """An accepted value of a parameter, a plain one if the table has none."""
    plain: tuple[object, ...] = (name.replace("_", " "), 1, True, [], {})
    for value in (*EXAMPLES.get(name, ()), *plain):
        try:
            rule.check(value, name)
        except FastioError:
            continue
        return value
    return None


def body(operation: Operation, names: list[str]) -> dict[str, object]:
    """The example of a request's body."""
    return {
        name: parameter(name, operation.rules[name])
        for name in names
        if name in SHOWN or name not in operation.defaults
    }


def record(hint: Any, name: str = "") -> Any:
    """A record of ``model.py``, or a field of one, as it may look."""
    if typing.is_typeddict(hint):
        return {key: record(inner, key) for key, inner in typing.get_type_hints(hint).items()}
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Literal:
        return args[0]
    if origin in (typing.Union, types.UnionType):
        return record(args[0], name)
    for value in EXAMPLES.get(name, ()):
        if hint is typing.Any or isinstance(value, origin or hint):
            return value
    if origin is list:
        inner = record(args[0])
        return [] if inner is None else [inner]
    if hint is str:
        return TIME if is_time(name) else name.replace("_", " ")
    plain: dict[object, object] = {int: 1, float: 0.5, bool: False}
    return {} if origin is dict else plain.get(hint)
