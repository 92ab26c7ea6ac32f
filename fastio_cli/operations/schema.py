"""JSON Schema on a state object: a write that breaks it is refused with the failing pointer.

References make schemas larger than they are written: sixty levels of two references each stand for
2^60 subschemas, and a pattern of a few characters may compile to many megabytes. So a schema is
counted as its references unfold it before it is compiled, each time: also one that was stored.
"""

from __future__ import annotations

import json
from functools import lru_cache
from urllib.parse import unquote

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SCHEMA_BYTES_MAX = 256 * 1024
SUBSCHEMAS_MAX = 10_000
PATTERNS_MAX = 100
PATTERN_BYTES_MAX = 1024 * 1024  # of a compiled pattern
BACKTRACKS_MAX = 100_000  # of one match, for patterns that look ahead or back
PATTERN_CHECKS = 1000  # compiling a pattern takes as long
CHECKS_MAX = 500_000_000  # subschemas times values
UNKNOWN = 300, 10  # what one of JSON Schema's own schemas holds, which a reference may name
_DATA = ("enum", "const", "default", "examples")  # keywords whose values are no schemas
_DEFINITIONS = ("$defs", "definitions")  # which count where a reference names them
_NAMED = (*_DEFINITIONS, "properties", "patternProperties", "dependentSchemas", "dependencies")
_REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")


def check(value: object, schema_text: str, path: str, values: int = 1) -> None:
    """Raise ``schema_violation`` if the value breaks the schema, ``invalid`` if it is no schema.

    ``values`` says how many values are in the value at most. References to other documents are
    refused, so a schema never reaches out. Raises ``too_large`` for one that would take too much.
    """
    if len(schema_text) > SCHEMA_BYTES_MAX:
        raise FastioError("too_large", f"A JSON Schema may have {SCHEMA_BYTES_MAX} characters.")
    schema = json.loads(schema_text)
    if _unfolded(schema)[0] * values > CHECKS_MAX:
        raise _too_costly(f"is too large for a value of up to {values:,} parts")
    import jsonschema_rs  # 25 ms, for objects that have a schema alone

    patterns = jsonschema_rs.FancyRegexOptions(
        backtrack_limit=BACKTRACKS_MAX,
        size_limit=PATTERN_BYTES_MAX,
        dfa_size_limit=PATTERN_BYTES_MAX,
    )
    try:
        validator = jsonschema_rs.validator_for(schema, retriever=_refuse, pattern_options=patterns)
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError) as e:
        raise FastioError("invalid", f"This is not a JSON Schema: {_reason(e)}.") from None
    error = next(iter(validator.iter_errors(value)), None)
    if error is not None:
        pointer = "".join(
            "/" + str(part).replace("~", "~0").replace("/", "~1") for part in error.instance_path
        )
        raise FastioError(
            "schema_violation",
            f"{path} would break its schema at {pointer or 'the root'}: {_reason(error)}.",
            f"See the schema: fastio state schema {path}",
            path=path,
            pointer=pointer,
        )


class Unfolding:
    """What a schema is with every reference replaced by what it stands for, as numbers.

    Each subschema is gone through once, however often it is referred to. A reference back to what
    is being unfolded counts as one subschema; one that may mean several, depending on base URIs, as
    the largest of them.
    """

    def __init__(self, schema: object) -> None:
        self._known: dict[int, tuple[int, int]] = {}
        self._resources: list[tuple[str, object]] = [("", schema)]  # by the ends of their URIs
        self._anchors: dict[str, list[object]] = {}
        self._index(schema)

    def count(self, node: object) -> tuple[int, int]:
        """The subschemas and the patterns below a node. Raises ``RecursionError``."""
        if isinstance(node, list):
            return _total([self.count(part) for part in node], len(node))
        if not isinstance(node, dict):
            return 0, 0
        if id(node) in self._known:
            return self._known[id(node)]
        self._known[id(node)] = 1, 0
        inner = {key: part for key, part in node.items() if key not in _DEFINITIONS}
        counts = [self.count(part) for part in _subschemas(inner)]
        counts += [(_parts_of(node[key]), 0) for key in _DATA if key in node]
        for key in _REFERENCES:
            if isinstance(node.get(key), str):
                counts.append(max(map(self.count, self._targets(node[key])), default=UNKNOWN))
        patterns = node.get("patternProperties")
        own = len(patterns) if isinstance(patterns, dict) else 0
        counts.append((0, own + isinstance(node.get("pattern"), str)))
        self._known[id(node)] = _total(counts, 1)
        return self._known[id(node)]

    def _targets(self, reference: str) -> list[object]:
        """All that a reference may mean."""
        uri, _, fragment = reference.partition("#")
        fragment, end = unquote(fragment), _end(uri)
        resources = [node for name, node in self._resources if name == end or not end]
        if fragment and not fragment.startswith("/"):
            return self._anchors.get(fragment, [])
        found = [_at(node, fragment) for node in resources]
        return [node for node in found if node is not None]

    def _index(self, node: object) -> None:
        """Note what has a name of its own."""
        if isinstance(node, list):
            for part in node:
                self._index(part)
        elif isinstance(node, dict):
            for key in ("$id", "id"):  # the latter up to draft 4
                if isinstance(node.get(key), str):
                    uri, _, anchor = node[key].partition("#")
                    self._resources.append((_end(uri), node))
                    self._anchors.setdefault(unquote(anchor), []).append(node)
            for key in ("$anchor", "$dynamicAnchor"):
                if isinstance(node.get(key), str):
                    self._anchors.setdefault(node[key], []).append(node)
            for part in _subschemas(node):
                self._index(part)


@lru_cache(16)
def cost(schema_text: str) -> int:
    """What checking one value takes, in subschemas. Raises ``too_large``."""
    subschemas, patterns = _unfolded(json.loads(schema_text))
    return subschemas + patterns * PATTERN_CHECKS


def _unfolded(schema: object) -> tuple[int, int]:
    """The subschemas and patterns that a schema stands for. Raises ``too_large``."""
    try:
        subschemas, patterns = Unfolding(schema).count(schema)
    except RecursionError:
        raise _too_costly("is nested too deeply, or refers too far") from None
    if subschemas > SUBSCHEMAS_MAX:
        raise _too_costly(f"unfolds to more than {SUBSCHEMAS_MAX:,} subschemas")
    if patterns > PATTERNS_MAX:
        raise _too_costly(f"unfolds to more than {PATTERNS_MAX} patterns")
    return subschemas, patterns


def _subschemas(node: dict[str, Any]) -> list[object]:
    """The schemas right in a schema, and what else may hold some."""
    found: list[object] = []
    for key, part in node.items():
        if key in _NAMED and isinstance(part, dict):
            found += part.values()  # any name is one, also that of a keyword
        elif key not in _DATA:
            found.append(part)
    return found


def _end(uri: str) -> str:
    """What resolving a URI against a base leaves as it is; nothing if that may change all."""
    end = unquote(uri).lower().rpartition("/")[2]
    return "" if end in (".", "..") else end


def _at(node: Any, pointer: str) -> object:
    """What a JSON Pointer leads to; None if that is nothing."""
    for part in pointer.split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if isinstance(node, dict):
            node = node.get(part)
        elif isinstance(node, list) and part.isdecimal() and int(part) < len(node):
            node = node[int(part)]
        else:
            return None
    return node


def _parts_of(value: object) -> int:
    """How many values are in a value."""
    if isinstance(value, dict):
        return 1 + sum(map(_parts_of, value.values()))
    return 1 + sum(map(_parts_of, value)) if isinstance(value, list) else 1


def _total(counts: list[tuple[int, int]], subschemas: int) -> tuple[int, int]:
    return subschemas + sum(count for count, _ in counts), sum(count for _, count in counts)


def _too_costly(reason: str) -> FastioError:
    return FastioError(
        "too_large",
        f"The JSON Schema {reason}.",
        "Write a smaller one: fastio state set --schema",
    )


def _refuse(uri: str) -> Any:
    raise ValueError(f"references to other documents are not followed ({uri})")


def _reason(e: Exception) -> str:
    return str(e).partition("\n")[0].rstrip(".")[:300]
