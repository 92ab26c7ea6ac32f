"""JSON Schema on a state object: a write that breaks it is refused with the failing pointer."""

from __future__ import annotations

import json

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


SCHEMA_BYTES_MAX = 256 * 1024


def check(value: object, schema_text: str, path: str) -> None:
    """Raise ``schema_violation`` if the value breaks the schema, ``invalid`` if it is no schema.

    References to other documents are refused, so a schema never reaches out.
    """
    if len(schema_text) > SCHEMA_BYTES_MAX:
        raise FastioError("too_large", f"A JSON Schema may have {SCHEMA_BYTES_MAX} characters.")
    import jsonschema_rs  # 25 ms, for objects that have a schema alone

    try:
        validator = jsonschema_rs.validator_for(json.loads(schema_text), retriever=_refuse)
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


def _refuse(uri: str) -> Any:
    raise ValueError(f"references to other documents are not followed ({uri})")


def _reason(e: Exception) -> str:
    return str(e).partition("\n")[0].rstrip(".")[:300]
