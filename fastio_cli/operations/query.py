"""JMESPath over a value."""

from __future__ import annotations

import jmespath
from jmespath.exceptions import JMESPathError

from fastio_cli.errors import FastioError

TYPE_CHECKING = False


def search(expression: str, value: object) -> object:
    """The result of an expression. Raises ``invalid`` if it is not JMESPath or fails."""
    try:
        return jmespath.search(expression, value)
    except (JMESPathError, RecursionError, ValueError, TypeError) as e:
        reason = " ".join(str(e).split())[:300] or type(e).__name__
        raise FastioError(
            "invalid",
            f"The query {expression!r} failed: {reason}",
            "JMESPath: strings in single quotes, as in: status == 'approved'",
        ) from None


def truth(value: object) -> bool:
    """What JMESPath calls true: everything but false, null, and empty strings, lists, objects."""
    return value is not None and value is not False and value not in ("", [], {})
