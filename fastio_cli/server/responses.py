"""What every request and answer has alike: bounds, headers, errors as problem details."""

from __future__ import annotations

import json
import math

from fastio_cli.errors import FastioError

TYPE_CHECKING = False
if TYPE_CHECKING:
    Headers = list[tuple[bytes, bytes]]

# A body is an object around the parameters, the largest and deepest value among them.
ENVELOPE_BYTES = 64 * 1024
BODYLESS = ("GET", "HEAD", "DELETE")
JSON = (b"content-type", b"application/json")
PROBLEM = (b"content-type", b"application/problem+json")
NO_SNIFF = (b"x-content-type-options", b"nosniff")
NO_STORE = (b"cache-control", b"no-store")


def problem(
    error: FastioError, request_id: str, status: int | None = None
) -> tuple[int, Headers, bytes]:
    """An error as problem details (RFC 9457), with everything a program finds locally too.

    ``status`` is the one of its code unless another is given.
    """
    status = status or error.kind.http
    headers: Headers = [PROBLEM, NO_STORE]
    allow = error.details.get("allow")
    if isinstance(allow, str):  # the one thing that HTTP has a status for and others have not
        status = 405
        headers.append((b"allow", allow.encode()))
    retry_after = error.details.get("retry_after_s")
    if isinstance(retry_after, int | float):
        headers.append((b"retry-after", str(max(1, math.ceil(retry_after))).encode()))
    elif error.code == "unavailable":
        headers.append((b"retry-after", b"1"))
    if status == 401:
        headers.append((b"www-authenticate", b'Bearer realm="fastio"'))
    body = {
        "type": f"urn:fastio:error:{error.code}",
        "title": error.code.replace("_", " "),
        "status": status,
        "detail": error.message,
        "instance": f"urn:fastio:request:{request_id}",
        **error.as_dict(),
    }
    return status, headers, json.dumps(body, separators=(",", ":")).encode()
